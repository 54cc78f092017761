//! Random histories: against a model of the tree, with invariants after every step, through encoding, image and replay.

use super::state::{assert_invariants, dump};
use super::*;
use crate::OutcomeDigest;
use hadron_types::{CallId, ClientId};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeMap;

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Mkdirs(String, bool),
    Create(String, u32),
    Delete(String, bool),
    Rename(String, String),
    Rename2(String, String, bool),
    AddBlock(String, u64, bool),
    Complete(String, u64, bool),
    Append(String, bool),
    Truncate(String, i64),
    Abandon(String),
    Release(String, bool),
    Report(String, u64),
    Pipeline(String),
    Attributes(String, u32),
    Acl(String, Vec<AclEntryRecord>, u8),
    XAttr(String, u8, u8),
    Policy(String, Option<&'static str>),
    Quota(String, i64, i64, Option<u32>),
    Replication(String, i32),
    Concat(String, String),
    Reclaim,
    Image,
    Retry,
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c"), Just("dd")];
    proptest::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn policy() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("COLD"), Just("one_ssd"), Just("LAZY_PERSIST"), Just("none such")]
}

/// A quota of up to `most`, or the numbers that keep one and take it away.
fn limit(most: i64) -> impl Strategy<Value = i64> {
    prop_oneof![2 => 1..=most, 1 => Just(i64::MAX), 1 => Just(-1)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (path(), any::<bool>()).prop_map(|(path, parents)| Step::Mkdirs(path, parents)),
        6 => (path(), prop_oneof![Just(1), Just(3)]).prop_map(|(path, flags)| Step::Create(path, flags)),
        2 => (path(), any::<bool>()).prop_map(|(path, recursive)| Step::Delete(path, recursive)),
        2 => (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (path(), path(), any::<bool>()).prop_map(|(from, to, over)| Step::Rename2(from, to, over)),
        8 => (path(), 0u64..100, any::<bool>()).prop_map(|(path, len, known)| Step::AddBlock(path, len, known)),
        6 => (path(), 0u64..100, any::<bool>()).prop_map(|(path, len, known)| Step::Complete(path, len, known)),
        2 => (path(), any::<bool>()).prop_map(|(path, new_block)| Step::Append(path, new_block)),
        3 => (path(), -1i64..200).prop_map(|(path, len)| Step::Truncate(path, len)),
        1 => path().prop_map(Step::Abandon),
        2 => (path(), any::<bool>()).prop_map(|(path, replicas)| Step::Release(path, replicas)),
        2 => (path(), 0u64..100).prop_map(|(path, len)| Step::Report(path, len)),
        1 => path().prop_map(Step::Pipeline),
        2 => (path(), 0u32..0o2000).prop_map(|(path, mode)| Step::Attributes(path, mode)),
        3 => (path(), limit(6), limit(3 << 30), proptest::option::of(1u32..4))
            .prop_map(|(path, names, space, kind)| Step::Quota(path, names, space, kind)),
        2 => (path(), 1i32..5).prop_map(|(path, replication)| Step::Replication(path, replication)),
        2 => (path(), path()).prop_map(|(target, source)| Step::Concat(target, source)),
        2 => (path(), proptest::option::of(policy())).prop_map(|(path, policy)| Step::Policy(path, policy)),
        3 => (path(), proptest::collection::vec(acl_entry(), 0..5), any::<u8>())
            .prop_map(|(path, entries, which)| Step::Acl(path, entries, which)),
        2 => (path(), any::<u8>(), any::<u8>()).prop_map(|(path, name, flags)| Step::XAttr(path, name, flags)),
        1 => Just(Step::Reclaim),
        1 => Just(Step::Image),
        1 => Just(Step::Retry),
    ]
}

fn acl_entry() -> impl Strategy<Value = AclEntryRecord> {
    let name = prop_oneof![Just(""), Just("ann"), Just("bob")];
    (0..4i32, 0..2i32, 0..8u32, name).prop_map(|(kind, scope, permission, name)| AclEntryRecord {
        kind,
        scope,
        permission,
        name: name.to_owned(),
    })
}

impl Step {
    /// The paths a step names, so that some can be moved to where something exists.
    fn paths(&mut self) -> (bool, Vec<&mut String>) {
        match self {
            Self::Mkdirs(path, _)
            | Self::Create(path, _)
            | Self::Delete(path, _)
            | Self::Attributes(path, _)
            | Self::Acl(path, ..)
            | Self::XAttr(path, ..)
            | Self::Policy(path, _) => (false, vec![path]),
            Self::Rename(from, to) | Self::Rename2(from, to, _) => (false, vec![from, to]),
            Self::Quota(path, ..) => (false, vec![path]),
            Self::Replication(path, _) => (true, vec![path]),
            Self::Concat(target, source) => (true, vec![target, source]),
            Self::AddBlock(path, ..)
            | Self::Complete(path, ..)
            | Self::Append(path, _)
            | Self::Truncate(path, _)
            | Self::Abandon(path)
            | Self::Release(path, _)
            | Self::Report(path, _)
            | Self::Pipeline(path) => (true, vec![path]),
            Self::Reclaim | Self::Image | Self::Retry => (false, Vec::new()),
        }
    }
}

/// The tree as a client would draw it: path to "is a directory".
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<String, bool>);

impl Model {
    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || path == "/" || self.0.get(path) == Some(&true)
    }
    fn parent(path: &str) -> &str {
        &path[..path.rfind('/').expect("absolute")]
    }
    /// Whether some ancestor is a file.
    fn blocked(&self, path: &str) -> bool {
        let ends = path.match_indices('/').skip(1).map(|(at, _)| at);
        ends.into_iter().any(|end| self.0.get(&path[..end]) == Some(&false))
    }
    fn make_parents(&mut self, path: &str) {
        for (end, _) in path.match_indices('/').skip(1) {
            self.0.insert(path[..end].to_owned(), true);
        }
    }
    fn below<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a String> {
        let prefix = format!("{path}/");
        self.0.keys().filter(move |key| key.starts_with(&prefix))
    }
    fn remove(&mut self, path: &str) {
        let below: Vec<String> = self.below(path).cloned().collect();
        for key in below.into_iter().chain([path.to_owned()]) {
            self.0.remove(&key);
        }
    }
    fn shift(&mut self, from: &str, to: &str) {
        let keys: Vec<String> = self.below(from).cloned().chain([from.to_owned()]).collect();
        for key in keys {
            let kind = self.0.remove(&key).expect("listed");
            self.0.insert(format!("{to}{}", &key[from.len()..]), kind);
        }
    }

    /// What a step makes of the tree, and whether it answers true (`None`: not the model's business).
    fn expect(&mut self, step: &Step) -> Option<bool> {
        Some(match step {
            Step::Mkdirs(path, parents) => {
                let fits = !self.blocked(path)
                    && self.0.get(path) != Some(&false)
                    && (*parents || self.0.contains_key(path) || self.is_directory(Self::parent(path)));
                if fits {
                    self.make_parents(path);
                    self.0.insert(path.clone(), true);
                }
                fits
            }
            Step::Create(path, flags) => {
                let fits = !self.blocked(path) && (!self.0.contains_key(path) || *flags == 3 && !self.0[path]);
                if fits {
                    self.make_parents(path);
                    self.0.insert(path.clone(), false);
                }
                fits
            }
            Step::Delete(path, recursive) => {
                let fits = self.0.contains_key(path) && (*recursive || self.below(path).next().is_none());
                if fits {
                    self.remove(path);
                }
                fits
            }
            Step::Rename(from, to) => {
                let mut to = to.clone();
                if self.blocked(from) || self.blocked(&to) {
                    return Some(false);
                }
                if self.is_directory(&to) {
                    to = format!("{to}/{}", &from[from.rfind('/').expect("absolute") + 1..]);
                }
                let fits = self.0.contains_key(from)
                    && !self.0.contains_key(&to)
                    && self.is_directory(Self::parent(&to))
                    && !to.starts_with(&format!("{from}/"));
                if fits {
                    self.shift(from, &to);
                }
                fits || self.0.contains_key(from) && *from == to
            }
            Step::Rename2(from, to, overwrite) => {
                let replaceable = match self.0.get(to) {
                    None => true,
                    Some(kind) => *overwrite && self.0.get(from) == Some(kind) && self.below(to).next().is_none(),
                };
                let fits = self.0.contains_key(from)
                    && from != to
                    && replaceable
                    && self.is_directory(Self::parent(to))
                    && !to.starts_with(&format!("{from}/"));
                if fits {
                    self.remove(to);
                    self.shift(from, to);
                }
                fits
            }
            _ => return None,
        })
    }
}

/// Runs a history, keeping what is needed to judge it.
struct Run {
    world: World,
    model: Model,
    commands: Vec<Command>,
    digest: OutcomeDigest,
}

impl Run {
    fn last_blocks(&self, path: &str) -> (u64, Vec<crate::StoredBlock>) {
        let status = self.world.ns.file_info(&root(), path).expect("readable");
        let id = status.filter(|status| !status.is_directory).map(|status| status.id);
        (
            id.map_or(0, |id| id.0),
            id.map_or(Vec::new(), |id| self.world.ns.last_blocks(id)),
        )
    }

    fn op_of(&self, step: &Step) -> Option<Op> {
        Some(match step {
            Step::Mkdirs(path, create_parent) => Mkdirs {
                create_parent: *create_parent,
                ..mkdirs(path, 0o755)
            }
            .into(),
            Step::Create(path, flags) => Create {
                flags: *flags,
                ..create(path, if path.len() % 2 == 0 { "h" } else { "g" })
            }
            .into(),
            Step::Delete(path, recursive) => delete(path, *recursive).into(),
            Step::Rename(from, to) => rename(from, to).into(),
            Step::Rename2(from, to, overwrite) => rename2(from, to, *overwrite).into(),
            Step::Reclaim => Reclaim { budget: 1 }.into(),
            Step::Attributes(path, mode) => SetPermission {
                path: path.clone(),
                permission: *mode,
            }
            .into(),
            Step::Quota(path, names, space, kind) => SetQuota {
                path: path.clone(),
                names: if kind.is_some() { i64::MAX } else { *names },
                space: *space,
                storage_type: *kind,
                allow_owner: false,
                types_disabled: false,
            }
            .into(),
            Step::Replication(path, replication) => SetReplication {
                path: path.clone(),
                replication: *replication,
            }
            .into(),
            Step::Concat(target, source) => Concat {
                target: target.clone(),
                sources: vec![self.neighbour(target).unwrap_or_else(|| source.clone())],
            }
            .into(),
            Step::Policy(path, Some(policy)) => SetStoragePolicy {
                path: path.clone(),
                policy: (*policy).to_owned(),
                superuser_only: false,
            }
            .into(),
            Step::Policy(path, None) => UnsetStoragePolicy {
                path: path.clone(),
                superuser_only: false,
            }
            .into(),
            Step::Acl(path, entries, which) => acl_op(path.clone(), entries.clone(), *which),
            Step::XAttr(path, name, flags) => xattr_op(path.clone(), *name, *flags),
            Step::AddBlock(path, ..)
            | Step::Complete(path, ..)
            | Step::Append(path, _)
            | Step::Truncate(path, _)
            | Step::Abandon(path)
            | Step::Release(path, _)
            | Step::Report(path, _)
            | Step::Pipeline(path) => self.file_op(step, path),
            Step::Image | Step::Retry => return None,
        })
    }

    /// Another file of the same directory.
    fn neighbour(&self, path: &str) -> Option<String> {
        let parent = Model::parent(path);
        let is_neighbour = |other: &&String| Model::parent(other) == parent && *other != path && !self.model.0[*other];
        self.model.0.keys().find(is_neighbour).cloned()
    }

    fn file_op(&self, step: &Step, path: &str) -> Op {
        let (file_id, blocks) = self.last_blocks(path);
        let open = self.world.ns.open_file(hadron_types::InodeId(file_id));
        let holder = open.map_or("h".to_owned(), |open| open.holder.to_string());
        let last = blocks.last().map(|stored| stored.block);
        let with_len = |len| last.map(|block| BlockRef { len, ..block.into() });
        let facts = |known: bool| -> Vec<i64> {
            let count = if known { blocks.len() } else { 0 };
            blocks[..count].iter().map(|stored| stored.block.id.0).collect()
        };
        let path = path.to_owned();
        let nothing = BlockRef::default();
        match step {
            Step::AddBlock(_, len, known) => AddBlock {
                path,
                file_id,
                holder,
                previous: with_len(*len),
                replicated: facts(*known),
            }
            .into(),
            Step::Complete(_, len, known) => Complete {
                path,
                file_id,
                holder,
                last: with_len(*len),
                replicated: facts(*known),
            }
            .into(),
            Step::Append(_, new_block) => Append {
                path,
                holder,
                client_machine: "m".to_owned(),
                new_block: *new_block,
                last_block_replicated: true,
            }
            .into(),
            Step::Truncate(_, new_len) => Truncate {
                path,
                new_len: *new_len,
                holder,
                client_machine: "m".to_owned(),
            }
            .into(),
            Step::Abandon(_) => AbandonBlock {
                path,
                file_id,
                holder,
                block: with_len(0).unwrap_or(nothing),
            }
            .into(),
            Step::Release(_, has_replicas) => ReleaseLease {
                file_id,
                new_holder: Some("HDFS_NameNode".to_owned()),
                replicated: facts(true),
                last_block_has_replicas: *has_replicas,
                recover_committed: *has_replicas,
            }
            .into(),
            Step::Report(_, len) => CommitBlockSynchronization {
                block: with_len(0).unwrap_or(nothing),
                new_generation_stamp: last
                    .and_then(|block| self.world.ns.recoveries.get(&block.id))
                    .map_or(0, |recovery| recovery.id.0),
                new_len: *len,
                close_file: len % 3 != 0,
                delete_block: len % 7 == 0,
                replicated: facts(len % 2 == 0),
            }
            .into(),
            _ => UpdatePipeline {
                holder,
                old: with_len(0).unwrap_or(nothing),
                new: last.map_or(nothing, |block| BlockRef {
                    generation_stamp: self.world.ns.last_generation_stamp().0,
                    len: 1_000,
                    ..block.into()
                }),
            }
            .into(),
        }
    }

    /// Lets most paths of a step be ones that exist, files where the step is about files.
    fn aim(&self, step: &Step, aim: usize) -> Step {
        let mut step = step.clone();
        let (files_only, paths) = step.paths();
        let existing: Vec<&String> = (self.model.0.iter())
            .filter(|(_, is_directory)| !(files_only && **is_directory))
            .map(|(path, _)| path)
            .collect();
        for (index, path) in paths.into_iter().enumerate() {
            let aimed = if files_only {
                !aim.is_multiple_of(8)
            } else {
                (aim >> index).is_multiple_of(2)
            };
            if aimed && !existing.is_empty() {
                path.clone_from(existing[(aim >> 3) % existing.len()]);
            }
        }
        step
    }

    fn step(&mut self, step: &Step) {
        let Some(op) = self.op_of(step) else {
            return self.special(step);
        };
        self.world.now += 1;
        let call = CallId(self.commands.len() as i32);
        let command = Command::new(root(), TimeMs(self.world.now), op).with_call(ClientId([1; 16]), call);
        // Old clients' files may lie below a directory that became a file: only the tree is the model's business.
        let files_open = matches!(step, Step::Create(path, 1) if self.model.0.contains_key(path));
        let encoded = command.encode_to_vec();
        let decoded = Command::decode(encoded.as_slice()).expect("decodes what it encoded");
        assert_eq!(decoded, command);
        let outcome = self.world.apply(&decoded);
        self.digest = self.digest.then(&outcome);
        self.commands.push(command);
        if let (Step::Concat(..), Ok(_), Some(Op::Concat(concat))) = (step, &outcome, &decoded.op) {
            concat.sources.iter().for_each(|source| self.model.remove(source));
        }
        if let Err(error) = &outcome
            && [
                ErrorKind::NsQuotaExceeded,
                ErrorKind::DsQuotaExceeded,
                ErrorKind::QuotaByStorageTypeExceeded,
            ]
            .contains(&error.kind)
        {
            // The model has no quotas; that the tree is as before is judged by the caller.
            return;
        }
        if let Some(expected) = self.model.expect(step) {
            let answer = outcome.as_ref().is_ok_and(OutcomeValue::is_true);
            assert_eq!(answer, expected, "{step:?} gave {outcome:?}");
            assert!(!(files_open && answer));
        }
    }

    fn special(&mut self, step: &Step) {
        match step {
            Step::Image => {
                let image: Vec<u8> = self.world.ns.image_slices().flatten().collect();
                let loaded = Namespace::from_image(&image).expect("loads what it saved");
                assert_invariants(&loaded);
                assert_eq!(dump(&loaded), dump(&self.world.ns));
                // The history goes on in the loaded state: nothing a later command could see was lost.
                self.world.ns = loaded;
            }
            _ => {
                let Some(command) = self.commands.last().cloned() else {
                    return;
                };
                let before = dump(&self.world.ns);
                if self.world.ns.replayed(&command).is_some() {
                    self.world.apply(&command).expect("only successes are replayed");
                    assert_eq!(dump(&self.world.ns), before, "a repeated call changes nothing");
                }
            }
        }
    }

    fn tree(&self) -> BTreeMap<String, bool> {
        let mut tree = BTreeMap::new();
        let mut pending = vec!["/".to_owned()];
        while let Some(directory) = pending.pop() {
            let limits = crate::ListingLimits {
                entries: 2,
                locations: 100,
            };
            let mut start = String::new();
            loop {
                let page = self.world.ns.listing(&root(), &directory, &start, false, limits);
                let page = page.expect("readable").expect("exists");
                for entry in page.entries {
                    start = entry.status.name;
                    let path = format!("{}/{start}", directory.trim_end_matches('/'));
                    if entry.status.is_directory {
                        pending.push(path.clone());
                    }
                    tree.insert(path, entry.status.is_directory);
                }
                if page.remaining == 0 {
                    break;
                }
            }
        }
        tree
    }
}

fn acl_op(path: String, entries: Vec<AclEntryRecord>, which: u8) -> Op {
    match which % 8 {
        0 => RemoveAcl { path }.into(),
        1 => RemoveDefaultAcl { path }.into(),
        2 => RemoveAclEntries { path, entries }.into(),
        3 => {
            let base = [0, 1, 3].map(|kind| AclEntryRecord {
                kind,
                permission: 5,
                ..AclEntryRecord::default()
            });
            let entries = base.into_iter().chain(entries).collect();
            SetAcl { path, entries }.into()
        }
        _ => ModifyAclEntries { path, entries }.into(),
    }
}

fn xattr_op(path: String, name: u8, flags: u8) -> Op {
    let xattr = XAttrRecord {
        namespace: i32::from(name % 2),
        name: format!("n{}", name % 3),
        value: (!name.is_multiple_of(5)).then(|| vec![name].into()),
    };
    match flags % 4 {
        0 => RemoveXAttr { path, xattr }.into(),
        flags => SetXAttr {
            path,
            xattr,
            flags: u32::from(flags),
        }
        .into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn histories_follow_the_model_and_replay_alike(steps in proptest::collection::vec((step(), any::<u16>()), 1..80), frozen_at in 0usize..80) {
        let mut run = Run {
            world: World::new(),
            model: Model::default(),
            commands: Vec::new(),
            digest: OutcomeDigest::default(),
        };
        let mut frozen = None;
        for (index, (step, aim)) in steps.iter().enumerate() {
            let step = &run.aim(step, usize::from(*aim));
            if index == frozen_at {
                frozen = Some((run.world.ns.snapshot(), dump(&run.world.ns)));
            }
            run.step(step);
            assert_invariants(&run.world.ns);
            prop_assert_eq!(&run.tree(), &run.model.0, "after {:?}", step);
        }
        if let Some((snapshot, text)) = frozen {
            assert_invariants(&snapshot);
            prop_assert_eq!(dump(&snapshot), text, "a snapshot does not see later writes");
        }
        let mut replay = World::new();
        let mut digest = OutcomeDigest::default();
        for command in &run.commands {
            digest = digest.then(&replay.apply(command));
        }
        prop_assert_eq!(digest, run.digest);
        prop_assert_eq!(dump(&replay.ns), dump(&run.world.ns));
    }

    #[test]
    fn bytes_that_are_no_command_are_refused_or_applied_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut world = World::new();
        if let Ok(command) = Command::decode(bytes.as_slice()) {
            let _ = world.apply(&command);
            assert_invariants(&world.ns);
        }
    }
}
