//! ACLs and extended attributes over a real socket: messages in, messages out, and what statuses say of them.

mod common;

use common::{Client, Cluster, create_request, permission};
use hadron_proto::hdfs::*;

const ACL: &str = "org.apache.hadoop.hdfs.protocol.AclException";
const IO: &str = "java.io.IOException";

fn entry(kind: i32, scope: i32, permissions: i32, name: Option<&str>) -> AclEntryProto {
    AclEntryProto {
        r#type: kind,
        scope,
        permissions,
        name: name.map(str::to_owned),
    }
}

fn modify(path: &str, acl_spec: Vec<AclEntryProto>) -> ModifyAclEntriesRequestProto {
    ModifyAclEntriesRequestProto {
        src: path.to_owned(),
        acl_spec,
    }
}

async fn acl_status(client: &Client, path: &str) -> AclStatusProto {
    let request = GetAclStatusRequestProto { src: path.to_owned() };
    let response: GetAclStatusResponseProto = client.call("getAclStatus", request).await.expect("getAclStatus");
    response.result
}

async fn status(client: &Client, path: &str) -> HdfsFileStatusProto {
    let request = GetFileInfoRequestProto { src: path.to_owned() };
    let response: GetFileInfoResponseProto = client.call("getFileInfo", request).await.expect("getFileInfo");
    response.fs.expect("exists")
}

async fn mkdirs(client: &Client, path: &str, masked: u32, unmasked: Option<u32>) {
    let request = MkdirsRequestProto {
        src: path.to_owned(),
        masked: permission(masked),
        create_parent: true,
        unmasked: unmasked.map(permission),
    };
    client
        .call::<_, MkdirsResponseProto>("mkdirs", request)
        .await
        .expect("mkdirs");
}

#[tokio::test]
async fn acls_are_set_shown_inherited_and_kept_over_a_restart() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    mkdirs(&client, "/d", 0o750, None).await;
    let spec = vec![entry(0, 0, 7, Some("alice")), entry(0, 1, 5, Some("alice"))];
    let _: ModifyAclEntriesResponseProto = client
        .call("modifyAclEntries", modify("/d", spec))
        .await
        .expect("modifyAclEntries");
    let shown = acl_status(&client, "/d").await;
    assert_eq!(
        shown.entries,
        [
            entry(0, 0, 7, Some("alice")),
            entry(1, 0, 5, None),
            entry(0, 1, 7, None),
            entry(0, 1, 5, Some("alice")),
            entry(1, 1, 5, None),
            entry(2, 1, 5, None),
            entry(3, 1, 0, None),
        ]
    );
    assert_eq!(
        shown.permission.expect("sent").perm,
        0o770,
        "the mask is in the group bits"
    );
    // Clients of 2.x look at bit 12 of the permission, later ones at the flags.
    let dir = status(&client, "/d").await;
    assert_eq!((dir.permission.perm, dir.flags()), (0o10770, 1));
    let request = CreateRequestProto {
        unmasked: Some(permission(0o666)),
        ..create_request("/d/f", 1)
    };
    let created: CreateResponseProto = client.call("create", request).await.expect("create");
    let file = created.fs.expect("sent");
    assert_eq!((file.permission.perm, file.flags()), (0o10640, 1));
    let listing: GetListingResponseProto = client
        .call(
            "getListing",
            GetListingRequestProto {
                src: "/d".to_owned(),
                start_after: Default::default(),
                need_location: false,
            },
        )
        .await
        .expect("getListing");
    assert_eq!(listing.dir_list.expect("exists").partial_listing[0].flags(), 1);

    let alice = cluster.client("alice").await;
    mkdirs(&client, "/d/sub", 0o700, Some(0o777)).await;
    assert_eq!(
        status(&alice, "/d/sub").await.permission.perm,
        0o10750,
        "alice may search /d"
    );
    drop((client, alice));
    let cluster = cluster.restart().await;
    let client = cluster.client("hdfs").await;
    assert_eq!(acl_status(&client, "/d").await.entries, shown.entries);
    for (method, path) in [("removeDefaultAcl", "/d"), ("removeAcl", "/d/f")] {
        let request = RemoveAclRequestProto { src: path.to_owned() };
        client
            .call::<_, RemoveAclResponseProto>(method, request)
            .await
            .expect(method);
    }
    assert_eq!(acl_status(&client, "/d").await.entries.len(), 2);
    assert_eq!(status(&client, "/d/f").await.flags(), 0);
    let bad = modify("/d/f", vec![entry(0, 1, 7, Some("bob"))]);
    let text = "Invalid ACL: only directories may have a default ACL. Path: /d/f";
    client.refused("modifyAclEntries", bad, ACL, text).await;
}

fn x_attr(namespace: i32, name: &str, value: Option<&'static str>) -> XAttrProto {
    XAttrProto {
        namespace,
        name: name.to_owned(),
        value: value.map(|value| value.into()),
    }
}

fn set(path: &str, x_attr: XAttrProto, flag: u32) -> SetXAttrRequestProto {
    SetXAttrRequestProto {
        src: path.to_owned(),
        x_attr: Some(x_attr),
        flag: Some(flag),
    }
}

#[tokio::test]
async fn attributes_are_set_read_and_removed() {
    let cluster = Cluster::start().await;
    let client = cluster.client("hdfs").await;
    client.touch("/f").await;
    for x_attr in [x_attr(0, "a", Some("1")), x_attr(1, "t", None)] {
        let request = set("/f", x_attr, 1);
        let _: SetXAttrResponseProto = client.call("setXAttr", request).await.expect("setXAttr");
    }
    let list = || ListXAttrsRequestProto { src: "/f".to_owned() };
    let listed: ListXAttrsResponseProto = client.call("listXAttrs", list()).await.expect("listXAttrs");
    assert_eq!(listed.x_attrs, [x_attr(1, "t", None), x_attr(0, "a", Some("1"))]);
    let alice = cluster.client("alice").await;
    let listed: ListXAttrsResponseProto = alice.call("listXAttrs", list()).await.expect("listXAttrs");
    assert_eq!(listed.x_attrs, [x_attr(0, "a", Some("1"))]);
    drop((client, alice));
    let cluster = cluster.restart().await;
    let client = cluster.client("hdfs").await;
    let get = |name: &str| GetXAttrsRequestProto {
        src: "/f".to_owned(),
        x_attrs: vec![x_attr(0, name, None)],
    };
    let found: GetXAttrsResponseProto = client.call("getXAttrs", get("a")).await.expect("getXAttrs");
    assert_eq!(found.x_attrs, [x_attr(0, "a", Some("1"))]);
    let class = "org.apache.hadoop.hdfs.protocol.XAttrNotFoundException";
    let text = "At least one of the attributes provided was not found.";
    client.refused("getXAttrs", get("b"), class, text).await;
    let text = "XAttr: a already exists. The REPLACE flag must be specified.";
    client
        .refused("setXAttr", set("/f", x_attr(0, "a", None), 1), IO, text)
        .await;
    let remove = || RemoveXAttrRequestProto {
        src: "/f".to_owned(),
        x_attr: Some(x_attr(0, "a", None)),
    };
    let _: RemoveXAttrResponseProto = client.call("removeXAttr", remove()).await.expect("removeXAttr");
    let text = "No matching attributes found for remove operation";
    client.refused("removeXAttr", remove(), IO, text).await;
}

#[tokio::test]
async fn switched_off_they_are_refused() {
    let off = [
        ("dfs.namenode.acls.enabled", "false"),
        ("dfs.namenode.xattrs.enabled", "false"),
    ];
    let cluster = Cluster::start_with(&off).await;
    let client = cluster.client("hdfs").await;
    let text = "The ACL operation has been rejected.  Support for ACLs has been disabled by setting \
                dfs.namenode.acls.enabled to false.";
    client.refused("setAcl", modify("/", Vec::new()), ACL, text).await;
    let text = "The XAttr operation has been rejected.  Support for XAttrs has been disabled by setting \
                dfs.namenode.xattrs.enabled to false.";
    client
        .refused("setXAttr", set("/", x_attr(0, "a", None), 3), IO, text)
        .await;
}
