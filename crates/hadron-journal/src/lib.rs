//! The command log: commands are made durable together, applied in order, and only then answered.
//!
//! What it is for: [`CommandLog`] is what the NameNode proposes commands to; [`LocalLog`] keeps them in segments in
//! every name dir, with images of the whole state from time to time, and finds the state again at start. [`suite`]
//! judges any implementation.
//! What it does not do: know what a command means (see [`StateMachine`]), lock the state, retry.
//! Invariants: `answered <= applied <= durable`; an entry is applied once, in index order, at run time and at replay
//! alike; nothing durable is rewritten; damage is never skipped silently.
//! Formats: `docs/formats/journal.md`.

mod aligned;
mod batch;
mod checkpoint;
mod identity;
mod image;
mod inventory;
mod local;
mod log;
mod machine;
mod options;
mod queue;
mod recovery;
mod restore;
mod scan;
mod segment;
mod setup;
pub mod suite;
mod writer;

pub use identity::Identity;
pub use image::ImageReader;
pub use local::{LocalLog, Opened};
pub use log::{CommandLog, Health, LogError, NewestImage, Pending};
pub use machine::{CodecError, Entry, StateMachine};
pub use options::{Env, Options};
pub use recovery::OpenError;
pub use setup::{FormatError, format, is_formatted, read_identity};
