//! Both file stores on a disk that forgets and tears: loss of power after every prefix of the operations that reach it.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod dying;
mod rw_crash;
mod worm_crash;
