//! Batched listings and calls about symbolic links over a real socket.

mod common;

use common::{Client, Cluster};
use hadron_proto::hdfs::*;

async fn batch(client: &Client, paths: &[&str], start_after: bytes::Bytes) -> GetBatchedListingResponseProto {
    client
        .call("getBatchedListing", request(paths, start_after))
        .await
        .expect("getBatchedListing")
}

fn request(paths: &[&str], start_after: bytes::Bytes) -> GetBatchedListingRequestProto {
    GetBatchedListingRequestProto {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        start_after,
        need_location: false,
    }
}

#[tokio::test]
async fn batches_go_through_all_paths_page_by_page() {
    let cluster = Cluster::start_with(&[("dfs.ls.limit", "2"), ("dfs.batched.ls.limit", "4")]).await;
    let client = cluster.client("hdfs").await;
    for path in ["/a/1", "/a/2", "/a/3", "/b/1", "/file"] {
        client.touch(path).await;
    }
    let paths = ["/a", "/gone", "/b", "/file"];
    let (mut seen, mut key, mut pages) = (Vec::new(), bytes::Bytes::new(), 0);
    loop {
        let page = batch(&client, &paths, key).await;
        pages += 1;
        for listing in page.listings {
            let path = paths[listing.parent_idx as usize];
            for status in listing.partial_listing {
                seen.push(format!("{path} {}", String::from_utf8_lossy(&status.path)));
            }
            if let Some(exception) = listing.exception {
                seen.push(format!("{path} {} {}", exception.class_name, exception.message()));
            }
        }
        key = page.start_after;
        if !page.has_more {
            break;
        }
    }
    let expected = [
        "/a 1",
        "/a 2",
        "/a 3",
        "/gone java.io.FileNotFoundException Path /gone does not exist",
        "/b 1",
        "/file ",
    ];
    assert_eq!((seen, pages), (expected.map(str::to_owned).to_vec(), 3));

    let class = "java.lang.IllegalArgumentException";
    let many = request(&["/a", "/a", "/a", "/a", "/a"], bytes::Bytes::new());
    let text = "Too many source paths (5 > 4)";
    client.refused("getBatchedListing", many, class, text).await;
    let first = batch(&client, &["/a"], bytes::Bytes::new()).await;
    let other = request(&["/b"], first.start_after);
    let text = "the key of a batched listing belongs to other paths";
    client.refused("getBatchedListing", other, class, text).await;
}

#[tokio::test]
async fn symbolic_links_are_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    client.touch("/f").await;
    let create = CreateSymlinkRequestProto {
        target: "/f".to_owned(),
        link: "/l".to_owned(),
        dir_perm: common::permission(0o755),
        create_parent: true,
    };
    let class = "java.lang.UnsupportedOperationException";
    client
        .refused("createSymlink", create, class, "Symlinks not supported")
        .await;
    let target = |path: &str| GetLinkTargetRequestProto { path: path.to_owned() };
    let text = "Path /f is not a symbolic link";
    client
        .refused("getLinkTarget", target("/f"), "java.io.IOException", text)
        .await;
    let text = "File does not exist: /l";
    client
        .refused("getLinkTarget", target("/l"), "java.io.FileNotFoundException", text)
        .await;
}

#[tokio::test]
async fn configured_directories_are_protected() {
    let protected = [
        ("fs.protected.directories", "/keep, relative,/.reserved/raw"),
        ("dfs.protected.subdirectories.enable", "true"),
    ];
    let cluster = Cluster::start_with(&protected).await;
    let client = cluster.client("hdfs").await;
    client.touch("/keep/d/f").await;
    let class = "org.apache.hadoop.security.AccessControlException";
    for (path, text) in [
        ("/keep", "Cannot delete/rename non-empty protected directory /keep"),
        (
            "/keep/d",
            "Cannot delete/rename subdirectory under protected subdirectory /keep",
        ),
    ] {
        let request = DeleteRequestProto {
            src: path.to_owned(),
            recursive: true,
        };
        client.refused("delete", request, class, text).await;
    }
}
