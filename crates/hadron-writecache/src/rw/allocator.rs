//! Which slots of a read-write store are in use: the pure part.
//!
//! What it is for: first fit by size class, growth and shrinking by whole regions, and the promise that what the last durable
//! commit refers to is not given out again. What it does not do: no I/O, no locks; offsets in, offsets out.
//! Invariants: two slots in use never overlap; a slot that a durable commit, or one that may become durable, refers to is not
//! given out; the lowest region of a class with room is used first, so that the end of the file empties and can be cut.

use std::collections::BTreeSet;
use std::ops::Range;

use super::error::RwError;
use super::geometry::{Class, Geometry, REGIONS_PER_PAGE, page_count};
use super::page::Entry;
use super::region::Region;

/// A file grows by this part of itself, and keeps as much unused when it shrinks.
const SPARE_DIVISOR: u32 = 8;
/// The most regions added at once.
const MAX_GROWTH_REGIONS: u32 = 64;

/// A place for one record. What of it is filled, the holder knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot {
    /// File offset of the first byte.
    pub offset: u64,
    /// Bytes.
    pub capacity: u64,
}

/// How the room of a store is used, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Space {
    /// Length of the file that the regions there are ask for.
    pub extent: u64,
    /// In slots given out, published or not.
    pub used: u64,
    /// In slots that were freed and wait for a commit.
    pub awaiting_commit: u64,
    /// Slots given out.
    pub used_slots: u64,
    /// Regions in which no slot is in use, ready for any size.
    pub blank_regions: u32,
    /// Regions there are.
    pub regions: u32,
}

/// What a commit has to write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CommitSet {
    /// Regions the file will have.
    pub(crate) regions: u32,
    /// Pages that changed, with their regions.
    pub(crate) pages: Vec<(u32, Vec<Entry>)>,
    /// True when the file has fewer regions than before.
    pub(crate) shrinks: bool,
}

/// The state of all regions.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    geometry: Geometry,
    regions: Vec<Region>,
    /// For each class, regions with a slot to give.
    open: Vec<BTreeSet<u32>>,
    /// Regions of no class.
    blank: BTreeSet<u32>,
    /// Pages that differ from those of the last commit begun.
    dirty: BTreeSet<u32>,
    /// Pages of the commit on its way.
    committing: Option<Vec<u32>>,
}

impl Allocator {
    /// The state of a commit; an empty list for a new file.
    pub(crate) fn new(geometry: Geometry, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut allocator = Self {
            geometry,
            regions: entries.into_iter().map(Region::from_entry).collect(),
            open: vec![BTreeSet::new(); usize::from(geometry.class_count())],
            blank: BTreeSet::new(),
            dirty: BTreeSet::new(),
            committing: None,
        };
        allocator.sort_all();
        allocator
    }

    /// Gives out a slot for `len` bytes; `None` when the file must [`Self::grow`] first.
    ///
    /// Errors: [`RwError::TooLarge`].
    pub(crate) fn reserve(&mut self, len: u64) -> Result<Option<Slot>, RwError> {
        let class = self.class_for(len)?;
        let region = self.open[usize::from(class.0)].first().or(self.blank.first()).copied();
        Ok(region.and_then(|region| self.take(region, class)))
    }

    /// Gives out a slot of the same class in a lower region than that of `slot`, to move its record there.
    ///
    /// Errors: [`RwError::BadSlot`] when `slot` is not in use.
    pub(crate) fn reserve_below(&mut self, slot: Slot) -> Result<Option<Slot>, RwError> {
        let (region, class, _) = self.find(slot)?;
        let lower = |set: &BTreeSet<u32>| set.first().copied().filter(|lower| *lower < region);
        let target = lower(&self.open[usize::from(class.0)]).or_else(|| lower(&self.blank));
        Ok(target.and_then(|target| self.take(target, class)))
    }

    /// Lets a reserved slot be part of the next commit. One that already is stays so.
    ///
    /// Errors: [`RwError::BadSlot`] when it is not in use.
    pub(crate) fn publish(&mut self, slot: Slot) -> Result<(), RwError> {
        let (region, _, index) = self.find(slot)?;
        let state = &mut self.regions[region as usize];
        state.reserved.set(index, false);
        state.live.set(index, true);
        self.dirty.insert(region / REGIONS_PER_PAGE);
        Ok(())
    }

    /// Takes a slot back. It is given out again once no commit refers to it that could still be recovered.
    ///
    /// Errors: [`RwError::BadSlot`] when it is not in use, so freeing twice is seen.
    pub(crate) fn free(&mut self, slot: Slot) -> Result<(), RwError> {
        let (region, _, index) = self.find(slot)?;
        let state = &mut self.regions[region as usize];
        if state.live.get(index) {
            self.dirty.insert(region / REGIONS_PER_PAGE);
        }
        state.reserved.set(index, false);
        state.live.set(index, false);
        self.sort(region);
        Ok(())
    }

    /// Checks that `len` bytes from `at` on lie within a slot that is in use.
    pub(crate) fn check(&self, slot: Slot, at: u64, len: u64) -> Result<(), RwError> {
        self.find(slot)?;
        match at.checked_add(len) {
            Some(end) if end <= slot.capacity => Ok(()),
            _ => Err(bad_slot(slot.offset.saturating_add(at), len)),
        }
    }

    /// How many regions the file should have when it must grow.
    ///
    /// Errors: [`RwError::Full`].
    pub(crate) fn growth(&self) -> Result<u32, RwError> {
        let now = self.region_count();
        let step = (now / SPARE_DIVISOR).clamp(1, MAX_GROWTH_REGIONS);
        match now.saturating_add(step).min(self.geometry.max_regions) {
            target if target > now => Ok(target),
            _ => Err(RwError::Full { regions: now }),
        }
    }

    /// The file now has room for `regions` regions. Fewer than before are ignored.
    pub(crate) fn grow(&mut self, regions: u32) {
        for region in self.region_count()..regions.min(self.geometry.max_regions) {
            self.regions.push(Region::default());
            self.blank.insert(region);
            self.dirty.insert(region / REGIONS_PER_PAGE);
        }
    }

    /// True when a commit would write nothing.
    pub(crate) fn is_clean(&self) -> bool {
        self.dirty.is_empty() && self.spare_end() == self.region_count()
    }

    /// Begins a commit of what is live now; what is done from here on belongs to the next. Panics when one is on its way.
    pub(crate) fn begin_commit(&mut self) -> CommitSet {
        assert!(self.committing.is_none(), "a commit is on its way");
        let (before, after) = (self.region_count(), self.spare_end());
        self.regions.truncate(after as usize);
        self.blank.split_off(&after);
        let mut pages = Vec::new();
        for page in std::mem::take(&mut self.dirty) {
            if page < page_count(after) {
                let regions = self.regions_of(page);
                let mut entries = Vec::with_capacity(regions.len());
                for state in &mut self.regions[regions] {
                    state.committing = state.live;
                    entries.push(state.entry());
                }
                pages.push((page, entries));
            }
        }
        self.committing = Some(pages.iter().map(|(page, _)| *page).collect());
        CommitSet {
            regions: after,
            pages,
            shrinks: after < before,
        }
    }

    /// The commit on its way is durable: what it no longer refers to may be given out.
    pub(crate) fn finish_commit(&mut self) {
        for page in self.committing.take().unwrap_or_default() {
            let regions = self.regions_of(page);
            for region in regions {
                let state = &mut self.regions[region];
                state.durable = std::mem::take(&mut state.committing);
                self.sort(region as u32);
            }
        }
    }

    /// Back to the last durable commit, except that the file stays as long as it is: pages of regions that were added are
    /// still to be written. Panics when a commit is on its way.
    pub(crate) fn abort(&mut self) {
        assert!(self.committing.is_none(), "a commit is on its way");
        for state in &mut self.regions {
            state.live = state.durable;
            state.reserved = Default::default();
        }
        self.sort_all();
    }

    /// Regions there are.
    pub(crate) fn region_count(&self) -> u32 {
        u32::try_from(self.regions.len()).unwrap_or(u32::MAX)
    }

    /// Published slots, by offset.
    pub(crate) fn slots(&self) -> Vec<Slot> {
        let of_region = |(region, state): (usize, &Region)| {
            let class = state.class.unwrap_or(Class(0));
            let slots: Vec<_> = state
                .live
                .iter()
                .map(|index| self.slot(region as u32, class, index))
                .collect();
            slots
        };
        self.regions.iter().enumerate().flat_map(of_region).collect()
    }

    /// How the room is used. Costs a look at each region.
    pub(crate) fn space(&self) -> Space {
        let mut space = Space {
            extent: self.geometry.extent(self.region_count()),
            blank_regions: u32::try_from(self.blank.len()).unwrap_or(u32::MAX),
            regions: self.region_count(),
            ..Space::default()
        };
        for state in &self.regions {
            let Some(class) = state.class else { continue };
            let used = u64::from(state.live.count() + state.reserved.count());
            let mut in_any = state.durable;
            let others = [&state.live, &state.reserved, &state.committing];
            others
                .into_iter()
                .flat_map(|set| set.iter())
                .for_each(|index| in_any.set(index, true));
            space.used_slots += used;
            space.used += used * self.geometry.slot_bytes(class);
            space.awaiting_commit += (u64::from(in_any.count()) - used) * self.geometry.slot_bytes(class);
        }
        space
    }

    fn class_for(&self, len: u64) -> Result<Class, RwError> {
        let max = self.geometry.max_slot_bytes();
        self.geometry.class_for(len).ok_or(RwError::TooLarge { len, max })
    }

    fn take(&mut self, region: u32, class: Class) -> Option<Slot> {
        let state = &mut self.regions[region as usize];
        state.class = Some(class);
        let index = state.first_free(&self.geometry)?;
        state.reserved.set(index, true);
        self.sort(region);
        Some(self.slot(region, class, index))
    }

    fn slot(&self, region: u32, class: Class, index: u32) -> Slot {
        Slot {
            offset: self.geometry.slot_offset(region, class, index),
            capacity: self.geometry.slot_bytes(class),
        }
    }

    /// Region, class and index of a slot in use.
    fn find(&self, slot: Slot) -> Result<(u32, Class, u32), RwError> {
        let bad = || bad_slot(slot.offset, slot.capacity);
        let (region, within) = self.geometry.locate(slot.offset).ok_or_else(bad)?;
        let state = self.regions.get(region as usize).ok_or_else(bad)?;
        let class = state.class.ok_or_else(bad)?;
        let bytes = self.geometry.slot_bytes(class);
        let index = u32::try_from(within / bytes).map_err(|_| bad())?;
        let in_use = index < self.geometry.slots(class) && (state.live.get(index) || state.reserved.get(index));
        if !in_use || within % bytes != 0 || slot.capacity != bytes {
            return Err(bad());
        }
        Ok((region, class, index))
    }

    /// The number of regions that remain when all but the spare ones are cut from the end.
    fn spare_end(&self) -> u32 {
        let used = self.regions.iter().rposition(|state| state.class.is_some());
        let used = used.map_or(0, |last| last as u32 + 1);
        self.region_count().min(used + used / SPARE_DIVISOR)
    }

    fn regions_of(&self, page: u32) -> Range<usize> {
        let first = page * REGIONS_PER_PAGE;
        let end = (first + REGIONS_PER_PAGE).min(self.region_count());
        first as usize..end as usize
    }

    /// Puts a region into the set it belongs to.
    fn sort(&mut self, region: u32) {
        let state = &mut self.regions[region as usize];
        let Some(class) = state.class else {
            self.blank.insert(region);
            return;
        };
        let open = &mut self.open[usize::from(class.0)];
        if state.is_unused() {
            state.class = None;
            open.remove(&region);
            self.blank.insert(region);
            return;
        }
        self.blank.remove(&region);
        if state.first_free(&self.geometry).is_some() {
            open.insert(region);
        } else {
            open.remove(&region);
        }
    }

    fn sort_all(&mut self) {
        self.blank.clear();
        self.open.iter_mut().for_each(BTreeSet::clear);
        for region in 0..self.region_count() {
            self.sort(region);
        }
    }
}

fn bad_slot(offset: u64, len: u64) -> RwError {
    RwError::BadSlot { offset, len }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TINY: Geometry = Geometry {
        unit_bytes: 512,
        region_units: 8,
        max_regions: 60,
    };

    fn take(allocator: &mut Allocator, len: u64) -> Slot {
        loop {
            match allocator.reserve(len).unwrap() {
                Some(slot) => return slot,
                None => allocator.grow(allocator.growth().unwrap()),
            }
        }
    }

    fn commit(allocator: &mut Allocator) -> CommitSet {
        let set = allocator.begin_commit();
        allocator.finish_commit();
        set
    }

    #[test]
    fn a_freed_slot_comes_back_only_after_a_commit() {
        let mut allocator = Allocator::new(TINY, []);
        let a = take(&mut allocator, 4096);
        allocator.publish(a).unwrap();
        commit(&mut allocator);
        allocator.free(a).unwrap();
        assert_eq!(allocator.space().awaiting_commit, 4096);
        let b = take(&mut allocator, 4096);
        assert_ne!(a, b);
        allocator.publish(b).unwrap();
        // While the commit without it is on its way, the one with it may still be the last.
        allocator.begin_commit();
        let c = take(&mut allocator, 4096);
        assert!(c != a && c != b);
        // Freed while the commit that has it is on its way: that commit may become the last.
        allocator.free(b).unwrap();
        allocator.finish_commit();
        assert_eq!(take(&mut allocator, 4096), a);
        assert_ne!(take(&mut allocator, 4096), b);
        commit(&mut allocator);
        assert_eq!(take(&mut allocator, 4096), b);
    }

    #[test]
    fn a_slot_no_commit_saw_comes_back_at_once_and_an_abort_takes_all_back() {
        let mut allocator = Allocator::new(TINY, []);
        let a = take(&mut allocator, 512);
        allocator.free(a).unwrap();
        assert_eq!(
            take(&mut allocator, 4096).offset,
            a.offset,
            "the region changed its class"
        );
        allocator.abort();
        let kept = take(&mut allocator, 100);
        allocator.publish(kept).unwrap();
        commit(&mut allocator);
        allocator.free(kept).unwrap();
        let lost = take(&mut allocator, 1000);
        allocator.publish(lost).unwrap();
        allocator.abort();
        assert_eq!(allocator.slots(), [kept]);
        assert!(matches!(allocator.free(lost), Err(RwError::BadSlot { .. })));
    }

    #[test]
    fn stale_and_wrong_addresses_are_refused() {
        let mut allocator = Allocator::new(TINY, []);
        let slot = take(&mut allocator, 600);
        assert_eq!(slot.capacity, 1024);
        allocator.check(slot, 1000, 24).unwrap();
        let wrong = [
            (slot, 1000, 25),
            (slot, u64::MAX, 2),
            (Slot { offset: 0, ..slot }, 0, 1),
            (
                Slot {
                    offset: slot.offset + 512,
                    ..slot
                },
                0,
                1,
            ),
            (
                Slot {
                    offset: slot.offset + 1024,
                    ..slot
                },
                0,
                1,
            ),
            (
                Slot {
                    offset: u64::MAX,
                    ..slot
                },
                0,
                1,
            ),
            (Slot { capacity: 512, ..slot }, 0, 1),
        ];
        for (slot, at, len) in wrong {
            assert!(
                matches!(allocator.check(slot, at, len), Err(RwError::BadSlot { .. })),
                "{slot:?} {at} {len}"
            );
        }
        allocator.free(slot).unwrap();
        assert!(
            matches!(allocator.free(slot), Err(RwError::BadSlot { .. })),
            "freed twice"
        );
        assert!(matches!(
            allocator.reserve(4097),
            Err(RwError::TooLarge { len: 4097, max: 4096 })
        ));
    }

    #[test]
    fn the_file_grows_to_its_limit_and_shrinks_when_its_end_is_unused() {
        let mut allocator = Allocator::new(TINY, []);
        let slots: Vec<_> = (0..60).map(|_| take(&mut allocator, 4096)).collect();
        assert!(matches!(allocator.growth(), Err(RwError::Full { regions: 60 })));
        slots.iter().for_each(|slot| allocator.publish(*slot).unwrap());
        commit(&mut allocator);
        slots[8..].iter().for_each(|slot| allocator.free(*slot).unwrap());
        assert_eq!(
            commit(&mut allocator).regions,
            60,
            "the commit before still refers to them"
        );
        let set = commit(&mut allocator);
        assert_eq!((set.regions, set.shrinks), (9, true), "eight in use, one spare");
        assert!(allocator.is_clean());
    }

    #[test]
    fn records_move_down_to_empty_the_end() {
        let mut allocator = Allocator::new(TINY, []);
        let slots: Vec<_> = (0..16).map(|_| take(&mut allocator, 512)).collect();
        slots.iter().for_each(|slot| allocator.publish(*slot).unwrap());
        commit(&mut allocator);
        assert_eq!(allocator.reserve_below(slots[15]).unwrap(), None);
        allocator.free(slots[3]).unwrap();
        commit(&mut allocator);
        assert_eq!(allocator.reserve_below(slots[7]).unwrap(), None, "same region");
        assert_eq!(allocator.reserve_below(slots[15]).unwrap(), Some(slots[3]));
    }

    /// Applies the pages of a commit to what is on disk.
    fn store(pages: &mut BTreeMap<u32, Vec<Entry>>, set: &CommitSet) -> Vec<Entry> {
        for (page, entries) in &set.pages {
            pages.insert(*page, entries.clone());
        }
        let mut all: Vec<Entry> = Vec::new();
        for page in 0..page_count(set.regions) {
            let mut entries = pages[&page].clone();
            entries.resize(REGIONS_PER_PAGE as usize, None);
            all.extend(entries);
        }
        all.truncate(set.regions as usize);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn histories_keep_every_promise(steps in prop::collection::vec((0_u8..10, any::<u16>()), 1..200)) {
            let mut allocator = Allocator::new(TINY, []);
            let mut pages = BTreeMap::new();
            let mut reserved: Vec<Slot> = Vec::new();
            let mut live: Vec<Slot> = Vec::new();
            let mut durable: Vec<Slot> = Vec::new();
            let mut committing: Option<(Vec<Slot>, CommitSet)> = None;
            for (step, choice) in steps {
                let choice = usize::from(choice);
                match step {
                    0..=3 => {
                        let len = choice as u64 % 4097;
                        let slot = match allocator.reserve(len).unwrap() {
                            Some(slot) => slot,
                            None => match allocator.growth() {
                                Ok(target) => {
                                    allocator.grow(target);
                                    allocator.reserve(len).unwrap().unwrap()
                                }
                                Err(_) => continue,
                            },
                        };
                        prop_assert!(slot.capacity >= len);
                        let in_commit = committing.iter().flat_map(|(slots, _)| slots);
                        for other in reserved.iter().chain(&live).chain(&durable).chain(in_commit) {
                            let apart = slot.offset + slot.capacity <= other.offset
                                || other.offset + other.capacity <= slot.offset;
                            prop_assert!(apart, "{slot:?} {other:?}");
                        }
                        reserved.push(slot);
                    }
                    4 | 5 if !reserved.is_empty() => {
                        let slot = reserved.swap_remove(choice % reserved.len());
                        allocator.publish(slot).unwrap();
                        live.push(slot);
                    }
                    6 if !live.is_empty() => {
                        let slot = live.swap_remove(choice % live.len());
                        allocator.free(slot).unwrap();
                    }
                    7 if !reserved.is_empty() => {
                        let slot = reserved.swap_remove(choice % reserved.len());
                        allocator.free(slot).unwrap();
                    }
                    8 => match committing.take() {
                        None => committing = Some((live.clone(), allocator.begin_commit())),
                        Some((slots, set)) => {
                            allocator.finish_commit();
                            durable = slots;
                            let entries = store(&mut pages, &set);
                            let mut expected = durable.clone();
                            expected.sort();
                            prop_assert_eq!(Allocator::new(TINY, entries).slots(), expected);
                        }
                    },
                    9 if choice % 4 == 0 && committing.is_none() => {
                        allocator.abort();
                        reserved.clear();
                        live = durable.clone();
                    }
                    _ => {}
                }
                let mut expected = live.clone();
                expected.sort();
                prop_assert_eq!(allocator.slots(), expected);
                let space = allocator.space();
                prop_assert_eq!(space.used_slots as usize, live.len() + reserved.len());
            }
        }
    }
}
