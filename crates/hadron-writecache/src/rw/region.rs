//! One region: what each of its slots is doing.
//!
//! What it is for: four sets of slots, and the rule that a slot in any of them is not given out. What it does not do: it
//! does not know where it lies. Invariant: `class` is `None` exactly while all four sets are empty.
//!
//! A slot goes `free → reserved → live → free`. `durable` is `live` as of the last durable commit, `committing` as of the one
//! on its way; a slot freed since stays in one of them, and so is not given out before a commit that lacks it is durable.

use super::bitmap::Bitmap;
use super::geometry::{Class, Geometry};
use super::page::Entry;

/// The slots of one region.
#[derive(Clone, Debug, Default)]
pub(super) struct Region {
    pub(super) class: Option<Class>,
    /// Given out, content not yet claimed to be there; forgotten by a crash.
    pub(super) reserved: Bitmap,
    /// To be in the next commit.
    pub(super) live: Bitmap,
    /// In the commit that is being made durable; empty when there is none or it did not touch this region's page.
    pub(super) committing: Bitmap,
    /// In the last durable commit.
    pub(super) durable: Bitmap,
}

impl Region {
    /// As read from a metadata page.
    pub(super) fn from_entry(entry: Entry) -> Self {
        let Some((class, bitmap)) = entry else {
            return Self::default();
        };
        Self {
            class: Some(class),
            live: bitmap,
            durable: bitmap,
            ..Self::default()
        }
    }

    /// What is to be written into a metadata page.
    pub(super) fn entry(&self) -> Entry {
        let class = self.class?;
        (!self.live.is_empty()).then_some((class, self.live))
    }

    /// The lowest slot nobody has; `None` when the region is full or has no class.
    pub(super) fn first_free(&self, geometry: &Geometry) -> Option<u32> {
        let slots = geometry.slots(self.class?);
        let sets = [&self.reserved, &self.live, &self.committing, &self.durable];
        Some(Bitmap::first_free(&sets)).filter(|index| *index < slots)
    }

    /// True when no slot is in any set.
    pub(super) fn is_unused(&self) -> bool {
        let sets = [&self.reserved, &self.live, &self.committing, &self.durable];
        sets.into_iter().all(Bitmap::is_empty)
    }
}
