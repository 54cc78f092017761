//! Sub-commands about directives.

use super::table::{Align, Table};
use super::words::{Words, long, path, short, span};
use super::{Failure, usage_of};
use crate::admin::Link;
use hadron_env::zone::Zone;
use hadron_proto::hdfs::{
    AddCacheDirectiveRequestProto, AddCacheDirectiveResponseProto, CacheDirectiveEntryProto,
    CacheDirectiveInfoExpirationProto, CacheDirectiveInfoProto, ListCacheDirectivesRequestProto,
    ListCacheDirectivesResponseProto, ModifyCacheDirectiveRequestProto, ModifyCacheDirectiveResponseProto,
    RemoveCacheDirectiveRequestProto, RemoveCacheDirectiveResponseProto,
};
use hadron_types::TimeMs;

/// Life of a directive that does not end, ms.
const NEVER_MS: i64 = i64::MAX / 4;
/// `CacheFlag.FORCE`.
const FORCE: u32 = 1;
/// Most pages of a list that are asked for; a page is not empty.
const MAX_PAGES: usize = 1 << 20;

/// What `-addDirective` and `-modifyDirective` have in common; `rest` are the words of which none may be left.
fn ask(link: &Link, words: &mut Words, needs: bool) -> Result<(CacheDirectiveInfoProto, bool), Failure> {
    let given = words.value("-path")?;
    if needs && given.is_none() {
        return Err(Failure::usage("You must specify a path with -path."));
    }
    let path = given.map(|given| path(&given, &link.home())).transpose()?;
    // Hadoop takes the words in another order for each of the two; only refusals tell.
    let pool_first = needs.then(|| words.value("-pool")).transpose()?.flatten();
    if needs && pool_first.is_none() {
        return Err(Failure::usage("You must specify a pool name with -pool."));
    }
    let force = words.option("-force");
    let replication = words.value("-replication")?.map(|text| short(&text)).transpose()?;
    let pool = match pool_first {
        Some(pool) => Some(pool),
        None => words.value("-pool")?,
    };
    let ttl = words
        .value("-ttl")?
        .map(|text| span(&text, NEVER_MS, "ttl"))
        .transpose()?;
    if ttl.is_some_and(|ttl| ttl > NEVER_MS) {
        let text = "Expiration time is too far in the future!";
        return Err(Failure::unreadable("IllegalArgumentException", text));
    }
    let info = CacheDirectiveInfoProto {
        id: None,
        path,
        // Java's short, in an unsigned field.
        replication: replication.map(|replication| i32::from(replication).cast_unsigned()),
        pool,
        expiration: ttl.map(|millis| CacheDirectiveInfoExpirationProto {
            millis,
            is_relative: true,
        }),
    };
    Ok((info, force))
}

fn flags(force: bool) -> Option<u32> {
    force.then_some(FORCE)
}

fn want_no_more(words: &Words, usage: Option<&str>) -> Result<(), Failure> {
    let Some(word) = words.rest().first() else {
        return Ok(());
    };
    let usage = usage.map(|command| format!("\nUsage is {}\n", usage_of(command)));
    let usage = usage.unwrap_or_default();
    Err(Failure::usage(format!("Can't understand argument: {word}{usage}")))
}

pub(super) async fn add(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let (info, force) = ask(link, words, true)?;
    want_no_more(words, None)?;
    let request = AddCacheDirectiveRequestProto {
        info,
        cache_flags: flags(force),
    };
    let added: AddCacheDirectiveResponseProto = link.ask_active("addCacheDirective", &request).await?;
    Ok(format!("Added cache directive {}\n", added.id))
}

pub(super) async fn modify(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let Some(shown) = words.value("-id")? else {
        return Err(Failure::usage("You must specify a directive ID with -id."));
    };
    let id = long(&shown)?;
    let (info, force) = ask(link, words, false)?;
    want_no_more(words, Some("-modifyDirective"))?;
    if info == CacheDirectiveInfoProto::default() {
        return Err(Failure::usage("No modifications were specified."));
    }
    let request = ModifyCacheDirectiveRequestProto {
        info: CacheDirectiveInfoProto { id: Some(id), ..info },
        cache_flags: flags(force),
    };
    let _: ModifyCacheDirectiveResponseProto = link.ask_active("modifyCacheDirective", &request).await?;
    Ok(format!("Modified cache directive {shown}\n"))
}

pub(super) async fn remove(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let Some(word) = words.word() else {
        return Err(Failure::usage("You must specify a directive ID to remove."));
    };
    let invalid = |why: &str| Failure::usage(format!("Invalid directive ID {word}: {why}"));
    let id: i64 = word.parse().map_err(|_| invalid("expected a numeric value."))?;
    if id <= 0 {
        return Err(invalid("ids must be greater than 0."));
    }
    want_no_more(words, Some("-removeDirective"))?;
    remove_one(link, id).await?;
    Ok(format!("Removed cached directive {id}\n"))
}

async fn remove_one(link: &Link, id: i64) -> Result<(), Failure> {
    let request = RemoveCacheDirectiveRequestProto { id };
    let _: RemoveCacheDirectiveResponseProto = link.ask_active("removeCacheDirective", &request).await?;
    Ok(())
}

pub(super) async fn remove_all(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let Some(shown) = words.value("-path")? else {
        return Err(Failure::usage("You must specify a path with -path."));
    };
    want_no_more(words, Some("-removeDirectives"))?;
    let filter = CacheDirectiveInfoProto {
        path: Some(path(&shown, &link.home())?),
        ..CacheDirectiveInfoProto::default()
    };
    let mut failures = Vec::new();
    for id in all(link, filter).await?.iter().map(|entry| entry.info.id()) {
        match remove_one(link, id).await {
            // One after the other, so that what was removed is told even if a later one is not.
            Ok(()) => println!("Removed cache directive {id}"),
            Err(failure) => failures.push(failure),
        }
    }
    let texts: Vec<&str> = failures.iter().map(|failure| failure.text.as_str()).collect();
    match failures.first() {
        None => Ok(format!("Removed every cache directive with path {shown}\n")),
        Some(first) => Err(Failure {
            code: first.code,
            text: texts.join("\n"),
        }),
    }
}

/// Every directive that matches, page by page.
async fn all(link: &Link, filter: CacheDirectiveInfoProto) -> Result<Vec<CacheDirectiveEntryProto>, Failure> {
    let mut entries: Vec<CacheDirectiveEntryProto> = Vec::new();
    for _ in 0..MAX_PAGES {
        let request = ListCacheDirectivesRequestProto {
            prev_id: entries.last().map_or(0, |entry| entry.info.id()),
            filter: filter.clone(),
        };
        let page: ListCacheDirectivesResponseProto = link
            .ask_active("listCacheDirectives", &request)
            .await
            .map_err(Failure::of_list)?;
        let is_last = !page.has_more || page.elements.is_empty();
        entries.extend(page.elements);
        if is_last {
            break;
        }
    }
    Ok(entries)
}

pub(super) async fn list(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let given = words.value("-path")?;
    let pool = words.value("-pool")?;
    let with_stats = words.option("-stats");
    let id = words.value("-id")?.map(|text| long(&text)).transpose()?;
    want_no_more(words, None)?;
    let filter = CacheDirectiveInfoProto {
        id,
        path: given.map(|given| path(&given, &link.home())).transpose()?,
        pool,
        ..CacheDirectiveInfoProto::default()
    };
    let entries = all(link, filter).await?;
    Ok(listing(&entries, with_stats, &Zone::local()))
}

fn listing(entries: &[CacheDirectiveEntryProto], with_stats: bool, zone: &Zone) -> String {
    let titles = [
        ("ID", Align::Right),
        ("POOL", Align::Left),
        ("REPL", Align::Right),
        ("EXPIRY", Align::Left),
        ("PATH", Align::Left),
        ("BYTES_NEEDED", Align::Right),
        ("BYTES_CACHED", Align::Right),
        ("FILES_NEEDED", Align::Right),
        ("FILES_CACHED", Align::Right),
    ];
    let mut table = Table::new(if with_stats { &titles } else { &titles[..5] });
    for CacheDirectiveEntryProto { info, stats } in entries {
        let expiry = info.expiration.map_or(0, |expiration| expiration.millis);
        let mut row = vec![
            info.id().to_string(),
            info.pool().to_owned(),
            info.replication().to_string(),
            expiry_text(expiry, zone),
            info.path().to_owned(),
        ];
        if with_stats {
            let figures = [
                stats.bytes_needed,
                stats.bytes_cached,
                stats.files_needed,
                stats.files_cached,
            ];
            row.extend(figures.map(|figure| figure.to_string()));
        }
        table.add(row);
    }
    let ending = if table.len() == 1 { "y" } else { "ies" };
    let rows = if table.len() == 0 {
        String::new()
    } else {
        table.render()
    };
    format!("Found {} entr{ending}\n{rows}", table.len())
}

/// A time so far off that it means never is shown so.
fn expiry_text(millis: i64, zone: &Zone) -> String {
    if millis > NEVER_MS / 2 {
        return "never".to_owned();
    }
    let time = TimeMs(u64::try_from(millis).unwrap_or(0));
    let offset = zone.offset(millis / 1000);
    time.iso8601(i32::try_from(offset).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_proto::hdfs::CacheDirectiveStatsProto;

    #[test]
    fn directives_are_listed_as_hadoop_does() {
        let entry = |id, millis| CacheDirectiveEntryProto {
            info: CacheDirectiveInfoProto {
                id: Some(id),
                path: Some("/a".to_owned()),
                replication: Some(2),
                pool: Some("p".to_owned()),
                expiration: Some(CacheDirectiveInfoExpirationProto {
                    millis,
                    is_relative: false,
                }),
            },
            stats: CacheDirectiveStatsProto {
                bytes_needed: 20,
                bytes_cached: 10,
                files_needed: 1,
                files_cached: 0,
                has_expired: false,
            },
        };
        let utc = Zone::default();
        assert_eq!(listing(&[], false, &utc), "Found 0 entries\n");
        assert_eq!(
            listing(&[entry(7, NEVER_MS + 5)], false, &utc),
            "Found 1 entry\n ID POOL   REPL EXPIRY  PATH \n  7 p         2 never   /a   \n"
        );
        assert_eq!(
            listing(&[entry(7, 86_400_000), entry(8, 0)], true, &utc),
            "Found 2 entries\n \
             ID POOL   REPL EXPIRY                    PATH   BYTES_NEEDED  BYTES_CACHED  FILES_NEEDED  FILES_CACHED\n  \
              7 p         2 1970-01-02T00:00:00+0000  /a               20            10             1             0\n  \
              8 p         2 1970-01-01T00:00:00+0000  /a               20            10             1             0\n"
        );
    }
}
