//! Where things lie in a read-write store's file: metadata in front, then regions of equal size, each cut into equal slots.
//!
//! What it is for: the arithmetic of offsets and size classes, in one place. What it does not do: it knows nothing of what
//! is in use. Invariants: a geometry never changes in the life of a file; slots of different regions never overlap; no slot
//! reaches past its region.

use super::error::RwError;

/// Bytes of a root block, of a metadata page, and of a block in general.
pub const BLOCK_BYTES: usize = 4096;
/// Regions described by one metadata page.
pub const REGIONS_PER_PAGE: u32 = 28;
/// The most metadata pages; a root block has one bit for each.
pub const MAX_PAGES: u32 = 4096;
/// The most units, hence slots, in a region.
pub const MAX_REGION_UNITS: u32 = 1024;
/// The fewest units in a region.
pub const MIN_REGION_UNITS: u32 = 8;

const MIN_UNIT_BYTES: u32 = 512;
const MAX_UNIT_BYTES: u32 = 1 << 16;
/// Classes up to this number of units go up by one unit.
const FINE_UNITS: u32 = 8;
/// From there on, classes within each doubling.
const STEPS: u32 = 4;

/// The numbers a file is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Every slot starts at a multiple of this and is a multiple long: a power of two, 512..=65,536 bytes. Less than the
    /// block of the drive saves room, but then a write that is torn may reach into a neighbour.
    pub unit_bytes: u32,
    /// Units in a region, [`MIN_REGION_UNITS`]`..=`[`MAX_REGION_UNITS`]; the largest slot is one region.
    pub region_units: u32,
    /// The most regions the file may have, 1..=[`MAX_PAGES`] × [`REGIONS_PER_PAGE`]. Room for their metadata is set
    /// aside in front of the file (0.3 KiB for each; never written unless used).
    pub max_regions: u32,
}

impl Default for Geometry {
    /// Units of 4 KiB, regions of 4 MiB, at most 16 GiB.
    fn default() -> Self {
        Self {
            unit_bytes: 4096,
            region_units: MAX_REGION_UNITS,
            max_regions: 4096,
        }
    }
}

/// A size of slots, as an index into the list of sizes; see [`Geometry::class_units`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Class(pub(crate) u16);

impl Geometry {
    /// Refuses what is out of bounds.
    pub fn check(&self) -> Result<(), RwError> {
        let bad = |field, value: u32, bounds| Err(RwError::Geometry { field, value, bounds });
        let unit = self.unit_bytes;
        if !unit.is_power_of_two() || !(MIN_UNIT_BYTES..=MAX_UNIT_BYTES).contains(&unit) {
            return bad("unit_bytes", unit, "a power of two from 512 to 65536");
        }
        if !(MIN_REGION_UNITS..=MAX_REGION_UNITS).contains(&self.region_units) {
            return bad("region_units", self.region_units, "8 to 1024");
        }
        if self.max_regions == 0 || self.max_regions > MAX_PAGES * REGIONS_PER_PAGE {
            return bad("max_regions", self.max_regions, "1 to 114688");
        }
        Ok(())
    }

    /// Bytes in the largest slot.
    pub fn max_slot_bytes(&self) -> u64 {
        self.region_bytes()
    }

    /// Bytes in a region.
    pub fn region_bytes(&self) -> u64 {
        u64::from(self.unit_bytes) * u64::from(self.region_units)
    }

    /// Offset of the first region.
    pub fn base(&self) -> u64 {
        let pages = page_count(self.max_regions);
        let metadata = (2 + 2 * u64::from(pages)) * BLOCK_BYTES as u64;
        metadata.next_multiple_of(u64::from(self.unit_bytes))
    }

    /// Length of a file with `regions` regions.
    pub fn extent(&self, regions: u32) -> u64 {
        self.base() + u64::from(regions) * self.region_bytes()
    }

    /// Units of each slot of a class: 1 to 8 one by one, then 10, 12, 14, 16, 20, 24, 28, 32, 40, … so that at most a
    /// fifth of a slot beyond eight units is unused.
    pub(crate) fn class_units(class: Class) -> u32 {
        let index = u32::from(class.0);
        if index < FINE_UNITS {
            return index + 1;
        }
        let (doubling, step) = ((index - FINE_UNITS) / STEPS, (index - FINE_UNITS) % STEPS);
        (FINE_UNITS + (FINE_UNITS / STEPS) * (step + 1)).saturating_mul(1u32.checked_shl(doubling).unwrap_or(0))
    }

    /// The smallest class whose slots hold `len` bytes; `None` when a region is too small.
    pub(crate) fn class_for(&self, len: u64) -> Option<Class> {
        (0..self.class_count())
            .map(Class)
            .find(|class| self.slot_bytes(*class) >= len)
    }

    /// How many classes there are.
    pub(crate) fn class_count(&self) -> u16 {
        let fits = |index: &u16| Self::class_units(Class(*index)) <= self.region_units;
        (0..u16::MAX).take_while(fits).count().try_into().unwrap_or(u16::MAX)
    }

    /// Bytes in each slot of a class.
    pub(crate) fn slot_bytes(&self, class: Class) -> u64 {
        u64::from(Self::class_units(class)) * u64::from(self.unit_bytes)
    }

    /// Slots of a class in a region.
    pub(crate) fn slots(&self, class: Class) -> u32 {
        self.region_units / Self::class_units(class)
    }

    /// Offset of slot `index` of region `region`.
    pub(crate) fn slot_offset(&self, region: u32, class: Class, index: u32) -> u64 {
        self.extent(region) + u64::from(index) * self.slot_bytes(class)
    }

    /// Region that holds the byte at `offset`, and how far into it that is; `None` within the metadata or past any region.
    pub(crate) fn locate(&self, offset: u64) -> Option<(u32, u64)> {
        let within = offset.checked_sub(self.base())?;
        let region = u32::try_from(within / self.region_bytes()).ok()?;
        (region < self.max_regions).then_some((region, within % self.region_bytes()))
    }
}

/// Metadata pages that describe `regions` regions.
pub(crate) fn page_count(regions: u32) -> u32 {
    regions.div_ceil(REGIONS_PER_PAGE)
}

/// Offset of copy `copy` (0 or 1) of metadata page `page`.
pub(crate) fn page_offset(page: u32, copy: bool) -> u64 {
    (2 + 2 * u64::from(page) + u64::from(copy)) * BLOCK_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_rise_and_waste_little() {
        let geometry = Geometry::default();
        let units: Vec<_> = (0..geometry.class_count())
            .map(|i| Geometry::class_units(Class(i)))
            .collect();
        assert_eq!(units[..14], [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]);
        assert_eq!(units.last(), Some(&1024));
        assert!(
            units
                .windows(2)
                .all(|pair| pair[0] < pair[1] && pair[1] * 4 <= pair[0] * 5 || pair[1] <= 8)
        );
        for (len, bytes) in [
            (0, 4096),
            (4096, 4096),
            (4097, 8192),
            (33_000, 40_960),
            (4 << 20, 4 << 20),
        ] {
            assert_eq!(geometry.slot_bytes(geometry.class_for(len).unwrap()), bytes, "{len}");
        }
        assert_eq!(geometry.class_for((4 << 20) + 1), None);
    }

    #[test]
    fn regions_lie_behind_the_metadata() {
        let geometry = Geometry {
            unit_bytes: 512,
            region_units: 8,
            max_regions: 29,
        };
        geometry.check().unwrap();
        assert_eq!((geometry.base(), geometry.extent(2)), (6 * 4096, 6 * 4096 + 8192));
        assert_eq!(page_offset(1, true) + 4096, geometry.base());
        assert_eq!(geometry.locate(geometry.base() + 4097), Some((1, 1)));
        assert_eq!(geometry.locate(geometry.base() - 1), None);
        assert_eq!(geometry.locate(geometry.extent(29)), None);
    }

    #[test]
    fn geometries_out_of_bounds_are_refused() {
        let good = Geometry::default();
        let bad = [
            Geometry { unit_bytes: 0, ..good },
            Geometry {
                unit_bytes: 256,
                ..good
            },
            Geometry {
                unit_bytes: 5000,
                ..good
            },
            Geometry {
                unit_bytes: 1 << 17,
                ..good
            },
            Geometry {
                region_units: 7,
                ..good
            },
            Geometry {
                region_units: 1025,
                ..good
            },
            Geometry { max_regions: 0, ..good },
            Geometry {
                max_regions: u32::MAX,
                ..good
            },
        ];
        for geometry in bad {
            assert!(
                matches!(geometry.check(), Err(RwError::Geometry { .. })),
                "{geometry:?}"
            );
        }
    }
}
