//! `/fsck`: what `hdfs fsck` prints, produced by the NameNode line by line.
//!
//! What it is for: stock `hdfs fsck` sends its options as query parameters and shows what comes back; its exit code is
//! read off the last line. What it does not do: move files to `/lost+found` (`-move` says so), storage policies' and
//! upgrade domains' columns.
//! Invariants: the tree is that of one moment (a snapshot), replicas are those of the moment their file is looked at;
//! locks are held for one file's blocks at most; a client that goes away ends the walk.
//! Source of words and order: Hadoop `NamenodeFsck`.

mod blocks;
mod figures;
mod walk;

use crate::Shared;
use crate::audit::{AuditEvent, Auth};
use hadron_env::zone::java_date;
use hadron_namespace::Caller;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Pieces of text that may wait for a slow client.
const MAX_PIECES: usize = 16;
/// A piece is sent once it is this long.
const PIECE_BYTES: usize = 16 << 10;
/// Checks that run at a time; more wait.
pub(crate) const MAX_CHECKS: usize = 4;

/// What the client asked for.
#[derive(Clone, Debug, Default)]
struct Request {
    path: String,
    files: bool,
    blocks: bool,
    locations: bool,
    racks: bool,
    replica_details: bool,
    open_files: bool,
    maintenance: bool,
    delete: bool,
    move_files: bool,
    list_corrupt: bool,
    start_after: usize,
    block_ids: Option<Vec<String>>,
}

impl Request {
    fn of(query: &HashMap<String, String>) -> Self {
        let has = |name: &str| query.contains_key(name);
        let path = query.get("path").map_or("/", String::as_str);
        Self {
            path: if path.is_empty() { "/" } else { path }.to_owned(),
            files: has("files"),
            blocks: has("blocks"),
            locations: has("locations"),
            racks: has("racks"),
            replica_details: has("replicadetails"),
            open_files: has("openforwrite"),
            maintenance: has("maintenance"),
            delete: has("delete"),
            move_files: has("move"),
            list_corrupt: has("listcorruptfileblocks"),
            start_after: query
                .get("startblockafter")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            block_ids: query
                .get("blockId")
                .map(|ids| ids.split_whitespace().map(str::to_owned).collect()),
        }
    }
}

/// Starts a check; its text comes out of the receiver.
pub(crate) fn start(shared: &Arc<Shared>, query: &HashMap<String, String>, peer: IpAddr) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(MAX_PIECES);
    let request = Request::of(query);
    let user = query.get("ugi").or_else(|| query.get("user.name"));
    let user = user.map_or("dr.who", String::as_str).to_owned();
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // The semaphore is never closed.
        let Ok(_place) = shared.checks.acquire().await else {
            return;
        };
        let asking = Arc::clone(&shared);
        let work = move || {
            let caller = asking.callers.resolve(&user);
            let mut out = Output::new(sender);
            Check {
                shared: &asking,
                caller: &caller,
                request: &request,
            }
            .run(&mut out, peer);
            out.flush();
        };
        if let Err(error) = tokio::task::spawn_blocking(work).await {
            tracing::error!(%error, "fsck died");
        }
    });
    receiver
}

/// Text on its way to the client.
struct Output {
    sender: mpsc::Sender<String>,
    text: String,
    is_gone: bool,
}

impl Output {
    fn new(sender: mpsc::Sender<String>) -> Self {
        Self {
            sender,
            text: String::new(),
            is_gone: false,
        }
    }

    fn print(&mut self, text: &str) {
        self.text.push_str(text);
        if self.text.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn line(&mut self, text: &str) {
        self.print(text);
        self.print("\n");
    }

    fn flush(&mut self) {
        if !self.text.is_empty() && !self.is_gone {
            self.is_gone = self.sender.blocking_send(std::mem::take(&mut self.text)).is_err();
        }
    }
}

/// One check.
struct Check<'a> {
    shared: &'a Shared,
    caller: &'a Caller,
    request: &'a Request,
}

impl Check<'_> {
    fn run(&self, out: &mut Output, peer: IpAddr) {
        let started = self.shared.state.now();
        let (user, path) = (&self.caller.user, &self.request.path);
        let when = java_date(started);
        if let Some(ids) = &self.request.block_ids {
            out.line(&format!("FSCK started by {user} (auth:SIMPLE) from /{peer} at {when}"));
            return self.block_ids(out, ids);
        }
        out.line(&format!(
            "FSCK started by {user} (auth:SIMPLE) from /{peer} for path {path} at {when}"
        ));
        tracing::info!(user, %peer, path, "fsck");
        let checked = self.check_path(out, started);
        self.shared.audit.write(&AuditEvent {
            allowed: checked.is_ok(),
            user,
            auth: Auth::Simple,
            peer,
            command: "fsck",
            src: Some(path),
            dst: None,
            perm: None,
            tracking_id: self.shared.audit.settings().tracking_id,
            proto: None,
            caller_context: None,
        });
        if let Err(error) = checked {
            let took = self.shared.state.now().since(started);
            let now = java_date(self.shared.state.now());
            out.line(&format!("FSCK ended at {now} in {took} milliseconds"));
            out.line(error.first_line());
            out.print(&format!("\n\nFsck on path '{path}' FAILED"));
        }
    }
}
