//! The fixed records of the arenas: inodes, blocks and directories' children.
//!
//! Sizes matter here: an inode is 72 bytes and a block 28, checked by a test. Numbers are packed as Hadoop's limits
//! allow: block sizes and times in 48 bits, replication in 12, user and group numbers in 24.

use crate::arena::handle;
use compact_str::CompactString;
use hadron_types::{Block, BlockId, FsPermission, GenerationStamp, InodeId, TimeMs};
use std::sync::Arc;

handle!(
    /// A slot of the inode arena.
    InodeHandle
);
handle!(
    /// A slot of the directory arena.
    DirectoryHandle
);
handle!(
    /// A slot of the block arena.
    BlockHandle
);
handle!(
    /// A slot of the arena of block lists (files with two blocks or more).
    BlockListHandle
);

const LOW_48: u64 = (1 << 48) - 1;
/// Largest replication an inode can hold.
pub(crate) const MAX_REPLICATION: u16 = (1 << 12) - 1;
/// Largest preferred block size an inode can hold.
pub(crate) const MAX_BLOCK_SIZE: u64 = LOW_48;
const OPEN_BIT: u64 = 1 << 60;
const QUOTA_BIT: u64 = 1 << 61;
const ACL_BIT: u64 = 1 << 62;
const XATTRS_BIT: u64 = 1 << 63;

/// What an inode is, and where its contents are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// A directory.
    Directory(DirectoryHandle),
    /// A file without blocks.
    Empty,
    /// A file of one block.
    One(BlockHandle),
    /// A file of several blocks.
    Many(BlockListHandle),
}

/// Milliseconds in 48 bits.
#[derive(Clone, Copy)]
struct Time48([u16; 3]);

impl Time48 {
    fn new(time: TimeMs) -> Self {
        let ms = time.0.min(LOW_48);
        Self([ms as u16, (ms >> 16) as u16, (ms >> 32) as u16])
    }
    fn get(self) -> TimeMs {
        let [low, middle, high] = self.0.map(u64::from);
        TimeMs(low | middle << 16 | high << 32)
    }
}

/// A file or directory.
#[derive(Clone)]
pub(crate) struct Inode {
    pub(crate) name: CompactString,
    id: u64,
    /// user 24 | group 24 | storage policy 4 | unused 2 | mode 10.
    access: u64,
    /// has xattrs 1 | has ACL 1 | has quota 1 | open 1 | replication 12 | preferred block size 48.
    header: u64,
    mtime: Time48,
    atime: Time48,
    parent: OptionalHandle,
    pub(crate) content: Content,
}

/// An optional handle in 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OptionalHandle(u32);

impl Inode {
    pub(crate) fn new(id: InodeId, name: &str, mode: FsPermission, user: u32, group: u32, content: Content) -> Self {
        let mut inode = Self {
            name: CompactString::from(name),
            id: id.0,
            access: 0,
            header: 0,
            mtime: Time48::new(TimeMs(0)),
            atime: Time48::new(TimeMs(0)),
            parent: OptionalHandle(u32::MAX),
            content,
        };
        inode.set_mode(mode);
        inode.set_user(user);
        inode.set_group(group);
        inode
    }

    pub(crate) fn id(&self) -> InodeId {
        InodeId(self.id)
    }
    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.content, Content::Directory(_))
    }
    pub(crate) fn mode(&self) -> FsPermission {
        FsPermission::from_wire((self.access & 0x3ff) as u32)
    }
    pub(crate) fn set_mode(&mut self, mode: FsPermission) {
        self.access = self.access & !0x3ff | u64::from(mode.bits());
    }
    pub(crate) fn user(&self) -> u32 {
        (self.access >> 40) as u32
    }
    pub(crate) fn set_user(&mut self, user: u32) {
        self.access = self.access & 0xff_ffff_ffff | u64::from(user) << 40;
    }
    pub(crate) fn group(&self) -> u32 {
        (self.access >> 16) as u32 & 0xff_ffff
    }
    pub(crate) fn set_group(&mut self, group: u32) {
        self.access = self.access & !(0xff_ffff << 16) | u64::from(group & 0xff_ffff) << 16;
    }
    pub(crate) fn storage_policy(&self) -> u8 {
        (self.access >> 12) as u8 & 0xf
    }
    pub(crate) fn set_storage_policy(&mut self, policy: u8) {
        self.access = self.access & !(0xf << 12) | u64::from(policy & 0xf) << 12;
    }
    pub(crate) fn block_size(&self) -> u64 {
        self.header & LOW_48
    }
    pub(crate) fn set_block_size(&mut self, size: u64) {
        self.header = self.header & !LOW_48 | size & LOW_48;
    }
    pub(crate) fn replication(&self) -> u16 {
        (self.header >> 48) as u16 & MAX_REPLICATION
    }
    pub(crate) fn set_replication(&mut self, replication: u16) {
        let replication = u64::from(replication.min(MAX_REPLICATION));
        self.header = self.header & !(u64::from(MAX_REPLICATION) << 48) | replication << 48;
    }
    /// Whether a writer has the file open.
    pub(crate) fn is_open(&self) -> bool {
        self.header & OPEN_BIT != 0
    }
    pub(crate) fn set_open(&mut self, open: bool) {
        self.header = self.header & !OPEN_BIT | if open { OPEN_BIT } else { 0 };
    }
    /// Whether the directory has a row in the table of quotas.
    pub(crate) fn has_quota(&self) -> bool {
        self.header & QUOTA_BIT != 0
    }
    pub(crate) fn set_has_quota(&mut self, has: bool) {
        self.header = self.header & !QUOTA_BIT | if has { QUOTA_BIT } else { 0 };
    }
    /// Whether the table of ACLs has entries of this inode.
    pub(crate) fn has_acl(&self) -> bool {
        self.header & ACL_BIT != 0
    }
    pub(crate) fn set_has_acl(&mut self, has: bool) {
        self.header = self.header & !ACL_BIT | if has { ACL_BIT } else { 0 };
    }
    /// Whether the table of extended attributes has some of this inode.
    pub(crate) fn has_xattrs(&self) -> bool {
        self.header & XATTRS_BIT != 0
    }
    pub(crate) fn set_has_xattrs(&mut self, has: bool) {
        self.header = self.header & !XATTRS_BIT | if has { XATTRS_BIT } else { 0 };
    }
    pub(crate) fn mtime(&self) -> TimeMs {
        self.mtime.get()
    }
    pub(crate) fn set_mtime(&mut self, time: TimeMs) {
        self.mtime = Time48::new(time);
    }
    pub(crate) fn atime(&self) -> TimeMs {
        self.atime.get()
    }
    pub(crate) fn set_atime(&mut self, time: TimeMs) {
        self.atime = Time48::new(time);
    }
    /// `None` for the root and for the root of a detached tree.
    pub(crate) fn parent(&self) -> Option<InodeHandle> {
        use crate::arena::Handle;
        (self.parent.0 != u32::MAX).then(|| InodeHandle::from_index(self.parent.0))
    }
    pub(crate) fn set_parent(&mut self, parent: Option<InodeHandle>) {
        use crate::arena::Handle;
        self.parent = OptionalHandle(parent.map_or(u32::MAX, Handle::index));
    }
}

/// State of a block in its file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum BlockState {
    /// Being written by a client; length and stamp may change.
    UnderConstruction = 0,
    /// A primary DataNode is bringing its replicas to one length.
    UnderRecovery = 1,
    /// The client has told the final length; fewer replicas than the minimum were known.
    Committed = 2,
    /// Final, with at least the minimum of replicas reported.
    Complete = 3,
}

impl BlockState {
    /// Reads the number of an image; `None` for an unknown one.
    pub fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::UnderConstruction,
            1 => Self::UnderRecovery,
            2 => Self::Committed,
            3 => Self::Complete,
            _ => return None,
        })
    }
}

/// A block as the file knows it.
#[derive(Clone)]
pub(crate) struct BlockRecord {
    id: [u32; 2],
    stamp: [u32; 2],
    pub(crate) file: InodeHandle,
    len: [u16; 3],
    pub(crate) state: BlockState,
}

fn split(number: u64) -> [u32; 2] {
    [number as u32, (number >> 32) as u32]
}
fn join([low, high]: [u32; 2]) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

impl BlockRecord {
    pub(crate) fn new(block: Block, file: InodeHandle, state: BlockState) -> Self {
        let mut record = Self {
            id: split(block.id.to_wire()),
            stamp: split(block.generation_stamp.0),
            file,
            len: [0; 3],
            state,
        };
        record.set_len(block.len);
        record
    }
    pub(crate) fn id(&self) -> BlockId {
        BlockId::from_wire(join(self.id))
    }
    pub(crate) fn stamp(&self) -> GenerationStamp {
        GenerationStamp(join(self.stamp))
    }
    pub(crate) fn set_stamp(&mut self, stamp: GenerationStamp) {
        self.stamp = split(stamp.0);
    }
    pub(crate) fn len(&self) -> u64 {
        Time48(self.len).get().0
    }
    pub(crate) fn set_len(&mut self, len: u64) {
        self.len = Time48::new(TimeMs(len)).0;
    }
    pub(crate) fn block(&self) -> Block {
        Block {
            id: self.id(),
            generation_stamp: self.stamp(),
            len: self.len(),
        }
    }
    pub(crate) fn is_complete(&self) -> bool {
        self.state == BlockState::Complete
    }
}

/// Most children in one chunk of a directory.
const CHUNK_CHILDREN: usize = 512;

/// The children of a directory, by unsigned bytes of their names, in chunks that are copied on write one by one.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    chunks: Arc<Vec<Arc<Vec<InodeHandle>>>>,
    len: u32,
}

/// A place in a [`Directory`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ChildPosition {
    chunk: usize,
    index: usize,
}

/// Children of a directory from some place on, in order.
pub(crate) struct Children<'a> {
    current: std::slice::Iter<'a, InodeHandle>,
    chunks: std::slice::Iter<'a, Arc<Vec<InodeHandle>>>,
}

impl Iterator for Children<'_> {
    type Item = InodeHandle;

    fn next(&mut self) -> Option<InodeHandle> {
        loop {
            if let Some(&child) = self.current.next() {
                return Some(child);
            }
            self.current = self.chunks.next()?.iter();
        }
    }
}

impl Directory {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds the first place whose child is not before; `compare` orders a child against what is sought.
    fn partition(&self, mut before: impl FnMut(InodeHandle) -> bool) -> ChildPosition {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk.last().is_some_and(|&last| before(last)));
        let index = self
            .chunks
            .get(chunk)
            .map_or(0, |children| children.partition_point(|&child| before(child)));
        ChildPosition { chunk, index }
    }

    /// Finds `name`; `Err` has the place where it belongs.
    pub(crate) fn find<'a>(
        &self,
        name: &[u8],
        name_of: impl Fn(InodeHandle) -> &'a [u8],
    ) -> Result<InodeHandle, ChildPosition> {
        let position = self.partition(|child| name_of(child) < name);
        match self.at(position) {
            Some(child) if name_of(child) == name => Ok(child),
            _ => Err(position),
        }
    }

    /// Enters `child` at the place `find` gave for its name.
    pub(crate) fn insert(&mut self, position: ChildPosition, child: InodeHandle) {
        self.len += 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let ChildPosition { mut chunk, mut index } = position;
        if chunk == chunks.len() {
            // Beyond the last name: fill the last chunk, then open another, so that ascending names fill chunks.
            match chunks.last() {
                Some(last) if last.len() < CHUNK_CHILDREN => {
                    chunk -= 1;
                    index = last.len();
                }
                _ => {
                    chunks.push(Arc::new(vec![child]));
                    return;
                }
            }
        }
        if chunks[chunk].len() >= CHUNK_CHILDREN {
            let upper = Arc::make_mut(&mut chunks[chunk]).split_off(CHUNK_CHILDREN / 2);
            chunks.insert(chunk + 1, Arc::new(upper));
            if index > CHUNK_CHILDREN / 2 {
                chunk += 1;
                index -= CHUNK_CHILDREN / 2;
            }
        }
        Arc::make_mut(&mut chunks[chunk]).insert(index, child);
    }

    /// Takes the child called `name` out; `None` if there is none.
    pub(crate) fn remove<'a>(&mut self, name: &[u8], name_of: impl Fn(InodeHandle) -> &'a [u8]) -> Option<InodeHandle> {
        let position = self.partition(|child| name_of(child) < name);
        let child = self.at(position).filter(|&child| name_of(child) == name)?;
        self.remove_at(position);
        Some(child)
    }

    /// Takes the last child out.
    pub(crate) fn pop(&mut self) -> Option<InodeHandle> {
        let chunk = self.chunks.len().checked_sub(1)?;
        let index = self.chunks[chunk].len() - 1;
        let position = ChildPosition { chunk, index };
        let child = self.at(position);
        self.remove_at(position);
        child
    }

    fn remove_at(&mut self, ChildPosition { chunk, index }: ChildPosition) {
        self.len -= 1;
        let chunks = Arc::make_mut(&mut self.chunks);
        let children = Arc::make_mut(&mut chunks[chunk]);
        children.remove(index);
        if children.is_empty() {
            chunks.remove(chunk);
        } else if children.capacity() > 4 * children.len() && children.capacity() > 16 {
            children.shrink_to(2 * children.len());
        }
    }

    fn at(&self, position: ChildPosition) -> Option<InodeHandle> {
        self.chunks.get(position.chunk)?.get(position.index).copied()
    }

    /// All children in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = InodeHandle> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// Children after `name`, in order, and how many they are.
    pub(crate) fn iter_after<'a>(
        &self,
        name: &[u8],
        name_of: impl Fn(InodeHandle) -> &'a [u8],
    ) -> (usize, Children<'_>) {
        let start = match name {
            // The usual first page: no name to look for.
            [] => ChildPosition { chunk: 0, index: 0 },
            name => self.partition(|child| name_of(child) <= name),
        };
        let skipped: usize = self.chunks[..start.chunk].iter().map(|chunk| chunk.len()).sum();
        let mut chunks = self.chunks[start.chunk..].iter();
        let first = chunks.next().map_or(&[][..], |chunk| &chunk[start.index..]);
        let rest = Children {
            current: first.iter(),
            chunks,
        };
        (self.len() - skipped - start.index, rest)
    }

    /// Makes a directory of children that are already in order.
    pub(crate) fn from_sorted(children: &[InodeHandle]) -> Self {
        Self {
            chunks: Arc::new(
                children
                    .chunks(CHUNK_CHILDREN)
                    .map(|chunk| Arc::new(chunk.to_vec()))
                    .collect(),
            ),
            len: children.len() as u32,
        }
    }

    /// Heap bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        const VEC_BEHIND_ARC: usize = 16 + size_of::<Vec<u8>>();
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| VEC_BEHIND_ARC + chunk.capacity() * size_of::<InodeHandle>())
            .sum();
        VEC_BEHIND_ARC + self.chunks.capacity() * size_of::<usize>() + chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Handle;

    #[test]
    fn records_keep_their_sizes_and_fields() {
        assert_eq!(size_of::<Inode>(), 72);
        assert_eq!(size_of::<Option<Inode>>(), 72);
        assert_eq!(size_of::<BlockRecord>(), 28);
        let mode = FsPermission::from_wire(0o1755);
        let mut inode = Inode::new(InodeId(99), "name", mode, 0xff_fffe, 0xff_fffd, Content::Empty);
        inode.set_block_size(LOW_48);
        inode.set_replication(512);
        inode.set_storage_policy(15);
        inode.set_mtime(TimeMs(1_700_000_000_123));
        inode.set_open(true);
        assert_eq!(inode.mode(), mode);
        assert_eq!(
            (inode.user(), inode.group(), inode.storage_policy()),
            (0xff_fffe, 0xff_fffd, 15)
        );
        assert_eq!((inode.block_size(), inode.replication()), (LOW_48, 512));
        assert_eq!(inode.mtime(), TimeMs(1_700_000_000_123));
        assert!(inode.is_open() && inode.parent().is_none());
        inode.set_has_acl(true);
        inode.set_has_xattrs(true);
        inode.set_has_acl(false);
        inode.set_open(false);
        inode.set_replication(1);
        assert_eq!((inode.has_acl(), inode.has_xattrs()), (false, true));
        assert_eq!(
            (inode.is_open(), inode.replication(), inode.block_size()),
            (false, 1, LOW_48)
        );
    }

    #[test]
    fn children_stay_sorted_through_splits_and_removals() {
        let names: Vec<String> = (0..5_000u32).map(|n| format!("{:05}", (n * 7_919) % 5_000)).collect();
        let name_of = |child: InodeHandle| names[child.index() as usize].as_bytes();
        let mut directory = Directory::default();
        for (index, name) in names.iter().enumerate() {
            let position = directory.find(name.as_bytes(), name_of).expect_err("new");
            directory.insert(position, InodeHandle::from_index(index as u32));
        }
        let frozen = directory.clone();
        let listed: Vec<&[u8]> = directory.iter().map(name_of).collect();
        assert!(listed.is_sorted() && listed.len() == 5_000);
        let (rest, children) = directory.iter_after(b"04000", name_of);
        assert_eq!((rest, children.count()), (999, 999));
        for name in names.iter().step_by(2) {
            assert!(directory.remove(name.as_bytes(), name_of).is_some());
        }
        assert_eq!(directory.len(), 2_500);
        assert_eq!(frozen.iter().count(), 5_000);
        while directory.pop().is_some() {}
        assert!(directory.is_empty() && directory.iter().next().is_none());
    }
}
