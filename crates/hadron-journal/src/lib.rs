//! Command log segments, group commit, images, checkpoints and recovery
