//! One line per call that touched the namespace, in the exact format of HDFS's audit log.
//!
//! Source: Hadoop `FSNamesystem.DefaultAuditLogger`: tab-separated
//! `allowed= ugi= (auth:) ip= cmd= src= dst= perm= proto=`, with `callerContext=` last when there is one.
//! What it does not do: no file of its own; lines go to the `tracing` target [`TARGET`] at INFO, and nothing is
//! formatted when that target is off.
//! Invariant: control characters of a path cannot forge a second line.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// Target to enable: `RUST_LOG=hdfs.audit=info`.
pub const TARGET: &str = "hdfs.audit";

/// What one line tells.
#[derive(Debug, Clone, Copy)]
pub struct AuditEvent<'a> {
    /// False when permission was denied.
    pub allowed: bool,
    /// Short name of the caller, with the real user for a proxied one.
    pub user: &'a str,
    /// Short name of the user acting for `user`.
    pub real_user: Option<&'a str>,
    /// Where the call came from.
    pub peer: IpAddr,
    /// Hadoop's command name (`create`, `open`, `listStatus`, `mkdirs`, …).
    pub command: &'a str,
    /// Source path; `None` prints `null`.
    pub src: Option<&'a str>,
    /// Destination path; `None` prints `null`.
    pub dst: Option<&'a str>,
    /// `owner:group:rwxr-xr-x` of the result; `None` prints `null`.
    pub perm: Option<&'a str>,
    /// The caller context, when enabled and sent.
    pub caller_context: Option<&'a str>,
}

impl AuditEvent<'_> {
    /// Whether anybody listens; callers skip building `perm` when not.
    pub fn enabled() -> bool {
        tracing::enabled!(target: TARGET, tracing::Level::INFO)
    }

    /// Writes the line.
    pub fn log(&self) {
        if Self::enabled() {
            tracing::info!(target: TARGET, "{self}");
        }
    }
}

impl fmt::Display for AuditEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed={}\tugi={}", self.allowed, Clean(self.user))?;
        match self.real_user {
            Some(real) => write!(f, " (auth:PROXY) via {} (auth:SIMPLE)", Clean(real))?,
            None => f.write_str(" (auth:SIMPLE)")?,
        }
        write!(f, "\tip=/{}\tcmd={}", self.peer, self.command)?;
        for (name, value) in [("src", self.src), ("dst", self.dst), ("perm", self.perm)] {
            write!(f, "\t{name}={}", Clean(value.unwrap_or("null")))?;
        }
        f.write_str("\tproto=rpc")?;
        match self.caller_context {
            Some(context) => write!(f, "\tcallerContext={}", Clean(context)),
            None => Ok(()),
        }
    }
}

/// Text with control characters escaped.
struct Clean<'a>(&'a str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                f.write_char(c)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: LM-30
    #[test]
    fn lines_have_the_format_of_hdfs() {
        let mut event = AuditEvent {
            allowed: true,
            user: "ann",
            real_user: None,
            peer: IpAddr::from([127, 0, 0, 1]),
            command: "create",
            src: Some("/a/b"),
            dst: None,
            perm: Some("ann:supergroup:rw-r--r--"),
            caller_context: None,
        };
        assert_eq!(
            event.to_string(),
            "allowed=true\tugi=ann (auth:SIMPLE)\tip=/127.0.0.1\tcmd=create\tsrc=/a/b\tdst=null\tperm=ann:supergroup:rw-r--r--\tproto=rpc"
        );
        event.allowed = false;
        event.real_user = Some("oozie");
        event.src = Some("/x\nallowed=true");
        event.perm = None;
        event.caller_context = Some("job_1");
        assert_eq!(
            event.to_string(),
            "allowed=false\tugi=ann (auth:PROXY) via oozie (auth:SIMPLE)\tip=/127.0.0.1\tcmd=create\tsrc=/x\\nallowed=true\tdst=null\tperm=null\tproto=rpc\tcallerContext=job_1"
        );
    }
}
