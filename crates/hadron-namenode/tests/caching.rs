//! Cache pools and directives as clients see them: defaults, rights, pages, filters, repeated calls, restarts.

mod common;

use common::{Client, Cluster, OWNER, create_request};
use hadron_proto::hdfs::*;

const INVALID: &str = "org.apache.hadoop.fs.InvalidRequestException";
const ACCESS: &str = "org.apache.hadoop.security.AccessControlException";

fn pool(name: &str) -> CachePoolInfoProto {
    CachePoolInfoProto {
        pool_name: Some(name.to_owned()),
        ..CachePoolInfoProto::default()
    }
}

fn directive(path: &str, pool: &str) -> CacheDirectiveInfoProto {
    CacheDirectiveInfoProto {
        path: Some(path.to_owned()),
        pool: Some(pool.to_owned()),
        ..CacheDirectiveInfoProto::default()
    }
}

async fn add_pool(client: &Client, info: CachePoolInfoProto) {
    let request = AddCachePoolRequestProto { info };
    let _: AddCachePoolResponseProto = client.call("addCachePool", request).await.expect("a pool");
}

fn add(info: CacheDirectiveInfoProto) -> AddCacheDirectiveRequestProto {
    AddCacheDirectiveRequestProto {
        info,
        cache_flags: None,
    }
}

async fn add_directive(client: &Client, info: CacheDirectiveInfoProto) -> i64 {
    let added: AddCacheDirectiveResponseProto = client.call("addCacheDirective", add(info)).await.expect("a directive");
    added.id
}

async fn pools(client: &Client, after: &str) -> ListCachePoolsResponseProto {
    let request = ListCachePoolsRequestProto {
        prev_pool_name: after.to_owned(),
    };
    client.call("listCachePools", request).await.expect("a list")
}

async fn directives(client: &Client, after: i64, filter: CacheDirectiveInfoProto) -> (Vec<i64>, bool) {
    let request = ListCacheDirectivesRequestProto { prev_id: after, filter };
    let listed: ListCacheDirectivesResponseProto = client.call("listCacheDirectives", request).await.expect("a list");
    let ids = listed.elements.iter().map(|entry| entry.info.id()).collect();
    (ids, listed.has_more)
}

#[tokio::test]
async fn pools_are_shown_as_far_as_one_may_read_them() {
    let cluster = Cluster::start_with(&[("dfs.namenode.list.cache.pools.num.responses", "2")]).await;
    let hdfs = cluster.client(OWNER).await;
    for (name, mode) in [("a", 0o755), ("b", 0o700), ("c", 0o755)] {
        let info = CachePoolInfoProto {
            mode: Some(mode),
            limit: Some(10),
            ..pool(name)
        };
        add_pool(&hdfs, info).await;
    }
    let first = pools(&cluster.client("alice").await, "").await;
    assert!(first.has_more);
    let full = CachePoolInfoProto {
        owner_name: Some("hdfs".to_owned()),
        group_name: Some("hdfs".to_owned()),
        mode: Some(0o755),
        limit: Some(10),
        max_relative_expiry: Some(i64::MAX / 4),
        default_replication: Some(1),
        ..pool("a")
    };
    let infos: Vec<_> = first.entries.into_iter().map(|entry| entry.info).collect();
    assert_eq!(infos, [full, pool("b")]);
    let second = pools(&hdfs, "b").await;
    assert_eq!((second.entries.len(), second.has_more), (1, false));
    let change = ModifyCachePoolRequestProto {
        info: CachePoolInfoProto {
            default_replication: Some(5),
            ..pool("c")
        },
    };
    let _: ModifyCachePoolResponseProto = hdfs.call("modifyCachePool", change).await.expect("changed");
    assert_eq!(pools(&hdfs, "b").await.entries[0].info.default_replication, Some(5));
}

#[tokio::test]
async fn directives_are_listed_by_page_and_filter() {
    let cluster = Cluster::start_with(&[("dfs.namenode.list.cache.directives.num.responses", "2")]).await;
    let (hdfs, alice) = (cluster.client(OWNER).await, cluster.client("alice").await);
    let open = CachePoolInfoProto {
        mode: Some(0o777),
        ..pool("open")
    };
    add_pool(&hdfs, open).await;
    let closed = CachePoolInfoProto {
        mode: Some(0o700),
        ..pool("closed")
    };
    add_pool(&hdfs, closed).await;
    for (id, path, pool) in [
        (1, "/a", "open"),
        (2, "/b", "closed"),
        (3, "/b", "open"),
        (4, "/c", "open"),
    ] {
        assert_eq!(add_directive(&hdfs, directive(path, pool)).await, id);
    }
    let all = CacheDirectiveInfoProto::default;
    assert_eq!(directives(&hdfs, 0, all()).await, (vec![1, 2], true));
    assert_eq!(directives(&hdfs, 2, all()).await, (vec![3, 4], false));
    assert_eq!(directives(&alice, 0, all()).await, (vec![1, 3], true));
    for (filter, ids) in [
        (CacheDirectiveInfoProto { id: Some(3), ..all() }, vec![3]),
        (
            CacheDirectiveInfoProto {
                path: Some("/b".to_owned()),
                ..all()
            },
            vec![2, 3],
        ),
        (
            CacheDirectiveInfoProto {
                pool: Some("closed".to_owned()),
                ..all()
            },
            vec![2],
        ),
    ] {
        assert_eq!(directives(&hdfs, 0, filter).await, (ids, false));
    }
    let list = |filter| ListCacheDirectivesRequestProto { prev_id: 0, filter };
    let by_id = list(CacheDirectiveInfoProto { id: Some(9), ..all() });
    hdfs.refused("listCacheDirectives", by_id, INVALID, "Did not find requested id 9")
        .await;
    let by_replication = list(CacheDirectiveInfoProto {
        replication: Some(1),
        ..all()
    });
    let line = "Filtering by replication is unsupported.";
    hdfs.refused("listCacheDirectives", by_replication, INVALID, line).await;
    let line = "Permission denied while accessing pool closed: user alice does not have WRITE permissions.";
    alice
        .refused("addCacheDirective", add(directive("/a", "closed")), ACCESS, line)
        .await;
    alice
        .refused(
            "removeCacheDirective",
            RemoveCacheDirectiveRequestProto { id: 2 },
            ACCESS,
            line,
        )
        .await;
    let cluster = cluster.restart().await;
    let hdfs = cluster.client(OWNER).await;
    assert_eq!(directives(&hdfs, 2, all()).await, (vec![3, 4], false));
}

#[tokio::test]
async fn limits_are_kept_unless_forced() {
    let cluster = Cluster::start().await;
    cluster.add_datanodes(1);
    let hdfs = cluster.client(OWNER).await;
    let request = CreateRequestProto {
        replication: 1,
        ..create_request("/f", 1)
    };
    let _: CreateResponseProto = hdfs.call("create", request).await.expect("create");
    let request = AddBlockRequestProto {
        src: "/f".to_owned(),
        client_name: "DFSClient_test".to_owned(),
        ..AddBlockRequestProto::default()
    };
    let added: AddBlockResponseProto = hdfs.call("addBlock", request).await.expect("a block");
    cluster.report_received(&added.block, 100);
    let last = ExtendedBlockProto {
        num_bytes: Some(100),
        ..added.block.b.clone()
    };
    assert!(hdfs.complete("/f", Some(last)).await.expect("complete"));
    let limited = CachePoolInfoProto {
        limit: Some(150),
        ..pool("p")
    };
    add_pool(&hdfs, limited).await;
    add_directive(&hdfs, directive("/f", "p")).await;
    let line =
        "Caching path /f of size 100 bytes at replication 1 would exceed pool p's remaining capacity of 50 bytes.";
    hdfs.refused("addCacheDirective", add(directive("/f", "p")), INVALID, line)
        .await;
    let forced = AddCacheDirectiveRequestProto {
        cache_flags: Some(1),
        ..add(directive("/f", "p"))
    };
    let _: AddCacheDirectiveResponseProto = hdfs.call("addCacheDirective", forced).await.expect("forced");
    let stats = pools(&hdfs, "").await.entries[0].stats;
    assert_eq!(
        (stats.bytes_needed, stats.bytes_overlimit, stats.files_needed),
        (200, 50, 2)
    );
}

/// A call sent again under its number is answered, not run: there is one directive.
#[tokio::test]
async fn repeated_calls_make_one_directive() {
    let cluster = Cluster::start().await;
    let hdfs = cluster.client(OWNER).await;
    add_pool(&hdfs, pool("p")).await;
    for retry in 0..2 {
        let request = add(directive("/a", "p"));
        let number = hadron_types::CallId(77_777);
        let call = hdfs.rpc.call_as(number, retry, "addCacheDirective", &request);
        let added: AddCacheDirectiveResponseProto = call.await.expect("a directive");
        assert_eq!(added.id, 1);
    }
    let all = CacheDirectiveInfoProto::default();
    assert_eq!(directives(&hdfs, 0, all).await, (vec![1], false));
}
