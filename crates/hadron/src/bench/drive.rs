//! `hadron bench drive`: keeps streams open and does as told, a line of standard input at a time.
//!
//! What it is for: outside judges, which drive Java's client and hdfs-native by the same words and kill the process when
//! they like. What it does not do: measure. Every line is answered by one line, `OK …` or `FAILED …`, after the deed; the
//! process ends with its input. Bytes follow a pattern that a file's salt and the position decide ([`fill`]), so that
//! anybody can check any part of a file.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use hadron_client::{CreateOptions, FileWriter, HadronFs};
use hadron_types::FsPath;

use crate::cli::ConfArgs;

/// Bytes made and handed to a writer at once.
const PIECE: usize = 64 << 10;
/// Streams open at a time.
const MAX_STREAMS: usize = 4096;
/// What a position moves by for each step of the salt.
const SALT_STEP: u64 = 1_000_003;
/// An odd factor near 2³² over the golden ratio.
const FACTOR: u64 = 2_654_435_761;

/// `hadron bench drive`.
#[derive(Args)]
pub(crate) struct DriveArgs {
    /// The cluster; else fs.defaultFS.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    conf: ConfArgs,
}

pub(crate) fn run(args: &DriveArgs) -> Result<()> {
    let conf = crate::settings::load(&args.conf)?;
    let url = super::url(&conf, args.url.as_deref())?;
    // Streams live on the runtime's own threads while this one waits for a line.
    let runtime = crate::settings::runtime()?;
    let fs = runtime
        .block_on(HadronFs::connect(&conf, Some(&url)))
        .with_context(|| format!("connect to {url}"))?;
    let mut driver = Driver {
        fs,
        writers: HashMap::new(),
    };
    answer("READY")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split('\t').collect();
        match runtime.block_on(driver.obey(&words)) {
            Ok(said) => answer(&format!("OK {said}"))?,
            Err(error) => answer(&format!("FAILED {error:#}"))?,
        }
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answers are the command's output")]
fn answer(line: &str) -> Result<()> {
    println!("{}", line.replace('\n', " ").trim_end());
    std::io::stdout().flush()?;
    Ok(())
}

/// The open streams, by path.
struct Driver {
    fs: HadronFs,
    writers: HashMap<String, FileWriter>,
}

impl Driver {
    async fn obey(&mut self, words: &[&str]) -> Result<String> {
        let [verb, name, rest @ ..] = words else {
            bail!("a line is a verb and a path, between tabs");
        };
        let path = FsPath::parse(name)?;
        match (*verb, rest) {
            ("create", []) => {
                ensure!(
                    self.writers.len() < MAX_STREAMS,
                    "{MAX_STREAMS} streams are open already"
                );
                let options = CreateOptions {
                    overwrite: true,
                    ..CreateOptions::default()
                };
                let writer = self.fs.create(&path, options).await?;
                self.writers.insert((*name).to_owned(), writer);
                Ok(String::new())
            }
            ("append", []) => {
                ensure!(
                    self.writers.len() < MAX_STREAMS,
                    "{MAX_STREAMS} streams are open already"
                );
                let writer = self.fs.append(&path).await?;
                self.writers.insert((*name).to_owned(), writer);
                Ok(String::new())
            }
            ("write", [salt, start, count]) => {
                let (salt, start, count) = (salt.parse()?, start.parse()?, count.parse()?);
                write(self.writer(name)?, salt, start, count).await?;
                Ok(String::new())
            }
            ("hflush", []) => Ok(self.writer(name)?.hflush().await.map(|()| String::new())?),
            ("hsync", []) => Ok(self.writer(name)?.hsync(true).await.map(|()| String::new())?),
            ("close", []) => {
                let mut writer = self
                    .writers
                    .remove(*name)
                    .ok_or_else(|| anyhow!("{name} is not open"))?;
                Ok(writer.close().await.map(|()| String::new())?)
            }
            ("view", [salt]) => self.view(&path, salt.parse()?).await,
            ("status", []) => Ok(match self.fs.status(&path).await? {
                Some(status) => format!("{} {}", status.len, self.fs.is_file_closed(&path).await?),
                None => "absent".to_owned(),
            }),
            ("recover", []) => Ok(self.fs.recover_lease(&path).await?.to_string()),
            ("delete", []) => Ok(self.fs.delete(&path, false).await?.to_string()),
            ("rename", [target]) => Ok(self.fs.rename(&path, &FsPath::parse(target)?).await?.to_string()),
            ("pause", [millis]) => {
                tokio::time::sleep(Duration::from_millis(millis.parse()?)).await;
                Ok(String::new())
            }
            _ => bail!("{verb} with {} words is not known", rest.len()),
        }
    }

    fn writer(&mut self, name: &str) -> Result<&mut FileWriter> {
        self.writers.get_mut(name).ok_or_else(|| anyhow!("{name} is not open"))
    }

    /// Length as a reader sees it, id and stamp of the last block (`-` where it changed meanwhile): every byte is read
    /// and compared.
    async fn view(&self, path: &FsPath, salt: u64) -> Result<String> {
        let before = self.last_block(path).await?;
        let mut reader = self.fs.open(path).await?;
        let last = match self.last_block(path).await? {
            after if after == before => after,
            _ => "- -".to_owned(),
        };
        let (len, mut at) = (reader.len(), 0);
        let mut wanted = Vec::new();
        loop {
            let chunk = reader.next_chunk().await?;
            if chunk.is_empty() {
                break;
            }
            fill(&mut wanted, salt, at, chunk.len());
            if let Some(wrong) = wanted.iter().zip(&chunk).position(|(want, got)| want != got) {
                bail!("WRONG byte {} of {path}", at + wrong as u64);
            }
            at += chunk.len() as u64;
        }
        ensure!(at == len, "WRONG {path} ends at {at} and has {len} bytes");
        Ok(format!("{len} {last}"))
    }

    async fn last_block(&self, path: &FsPath) -> Result<String> {
        let blocks = self.fs.block_locations(path, 0, i64::MAX as u64).await?;
        Ok(match blocks.last() {
            Some(last) => format!("{} {}", last.block.block.id.0, last.block.block.generation_stamp.0),
            None => "- -".to_owned(),
        })
    }
}

async fn write(writer: &mut FileWriter, salt: u64, mut start: u64, mut count: usize) -> Result<()> {
    let mut piece = Vec::new();
    while count > 0 {
        let taken = count.min(PIECE);
        fill(&mut piece, salt, start, taken);
        writer.write_all(&piece).await?;
        start += taken as u64;
        count -= taken;
    }
    Ok(())
}

/// Fills `piece` with the `count` bytes from `start` of the file of this salt.
fn fill(piece: &mut Vec<u8>, salt: u64, start: u64, count: usize) {
    let first = start.wrapping_add(salt.wrapping_mul(SALT_STEP));
    piece.clear();
    piece.extend((0..count as u64).map(|step| (first.wrapping_add(step).wrapping_mul(FACTOR) >> 24) as u8));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `interop/lib/streams.py` makes of salt 7, from byte 1000.
    const MADE_BY_PYTHON: [u8; 8] = [235, 137, 39, 198, 100, 2, 160, 63];

    #[test]
    fn the_pattern_is_that_of_the_other_drivers() {
        let mut piece = Vec::new();
        fill(&mut piece, 7, 1000, 8);
        assert_eq!(piece, MADE_BY_PYTHON);
        fill(&mut piece, 7, 1003, 2);
        assert_eq!(piece, MADE_BY_PYTHON[3..5]);
    }
}
