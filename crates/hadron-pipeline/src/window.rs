//! The client's sender window.
