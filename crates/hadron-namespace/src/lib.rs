//! The replicated namespace: commands, apply, outcomes, leases, retry cache, image
