//! The one JSON file of `CombinedHostFileManager`: an array of hosts, or, as old files have it, hosts one after another
//! without commas.
//!
//! Per host: `hostName`, `port` (absent or 0: all DataNodes there), `upgradeDomain`, `adminState` (Hadoop's names),
//! `maintenanceExpireTimeInMS` (ms since 1970; absent: no end). Unknown fields are passed over.
//!
//! Source: Hadoop `CombinedHostsFileReader`, `DatanodeAdminProperties`.

use super::hosts::{Entry, Role};
use hadron_types::TimeMs;
use serde_json::Value;
use std::sync::Arc;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CombinedError {
    /// It is no JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A host lacks its name or has a field of the wrong kind.
    #[error("host {number}: {problem}")]
    Host {
        /// Counted from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Reads all hosts of a file. An empty file has none.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, CombinedError> {
    let mut hosts = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value? {
            Value::Array(some) => hosts.extend(some),
            one => hosts.push(one),
        }
    }
    let numbered = hosts.iter().enumerate();
    let entries = numbered.map(|(index, host)| {
        entry(host).map_err(|problem| CombinedError::Host {
            number: index + 1,
            problem,
        })
    });
    entries.collect()
}

fn entry(host: &Value) -> Result<Entry, String> {
    let text = |field: &str| match host.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{field} is no text")),
    };
    let number = |field: &str| match host.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| format!("{field} is no whole number")),
    };
    let Some(name) = text("hostName")?.map(str::trim).filter(|name| !name.is_empty()) else {
        return Err("it has no hostName".to_owned());
    };
    let port = number("port")?.unwrap_or(0);
    let until = number("maintenanceExpireTimeInMS")?.unwrap_or(i64::MAX).max(0) as u64;
    let role = match text("adminState")?.unwrap_or("NORMAL") {
        "NORMAL" => Role::Included,
        "DECOMMISSIONED" => Role::Excluded { included: true },
        "IN_MAINTENANCE" => Role::Maintenance(TimeMs(until)),
        // Hadoop takes these for hosts that are listed and nothing more.
        "DECOMMISSION_INPROGRESS" | "ENTERING_MAINTENANCE" => Role::Included,
        other => return Err(format!("adminState {other} is unknown")),
    };
    Ok(Entry {
        host: name.to_ascii_lowercase(),
        port: u16::try_from(port).map_err(|_| format!("port {port} is out of range"))?,
        role,
        upgrade_domain: text("upgradeDomain")?.map(Arc::from),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: [&str; 4] = [
        r#"{"hostName": "Host1"}"#,
        r#"{"hostName": "host2", "port": 50, "upgradeDomain": "ud0"}"#,
        r#"{"hostName": "host3", "adminState": "DECOMMISSIONED"}"#,
        r#"{"hostName": "host4", "adminState": "IN_MAINTENANCE", "maintenanceExpireTimeInMS": "0", "later": [1]}"#,
    ];

    #[test]
    fn arrays_and_hosts_in_a_row() {
        let fourth = HOSTS[3].replace("\"0\"", "1700000000000");
        let hosts = [HOSTS[0], HOSTS[1], HOSTS[2], fourth.as_str()];
        let array = parse(&format!("[{}]", hosts.join(",\n"))).expect("array");
        let in_a_row = parse(&hosts.join("\n")).expect("in a row");
        assert_eq!(array, in_a_row);
        let roles: Vec<Role> = array.iter().map(|entry| entry.role).collect();
        let expected = [
            Role::Included,
            Role::Included,
            Role::Excluded { included: true },
            Role::Maintenance(TimeMs(1_700_000_000_000)),
        ];
        assert_eq!(roles, expected);
        assert_eq!((array[0].host.as_str(), array[1].port), ("host1", 50));
        assert_eq!(array[1].upgrade_domain.as_deref(), Some("ud0"));
    }

    #[test]
    fn empty_files_have_no_hosts_and_odd_ones_are_refused() {
        assert_eq!(parse("").expect("empty"), []);
        assert_eq!(parse("[]").expect("empty"), []);
        let open_ended = parse(r#"[{"hostName":"a","adminState":"IN_MAINTENANCE"}]"#).expect("valid");
        assert_eq!(open_ended[0].role, Role::Maintenance(TimeMs(i64::MAX as u64)));
        for (text, shown) in [
            ("[", "EOF"),
            (r#"[{"port": 1}]"#, "host 1: it has no hostName"),
            (HOSTS[3], "host 1: maintenanceExpireTimeInMS is no whole number"),
            (r#"{"hostName":"a","port":70000}"#, "host 1: port 70000 is out of range"),
            (
                r#"{"hostName":"a","adminState":"GONE"}"#,
                "host 1: adminState GONE is unknown",
            ),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.starts_with(shown), "{text}: {error}");
        }
    }
}
