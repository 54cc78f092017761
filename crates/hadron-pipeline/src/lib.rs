//! The write pipeline as pure state machines: sender window, relay, recovery planner
