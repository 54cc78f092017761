//! Looking at a whole namespace: its invariants, and a canonical text of everything a command could ever see.

use crate::arena::Handle;
use crate::inode::{Content, InodeHandle};
use crate::namespace::Namespace;
use crate::quota::{QUOTA_TYPES, QuotaUsage};
use std::fmt::Write;

/// Asserts what `namespace.rs` promises of its tables.
pub(super) fn assert_invariants(ns: &Namespace) {
    let mut pending: Vec<InodeHandle> = ns.detached.clone();
    assert!(ns.inode(ns.root).parent().is_none());
    for &top in &ns.detached {
        assert!(ns.inode(top).parent().is_none() && top != ns.root);
    }
    pending.push(ns.root);
    let (mut inodes, mut blocks, mut complete, mut open, mut policies) = (0, 0, 0, 0, 0);
    let (mut with_acl, mut with_xattrs) = (0, 0);
    while let Some(handle) = pending.pop() {
        inodes += 1;
        let inode = ns.inode(handle);
        assert_eq!(ns.find_inode(inode.id()), Some(handle));
        assert!(inode.id() < ns.next_inode);
        assert_eq!(inode.has_acl(), !ns.acls.get(inode.id()).is_empty());
        assert_eq!(inode.has_xattrs(), !ns.xattrs.get(inode.id()).is_empty());
        with_acl += usize::from(inode.has_acl());
        with_xattrs += usize::from(inode.has_xattrs());
        if let Some(children) = ns.directory(handle) {
            policies += u64::from(inode.storage_policy() != 0);
            let names: Vec<&[u8]> = children.iter().map(|child| ns.name_bytes(child)).collect();
            assert!(names.is_sorted_by(|a, b| a < b), "children are sorted and differ");
            assert_eq!(names.len(), children.len());
            for child in children.iter() {
                assert_eq!(ns.inode(child).parent(), Some(handle));
                pending.push(child);
            }
        }
        match inode.content {
            Content::Many(list) => assert!(ns.block_lists.get(list).len() > 1),
            Content::Directory(_) | Content::Empty | Content::One(_) => {}
        }
        for block in ns.blocks_of(handle) {
            let record = ns.block(block);
            assert_eq!((record.file, ns.find_block(record.id())), (handle, Some(block)));
            assert!(record.id() < ns.next_block && record.stamp() <= ns.last_stamp);
            blocks += 1;
            complete += u64::from(record.is_complete());
        }
        assert_eq!(inode.is_open(), ns.open_record(handle).is_some());
        if inode.is_open() {
            open += 1;
        } else if !inode.is_directory() {
            assert!(
                ns.blocks_of(handle).all(|block| ns.block(block).is_complete()),
                "closed files are whole"
            );
        }
    }
    let rows = ns.inodes.iter().filter(|(_, inode)| inode.has_quota()).count();
    assert_eq!(ns.quotas.len(), rows);
    for (&directory, quota) in ns.quotas.iter() {
        assert!(ns.inode(directory).has_quota() && quota.limits.is_set());
        if ns.is_attached(directory) {
            assert_eq!(
                quota.usage,
                usage_from_scratch(ns, directory),
                "{}",
                ns.path_text(directory)
            );
        }
    }
    let counts = ns.counts();
    assert_eq!(counts.files + counts.directories, inodes);
    assert_eq!(
        (counts.blocks, counts.complete_blocks, counts.open_files),
        (blocks, complete, open)
    );
    assert_eq!(ns.inodes.len() as u64, inodes);
    assert_eq!((ns.acls.len(), ns.xattrs.len()), (with_acl, with_xattrs));
    let sharers: u32 = ns.acls.counts().map(|(_, count)| count).sum();
    assert_eq!(sharers as usize, with_acl);
    assert_eq!(ns.directory_policies, policies);
    let claims: u32 = ns.holders.iter().map(|(_, count)| *count).sum();
    assert_eq!(u64::from(claims), open);
    let many = ns
        .inodes
        .iter()
        .filter(|(_, inode)| matches!(inode.content, Content::Many(_)))
        .count();
    assert_eq!(ns.block_lists.len(), many);
    for (id, _) in ns.recoveries.iter() {
        let block = ns.find_block(*id).expect("recovered blocks exist");
        assert_eq!(ns.block(block).state, crate::BlockState::UnderRecovery);
    }
}

/// What a tree takes, by the words of the rule and without any counter.
fn usage_from_scratch(ns: &Namespace, handle: InodeHandle) -> QuotaUsage {
    let inode = ns.inode(handle);
    let mut usage = QuotaUsage {
        names: 1,
        ..QuotaUsage::default()
    };
    for child in ns.directory(handle).into_iter().flat_map(|children| children.iter()) {
        usage = usage.plus(usage_from_scratch(ns, child));
    }
    for block in ns.blocks_of(handle).map(|block| ns.block(block)) {
        let complete = block.state == crate::BlockState::Complete;
        let bytes = if complete { block.len() } else { inode.block_size() } as i64;
        usage.space += bytes * i64::from(inode.replication());
        if let Some(policy) = hadron_types::StoragePolicy::by_id(ns.effective_policy(handle)) {
            for kind in policy.choose(inode.replication()) {
                if let Some(index) = QUOTA_TYPES.iter().position(|&counted| counted == kind) {
                    usage.by_type[index] += bytes;
                }
            }
        }
    }
    usage
}

/// Everything but handles, as text.
pub(super) fn dump(ns: &Namespace) -> String {
    let mut text = format!(
        "{:?} next {} {} {} names {:?}\n",
        ns.identity,
        ns.next_inode,
        ns.next_block,
        ns.last_stamp,
        ns.names.iter().collect::<Vec<_>>()
    );
    for &top in ns.detached.iter().chain([&ns.root]) {
        dump_tree(ns, top, &mut text);
    }
    for directive in ns.cache_directives_after(0) {
        writeln!(text, "{directive:?} {:?}", ns.cache_pool(&directive.pool)).expect("writes to a string");
    }
    writeln!(text, "next cache directive {}", ns.next_cache_directive()).expect("writes to a string");
    for pool in ns.cache_pools_after("") {
        writeln!(text, "{pool:?}").expect("writes to a string");
    }
    for entry in ns.retry.iter() {
        writeln!(text, "retry {entry:?}").expect("writes to a string");
    }
    text
}

fn dump_tree(ns: &Namespace, handle: InodeHandle, text: &mut String) {
    let status = ns.status_of(handle, "");
    let (path, open, policy) = (
        ns.path_text(handle),
        ns.open_record(handle),
        ns.inode(handle).storage_policy(),
    );
    writeln!(text, "{path} {status:?} {open:?} own policy {policy}").expect("writes to a string");
    if let Some(quota) = ns.quotas.get(&handle) {
        // What counters of a detached tree hold does not matter.
        let usage = ns.is_attached(handle).then_some(quota.usage);
        writeln!(text, "  {:?} {usage:?}", quota.limits).expect("writes to a string");
    }
    let id = ns.inode(handle).id();
    writeln!(text, "  {:?} {:?}", ns.acls.get(id), ns.xattrs.get(id)).expect("writes to a string");
    for block in ns.blocks_of(handle) {
        let record = ns.block(block);
        let recovery = ns.recoveries.get(&record.id());
        writeln!(text, "  {:?} {:?} {recovery:?}", record.block(), record.state).expect("writes to a string");
    }
    for child in ns.directory(handle).into_iter().flat_map(|children| children.iter()) {
        dump_tree(ns, child, text);
    }
    debug_assert!(handle.index() != u32::MAX);
}
