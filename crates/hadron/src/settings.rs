//! From `--conf`, `HADOOP_CONF_DIR` and `-D` to one configuration.

/// The Hadoop release whose behaviour and protocol versions we report.
pub(crate) const HADOOP_VERSION: &str = "3.3.6";

/// Prints the version the way `hdfs version` opens.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn print_version() {
    println!(
        "Hadron {} (speaks as Hadoop {HADOOP_VERSION})",
        env!("CARGO_PKG_VERSION")
    );
}
