//! Delete and Reclaim: a tree is detached at once and freed in slices.

use crate::inode::{Content, InodeHandle};
use crate::namespace::Namespace;
use crate::outcome::Effect;
use hadron_types::{Block, TimeMs};

/// Inodes and blocks that a deleting command frees itself; larger trees are left to Reclaim commands.
pub const DELETE_INLINE_BUDGET: u64 = 1000;

impl Namespace {
    /// Detaches `top` from its parent and frees as much of it as one command may.
    pub(super) fn delete_tree(&mut self, top: InodeHandle, now: TimeMs, effects: &mut Vec<Effect>) {
        if let Some(parent) = self.inode(top).parent() {
            self.inode_mut(parent).set_mtime(now);
        }
        self.detach(top);
        // Trees that wait already keep their turn: this one is freed first, and only this one.
        let waiting = self.detached.len();
        self.detached.push(top);
        self.reclaim(DELETE_INLINE_BUDGET, waiting, effects);
        if self.detached.len() > waiting {
            effects.push(Effect::ReclaimNeeded);
        }
    }

    /// Frees detached inodes until `budget` inodes and blocks are gone or only `keep` trees are left; returns how
    /// many inodes were freed.
    pub(super) fn reclaim(&mut self, budget: u64, keep: usize, effects: &mut Vec<Effect>) -> u64 {
        let mut blocks: Vec<Block> = Vec::new();
        let mut inodes = 0;
        while self.detached.len() > keep && inodes + blocks.len() as u64 <= budget {
            let top = self.detached[self.detached.len() - 1];
            let child = match self.inode(top).content {
                Content::Directory(directory) => self.directories.get_mut(directory).pop(),
                _ => None,
            };
            if let Some(child) = child {
                self.inode_mut(child).set_parent(None);
                self.detached.push(child);
                continue;
            }
            self.detached.pop();
            let inode = self.inode(top);
            if inode.is_open() {
                effects.push(Effect::LeaseReleased { file: inode.id() });
            }
            blocks.append(&mut self.free(top));
            inodes += 1;
        }
        if !blocks.is_empty() {
            effects.push(Effect::BlocksRemoved(blocks));
        }
        inodes
    }
}
