//! `hadron fsck`: asks the NameNode's `/fsck` page and shows what it says, as `hdfs fsck` does.
//!
//! Exit codes are Hadoop's, read off the last line.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use hadron_env::config::keys;

use crate::settings::GenericOptions;

const USAGE: &str = "Usage: hdfs fsck <path> [-list-corruptfileblocks | [-move | -delete | -openforwrite] [-files [-blocks \
    [-locations | -racks | -replicaDetails]]]] [-maintenance] [-blockId <blk_Id>]";

/// Options and their parameters.
const OPTIONS: [(&str, &str); 12] = [
    ("-move", "move"),
    ("-delete", "delete"),
    ("-files", "files"),
    ("-openforwrite", "openforwrite"),
    ("-blocks", "blocks"),
    ("-locations", "locations"),
    ("-racks", "racks"),
    ("-replicaDetails", "replicadetails"),
    ("-showprogress", "showprogress"),
    ("-list-corruptfileblocks", "listcorruptfileblocks"),
    ("-includeSnapshots", "includeSnapshots"),
    ("-maintenance", "maintenance"),
];

/// Runs one check.
#[allow(clippy::print_stdout, reason = "the command's result")]
pub(crate) fn main(args: &[OsString]) -> Result<ExitCode> {
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let (generic, words) = GenericOptions::parse(&words)?;
    let conf = generic.configuration()?;
    let Some(query) = query(&words) else {
        eprintln!("{USAGE}");
        return Ok(ExitCode::from(255));
    };
    let user = std::env::var("HADOOP_USER_NAME").ok().filter(|name| !name.is_empty());
    let user = user.unwrap_or_else(|| conf.user_name().to_owned());
    let mut http = conf.address(keys::DFS_NAMENODE_HTTP_ADDRESS)?;
    if http.host == "0.0.0.0" {
        let url = conf.get(keys::FS_DEFAULT_FS);
        let authority = url.strip_prefix("hdfs://").unwrap_or("");
        let namenodes = conf.namenode_addresses(authority)?;
        http.host = namenodes.first().context("no NameNode is configured")?.host.clone();
    }
    let target = format!("/fsck?ugi={}{query}", encode(&user));
    let place = format!("{}:{}", http.host, http.port);
    eprintln!("Connecting to namenode via http://{place}{target}");
    let mut last = String::new();
    for line in get(&place, &target)?.lines() {
        let line = line.context("read the answer")?;
        println!("{line}");
        last = line;
    }
    Ok(ExitCode::from(exit_code(&last)))
}

/// The parameters of the words; `None` if they are wrong.
fn query(words: &[String]) -> Option<String> {
    let (mut query, mut path) = (String::new(), None);
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        if let Some((_, name)) = OPTIONS.iter().find(|(option, _)| option == word) {
            query += &format!("&{name}=1");
        } else if word == "-blockId" {
            let mut ids = String::new();
            while let Some(id) = words.next_if(|id| !id.starts_with('-')) {
                ids = ids + id + " ";
            }
            query += &format!("&blockId={}", encode(&ids));
        } else if !word.starts_with('-') && path.is_none() {
            path = Some(word.clone());
        } else {
            eprintln!("fsck: Illegal option '{word}'");
            return None;
        }
    }
    let path = path.unwrap_or_else(|| "/".to_owned());
    let path = match path.strip_prefix("hdfs://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]).to_owned(),
        None => path,
    };
    Some(query + "&path=" + &encode(&path))
}

fn exit_code(last: &str) -> u8 {
    const ENDS: [(&str, u8); 9] = [
        ("is HEALTHY", 0),
        ("is CORRUPT", 1),
        ("does not exist", 0),
        ("is EXCESS", 0),
        ("is DECOMMISSIONED", 2),
        ("is DECOMMISSIONING", 3),
        ("is IN MAINTENANCE", 4),
        ("is ENTERING MAINTENANCE", 5),
        ("is STALE", 6),
    ];
    let known = ENDS.iter().find(|(end, _)| last.ends_with(end));
    match known {
        Some((_, code)) => *code,
        None if last.contains("Incorrect blockId format:") || last.is_empty() => 0,
        None => 255,
    }
}

/// Percent-encodes everything that means something in a query.
fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => encoded.push(char::from(byte)),
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// Fetches a page over HTTP 1.0, so that its body is what follows the head, to the end.
fn get(place: &str, target: &str) -> Result<BufReader<TcpStream>> {
    let mut stream = TcpStream::connect(place).with_context(|| format!("connect to {place}"))?;
    let request = format!("GET {target} HTTP/1.0\r\nHost: {place}\r\n\r\n");
    stream.write_all(request.as_bytes()).context("send the request")?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).context("read the answer")?;
    if status.split_whitespace().nth(1) != Some("200") {
        let mut rest = String::new();
        let _ = reader.take(1 << 16).read_to_string(&mut rest);
        bail!("{place} answered {}", status.trim());
    }
    let mut header = String::new();
    while reader.read_line(&mut header).context("read the answer")? > 2 {
        header.clear();
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_parameters() {
        let query = |text: &str| query(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(query("/a -files -blocks").as_deref(), Some("&files=1&blocks=1&path=/a"));
        assert_eq!(query("hdfs://h:1/a%b").as_deref(), Some("&path=/a%25b"));
        assert_eq!(
            query("-blockId blk_1 blk_2 -maintenance").as_deref(),
            Some("&blockId=blk_1%20blk_2%20&maintenance=1&path=/")
        );
        assert_eq!(query("/a /b"), None);
        assert_eq!(query("-nope"), None);
    }

    #[test]
    fn exit_codes_are_those_of_hadoop() {
        for (last, code) in [
            ("The filesystem under path '/' is HEALTHY", 0),
            ("The filesystem under path '/' is CORRUPT", 1),
            ("Path '/x' does not exist", 0),
            ("Fsck on path '/' FAILED", 255),
            ("Block replica on datanode/rack: h/default-rack is DECOMMISSIONING", 3),
        ] {
            assert_eq!(exit_code(last), code, "{last}");
        }
    }
}
