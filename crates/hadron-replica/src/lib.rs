//! Volumes, block and meta files, replica states
