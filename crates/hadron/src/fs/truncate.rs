//! `-truncate`: cuts files to a length, and waits for the cut if asked to.

use std::time::Duration;

use super::item::Item;
use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::FsError;

const TRUNCATE: Takes = Takes::at_least(2, &["w"]);
/// How long `-w` waits between two looks.
const POLL: Duration = Duration::from_secs(1);

pub(crate) fn truncate(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let mut options = TRUNCATE.parse(args).map_err(Stop::Usage)?;
    let text = options.rest.remove(0);
    let Ok(len) = text.parse::<i64>() else {
        shell.warn("Illegal length, a non-negative integer expected");
        return Err(Stop::Usage(format!("For input string: \"{text}\"")));
    };
    let Ok(len) = u64::try_from(len) else {
        return Err(Stop::Usage("length must be >= 0".to_owned()));
    };
    let wait = options.has("w");
    let mut waiting = Vec::new();
    shell.each(&options.rest, |shell, item| {
        if item.is_dir() {
            return Err(FsError::is_directory(&item.text).into());
        }
        check_len(&item, len)?;
        if item.store.truncate(&item.path, len)? {
            shell.say(&format!("Truncated {} to length: {len}", item.text))?;
        } else if wait {
            waiting.push(item.clone());
        } else {
            shell.say(&format!(
                "Truncating {} to length: {len}. Wait for block recovery to complete before further updating this file.",
                item.text
            ))?;
        }
        Ok(())
    })?;
    for item in waiting {
        shell.say(&format!("Waiting for {} ...", item.text))?;
        shell.out.flush()?;
        while item.store.status(&item.path)?.is_some_and(|status| status.len != len) {
            std::thread::sleep(POLL);
        }
        shell.say(&format!("Truncated {} to length: {len}", item.text))?;
    }
    Ok(shell.exit_code())
}

/// The shell itself refuses a longer length, as Hadoop's does.
fn check_len(item: &Item, len: u64) -> Result<(), Stop> {
    let old = item.status.as_ref().map_or(0, |status| status.len);
    if len <= old {
        return Ok(());
    }
    Err(Stop::Usage(format!(
        "Cannot truncate to a larger file size. Current size: {old}, truncate size: {len}."
    )))
}
