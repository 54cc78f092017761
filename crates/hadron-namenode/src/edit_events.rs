//! What watchers are told about applied commands (`HdfsAdmin.getInotifyEventStream`): a window of the latest entries.
//!
//! What it is for: [`EditWindow`] gets every entry of the log as it is applied, at run time and at replay, in the form
//! watchers want: events with the paths and attributes that the entry led to. What it does not do: read the journal's
//! files; an entry that fell out of the window is gone for watchers, and they are told by the gap in the ids.
//! Invariants: transaction ids are the log's indexes, so they are contiguous; `first <= asked <= last` means that
//! nothing between `asked` and `last` is missing; an entry without events still counts; the window is bounded by
//! [`MAX_ENTRIES`] and [`MAX_BYTES`].
//! Source of the meaning of events: Hadoop `InotifyFSEditLogOpTranslator`.

use crate::edit_event_codec::{EditEvent, Metadata};
use hadron_namespace::command::{Op, create_flag};
use hadron_namespace::{Applied, Command, Effect, Namespace, OutcomeValue};
use hadron_types::{InodeId, LogIndex};
use std::collections::VecDeque;

/// Most entries with events that are kept.
const MAX_ENTRIES: usize = 200_000;
/// Most bytes that the kept events may take, by estimate.
const MAX_BYTES: usize = 64 << 20;

/// The latest entries of the log as events.
#[derive(Debug, Default)]
pub(crate) struct EditWindow {
    entries: VecDeque<(u64, Vec<EditEvent>)>,
    bytes: usize,
    /// First transaction of which everything is known; 0 before any.
    first: u64,
    /// Last transaction applied.
    last: u64,
}

/// A part of the window.
#[derive(Debug, PartialEq)]
pub(crate) struct EditPage {
    /// Transactions with events, oldest first.
    pub(crate) batches: Vec<(u64, Vec<EditEvent>)>,
    /// First transaction looked at; above the one asked for if some are not known any more. -1: there is none.
    pub(crate) first: i64,
    /// Last transaction looked at. -1: there is none.
    pub(crate) last: i64,
}

impl EditWindow {
    /// Begins again after the entry `index`: what came before is not known.
    pub(crate) fn restart(&mut self, index: LogIndex) {
        *self = Self {
            first: index.0 + 1,
            last: index.0,
            ..Self::default()
        };
    }

    /// Says that the state was loaded as of `index`; entries already in the window stay.
    pub(crate) fn begin_after(&mut self, index: LogIndex) {
        if self.last != index.0 || self.first == 0 {
            self.restart(index);
        }
    }

    /// Adds the entry `index` with its events, which may be none.
    pub(crate) fn push(&mut self, index: LogIndex, events: Vec<EditEvent>) {
        if index.0 != self.last + 1 || self.first == 0 {
            self.restart(LogIndex(index.0.saturating_sub(1)));
        }
        self.last = index.0;
        if events.is_empty() {
            return;
        }
        self.bytes += events.iter().map(EditEvent::size).sum::<usize>();
        self.entries.push_back((index.0, events));
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((gone, events)) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= events.iter().map(EditEvent::size).sum::<usize>();
            self.first = gone + 1;
        }
    }

    /// What happened from transaction `from` on, at least one transaction if there is one, and no more than follows
    /// once `max_events` are in.
    pub(crate) fn page(&self, from: u64, max_events: usize) -> EditPage {
        let nothing = EditPage {
            batches: Vec::new(),
            first: -1,
            last: -1,
        };
        if from > self.last || self.first == 0 {
            return nothing;
        }
        let first = from.max(self.first);
        let start = self.entries.partition_point(|(index, _)| *index < first);
        let mut batches = Vec::new();
        let (mut count, mut last) = (0, self.last);
        for (index, events) in self.entries.range(start..) {
            count += events.len();
            batches.push((*index, events.clone()));
            if count >= max_events {
                last = *index;
                break;
            }
        }
        EditPage {
            batches,
            first: signed(first),
            last: signed(last),
        }
    }
}

fn signed(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// What must be known of the state before a command is applied to tell afterwards what it did.
#[derive(Debug)]
pub(crate) struct Before {
    next_inode: InodeId,
    /// The call had been applied before: nothing happens.
    replayed: bool,
    /// A rename goes below the directory it names.
    moves_into: bool,
}

impl Before {
    /// Looks at the state before `command`.
    pub(crate) fn look(ns: &Namespace, command: &Command) -> Self {
        let moves_into = matches!(&command.op, Some(Op::Rename(op)) if ns.is_directory(&op.target));
        Self {
            next_inode: ns.next_inode_id(),
            replayed: ns.replayed(command).is_some(),
            moves_into,
        }
    }

    /// The events of `command`, which was applied with the result `applied` and left `ns`.
    pub(crate) fn events(self, ns: &Namespace, command: Command, applied: &Applied) -> Vec<EditEvent> {
        let mut events = Vec::new();
        let Ok(value) = &applied.outcome else {
            return events;
        };
        if self.replayed || *value == OutcomeValue::Bool(false) {
            return closings(ns, &applied.effects, events);
        }
        let time = command.time_ms;
        match command.op {
            Some(Op::Create(op)) => {
                if let OutcomeValue::Created(status) = value {
                    let made = status.id.0.saturating_sub(self.next_inode.0);
                    let parent = op.path.rfind('/').map_or("", |at| &op.path[..at]);
                    new_directories(ns, parent, made, time, &mut events);
                    events.push(EditEvent::Create {
                        is_directory: false,
                        time,
                        owner: status.owner.clone(),
                        group: status.group.clone(),
                        permission: status.permission,
                        replication: i32::from(status.replication),
                        overwrite: op.flags & create_flag::OVERWRITE != 0,
                        block_size: status.block_size,
                        path: op.path,
                    });
                }
            }
            Some(Op::Mkdirs(op)) => {
                let made = ns.next_inode_id().0 - self.next_inode.0;
                new_directories(ns, op.path.trim_end_matches('/'), made, time, &mut events);
            }
            Some(Op::Append(op)) => events.push(EditEvent::Append {
                path: op.path,
                new_block: op.new_block,
            }),
            Some(Op::Rename(op)) if op.source != op.target => {
                let name = op.source.trim_end_matches('/').rsplit('/').next().unwrap_or("");
                let target = match self.moves_into {
                    true => format!("{}/{name}", op.target.trim_end_matches('/')),
                    false => op.target,
                };
                let (source, target) = (op.source, target);
                events.push(EditEvent::Rename { source, target, time });
            }
            Some(Op::Rename2(op)) => {
                let (source, target) = (op.source, op.target);
                events.push(EditEvent::Rename { source, target, time });
            }
            Some(Op::Delete(op)) => events.push(EditEvent::Unlink { path: op.path, time }),
            Some(Op::SetPermission(op)) => {
                let what = Metadata::Permission(op.permission);
                events.push(EditEvent::Metadata { path: op.path, what });
            }
            Some(Op::SetOwner(op)) => {
                let what = Metadata::Owner(op.user, op.group);
                events.push(EditEvent::Metadata { path: op.path, what });
            }
            Some(Op::SetTimes(op)) => {
                let what = Metadata::Times(op.mtime_ms, op.atime_ms);
                events.push(EditEvent::Metadata { path: op.path, what });
            }
            Some(Op::SetReplication(op)) => {
                let what = Metadata::Replication(op.replication);
                events.push(EditEvent::Metadata { path: op.path, what });
            }
            Some(Op::Concat(op)) => {
                let (path, new_block) = (op.target.clone(), false);
                events.push(EditEvent::Append { path, new_block });
                let gone = op.sources.into_iter().map(|path| EditEvent::Unlink { path, time });
                events.extend(gone);
                // Hadoop does not say how long the file is now.
                events.push(EditEvent::Close {
                    path: op.target,
                    size: u64::MAX,
                    time,
                });
            }
            Some(Op::UpdateAccessTimes(op)) => {
                let of = |file: hadron_namespace::command::AccessTime| {
                    let path = ns.path_of(InodeId(file.file_id))?;
                    let what = Metadata::Times(None, Some(file.atime_ms));
                    Some(EditEvent::Metadata { path, what })
                };
                events.extend(op.files.into_iter().filter_map(of));
            }
            _ => {}
        }
        closings(ns, &applied.effects, events)
    }
}

/// Adds a Close for every file that the command closed, whichever it was.
fn closings(ns: &Namespace, effects: &[Effect], mut events: Vec<EditEvent>) -> Vec<EditEvent> {
    for effect in effects {
        if let Effect::FileClosed { file, .. } = effect
            && let (Some(path), Some(status)) = (ns.path_of(*file), ns.file_info_by_id(*file))
        {
            events.push(EditEvent::Close {
                path,
                size: status.len,
                time: status.mtime.0,
            });
        }
    }
    events
}

/// Adds a Create for each of the `made` last components of `path`, the topmost first.
fn new_directories(ns: &Namespace, path: &str, made: u64, time: u64, events: &mut Vec<EditEvent>) {
    let caller = hadron_namespace::Caller::superuser("");
    let mut paths = Vec::new();
    let mut rest = path;
    while (paths.len() as u64) < made && !rest.is_empty() {
        paths.push(rest);
        rest = rest.rfind('/').map_or("", |at| rest[..at].trim_end_matches('/'));
    }
    for path in paths.into_iter().rev() {
        let Ok(Some(status)) = ns.file_info(&caller, path) else {
            continue;
        };
        events.push(EditEvent::Create {
            is_directory: true,
            path: path.to_owned(),
            time,
            owner: status.owner,
            group: status.group,
            permission: status.permission,
            replication: 0,
            overwrite: false,
            block_size: 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unlink(path: &str) -> Vec<EditEvent> {
        vec![EditEvent::Unlink {
            path: path.to_owned(),
            time: 1,
        }]
    }

    #[test]
    fn pages_are_contiguous_and_a_gap_shows_in_the_first_id() {
        let mut window = EditWindow::default();
        assert_eq!(window.page(1, 10).last, -1, "nothing is known yet");
        window.restart(LogIndex(7));
        assert_eq!(window.page(8, 10).last, -1, "nothing happened yet");
        window.push(LogIndex(8), unlink("/a"));
        window.push(LogIndex(9), Vec::new());
        window.push(LogIndex(10), unlink("/b"));
        window.push(LogIndex(11), Vec::new());
        let ids = |page: &EditPage| page.batches.iter().map(|batch| batch.0).collect::<Vec<_>>();
        let all = window.page(8, 10);
        assert_eq!((all.first, all.last, ids(&all)), (8, 11, vec![8, 10]));
        let one = window.page(8, 1);
        assert_eq!((one.first, one.last, ids(&one)), (8, 8, vec![8]));
        let rest = window.page(9, 1);
        assert_eq!((rest.first, rest.last, ids(&rest)), (9, 10, vec![10]));
        let tail = window.page(11, 1);
        assert_eq!((tail.first, tail.last, ids(&tail)), (11, 11, vec![]));
        let lost = window.page(3, 10);
        assert_eq!((lost.first, lost.last), (8, 11), "3 to 7 are missing, and it shows");
        assert_eq!(window.page(12, 10).last, -1);
        window.push(LogIndex(20), unlink("/c"));
        assert_eq!(
            window.page(8, 10).first,
            20,
            "a jump of the log forgets what was before"
        );
    }

    #[test]
    fn the_window_is_bounded() {
        let mut window = EditWindow::default();
        window.restart(LogIndex(0));
        let long = "/x".repeat(4096);
        let count = (MAX_BYTES / long.len()) as u64 + 100;
        for index in 1..=count {
            window.push(LogIndex(index), unlink(&long));
        }
        assert!(window.bytes <= MAX_BYTES);
        let page = window.page(1, 1);
        assert!(page.first > 50, "the oldest are gone: {}", page.first);
        assert_eq!(page.first, signed(window.entries[0].0));
    }
}
