//! One line per call that touched the namespace, in the exact format of HDFS's audit log.
//!
//! Source: Hadoop `FSNamesystem.FSNamesystemAuditLogger`: tab-separated
//! `allowed= ugi= ip= cmd= src= dst= perm= (trackingId=) proto=`, with `callerContext=` last when there is one.
//! What it does not do: decide where lines go, which is [`AuditLog`](crate::AuditLog)'s.
//! Invariant: no text of a caller can forge a second line or another field: paths and contexts are escaped as Java's
//! `StringEscapeUtils.escapeJava` does, names as far as control characters go.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

/// What one line tells.
#[derive(Debug, Clone, Copy)]
pub struct AuditEvent<'a> {
    /// False when permission was denied.
    pub allowed: bool,
    /// Full name of the caller.
    pub user: &'a str,
    /// How the caller proved who it is.
    pub auth: Auth<'a>,
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
    /// Whether `trackingId=` is printed (`dfs.namenode.audit.log.token.tracking.id`); no token has one.
    pub tracking_id: bool,
    /// How the call came: `rpc`; `None` prints `null`, as for calls that are no RPC.
    pub proto: Option<&'a str>,
    /// The caller context, when enabled and sent: text, escaped here, and its signature, empty for none.
    pub caller_context: Option<(&'a str, &'a [u8])>,
}

/// How a caller is shown behind its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth<'a> {
    /// Believed.
    Simple,
    /// By a token.
    Token,
    /// Somebody else, of this name, acts for it.
    Proxy(&'a str),
}

impl fmt::Display for AuditEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allowed={}\tugi={}", self.allowed, Clean(self.user))?;
        match self.auth {
            Auth::Simple => f.write_str(" (auth:SIMPLE)")?,
            Auth::Token => f.write_str(" (auth:TOKEN)")?,
            Auth::Proxy(real) => write!(f, " (auth:PROXY) via {} (auth:SIMPLE)", Clean(real))?,
        }
        write!(f, "\tip=/{}\tcmd={}", JavaAddress(self.peer), self.command)?;
        for (name, value) in [("src", self.src), ("dst", self.dst)] {
            write!(f, "\t{name}={}", JavaText(value.unwrap_or("null")))?;
        }
        write!(f, "\tperm={}", Clean(self.perm.unwrap_or("null")))?;
        if self.tracking_id {
            f.write_str("\ttrackingId=null")?;
        }
        write!(f, "\tproto={}", self.proto.unwrap_or("null"))?;
        let Some((context, signature)) = self.caller_context else {
            return Ok(());
        };
        write!(f, "\tcallerContext={}", JavaText(context))?;
        match signature {
            [] => Ok(()),
            signature => write!(f, ":{}", JavaText(&String::from_utf8_lossy(signature))),
        }
    }
}

/// A name with control characters escaped.
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

/// A text as `escapeJava` writes it: quotes, backslashes and what is not printable ASCII escaped, by UTF-16 unit.
pub(crate) struct JavaText<'a>(pub(crate) &'a str);

impl fmt::Display for JavaText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| matches!(c, ' '..='\x7f') && c != '"' && c != '\\';
        if self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                '\r' => f.write_str("\\r")?,
                '\x08' => f.write_str("\\b")?,
                '\x0c' => f.write_str("\\f")?,
                c if plain(c) => f.write_char(c)?,
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04X}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// An address as Java's `getHostAddress` prints it: groups of zeros are not left out.
struct JavaAddress(IpAddr);

impl fmt::Display for JavaAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => {
                for (index, group) in address.segments().into_iter().enumerate() {
                    let separator = if index == 0 { "" } else { ":" };
                    write!(f, "{separator}{group:x}")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> AuditEvent<'static> {
        AuditEvent {
            allowed: true,
            user: "ann",
            auth: Auth::Simple,
            peer: IpAddr::from([127, 0, 0, 1]),
            command: "create",
            src: Some("/a/b"),
            dst: None,
            perm: Some("ann:supergroup:rw-r--r--"),
            tracking_id: false,
            proto: Some("rpc"),
            caller_context: None,
        }
    }

    fn check(event: AuditEvent<'_>, expected: &str) {
        assert_eq!(event.to_string(), expected);
    }

    // covers: LM-30
    #[test]
    fn lines_have_the_format_of_hdfs() {
        check(
            event(),
            "allowed=true\tugi=ann (auth:SIMPLE)\tip=/127.0.0.1\tcmd=create\tsrc=/a/b\tdst=null\tperm=ann:supergroup:rw-r--r--\tproto=rpc",
        );
        check(
            AuditEvent {
                allowed: false,
                auth: Auth::Proxy("oozie"),
                src: Some("/x\nallowed=true"),
                perm: None,
                caller_context: Some(("job_1\t", b"sig\"")),
                ..event()
            },
            "allowed=false\tugi=ann (auth:PROXY) via oozie (auth:SIMPLE)\tip=/127.0.0.1\tcmd=create\tsrc=/x\\nallowed=true\tdst=null\tperm=null\tproto=rpc\tcallerContext=job_1\\t:sig\\\"",
        );
        check(
            AuditEvent {
                user: "a\nb@REALM",
                auth: Auth::Token,
                peer: "::1".parse().expect("address"),
                src: Some("/é\\\"\u{1F600}\u{7}~"),
                dst: Some("/d"),
                perm: None,
                tracking_id: true,
                proto: None,
                ..event()
            },
            "allowed=true\tugi=a\\nb@REALM (auth:TOKEN)\tip=/0:0:0:0:0:0:0:1\tcmd=create\tsrc=/\\u00E9\\\\\\\"\\uD83D\\uDE00\\u0007~\tdst=/d\tperm=null\ttrackingId=null\tproto=null",
        );
        let mapped = AuditEvent {
            peer: "::ffff:10.1.2.3".parse().expect("address"),
            ..event()
        };
        assert!(mapped.to_string().contains("\tip=/10.1.2.3\t"), "{mapped}");
    }
}
