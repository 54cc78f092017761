//! `-ls`: lists entries as columns, or recursively, or names only.

use super::format;
use super::item::Item;
use super::options::Takes;
use super::shell::{Shell, Stop};

const TAKES: Takes = Takes::at_least(0, &["C", "d", "h", "q", "R", "t", "S", "r", "u", "e"]);

/// How wide columns are at least; they only grow while a command runs.
struct Widths {
    replication: usize,
    len: usize,
    owner: usize,
    group: usize,
}

struct Ls {
    names_only: bool,
    plain_directories: bool,
    human: bool,
    hide_controls: bool,
    recursive: bool,
    by_time: bool,
    by_size: bool,
    reverse: bool,
    access_time: bool,
    widths: Widths,
}

pub(crate) fn ls(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = TAKES.parse(args).map_err(Stop::Usage)?;
    let mut ls = Ls {
        names_only: options.has("C"),
        plain_directories: options.has("d"),
        human: options.has("h"),
        hide_controls: options.has("q"),
        recursive: options.has("R") && !options.has("d"),
        by_time: options.has("t"),
        by_size: options.has("S") && !options.has("t"),
        reverse: options.has("r"),
        access_time: options.has("u"),
        widths: Widths {
            replication: 3,
            len: 10,
            owner: 0,
            group: 0,
        },
    };
    let mut arguments = options.rest;
    if arguments.is_empty() {
        arguments.push(".".to_owned());
    }
    shell.each(&arguments, |shell, item| {
        if item.is_dir() && !ls.plain_directories {
            ls.directory(shell, &item)
        } else {
            ls.batch(shell, &[item])
        }
    })?;
    Ok(shell.exit_code())
}

impl Ls {
    fn directory(&mut self, shell: &mut Shell<'_>, folder: &Item) -> Result<(), Stop> {
        let mut entries = folder.children()?;
        if !self.recursive && !entries.is_empty() {
            if !self.names_only {
                shell.say(&format!("Found {} items", entries.len()))?;
            }
            self.sort(&mut entries);
        }
        self.batch(shell, &entries)
    }

    fn sort(&self, entries: &mut [Item]) {
        let time = |item: &Item| {
            item.status
                .as_ref()
                .map_or(0, |s| if self.access_time { s.accessed_ms } else { s.modified_ms })
        };
        let len = |item: &Item| item.status.as_ref().map_or(0, |s| s.len);
        entries.sort_by(|one, other| {
            let order = if self.by_time {
                time(other).cmp(&time(one))
            } else if self.by_size {
                len(other).cmp(&len(one))
            } else {
                one.path.cmp(&other.path)
            };
            if self.reverse { order.reverse() } else { order }
        });
    }

    fn batch(&mut self, shell: &mut Shell<'_>, entries: &[Item]) -> Result<(), Stop> {
        for status in entries.iter().filter_map(|item| item.status.as_ref()) {
            let widths = &mut self.widths;
            widths.replication = widths.replication.max(status.replication.to_string().len());
            widths.len = widths.len.max(status.len.to_string().len());
            widths.owner = widths.owner.max(status.owner.chars().count());
            widths.group = widths.group.max(status.group.chars().count());
        }
        for item in entries {
            let line = self.line(shell, item)?;
            shell.say(&line)?;
            if self.recursive && item.is_dir() {
                let done = self.directory(shell, item);
                shell.go_on(done)?;
            }
        }
        Ok(())
    }

    fn line(&self, shell: &mut Shell<'_>, item: &Item) -> Result<String, Stop> {
        let shown = if self.hide_controls {
            item.text
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect()
        } else {
            item.text.clone()
        };
        if self.names_only {
            return Ok(shown);
        }
        let status = item.status()?;
        let Widths {
            replication,
            len,
            owner,
            group,
        } = self.widths;
        let copies = if status.is_dir {
            "-".to_owned()
        } else {
            status.replication.to_string()
        };
        let column = |text: &str, width: usize| {
            if width > 0 {
                format!("{text:<width$} ")
            } else {
                text.to_owned()
            }
        };
        Ok(format!(
            "{}{}{}{copies:>replication$} {}{}{:>len$} {} {shown}",
            if status.is_dir { 'd' } else { '-' },
            status.permission,
            if status.has_acl { '+' } else { ' ' },
            column(&status.owner, owner),
            column(&status.group, group),
            format::size(status.len, self.human),
            shell.local_minute(if self.access_time {
                status.accessed_ms
            } else {
                status.modified_ms
            }),
        ))
    }
}
