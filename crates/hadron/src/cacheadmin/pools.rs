//! Sub-commands about pools.

use super::table::{Align, Table};
use super::words::{Words, long, mode, short, span};
use super::{Failure, usage_of};
use crate::admin::Link;
use hadron_proto::hdfs::{
    AddCachePoolRequestProto, AddCachePoolResponseProto, CachePoolEntryProto, CachePoolInfoProto,
    ListCachePoolsRequestProto, ListCachePoolsResponseProto, ModifyCachePoolRequestProto, ModifyCachePoolResponseProto,
    RemoveCachePoolRequestProto, RemoveCachePoolResponseProto,
};
use hadron_types::{FsPermission, duration_text};

/// Longest life of directives where there is no limit, ms.
const NEVER_MS: i64 = i64::MAX / 4;
/// The limit of a pool that has none.
const UNLIMITED: i64 = i64::MAX;
/// Most pages of a list that are asked for; a page is not empty.
const MAX_PAGES: usize = 1 << 20;

/// The options of `-addPool` and `-modifyPool`, and the life that was asked for as it was written.
fn options(words: &mut Words) -> Result<(CachePoolInfoProto, Option<String>), Failure> {
    let owner_name = words.value("-owner")?;
    let group_name = words.value("-group")?;
    let mode = words.value("-mode")?.map(|text| mode(&text)).transpose()?;
    let limit = words
        .value("-limit")?
        .map(|text| match text.eq_ignore_ascii_case("unlimited") {
            true => Ok(UNLIMITED),
            false => long(&text),
        });
    let limit = limit.transpose()?;
    let replication = words
        .value("-defaultReplication")?
        .map(|text| short(&text))
        .transpose()?;
    let ttl = words.value("-maxTtl")?;
    let expiry = ttl.as_deref().map(|text| span(text, NEVER_MS, "maxTtl")).transpose()?;
    let info = CachePoolInfoProto {
        pool_name: None,
        owner_name,
        group_name,
        mode,
        limit,
        max_relative_expiry: expiry,
        // Java's short, in an unsigned field.
        default_replication: replication.map(|replication| i32::from(replication).cast_unsigned()),
    };
    Ok((info, ttl))
}

fn want_no_more(words: &Words, command: &str) -> Result<(), Failure> {
    match words.rest() {
        [] => Ok(()),
        rest => {
            let text = format!(
                "Can't understand arguments: {}\nUsage is {}\n",
                rest.join(" "),
                usage_of(command)
            );
            Err(Failure::usage(text))
        }
    }
}

fn name(words: &mut Words, doing: &str) -> Result<String, Failure> {
    let missing = || Failure::usage(format!("You must specify a name when {doing} a cache pool."));
    words.word().ok_or_else(missing)
}

pub(super) async fn add(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let name = name(words, "creating")?;
    let (options, _) = options(words)?;
    want_no_more(words, "-addPool")?;
    let info = CachePoolInfoProto {
        pool_name: Some(name.clone()),
        ..options
    };
    let request = AddCachePoolRequestProto { info };
    let _: AddCachePoolResponseProto = link.ask_active("addCachePool", &request).await?;
    Ok(format!("Successfully added cache pool {name}.\n"))
}

pub(super) async fn modify(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let (options, ttl) = options(words)?;
    let name = name(words, "creating")?;
    want_no_more(words, "-modifyPool")?;
    if options == CachePoolInfoProto::default() {
        let text = "You must specify at least one attribute to change in the cache pool.";
        return Err(Failure::usage(text));
    }
    let changes = changes(&options, ttl.as_deref());
    let info = CachePoolInfoProto {
        pool_name: Some(name.clone()),
        ..options
    };
    let request = ModifyCachePoolRequestProto { info };
    let _: ModifyCachePoolResponseProto = link.ask_active("modifyCachePool", &request).await?;
    Ok(format!("Successfully modified cache pool {name} to have {changes}\n"))
}

fn changes(info: &CachePoolInfoProto, ttl: Option<&str>) -> String {
    let changed = [
        info.owner_name.as_ref().map(|owner| format!("owner name {owner}")),
        info.group_name.as_ref().map(|group| format!("group name {group}")),
        info.mode
            .map(|mode| format!("mode {}", FsPermission::from_wire(mode.cast_unsigned()))),
        info.limit.map(|limit| format!("limit {limit}")),
        info.default_replication
            .map(|replication| format!("default replication {}", replication.cast_signed())),
        ttl.map(|ttl| format!("max time-to-live {ttl}")),
    ];
    changed.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

pub(super) async fn remove(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let pool_name = name(words, "deleting")?;
    want_no_more(words, "-removePool")?;
    let text = format!("Successfully removed cache pool {pool_name}.\n");
    let request = RemoveCachePoolRequestProto { pool_name };
    let _: RemoveCachePoolResponseProto = link.ask_active("removeCachePool", &request).await?;
    Ok(text)
}

pub(super) async fn list(link: &Link, words: &mut Words) -> Result<String, Failure> {
    let wanted = words.word();
    let with_stats = words.option("-stats");
    want_no_more(words, "-listPools")?;
    let mut entries: Vec<CachePoolEntryProto> = Vec::new();
    let mut prev_pool_name = String::new();
    for _ in 0..MAX_PAGES {
        let request = ListCachePoolsRequestProto { prev_pool_name };
        let page: ListCachePoolsResponseProto = link
            .ask_active("listCachePools", &request)
            .await
            .map_err(Failure::of_list)?;
        let last = page.entries.last().map(|entry| entry.info.pool_name().to_owned());
        let is_wanted =
            |entry: &CachePoolEntryProto| wanted.as_deref().is_none_or(|name| entry.info.pool_name() == name);
        entries.extend(page.entries.into_iter().filter(is_wanted));
        match last.filter(|_| page.has_more) {
            Some(last) => prev_pool_name = last,
            None => break,
        }
    }
    Ok(listing(&entries, with_stats))
}

fn listing(entries: &[CachePoolEntryProto], with_stats: bool) -> String {
    let titles = [
        ("NAME", Align::Left),
        ("OWNER", Align::Left),
        ("GROUP", Align::Left),
        ("MODE", Align::Left),
        ("LIMIT", Align::Right),
        ("MAXTTL", Align::Right),
        ("BYTES_NEEDED", Align::Right),
        ("BYTES_CACHED", Align::Right),
        ("BYTES_OVERLIMIT", Align::Right),
        ("FILES_NEEDED", Align::Right),
        ("FILES_CACHED", Align::Right),
    ];
    let mut table = Table::new(if with_stats { &titles } else { &titles[..6] });
    for CachePoolEntryProto { info, stats } in entries {
        let mode = info
            .mode
            .map(|mode| FsPermission::from_wire(mode.cast_unsigned()).to_string());
        let limit = match info.limit {
            // Of a pool that may not be read Java shows what it does not know.
            None => "null".to_owned(),
            Some(UNLIMITED) => "unlimited".to_owned(),
            Some(limit) => limit.to_string(),
        };
        let ttl = info.max_relative_expiry.map(|expiry| match expiry {
            NEVER_MS => "never".to_owned(),
            expiry => duration_text(expiry),
        });
        let mut row = vec![
            info.pool_name().to_owned(),
            info.owner_name().to_owned(),
            info.group_name().to_owned(),
            mode.unwrap_or_default(),
            limit,
            ttl.unwrap_or_default(),
        ];
        if with_stats {
            let figures = [
                stats.bytes_needed,
                stats.bytes_cached,
                stats.bytes_overlimit,
                stats.files_needed,
                stats.files_cached,
            ];
            row.extend(figures.map(|figure| figure.to_string()));
        }
        table.add(row);
    }
    let ending = if table.len() == 1 { "" } else { "s" };
    let rows = if table.len() == 0 {
        String::new()
    } else {
        table.render()
    };
    format!("Found {} result{ending}.\n{rows}", table.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hadron_proto::hdfs::CachePoolStatsProto;

    fn words(text: &str) -> Words {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        Words::new(&words)
    }

    #[test]
    fn pools_are_listed_as_hadoop_does() {
        let stats = CachePoolStatsProto {
            bytes_needed: 9,
            bytes_cached: 1,
            bytes_overlimit: 4,
            files_needed: 2,
            files_cached: 0,
        };
        let pool = CachePoolInfoProto {
            pool_name: Some("p".to_owned()),
            owner_name: Some("o".to_owned()),
            group_name: Some("g".to_owned()),
            mode: Some(0o750),
            limit: Some(i64::MAX),
            max_relative_expiry: Some(60_000),
            default_replication: Some(1),
        };
        let hidden = CachePoolInfoProto {
            pool_name: Some("q".to_owned()),
            ..CachePoolInfoProto::default()
        };
        let entries = [pool, hidden].map(|info| CachePoolEntryProto { info, stats });
        assert_eq!(listing(&[], false), "Found 0 results.\n");
        assert_eq!(
            listing(&entries, false),
            "Found 2 results.\nNAME  OWNER  GROUP  MODE            LIMIT            MAXTTL\n\
             p     o      g      rwxr-x---   unlimited  000:00:01:00.000\n\
             q                                    null                  \n"
        );
        let with_stats = listing(&entries[..1], true);
        assert!(
            with_stats.ends_with("             9             1                4             2             0\n"),
            "{with_stats}"
        );
    }

    #[test]
    fn what_changed_is_told() {
        let mut given = words("-limit unlimited -mode 0700 -owner o -maxTtl 2h -defaultReplication 3 p");
        let (info, ttl) = options(&mut given).expect("are understood");
        assert_eq!(
            changes(&info, ttl.as_deref()),
            "owner name o and mode rwx------ and limit 9223372036854775807 and default replication 3 and max time-to-live 2h"
        );
        assert_eq!(name(&mut given, "creating"), Ok("p".to_owned()));
        let missing = Failure::usage("You must specify a name when deleting a cache pool.");
        assert_eq!(name(&mut given, "deleting"), Err(missing));
        let wrong = options(&mut words("-limit x")).map(drop);
        assert_eq!(
            wrong,
            Err(Failure::unreadable("NumberFormatException", "For input string: \"x\""))
        );
    }
}
