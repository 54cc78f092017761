//! Logs on standard error through `tracing`; `RUST_LOG` decides what is shown.
//!
//! Daemons hand their lines to a thread ([`crate::log_lines`]); everything else writes them at once, so that they stand
//! among what the command says itself.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::log_lines::LogLines;

/// Who writes the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Writer {
    /// Who has something to say.
    Caller,
    /// A thread.
    Thread,
}

/// Starts logging. `default`: the filter when `RUST_LOG` is not set, for example `warn`.
///
/// What is returned must be kept to the end: dropping it writes the last lines.
pub(crate) fn init(default: &str, writer: Writer) -> Option<LogLines> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = (writer == Writer::Thread).then(|| LogLines::start(std::io::stderr()).ok());
    match lines.flatten() {
        Some(lines) => {
            let sink = lines.sink();
            logs.with_writer(move || sink.clone()).init();
            Some(lines)
        }
        None => {
            logs.with_writer(std::io::stderr).init();
            None
        }
    }
}
