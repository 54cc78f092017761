//! The namespace: every table of the replicated state, and the small steps operations are made of.
//!
//! Operations live in `ops`, queries in `query`; both work through the steps here, which keep the tables consistent:
//! counters of quotas follow every step but `link` and `unlink`,
//! an inode is in the id index exactly while it is in the arena, a child's parent lists it, a block's file lists it.
//! Nothing here checks permissions or texts; nothing here can fail.

use crate::acl::table::AclTable;
use crate::arena::Arena;
use crate::block_recovery::BlockRecovery;
use crate::cache::CacheTable;
use crate::child_memo::ChildMemo;
use crate::command::Caller;
use crate::cow::CowMap;
use crate::id_index::IdIndex;
use crate::inode::{
    BlockHandle, BlockListHandle, BlockRecord, BlockState, ChildPosition, Content, Directory, DirectoryHandle, Inode,
    InodeHandle,
};
use crate::quota::{Quota, QuotaUsage};
use crate::retry::RetryCache;
use crate::strings::StringTable;
use crate::xattr::XAttrTable;
use hadron_types::{Block, BlockId, BlockPoolId, FsPermission, GenerationStamp, InodeId, TimeMs, UNSPECIFIED_POLICY};
use std::sync::Arc;

/// The first block id handed out (Hadoop's sequential ids start after 2^30).
pub const FIRST_BLOCK_ID: BlockId = BlockId(1_073_741_825);
/// The first generation stamp handed out.
pub const FIRST_GENERATION_STAMP: GenerationStamp = GenerationStamp(1001);
/// Mode of a new root directory.
pub(crate) const ROOT_MODE: u32 = 0o755;

/// Which file system this is; made once by formatting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Hadoop's 31-bit namespace id.
    pub namespace_id: u32,
    /// `CID-…`.
    pub cluster_id: String,
    /// `BP-…`.
    pub block_pool: BlockPoolId,
    /// When the file system was made or last upgraded.
    pub created: TimeMs,
}

/// A writer's claim on a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OpenRecord {
    pub(crate) holder: Arc<str>,
    pub(crate) client_machine: Arc<str>,
}

/// The replicated state. `Clone` copies page tables only and is how [`Namespace::snapshot`] works.
#[derive(Clone)]
pub struct Namespace {
    pub(crate) identity: Arc<Identity>,
    pub(crate) inodes: Arena<InodeHandle, Inode>,
    pub(crate) directories: Arena<DirectoryHandle, Directory>,
    pub(crate) blocks: Arena<BlockHandle, BlockRecord>,
    pub(crate) block_lists: Arena<BlockListHandle, Arc<Vec<BlockHandle>>>,
    pub(crate) inode_index: IdIndex<InodeHandle>,
    pub(crate) block_index: IdIndex<BlockHandle>,
    pub(crate) names: Arc<StringTable>,
    pub(crate) root: InodeHandle,
    pub(crate) open_files: CowMap<InodeId, OpenRecord>,
    /// Open files of each holder.
    pub(crate) holders: CowMap<Arc<str>, u32>,
    /// The running recovery of blocks that are under recovery.
    pub(crate) recoveries: CowMap<BlockId, BlockRecovery>,
    /// Limits and counters of directories that have a quota.
    pub(crate) quotas: CowMap<InodeHandle, Quota>,
    /// Roots of detached trees; the last one is freed first.
    pub(crate) detached: Vec<InodeHandle>,
    pub(crate) retry: RetryCache,
    pub(crate) acls: AclTable,
    pub(crate) xattrs: XAttrTable,
    /// Cache pools and directives.
    pub(crate) cache: CacheTable,
    pub(crate) next_inode: InodeId,
    pub(crate) next_block: BlockId,
    /// The last stamp given out.
    pub(crate) last_stamp: GenerationStamp,
    pub(crate) complete_blocks: u64,
    /// Directories, detached ones included, that have a storage policy of their own.
    pub(crate) directory_policies: u64,
    /// Where names were found before.
    pub(crate) memo: Arc<ChildMemo>,
}

/// Directories with fewer children are searched at once.
pub(crate) const MEMO_CHILDREN: usize = 16;

/// The modes a new inode is asked to have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CreateModes {
    /// With the client's umask applied.
    pub(crate) masked: FsPermission,
    /// Without it, if the client sent it and default ACLs are inherited as POSIX says.
    pub(crate) unmasked: Option<FsPermission>,
}

impl CreateModes {
    /// The mode that a default ACL filters.
    fn for_inheritance(self) -> FsPermission {
        self.unmasked.unwrap_or(self.masked)
    }
}

impl Namespace {
    /// An empty file system: a root directory owned by `owner`:`group`, as formatting makes it.
    pub fn new(identity: Identity, owner: &str, group: &str, now: TimeMs) -> Self {
        let mut namespace = Self::without_root(identity);
        let names = Arc::make_mut(&mut namespace.names);
        let (user, group) = (names.intern(owner), names.intern(group));
        let directory = namespace.directories.insert(Directory::default());
        let mode = FsPermission::from_wire(ROOT_MODE);
        let mut root = Inode::new(InodeId::ROOT, "", mode, user, group, Content::Directory(directory));
        root.set_mtime(now);
        namespace.root = namespace.inodes.insert(root);
        namespace.inode_index.insert(InodeId::ROOT.0, namespace.root);
        namespace
    }

    /// All tables empty; the image loader fills them. `root` is not valid yet.
    pub(crate) fn without_root(identity: Identity) -> Self {
        use crate::arena::Handle;
        Self {
            identity: Arc::new(identity),
            inodes: Arena::new(),
            directories: Arena::new(),
            blocks: Arena::new(),
            block_lists: Arena::new(),
            inode_index: IdIndex::new(),
            block_index: IdIndex::new(),
            names: Arc::default(),
            root: InodeHandle::from_index(0),
            open_files: CowMap::new(),
            holders: CowMap::new(),
            recoveries: CowMap::new(),
            quotas: CowMap::new(),
            detached: Vec::new(),
            retry: RetryCache::new(),
            acls: AclTable::new(),
            xattrs: XAttrTable::new(),
            cache: CacheTable::new(),
            memo: Arc::new(ChildMemo::new()),
            next_inode: InodeId::ROOT.next(),
            next_block: FIRST_BLOCK_ID,
            last_stamp: GenerationStamp(FIRST_GENERATION_STAMP.0 - 1),
            complete_blocks: 0,
            directory_policies: 0,
        }
    }

    /// A copy that later writes do not touch; costs a clone of the page tables.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        self.clone()
    }

    /// Which file system this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The last generation stamp given out.
    pub fn last_generation_stamp(&self) -> GenerationStamp {
        self.last_stamp
    }

    // --- inodes ---------------------------------------------------------------------------------------------------

    pub(crate) fn inode(&self, handle: InodeHandle) -> &Inode {
        self.inodes.get(handle)
    }
    pub(crate) fn inode_mut(&mut self, handle: InodeHandle) -> &mut Inode {
        self.inodes.get_mut(handle)
    }
    pub(crate) fn find_inode(&self, id: InodeId) -> Option<InodeHandle> {
        self.inode_index.get(id.0)
    }
    pub(crate) fn owner_name(&self, inode: &Inode) -> &str {
        self.names.name(inode.user())
    }
    pub(crate) fn group_name(&self, inode: &Inode) -> &str {
        self.names.name(inode.group())
    }
    pub(crate) fn name_bytes(&self, handle: InodeHandle) -> &[u8] {
        self.inodes.get(handle).name.as_bytes()
    }

    /// The children table of `handle`; `None` for a file.
    pub(crate) fn directory(&self, handle: InodeHandle) -> Option<&Directory> {
        match self.inode(handle).content {
            Content::Directory(directory) => Some(self.directories.get(directory)),
            _ => None,
        }
    }

    /// The child of `parent` called `name`; `Err` has the place for it, `None` inside if `parent` is a file.
    pub(crate) fn child(&self, parent: InodeHandle, name: &str) -> Result<InodeHandle, Option<ChildPosition>> {
        let directory = self.directory(parent).ok_or(None)?;
        if directory.len() < MEMO_CHILDREN {
            return directory
                .find(name.as_bytes(), |child| self.name_bytes(child))
                .map_err(Some);
        }
        let slot = ChildMemo::slot(parent, name.as_bytes());
        let guess = self.memo.guess(slot);
        let is_it = |inode: &Inode| inode.parent() == Some(parent) && inode.name.as_bytes() == name.as_bytes();
        if self.inodes.find(guess).is_some_and(is_it) {
            return Ok(guess);
        }
        let found = directory
            .find(name.as_bytes(), |child| self.name_bytes(child))
            .map_err(Some)?;
        self.memo.remember(slot, found);
        Ok(found)
    }

    /// Adds an inode owned by `caller`, with its parent's group, to directory `parent`. The name must be free there.
    ///
    /// A default ACL of the parent decides over `modes`.
    pub(crate) fn make_inode(
        &mut self,
        parent: InodeHandle,
        name: &str,
        modes: CreateModes,
        caller: &Caller,
        is_directory: bool,
        now: TimeMs,
    ) -> InodeHandle {
        let user = Arc::make_mut(&mut self.names).intern(&caller.user);
        let group = self.inode(parent).group();
        let content = if is_directory {
            Content::Directory(self.directories.insert(Directory::default()))
        } else {
            Content::Empty
        };
        let id = self.next_inode;
        self.next_inode = id.next();
        let mut inode = Inode::new(id, name, modes.masked, user, group, content);
        inode.set_mtime(now);
        if !is_directory {
            inode.set_atime(now);
        }
        let handle = self.inodes.insert(inode);
        self.inode_index.insert(id.0, handle);
        self.attach(parent, handle);
        self.inode_mut(parent).set_mtime(now);
        self.inherit_acl(parent, handle, modes.for_inheritance());
        handle
    }

    /// Lists `child`, under the name it has, in directory `parent`, and charges what it takes.
    pub(crate) fn attach(&mut self, parent: InodeHandle, child: InodeHandle) {
        self.link(parent, child);
        if !self.quota_line(parent).is_empty() {
            let usage = self.measure(child, self.effective_policy(parent), true).total;
            self.charge(parent, usage);
        }
    }

    /// Takes `child` out of its parent, which gets back what it took; it has no parent afterwards.
    pub(crate) fn detach(&mut self, child: InodeHandle) {
        let Some(parent) = self.inode(child).parent() else {
            return;
        };
        if !self.quota_line(parent).is_empty() {
            let usage = self.measure(child, self.effective_policy(parent), true).total;
            self.refund(parent, usage);
        }
        self.unlink(child);
    }

    /// Lists `child` in directory `parent` without charging anybody.
    pub(crate) fn link(&mut self, parent: InodeHandle, child: InodeHandle) {
        self.inode_mut(child).set_parent(Some(parent));
        let Content::Directory(directory) = self.inode(parent).content else {
            return;
        };
        let inodes = &self.inodes;
        let name_of = |handle: InodeHandle| inodes.get(handle).name.as_bytes();
        let children = self.directories.get_mut(directory);
        if let Err(position) = children.find(name_of(child), name_of) {
            children.insert(position, child);
        }
    }

    /// Takes `child` out of its parent; nobody gets back what it took.
    pub(crate) fn unlink(&mut self, child: InodeHandle) {
        let Some(parent) = self.inode(child).parent() else {
            return;
        };
        if let Content::Directory(directory) = self.inode(parent).content {
            let inodes = &self.inodes;
            let name_of = |handle: InodeHandle| inodes.get(handle).name.as_bytes();
            self.directories.get_mut(directory).remove(name_of(child), name_of);
        }
        self.inode_mut(child).set_parent(None);
    }

    /// Whether the path from `handle` upwards ends at the root.
    pub(crate) fn is_attached(&self, handle: InodeHandle) -> bool {
        let mut at = handle;
        while let Some(parent) = self.inode(at).parent() {
            at = parent;
        }
        at == self.root
    }

    /// Handles from the root (or the root of a detached tree) down to `handle`.
    pub(crate) fn ancestry(&self, handle: InodeHandle) -> Vec<InodeHandle> {
        let mut line = vec![handle];
        while let Some(parent) = self.inode(line[line.len() - 1]).parent() {
            line.push(parent);
        }
        line.reverse();
        line
    }

    /// The absolute path of an inode, `/` for the root. A detached inode's path begins at its tree's root.
    pub(crate) fn path_text(&self, handle: InodeHandle) -> String {
        let mut path = String::new();
        for at in self.ancestry(handle) {
            let name = &self.inode(at).name;
            if !name.is_empty() {
                path.push('/');
                path.push_str(name);
            }
        }
        if path.is_empty() {
            path.push('/');
        }
        path
    }

    /// Sets an inode's own storage policy, keeping the count of directories that have one.
    pub(crate) fn set_policy(&mut self, handle: InodeHandle, policy: u8) {
        let counts = self.inode(handle).storage_policy() != policy
            && self.has_quotas()
            && (!self.quota_line(handle).is_empty() || self.holds_quotas(handle));
        let took = counts.then(|| self.measure(handle, self.inherited_policy(handle), true).total);
        let inode = self.inodes.get_mut(handle);
        let before = inode.storage_policy();
        inode.set_storage_policy(policy);
        if inode.is_directory() {
            self.directory_policies += u64::from(policy != UNSPECIFIED_POLICY);
            self.directory_policies -= u64::from(before != UNSPECIFIED_POLICY);
        }
        if let Some(took) = took {
            let takes = self.recount(handle);
            if let Some(parent) = self.inode(handle).parent() {
                self.charge(parent, takes.minus(took));
            }
        }
    }

    /// Sets how many replicas a file wants.
    pub(crate) fn set_file_replication(&mut self, file: InodeHandle, replication: u16) {
        let took = self.file_usage(file);
        self.inode_mut(file).set_replication(replication);
        let takes = self.file_usage(file);
        self.charge(file, takes.minus(took));
    }

    // --- open files -----------------------------------------------------------------------------------------------

    /// Marks a file as open by `holder` (again).
    pub(crate) fn open(&mut self, file: InodeHandle, holder: &str, client_machine: &str) -> Arc<str> {
        let inode = self.inodes.get_mut(file);
        inode.set_open(true);
        let id = inode.id();
        self.forget_holder(id);
        let (holder, count) = match self.holders.get_key_value(holder) {
            Some((holder, count)) => (Arc::clone(holder), *count),
            None => (Arc::from(holder), 0),
        };
        self.holders.insert(Arc::clone(&holder), count + 1);
        let record = OpenRecord {
            holder: Arc::clone(&holder),
            client_machine: Arc::from(client_machine),
        };
        self.open_files.insert(id, record);
        holder
    }

    /// Marks a file as closed.
    pub(crate) fn close(&mut self, file: InodeHandle) {
        let inode = self.inodes.get_mut(file);
        inode.set_open(false);
        let id = inode.id();
        self.forget_holder(id);
    }

    fn forget_holder(&mut self, file: InodeId) {
        let Some(record) = self.open_files.remove(&file) else {
            return;
        };
        let left = self.holders.get(&*record.holder).map_or(0, |count| count - 1);
        if left == 0 {
            self.holders.remove(&*record.holder);
        } else {
            self.holders.insert(record.holder, left);
        }
    }

    pub(crate) fn open_record(&self, file: InodeHandle) -> Option<&OpenRecord> {
        self.open_files.get(&self.inode(file).id())
    }

    // --- blocks ---------------------------------------------------------------------------------------------------

    pub(crate) fn block(&self, handle: BlockHandle) -> &BlockRecord {
        self.blocks.get(handle)
    }
    pub(crate) fn find_block(&self, id: BlockId) -> Option<BlockHandle> {
        self.block_index.get(id.to_wire())
    }

    /// Number of blocks of a file, 0 for a directory.
    pub(crate) fn block_count(&self, file: InodeHandle) -> usize {
        match self.inode(file).content {
            Content::Directory(_) | Content::Empty => 0,
            Content::One(_) => 1,
            Content::Many(list) => self.block_lists.get(list).len(),
        }
    }

    /// The block at `index` of a file.
    pub(crate) fn block_at(&self, file: InodeHandle, index: usize) -> Option<BlockHandle> {
        match self.inode(file).content {
            Content::Directory(_) | Content::Empty => None,
            Content::One(block) => (index == 0).then_some(block),
            Content::Many(list) => self.block_lists.get(list).get(index).copied(),
        }
    }

    /// The blocks of a file in order.
    pub(crate) fn blocks_of(&self, file: InodeHandle) -> impl DoubleEndedIterator<Item = BlockHandle> + '_ {
        let (one, many) = match self.inode(file).content {
            Content::Directory(_) | Content::Empty => (None, &[][..]),
            Content::One(block) => (Some(block), &[][..]),
            Content::Many(list) => (None, self.block_lists.get(list).as_slice()),
        };
        one.into_iter().chain(many.iter().copied())
    }

    pub(crate) fn last_block(&self, file: InodeHandle) -> Option<BlockHandle> {
        self.block_at(file, self.block_count(file).checked_sub(1)?)
    }
    pub(crate) fn penultimate_block(&self, file: InodeHandle) -> Option<BlockHandle> {
        self.block_at(file, self.block_count(file).checked_sub(2)?)
    }

    /// Bytes of all blocks, those of a block under construction included as far as known.
    pub(crate) fn file_len(&self, file: InodeHandle) -> u64 {
        // Clients say how long blocks are: the sum must not overflow, whatever they say.
        self.blocks_of(file)
            .fold(0, |len: u64, block| len.saturating_add(self.block(block).len()))
    }

    /// Appends a block record to a file.
    pub(crate) fn push_block(&mut self, file: InodeHandle, block: Block, state: BlockState) -> BlockHandle {
        let handle = self.blocks.insert(BlockRecord::new(block, file, state));
        self.block_index.insert(block.id.to_wire(), handle);
        if state == BlockState::Complete {
            self.complete_blocks += 1;
        }
        let content = match self.inode(file).content {
            Content::Directory(directory) => Content::Directory(directory),
            Content::Empty => Content::One(handle),
            Content::One(first) => Content::Many(self.block_lists.insert(Arc::new(vec![first, handle]))),
            Content::Many(list) => {
                Arc::make_mut(self.block_lists.get_mut(list)).push(handle);
                Content::Many(list)
            }
        };
        self.inode_mut(file).content = content;
        if self.has_quotas() {
            self.charge(file, self.block_usage(handle));
        }
        handle
    }

    /// What a block takes at its file's replication and policy; nothing where no quota asks.
    fn block_usage(&self, block: BlockHandle) -> QuotaUsage {
        if !self.has_quotas() {
            return QuotaUsage::default();
        }
        let record = self.block(block);
        let inode = self.inode(record.file);
        let bytes = Self::charged_bytes(record, inode.block_size());
        Self::cost(bytes, inode.replication(), self.effective_policy(record.file))
    }

    /// Removes the last block of a file and returns it.
    pub(crate) fn pop_block(&mut self, file: InodeHandle) -> Option<Block> {
        let (handle, content) = match self.inode(file).content {
            Content::Directory(_) | Content::Empty => return None,
            Content::One(block) => (block, Content::Empty),
            Content::Many(list) => {
                let blocks = Arc::make_mut(self.block_lists.get_mut(list));
                let last = blocks.pop()?;
                match blocks.as_slice() {
                    [] => {
                        self.block_lists.remove(list);
                        (last, Content::Empty)
                    }
                    &[first] => {
                        self.block_lists.remove(list);
                        (last, Content::One(first))
                    }
                    _ => (last, Content::Many(list)),
                }
            }
        };
        self.inode_mut(file).content = content;
        let usage = self.block_usage(handle);
        self.refund(file, usage);
        let record = self.blocks.remove(handle);
        if record.is_complete() {
            self.complete_blocks -= 1;
        }
        self.block_index.remove(record.id().to_wire());
        self.recoveries.remove(&record.id());
        Some(record.block())
    }

    /// Changes a block's state, keeping the count of complete blocks and the table of recoveries.
    pub(crate) fn set_block_state(&mut self, handle: BlockHandle, state: BlockState) {
        let took = self.block_usage(handle);
        let record = self.blocks.get_mut(handle);
        let before = std::mem::replace(&mut record.state, state);
        let (id, file) = (record.id(), record.file);
        let takes = self.block_usage(handle);
        self.charge(file, takes.minus(took));
        match (before == BlockState::Complete, state == BlockState::Complete) {
            (false, true) => self.complete_blocks += 1,
            (true, false) => self.complete_blocks -= 1,
            _ => {}
        }
        if state != BlockState::UnderRecovery {
            self.recoveries.remove(&id);
        }
    }

    pub(crate) fn take_block_id(&mut self) -> BlockId {
        let id = self.next_block;
        self.next_block = id.next();
        id
    }
    pub(crate) fn take_stamp(&mut self) -> GenerationStamp {
        self.last_stamp = self.last_stamp.next();
        self.last_stamp
    }

    // --- freeing --------------------------------------------------------------------------------------------------

    /// Frees a file or an empty directory that is detached; returns its blocks.
    pub(crate) fn free(&mut self, handle: InodeHandle) -> Vec<Block> {
        if self.inode(handle).is_open() {
            self.close(handle);
        }
        let mut blocks = Vec::with_capacity(self.block_count(handle));
        while let Some(block) = self.pop_block(handle) {
            blocks.push(block);
        }
        blocks.reverse();
        self.keep_acl(handle, &[]);
        self.keep_xattrs(handle, Vec::new());
        let inode = self.inodes.remove(handle);
        self.inode_index.remove(inode.id().0);
        if let Content::Directory(directory) = inode.content {
            self.directories.remove(directory);
            self.directory_policies -= u64::from(inode.storage_policy() != UNSPECIFIED_POLICY);
            self.quotas.remove(&handle);
        }
        blocks
    }
}
