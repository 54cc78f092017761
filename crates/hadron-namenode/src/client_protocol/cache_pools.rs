//! Centralised caching: pools, and directives in them.
//!
//! Lists show figures of a look at the directives that began after the last change, and so wait for it; so does a
//! directive whose pool has a limit. Source: Hadoop `FSNamesystem`, `FSNDNCacheOp`, `CacheManager`.

use super::Call;
use super::call::Audit;
use crate::caching::CacheStats;
use bytes::Bytes;
use hadron_namespace::command::{
    AddCacheDirective, AddCachePool, CacheDirectiveRecord, CacheExpiration, CachePoolRecord, ModifyCacheDirective,
    ModifyCachePool, Op, RemoveCacheDirective, RemoveCachePool,
};
use hadron_namespace::{CacheDirective, CachePool, OutcomeValue};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AddCacheDirectiveRequestProto, AddCacheDirectiveResponseProto, AddCachePoolRequestProto, AddCachePoolResponseProto,
    CacheDirectiveEntryProto, CacheDirectiveInfoExpirationProto, CacheDirectiveInfoProto, CacheDirectiveStatsProto,
    CachePoolEntryProto, CachePoolInfoProto, CachePoolStatsProto, ListCacheDirectivesRequestProto,
    ListCacheDirectivesResponseProto, ListCachePoolsRequestProto, ListCachePoolsResponseProto,
    ModifyCacheDirectiveRequestProto, ModifyCacheDirectiveResponseProto, ModifyCachePoolRequestProto,
    ModifyCachePoolResponseProto, RemoveCacheDirectiveRequestProto, RemoveCacheDirectiveResponseProto,
    RemoveCachePoolRequestProto, RemoveCachePoolResponseProto,
};
use hadron_types::{ErrorKind, FsAction, FsPath, HadoopError, HadoopResult, TimeMs, duration_text};

/// `CacheFlag.FORCE`.
const FORCE: u32 = 1;

/// addCacheDirective.
pub(super) fn add_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: AddCacheDirectiveRequestProto| async move {
        let force = request.cache_flags() & FORCE != 0;
        let directive = directive_record(request.info);
        let demand = call.cache_demand(force, directive.pool.as_deref()).await;
        let op = AddCacheDirective {
            directive,
            force,
            demand,
        };
        let command = "addCacheDirective";
        let outcome = call.change_cache(
            "Cannot add cache directive",
            op,
            Audit::command(command),
            |call, outcome| {
                let OutcomeValue::CacheDirective(id) = outcome else {
                    return Audit::command(command);
                };
                let ns = call.shared.state.ns.read();
                let made = ns.cache_directive(*id);
                Audit::of(
                    command,
                    &made.map(|made| directive_text(&shown(made))).unwrap_or_default(),
                )
            },
        );
        match outcome.await? {
            OutcomeValue::CacheDirective(id) => Ok(AddCacheDirectiveResponseProto { id }),
            other => Err(super::unexpected("addCacheDirective", &other)),
        }
    })
}

/// modifyCacheDirective.
pub(super) fn modify_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: ModifyCacheDirectiveRequestProto| async move {
        let force = request.cache_flags() & FORCE != 0;
        let directive = directive_record(request.info);
        let id = directive.id.map_or("null".to_owned(), |id| id.to_string());
        let id = format!("{{id: {id}}}");
        let audit = Audit::between("modifyCacheDirective", &id, &directive_text(&directive));
        let demand = call.cache_demand(force, directive.pool.as_deref()).await;
        let op = ModifyCacheDirective {
            directive,
            force,
            demand,
        };
        let changed = call.change_cache("Cannot add cache directive", op, audit.clone(), |_, _| audit);
        changed.await.map(|_| ModifyCacheDirectiveResponseProto {})
    })
}

/// removeCacheDirective.
pub(super) fn remove_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: RemoveCacheDirectiveRequestProto| async move {
        let id = request.id;
        let audit = Audit::of("removeCacheDirective", &format!("{{id: {id}}}"));
        let op = RemoveCacheDirective { id };
        let removed = call.change_cache("Cannot remove cache directives", op, audit.clone(), |_, _| audit);
        removed.await.map(|_| RemoveCacheDirectiveResponseProto {})
    })
}

/// listCacheDirectives: a page of those the caller may see.
pub(super) fn list_cache_directives(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: ListCacheDirectivesRequestProto| async move {
        call.pass_barrier().await?;
        call.shared.state.caching.settled(&*call.shared.state.clock).await;
        let filter = directive_record(request.filter);
        let listed = call.cache_directives(request.prev_id, &filter);
        let audit = Audit::of("listCacheDirectives", &directive_text(&filter));
        call.audit_outcome(&audit, &listed);
        listed
    })
}

/// addCachePool.
pub(super) fn add_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: AddCachePoolRequestProto| async move {
        let pool = pool_record(request.info);
        call.require_superuser_for(&Audit::of("addCachePool", &pool.name))?;
        let name = pool.name.clone();
        let what = format!("Cannot add cache pool{name}");
        let denied = Audit::of("addCachePool", &name);
        let op = AddCachePool { pool };
        let added = call.change_cache(&what, op, denied, |call, _| {
            let ns = call.shared.state.ns.read();
            let made = ns.cache_pool(&name).map(|pool| pool_text(&pool_info(pool)));
            Audit::of("addCachePool", &made.unwrap_or_default())
        });
        added.await.map(|_| AddCachePoolResponseProto {})
    })
}

/// modifyCachePool.
pub(super) fn modify_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: ModifyCachePoolRequestProto| async move {
        let name = format!("{{poolName: {}}}", request.info.pool_name());
        let audit = Audit::between("modifyCachePool", &name, &pool_text(&request.info));
        call.require_superuser_for(&Audit::of("modifyCachePool", &name))?;
        let what = format!("Cannot modify cache pool{}", request.info.pool_name());
        let op = ModifyCachePool {
            pool: pool_record(request.info),
        };
        let changed = call.change_cache(&what, op, audit.clone(), |_, _| audit);
        changed.await.map(|_| ModifyCachePoolResponseProto {})
    })
}

/// removeCachePool.
pub(super) fn remove_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: RemoveCachePoolRequestProto| async move {
        let name = request.pool_name;
        let audit = Audit::of("removeCachePool", &format!("{{poolName: {name}}}"));
        call.require_superuser_for(&audit)?;
        let what = format!("Cannot modify cache pool{name}");
        let removed = call.change_cache(&what, RemoveCachePool { name }, audit.clone(), |_, _| audit);
        removed.await.map(|_| RemoveCachePoolResponseProto {})
    })
}

/// listCachePools: a page of them, with names alone of those that the caller may not read.
pub(super) fn list_cache_pools(call: &Call, body: Bytes) -> Reply {
    call.wait(body, |call, request: ListCachePoolsRequestProto| async move {
        call.pass_barrier().await?;
        call.shared.state.caching.settled(&*call.shared.state.clock).await;
        let listed = call.cache_pools(&request.prev_pool_name);
        call.audit_outcome(&Audit::command("listCachePools"), &Ok(()));
        Ok(listed)
    })
}

impl Call {
    /// What the directives of a pool ask for, where its limit matters.
    async fn cache_demand(&self, force: bool, pool: Option<&str>) -> Option<hadron_namespace::command::CacheDemand> {
        let state = &self.shared.state;
        let is_limited = |pool: &CachePool| pool.limit != hadron_namespace::command::NO_CACHE_LIMIT;
        let pool = pool.filter(|_| !force)?;
        if !state.ns.read().cache_pool(pool).is_some_and(is_limited) {
            return None;
        }
        state.caching.settled(&*state.clock).await;
        Some(state.caching.demand(pool))
    }

    /// Changes pools or directives. `what` begins the refusal in safe mode; `denied` is the audit line of a refusal for lack
    /// of permission, `line` makes the one of a success.
    async fn change_cache(
        &self,
        what: &str,
        op: impl Into<Op>,
        denied: Audit,
        line: impl FnOnce(&Self, &OutcomeValue) -> Audit,
    ) -> HadoopResult<OutcomeValue> {
        let command = self.command(op);
        let admitted = self.admit(&command, || what.to_owned());
        if let Some(value) = admitted.inspect_err(|error| self.audit_denied(&denied, error))? {
            return Ok(value);
        }
        let outcome = self.shared.propose(command).await;
        match &outcome {
            Ok(value) if self.is_audited() => self.audit_outcome(&line(self, value), &Ok(())),
            Ok(_) => {}
            Err(error) => self.audit_denied(&denied, error),
        }
        outcome
    }

    fn cache_directives(
        &self,
        after: i64,
        filter: &CacheDirectiveRecord,
    ) -> HadoopResult<ListCacheDirectivesResponseProto> {
        let invalid = |text: String| HadoopError::new(ErrorKind::InvalidRequest, text);
        let path = match filter.path.as_deref() {
            None => None,
            Some(path) => Some(FsPath::parse(path).map_err(|_| invalid(format!("Invalid path '{path}'.")))?),
        };
        if filter.replication.is_some() {
            return Err(invalid("Filtering by replication is unsupported.".to_owned()));
        }
        let state = &self.shared.state;
        let (ns, now, figures) = (state.ns.read(), state.now(), state.caching.figures());
        let after = match filter.id {
            Some(id) if ns.cache_directive(id).is_none() => {
                return Err(invalid(format!("Did not find requested id {id}")));
            }
            Some(id) => id - 1,
            None => after,
        };
        let is_asked_for = |directive: &&CacheDirective| {
            let pool = ns.cache_pool(&directive.pool);
            filter.id.is_none_or(|id| directive.id == id)
                && filter.pool.as_ref().is_none_or(|pool| directive.pool == *pool)
                && path.as_ref().is_none_or(|path| directive.path == path.as_str())
                && pool.is_some_and(|pool| pool.check_access(&self.caller, FsAction::READ).is_ok())
        };
        let last = filter.id.unwrap_or(i64::MAX);
        let rest = ns
            .cache_directives_after(after)
            .take_while(|directive| directive.id <= last);
        let mut rest = rest.filter(is_asked_for);
        let page = self.shared.settings.caching.directives_page;
        let entry = |directive: &CacheDirective| {
            let stats = figures.directives.get(&directive.id).copied().unwrap_or_default();
            CacheDirectiveEntryProto {
                info: directive_info(directive),
                stats: CacheDirectiveStatsProto {
                    bytes_needed: signed(stats.bytes_needed),
                    bytes_cached: signed(stats.bytes_cached),
                    files_needed: signed(stats.files_needed),
                    files_cached: signed(stats.files_cached),
                    has_expired: directive.is_expired(now),
                },
            }
        };
        let elements = rest.by_ref().take(page).map(entry).collect();
        Ok(ListCacheDirectivesResponseProto {
            elements,
            has_more: rest.next().is_some(),
        })
    }

    fn cache_pools(&self, after: &str) -> ListCachePoolsResponseProto {
        let state = &self.shared.state;
        let (ns, figures) = (state.ns.read(), state.caching.figures());
        let mut rest = ns.cache_pools_after(after);
        let page = self.shared.settings.caching.pools_page;
        let entry = |pool: &CachePool| {
            if pool.check_access(&self.caller, FsAction::READ).is_err() {
                return CachePoolEntryProto {
                    info: CachePoolInfoProto {
                        pool_name: Some(pool.name.clone()),
                        ..CachePoolInfoProto::default()
                    },
                    stats: pool_stats(CacheStats::default(), i64::MAX),
                };
            }
            let stats = figures.pools.get(&pool.name).copied().unwrap_or_default();
            CachePoolEntryProto {
                info: pool_info(pool),
                stats: pool_stats(stats, pool.limit),
            }
        };
        let entries = rest.by_ref().take(page).map(entry).collect();
        ListCachePoolsResponseProto {
            entries,
            has_more: rest.next().is_some(),
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// On the wire Java's shorts and ints are in unsigned fields.
fn directive_record(info: CacheDirectiveInfoProto) -> CacheDirectiveRecord {
    let expiration = info.expiration.map(|expiration| CacheExpiration {
        millis: expiration.millis,
        is_relative: expiration.is_relative,
    });
    CacheDirectiveRecord {
        id: info.id,
        path: info.path,
        replication: info.replication.map(u32::cast_signed),
        pool: info.pool,
        expiration,
    }
}

fn directive_info(directive: &CacheDirective) -> CacheDirectiveInfoProto {
    CacheDirectiveInfoProto {
        id: Some(directive.id),
        path: Some(directive.path.clone()),
        replication: Some(u32::from(directive.replication.unsigned_abs())),
        pool: Some(directive.pool.clone()),
        expiration: Some(CacheDirectiveInfoExpirationProto {
            millis: directive.expiry_ms,
            is_relative: false,
        }),
    }
}

/// A directive as its answer shows it.
fn shown(directive: &CacheDirective) -> CacheDirectiveRecord {
    directive_record(directive_info(directive))
}

/// As Java's `CacheDirectiveInfo.toString`.
fn directive_text(directive: &CacheDirectiveRecord) -> String {
    let expiration = directive.expiration.map(|expiration| match expiration.is_relative {
        true => duration_text(expiration.millis),
        false => TimeMs(u64::try_from(expiration.millis).unwrap_or_default()).iso8601(0),
    });
    let fields = [
        ("id", directive.id.map(|id| id.to_string())),
        ("path", directive.path.clone()),
        (
            "replication",
            directive.replication.map(|replication| replication.to_string()),
        ),
        ("pool", directive.pool.clone()),
        ("expiration", expiration),
    ];
    let set = fields
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    format!("{{{}}}", set.collect::<Vec<_>>().join(", "))
}

fn pool_record(info: CachePoolInfoProto) -> CachePoolRecord {
    CachePoolRecord {
        name: info.pool_name.unwrap_or_default(),
        owner: info.owner_name,
        group: info.group_name,
        mode: info.mode.map(i32::cast_unsigned),
        limit: info.limit,
        default_replication: info.default_replication.map(u32::cast_signed),
        max_relative_expiry_ms: info.max_relative_expiry,
    }
}

fn pool_info(pool: &CachePool) -> CachePoolInfoProto {
    CachePoolInfoProto {
        pool_name: Some(pool.name.clone()),
        owner_name: Some(pool.owner.clone()),
        group_name: Some(pool.group.clone()),
        mode: Some(i32::from(pool.mode.bits())),
        limit: Some(pool.limit),
        max_relative_expiry: Some(pool.max_relative_expiry_ms),
        default_replication: Some(u32::from(pool.default_replication.unsigned_abs())),
    }
}

fn pool_stats(stats: CacheStats, limit: i64) -> CachePoolStatsProto {
    let needed = signed(stats.bytes_needed);
    CachePoolStatsProto {
        bytes_needed: needed,
        bytes_cached: signed(stats.bytes_cached),
        bytes_overlimit: needed.saturating_sub(limit).max(0),
        files_needed: signed(stats.files_needed),
        files_cached: signed(stats.files_cached),
    }
}

/// As Java's `CachePoolInfo.toString`.
fn pool_text(pool: &CachePoolInfoProto) -> String {
    fn or_null(value: Option<impl ToString>) -> String {
        value.map_or_else(|| "null".to_owned(), |value| value.to_string())
    }
    format!(
        "{{poolName:{}, ownerName:{}, groupName:{}, mode:{}, limit:{}, defaultReplication:{}, maxRelativeExpiryMs:{}}}",
        or_null(pool.pool_name.as_ref()),
        or_null(pool.owner_name.as_ref()),
        or_null(pool.group_name.as_ref()),
        or_null(pool.mode.map(|mode| format!("0{mode:03o}"))),
        or_null(pool.limit),
        or_null(pool.default_replication),
        or_null(pool.max_relative_expiry)
    )
}
