//! Clock, randomness, disk and configuration as values and traits with real and test versions
