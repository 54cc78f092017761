//! In-process clusters on port 0 and helpers for tests
