//! `-chmod`, `-chown`, `-chgrp` and `-setrep`.

use std::time::Duration;

use hadron_types::FsPermission;

use super::item::Item;
use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::FsError;

const CHMOD: Takes = Takes {
    keep_unknown: true,
    ..Takes::at_least(2, &["R"])
};
const CHOWN: Takes = Takes::at_least(2, &["R"]);
const SETREP: Takes = Takes::at_least(2, &["R", "w"]);
/// How long `-setrep -w` waits between two looks.
const REPLICATION_POLL: Duration = Duration::from_secs(1);

/// What one class of users gets: `kind` is `+`, `-` or `=`, `bits` holds rwx and 8 for `X`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    kind: char,
    bits: u16,
}

/// A parsed mode: changes for owner, group, others and the sticky bit.
#[derive(Debug, PartialEq)]
struct Mode {
    owner: Change,
    group: Change,
    other: Change,
    sticky: Change,
}

impl Mode {
    /// Reads octal (`644`, `1777`) or symbolic (`u+x,g=rw`) modes; `None` where it is neither.
    fn parse(text: &str) -> Option<Self> {
        Self::symbolic(text).or_else(|| Self::octal(text))
    }

    fn octal(text: &str) -> Option<Self> {
        let digits = text.trim();
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let (sticky, digits) = match digits.len() {
            3 => (0, digits),
            4 if digits.starts_with(['0', '1']) => (u16::from(digits.starts_with('1')), &digits[1..]),
            _ => return None,
        };
        if !digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
            return None;
        }
        let bits = u16::from_str_radix(digits, 8).ok()?;
        let set = |bits: u16| Change { kind: '=', bits };
        Some(Self {
            owner: set(bits >> 6),
            group: set(bits >> 3 & 7),
            other: set(bits & 7),
            sticky: set(sticky),
        })
    }

    fn symbolic(text: &str) -> Option<Self> {
        let none = Change { kind: '+', bits: 0 };
        let mut mode = Self {
            owner: none,
            group: none,
            other: none,
            sticky: none,
        };
        for clause in text.split(',') {
            let clause = clause.trim();
            let at = clause.find(['+', '-', '='])?;
            let (who, rest) = clause.split_at(at);
            let ops = rest.len() - rest.trim_start_matches(['+', '-', '=']).len();
            let (ops, letters) = rest.split_at(ops);
            let kind = ops.chars().last()?;
            if letters.is_empty() || !who.chars().all(|c| "ugoa".contains(c)) {
                return None;
            }
            let (mut bits, mut sticky) = (0, 0);
            for letter in letters.chars() {
                match letter {
                    'r' => bits |= 4,
                    'w' => bits |= 2,
                    'x' => bits |= 1,
                    'X' => bits |= 8,
                    't' => sticky = 1,
                    _ => return None,
                }
            }
            let all = !who.contains(['u', 'g', 'o']);
            let change = Change { kind, bits };
            if all || who.contains('u') {
                mode.owner = change;
            }
            if all || who.contains('g') {
                mode.group = change;
            }
            if all || who.contains('o') {
                mode.other = change;
                mode.sticky = Change { kind, bits: sticky };
            }
        }
        Some(mode)
    }

    fn apply(&self, existing: FsPermission, is_dir: bool) -> FsPermission {
        let bits = existing.bits();
        let may_execute = is_dir || bits & 0o111 != 0;
        let part = |change: Change, existing: u16, may_execute: bool| {
            let capital = change.bits & 8 != 0;
            let wanted = if capital { change.bits & !8 | 1 } else { change.bits };
            let result = match change.kind {
                '+' => existing | wanted,
                '-' => existing & !wanted,
                _ => wanted,
            };
            if capital && !may_execute && existing & 1 == 0 {
                result & !1
            } else {
                result
            }
        };
        let combined = part(self.sticky, bits >> 9, false) << 9
            | part(self.owner, bits >> 6 & 7, may_execute) << 6
            | part(self.group, bits >> 3 & 7, may_execute) << 3
            | part(self.other, bits & 7, may_execute);
        FsPermission::from_wire(u32::from(combined))
    }
}

pub(crate) fn chmod(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = CHMOD.parse(args).map_err(Stop::Usage)?;
    let text = options.rest.remove(0);
    let mode = Mode::parse(&text)
        .ok_or_else(|| Stop::Usage(format!("chmod : mode '{text}' does not match the expected pattern.")))?;
    let recursive = options.has("R");
    shell.each(&options.rest, |shell, item| {
        shell.walk(item, recursive, &mut |_, item| {
            let status = item.status()?;
            let permission = mode.apply(status.permission, status.is_dir);
            if permission == status.permission {
                return Ok(());
            }
            item.store
                .set_permission(&item.path, permission)
                .map_err(|error| about("permissions", item, &error))
        })
    })?;
    Ok(shell.exit_code())
}

fn about(what: &str, item: &Item, error: &FsError) -> Stop {
    FsError::new(format!("changing {what} of '{}': {}", item.text, error.message())).into()
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./@".contains(c))
}

pub(crate) fn chown(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = CHOWN.parse(args).map_err(Stop::Usage)?;
    let text = options.rest.remove(0);
    let (owner, group) = match text.trim().split_once(':') {
        Some((owner, group)) => (owner, group),
        None => (text.trim(), ""),
    };
    if !is_name(owner) || !is_name(group) {
        return Err(Stop::Usage(format!(
            "'{text}' does not match expected pattern for [owner][:group]."
        )));
    }
    let (owner, group) = (some(owner), some(group));
    if owner.is_none() && group.is_none() {
        return Err(Stop::Usage(format!("'{text}' does not specify owner or group.")));
    }
    change_owner(shell, &options.rest, options.has("R"), owner, group)
}

pub(crate) fn chgrp(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = CHOWN.parse(args).map_err(Stop::Usage)?;
    let text = options.rest.remove(0);
    if !is_name(text.trim()) || text.trim().is_empty() {
        return Err(Stop::Usage(format!(
            "'{text}' does not match expected pattern for group"
        )));
    }
    change_owner(shell, &options.rest, options.has("R"), None, Some(text.trim()))
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn change_owner(
    shell: &mut Shell<'_>,
    paths: &[String],
    recursive: bool,
    owner: Option<&str>,
    group: Option<&str>,
) -> Result<i32, Stop> {
    shell.each(paths, |shell, item| {
        shell.walk(item, recursive, &mut |_, item| {
            let status = item.status()?;
            let owner = owner.filter(|owner| *owner != status.owner);
            let group = group.filter(|group| *group != status.group);
            if owner.is_none() && group.is_none() {
                return Ok(());
            }
            item.store
                .set_owner(&item.path, owner, group)
                .map_err(|error| about("ownership", item, &error))
        })
    })?;
    Ok(shell.exit_code())
}

pub(crate) fn setrep(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = SETREP.parse(args).map_err(Stop::Usage)?;
    let text = options.rest.remove(0);
    let Ok(replication) = text.parse::<i16>() else {
        shell.warn("Illegal replication, a positive integer expected");
        return Err(Stop::Usage(format!("For input string: \"{text}\"")));
    };
    let replication = match u16::try_from(replication) {
        Ok(replication) if replication >= 1 => replication,
        _ => return Err(Stop::Usage("replication must be >= 1".to_owned())),
    };
    let mut waiting = Vec::new();
    shell.each(&options.rest, |shell, item| {
        shell.walk(item, true, &mut |shell, item| {
            if item.is_dir() {
                return Ok(());
            }
            if !item.store.set_replication(&item.path, replication)? {
                return Err(FsError::new(format!("Could not set replication for: {}", item.text)).into());
            }
            shell.say(&format!("Replication {replication} set: {}", item.text))?;
            waiting.push(item.clone());
            Ok(())
        })
    })?;
    if options.has("w") {
        for item in waiting {
            write!(shell.out, "Waiting for {} ...", item.text)?;
            shell.out.flush()?;
            while item
                .store
                .fewest_replicas(&item.path)?
                .is_some_and(|fewest| fewest != u32::from(replication))
            {
                write!(shell.out, ".")?;
                shell.out.flush()?;
                std::thread::sleep(REPLICATION_POLL);
            }
            shell.say(" done")?;
        }
    }
    Ok(shell.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_permissions() {
        for (text, existing, is_dir, expected) in [
            ("644", 0o777, false, 0o644),
            ("0755", 0o1777, false, 0o755),
            ("1777", 0o755, true, 0o1777),
            ("u+x", 0o644, false, 0o744),
            ("u=rwx,g+w,o-r", 0o644, false, 0o760),
            ("+t", 0o755, true, 0o1755),
            ("a+X", 0o644, false, 0o644),
            ("a+X", 0o644, true, 0o755),
            ("a+X", 0o744, false, 0o755),
            ("-w", 0o666, false, 0o444),
            ("go=", 0o644, false, 0o644),
        ] {
            let mode = Mode::parse(text);
            if text == "go=" {
                assert_eq!(mode, None);
                continue;
            }
            let mode = mode.expect(text);
            assert_eq!(
                mode.apply(FsPermission::from_wire(existing), is_dir).bits(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn other_modes_are_refused() {
        for text in ["999", "77", "rubbish", "", "2777", "u+s"] {
            assert_eq!(Mode::parse(text), None, "{text}");
        }
    }
}
