//! `-cat`, `-text`, `-head` and `-tail`: file contents on standard output.

use std::io::{self, Read};
use std::time::Duration;

use super::options::Takes;
use super::shell::{Shell, Stop};
use super::store::FsError;

const CAT: Takes = Takes::at_least(1, &["ignoreCrc"]);
const ONE: Takes = Takes {
    max: 1,
    ..Takes::at_least(1, &[])
};
const TAIL: Takes = Takes {
    max: 1,
    ..Takes::at_least(1, &["f"])
};
/// What `-head` and `-tail` show.
const PIECE_BYTES: u64 = 1024;
/// Bytes moved at once.
const COPY_BYTES: usize = 1 << 20;
/// How long `-tail -f` waits before it looks again.
const FOLLOW_POLL: Duration = Duration::from_secs(5);

pub(crate) fn cat(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = CAT.parse(args).map_err(Stop::Usage)?;
    shell.each(&options.rest, |shell, item| {
        if item.is_dir() {
            return Err(FsError::is_directory(&item.text).into());
        }
        let mut content = item.store.open(&item.path, 0)?;
        pour(shell, &mut content).map(|_| ())
    })?;
    Ok(shell.exit_code())
}

pub(crate) fn text(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = CAT.parse(args).map_err(Stop::Usage)?;
    shell.each(&options.rest, |shell, item| {
        if item.is_dir() {
            return Err(FsError::is_directory(&item.text).into());
        }
        let mut content = item.store.open(&item.path, 0)?;
        let mut magic = Vec::new();
        content.by_ref().take(4).read_to_end(&mut magic)?;
        if [&b"\x1f\x8b"[..], b"SEQ", b"Obj\x01", b"BZh"]
            .iter()
            .any(|known| magic.starts_with(known))
        {
            return Err(FsError::at(&item.text, "Compressed and binary formats are not supported").into());
        }
        pour(shell, &mut magic.as_slice().chain(content)).map(|_| ())
    })?;
    Ok(shell.exit_code())
}

pub(crate) fn head(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = ONE.parse(args).map_err(Stop::Usage)?;
    shell.each(&options.rest, |shell, item| {
        if item.is_dir() {
            return Err(FsError::is_directory(&item.text).into());
        }
        let content = item.store.open(&item.path, 0)?;
        pour(shell, &mut content.take(PIECE_BYTES)).map(|_| ())
    })?;
    Ok(shell.exit_code())
}

pub(crate) fn tail(shell: &mut Shell<'_>, args: &[String]) -> Result<i32, Stop> {
    let options = TAIL.parse(args).map_err(Stop::Usage)?;
    shell.each(&options.rest, |shell, mut item| {
        if item.is_dir() {
            return Err(FsError::is_directory(&item.text).into());
        }
        let mut offset = item.status()?.len.saturating_sub(PIECE_BYTES);
        loop {
            offset += pour(shell, &mut item.store.open(&item.path, offset)?)?;
            if !options.has("f") {
                return Ok(());
            }
            shell.out.flush()?;
            std::thread::sleep(FOLLOW_POLL);
            item.refresh()?;
            let len = item.status()?.len;
            offset = offset.min(len);
        }
    })?;
    Ok(shell.exit_code())
}

/// Copies everything to standard output; returns how many bytes.
fn pour(shell: &mut Shell<'_>, content: &mut dyn Read) -> Result<u64, Stop> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut total = 0;
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::Failed(error.into())),
        };
        shell.out.write_all(&buffer[..count])?;
        total += count as u64;
    }
}
