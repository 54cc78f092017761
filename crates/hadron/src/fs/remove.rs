//! `-rm`, `-rmdir` and the trash.

use super::item::{Item, address_of, parent};
use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::{FsError, FsResult};

const RM: Takes = Takes::at_least(1, &["f", "r", "R", "skipTrash", "safely"]);
const RMDIR: Takes = Takes::at_least(1, &["-ignore-fail-on-non-empty"]);
const RMR: &str = "r";
/// How often a name in the trash is made different before giving up.
const MAX_TRASH_NAMES: u32 = 1_000;

pub(crate) fn rm(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = RM.parse(args).map_err(Stop::Usage)?;
    let recursive = options.has(RMR) || options.has("R");
    let forgiving = options.has("f");
    let mut items = Vec::new();
    for argument in &options.rest {
        match shell.expand(argument) {
            Ok(found) => items.extend(found),
            Err(error) if forgiving && error.is_missing() => {}
            Err(error) => shell.fail(&error),
        }
    }
    for item in items {
        if !item.exists() && forgiving {
            continue;
        }
        let done = remove(shell, &item, recursive, options.has("skipTrash"));
        shell.go_on(done)?;
    }
    Ok(shell.exit_code())
}

fn remove(shell: &mut Shell<'_>, item: &Item, recursive: bool, skip_trash: bool) -> Result<(), Stop> {
    if item.status()?.is_dir && !recursive {
        return Err(FsError::is_directory(&item.text).into());
    }
    if !skip_trash && let Some(place) = move_to_trash(item)? {
        let from = item.address();
        let line = format!(
            "Moved: '{from}' to trash at: {}",
            address_of(item.store.as_ref(), &place)
        );
        let _ = shell.out.flush();
        // A notice, not a result: scripts that read our output do not expect it.
        let _ = writeln!(shell.err, "{line}");
        return Ok(());
    }
    if !item.store.delete(&item.path, recursive)? {
        return Err(FsError::input_output(&item.text).into());
    }
    shell.say(&format!("Deleted {}", item.text))
}

/// Moves `item` to the trash; returns where. `None` where there is no trash or it is there already.
fn move_to_trash(item: &Item) -> FsResult<Option<String>> {
    if item.store.trash_minutes()? == 0 {
        return Ok(None);
    }
    let trash = format!("{}/.Trash", item.store.home());
    if item.path.starts_with(&format!("{trash}/")) || item.path == trash {
        return Ok(None);
    }
    if trash.starts_with(&format!("{}/", item.path.trim_end_matches('/'))) {
        return Err(FsError::new(format!(
            "Cannot move \"{}\" to the trash, as it contains the trash",
            item.path
        )));
    }
    let hint = |error: FsError| FsError::new(format!("{}. Consider using -skipTrash option", error.first_line()));
    let wanted = format!("{trash}/Current{}", item.path);
    item.store.mkdirs(parent(&wanted)).map_err(hint)?;
    let mut place = wanted.clone();
    for number in 1..=MAX_TRASH_NAMES {
        if item.store.status(&place).map_err(hint)?.is_none() {
            return match item.store.rename(&item.path, &place).map_err(hint)? {
                true => Ok(Some(place)),
                false => Err(hint(FsError::input_output(&item.text))),
            };
        }
        place = format!("{wanted}.{number}");
    }
    Err(hint(FsError::at(
        &item.text,
        "the trash holds too many files of this name",
    )))
}

pub(crate) fn rmdir(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = RMDIR.parse(args).map_err(Stop::Usage)?;
    let tolerant = options.has("-ignore-fail-on-non-empty");
    shell.each(&options.rest, |_, item| {
        if !item.is_dir() {
            return Err(FsError::not_directory(&item.text).into());
        }
        if item.store.list(&item.path)?.is_empty() {
            if !item.store.delete(&item.path, false)? {
                return Err(FsError::input_output(&item.text).into());
            }
        } else if !tolerant {
            return Err(FsError::at(&item.text, "Directory is not empty").into());
        }
        Ok(())
    })?;
    Ok(shell.exit_code())
}
