//! What can be wrong with configuration.
//!
//! Every message names the place a person has to edit.

use std::io;
use std::path::PathBuf;

/// An unusable configuration.
#[derive(thiserror::Error, Debug)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("read configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not the XML that Hadoop expects.
    #[error("{path}:{line}: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A value does not fit the key's type.
    #[error("configuration key {key} = {value:?} (from {place}): {reason}")]
    Value {
        /// The key.
        key: String,
        /// Its text after substitution.
        value: String,
        /// The file, or "program".
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A `-D` argument without `=`.
    #[error("-D argument {argument:?} is not key=value")]
    Override {
        /// The argument.
        argument: String,
    },
    /// Keys that together give no answer.
    #[error("{0}")]
    Unusable(String),
}
