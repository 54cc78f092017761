//! The outside world as values and traits, each with a real and a test version.
//!
//! What it is for: shells take a [`Clock`], a [`Random`] and a [`Disk`] as arguments, so that a test can stop time,
//! repeat chance and pull the plug. It also holds the Hadoop configuration ([`config`]).
//! What it does not do: no sockets (see `hadron-net`), no runtime: nothing here awaits or spawns on an executor.
//! Invariants: production code reaches clock, randomness and journal disks only through these traits.

pub mod clock;
pub mod config;
pub mod disk;
pub mod durable;
pub mod random;
pub mod zone;

pub use clock::{Clock, ManualClock, SystemClock};
pub use config::Configuration;
pub use disk::{Disk, DiskFile, Open, RealDisk, SimDisk};
pub use random::{Random, SeededRandom, SystemRandom};
