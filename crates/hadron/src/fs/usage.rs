//! `-du`, `-df`, `-count` and `-stat`: figures about paths.

use super::format::{self, Table};
use super::item::Item;
use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::{QuotaUsage, Summary};
use hadron_types::StorageType;

const DU: Takes = Takes::at_least(0, &["h", "s", "v", "x"]);
const DF: Takes = Takes::at_least(0, &["h"]);
const COUNT: Takes = Takes::at_least(1, &["q", "h", "v", "x", "u", "e", "s"]);
const STAT: Takes = Takes::at_least(1, &["R"]);

pub(crate) fn du(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = DU.parse(args).map_err(Stop::Usage)?;
    let mut arguments = options.rest.clone();
    if arguments.is_empty() {
        arguments.push(".".to_owned());
    }
    let header: &[&str] = &["SIZE", "DISK_SPACE_CONSUMED_WITH_ALL_REPLICAS", "FULL_PATH_NAME"];
    let mut table = Table::new(options.has("v").then_some(header), &[]);
    shell.each(&arguments, |shell, item| {
        let entries = if item.is_dir() && !options.has("s") {
            item.children()?
        } else {
            vec![item]
        };
        for entry in entries {
            match entry.store.summary(&entry.path) {
                Ok(sum) => table.add(vec![
                    format::size(sum.length, options.has("h")),
                    format::size(sum.space_consumed, options.has("h")),
                    entry.text,
                ]),
                Err(error) => shell.fail(&error),
            }
        }
        Ok(())
    })?;
    write!(shell.out, "{}", table.render())?;
    Ok(shell.exit_code())
}

pub(crate) fn df(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = DF.parse(args).map_err(Stop::Usage)?;
    let mut arguments = options.rest.clone();
    if arguments.is_empty() {
        arguments.push("/".to_owned());
    }
    let mut table = Table::new(
        Some(&["Filesystem", "Size", "Used", "Available", "Use%"]),
        &[1, 2, 3, 4],
    );
    shell.each(&arguments, |_, item| {
        let room = item.store.room()?;
        table.add(vec![
            item.store.address().to_owned(),
            format::size(room.capacity, options.has("h")),
            format::size(room.used, options.has("h")),
            format::size(room.remaining, options.has("h")),
            format::percent(room.used, room.capacity),
        ]);
        Ok(())
    })?;
    write!(shell.out, "{}", table.render())?;
    Ok(shell.exit_code())
}

pub(crate) fn count(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let (args, types) = take_types(args);
    let options = COUNT.parse(&args).map_err(Stop::Usage)?;
    let (quotas, only_quotas, human) = (options.has("q") || options.has("u"), options.has("u"), options.has("h"));
    let types = match types.filter(|_| quotas) {
        Some(names) => Some(quota_types(&names).map_err(Stop::Usage)?),
        None => None,
    };
    if options.has("v") {
        let mut header = String::new();
        if let Some(types) = &types {
            for kind in types {
                let quota = format!("{}_QUOTA", kind.name());
                header += &format!("{quota:>13} {:>17} ", format!("REM_{quota}"));
            }
        } else if quotas {
            header += &format!(
                "{:>12} {:>15} {:>15} {:>15} ",
                "QUOTA", "REM_QUOTA", "SPACE_QUOTA", "REM_SPACE_QUOTA"
            );
        }
        if !only_quotas && types.is_none() {
            header += &format!("{:>12} {:>12} {:>18} ", "DIR_COUNT", "FILE_COUNT", "CONTENT_SIZE");
        }
        shell.say(&format!("{header}PATHNAME"))?;
    }
    shell.each(&options.rest, |shell, item| {
        let line = if let Some(types) = &types {
            type_columns(&item.store.quota_usage(&item.path)?, types, human)
        } else if only_quotas {
            quota_columns(&item.store.quota_usage(&item.path)?, human)
        } else {
            let sum = item.store.summary(&item.path)?;
            let columns = if quotas {
                quota_columns(&usage_of(&sum), human)
            } else {
                String::new()
            };
            format!(
                "{columns}{:>12} {:>12} {:>18} ",
                format::size(sum.directories, human),
                format::size(sum.files, human),
                format::size(sum.length, human)
            )
        };
        shell.say(&format!("{line}{}", item.text))
    })?;
    Ok(shell.exit_code())
}

/// Takes `-t [<storage type>]` out of the options in front of the paths; its value, if any, is the word behind it as long
/// as a path is left.
fn take_types(args: &[String]) -> (Vec<String>, Option<String>) {
    let mut args = args.to_vec();
    let options = args.iter().take_while(|arg| arg.starts_with('-') && *arg != "--");
    let Some(at) = options.enumerate().find_map(|(at, arg)| (arg == "-t").then_some(at)) else {
        return (args, None);
    };
    args.remove(at);
    // Words in front are options: what is left begins here.
    let has_value = args.len() - at > 1 && args.get(at).is_some_and(|next| !next.starts_with('-'));
    let value = if has_value { args.remove(at) } else { String::new() };
    (args, Some(value))
}

/// The storage types named, all that can have a quota for none or `all`.
fn quota_types(names: &str) -> Result<Vec<StorageType>, String> {
    if names.is_empty() || names.eq_ignore_ascii_case("all") {
        return Ok(hadron_namespace::QUOTA_TYPES.to_vec());
    }
    names
        .split(',')
        .map(|name| StorageType::from_name(name).ok_or_else(|| format!("unknown storage type {name}")))
        .collect()
}

fn usage_of(sum: &Summary) -> QuotaUsage {
    QuotaUsage {
        names: sum.files + sum.directories,
        name_quota: sum.quota,
        space: sum.space_consumed,
        space_quota: sum.space_quota,
        types: Vec::new(),
    }
}

/// A limit and what is left of it; `none` and `inf` where there is none.
fn limit_columns(quota: i64, used: u64, is_set: bool, human: bool) -> (String, String) {
    let signed = |value: i64| {
        let size = format::size(value.unsigned_abs(), human);
        if value < 0 { format!("-{size}") } else { size }
    };
    if is_set {
        (signed(quota), signed(quota.saturating_sub_unsigned(used)))
    } else {
        ("none".to_owned(), "inf".to_owned())
    }
}

fn quota_columns(usage: &QuotaUsage, human: bool) -> String {
    let (names, names_left) = limit_columns(usage.name_quota, usage.names, usage.name_quota > 0, human);
    let (space, space_left) = limit_columns(usage.space_quota, usage.space, usage.space_quota >= 0, human);
    format!("{names:>12} {names_left:>15} {space:>15} {space_left:>15} ")
}

fn type_columns(usage: &QuotaUsage, types: &[StorageType], human: bool) -> String {
    let mut columns = String::new();
    for kind in types {
        let found = usage.types.iter().find(|(known, _, _)| known == kind);
        let (quota, used) = found.map_or((-1, 0), |&(_, quota, used)| (quota, used));
        let (quota, left) = limit_columns(quota, used, quota >= 0, human);
        columns += &format!("{quota:>13} {left:>17} ");
    }
    columns
}

pub(crate) fn stat(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = STAT.parse(args).map_err(Stop::Usage)?;
    let mut pattern = "%y".to_owned();
    if options.rest[0].contains('%') {
        pattern = options.rest.remove(0);
    }
    if options.rest.is_empty() {
        return Err(Stop::Usage("Not enough arguments: expected 1 but got 0".to_owned()));
    }
    let recursive = options.has("R");
    shell.each(&options.rest, |shell, item| {
        shell.walk(item, recursive, &mut |shell, item| {
            let line = described(item, &pattern)?;
            shell.say(&line)
        })
    })?;
    Ok(shell.exit_code())
}

fn described(item: &Item, pattern: &str) -> Result<String, Stop> {
    let status = item.status()?;
    let utc = |ms: i64| format::date_time(ms.div_euclid(1000));
    let mut line = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            line.push(c);
            continue;
        }
        match chars.next() {
            None => break,
            Some('a') => line += &format!("{:o}", status.permission.bits()),
            Some('A') => line += &status.permission.to_string(),
            Some('b') => line += &status.len.to_string(),
            Some('F') => line += if status.is_dir { "directory" } else { "regular file" },
            Some('g') => line += &status.group,
            Some('n') => line += item.name(),
            Some('o') => line += &status.block_size.to_string(),
            Some('r') => line += &status.replication.to_string(),
            Some('u') => line += &status.owner,
            Some('x') => line += &utc(status.accessed_ms),
            Some('X') => line += &status.accessed_ms.to_string(),
            Some('y') => line += &utc(status.modified_ms),
            Some('Y') => line += &status.modified_ms.to_string(),
            Some(other) => line.push(other),
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_with_what_is_left() {
        let usage = QuotaUsage {
            names: 4,
            name_quota: 10,
            space: 3 << 30,
            space_quota: 1 << 30,
            types: vec![(StorageType::Disk, 2048, 1024), (StorageType::Ssd, -1, 7)],
        };
        assert_eq!(
            quota_columns(&usage, true),
            format!("{:>12} {:>15} {:>15} {:>15} ", "10", "6", "1 G", "-2 G")
        );
        assert_eq!(
            type_columns(
                &usage,
                &[StorageType::Ssd, StorageType::Disk, StorageType::Archive],
                false
            ),
            format!(
                "{:>13} {:>17} {:>13} {:>17} {:>13} {:>17} ",
                "none", "inf", "2048", "1024", "none", "inf"
            )
        );
    }

    #[test]
    fn the_word_behind_t_is_its_value_while_a_path_is_left() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, rest, types) in [
            ("-q -t ssd /a", "-q /a", Some("ssd")),
            ("-q -t /a", "-q /a", Some("")),
            ("-t -q /a", "-q /a", Some("")),
            ("-q /a -t", "-q /a -t", None),
        ] {
            assert_eq!(
                take_types(&words(line)),
                (words(rest), types.map(str::to_owned)),
                "{line}"
            );
        }
    }
}
