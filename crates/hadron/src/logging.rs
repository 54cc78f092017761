//! Logs on standard error through `tracing`; `RUST_LOG` decides what is shown.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `default`: the filter when `RUST_LOG` is not set, for example `warn`.
pub(crate) fn init(default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
