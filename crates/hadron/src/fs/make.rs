//! `-mkdir`, `-touchz` and `-test`.

use hadron_types::FsAction;

use super::item::{Item, address_of};
use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::{CreateOptions, FsError};

const MKDIR: Takes = Takes::at_least(1, &["p"]);
const TOUCHZ: Takes = Takes::at_least(1, &[]);
const TEST: Takes = Takes {
    max: 1,
    ..Takes::at_least(1, &["e", "d", "f", "s", "z", "w", "r"])
};

pub(crate) fn mkdir(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = MKDIR.parse(args).map_err(Stop::Usage)?;
    let parents = options.has("p");
    for item in shell.expand_all(&options.rest) {
        let done = make_directory(&item, parents);
        shell.go_on(done)?;
    }
    Ok(shell.exit_code())
}

fn make_directory(item: &Item, parents: bool) -> Result<(), Stop> {
    if let Some(status) = &item.status {
        return match (status.is_dir, parents) {
            (true, true) => Ok(()),
            (true, false) => Err(FsError::exists(&item.text).into()),
            (false, _) => Err(FsError::not_directory(&item.text).into()),
        };
    }
    if !parents && !item.parent_exists()? {
        return Err(FsError::missing(&address_of(item.store.as_ref(), item.parent_path())).into());
    }
    if !item.store.mkdirs(&item.path)? {
        return Err(FsError::input_output(&item.text).into());
    }
    Ok(())
}

pub(crate) fn touchz(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = TOUCHZ.parse(args).map_err(Stop::Usage)?;
    for item in shell.expand_all(&options.rest) {
        let done = touch(&item);
        shell.go_on(done)?;
    }
    Ok(shell.exit_code())
}

fn touch(item: &Item) -> Result<(), Stop> {
    match &item.status {
        Some(status) if status.is_dir => return Err(FsError::is_directory(&item.text).into()),
        Some(status) if status.len > 0 => return Err(FsError::at(&item.text, "Not a zero-length file").into()),
        Some(_) => {}
        None if !item.parent_exists()? => return Err(FsError::missing_at(&item.text, &item.address()).into()),
        None => {}
    }
    item.store
        .create(&item.path, CreateOptions { overwrite: true })?
        .close()?;
    Ok(())
}

pub(crate) fn test(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = TEST.parse(args).map_err(Stop::Usage)?;
    let flag = match options.count() {
        0 => return Err(Stop::Usage("No test flag given".to_owned())),
        1 => options.first().unwrap_or("").to_owned(),
        _ => return Err(Stop::Usage("Only one test flag is allowed".to_owned())),
    };
    let mut code = 0;
    for item in shell.expand_all(&options.rest) {
        let held = match &item.status {
            None => Ok(false),
            Some(status) => match flag.as_str() {
                "e" => Ok(true),
                "d" => Ok(status.is_dir),
                "f" => Ok(!status.is_dir),
                "s" => Ok(status.len > 0),
                "z" => Ok(status.len == 0),
                "r" => item.store.may(&item.path, FsAction::READ),
                _ => item.store.may(&item.path, FsAction::WRITE),
            },
        };
        match held {
            Ok(true) => {}
            Ok(false) => code = 1,
            Err(error) => shell.fail(&error),
        }
    }
    Ok(code.max(shell.exit_code()))
}
