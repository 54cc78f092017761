//! The `hadron` binary.
fn main() {}
