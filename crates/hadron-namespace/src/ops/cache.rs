//! Cache pools and directives: add, modify, remove.
//!
//! Who may do it is asked in Hadoop's order: pools are the superuser's, directives those' who have WRITE on the pool.
//! A directive's path need not exist. Whether a pool's limit is kept depends on what its directives ask for, which only
//! a walk through their files tells: the command carries the sum of the last walk, and what came since is added here.
//! Source: Hadoop `CacheManager`, `CachePoolInfo.validate`, `FSNDNCacheOp`.

use super::{Context, Operation, require_superuser};
use crate::cache::{CacheDirective, CachePool};
use crate::command::{
    AddCacheDirective, AddCachePool, CacheDemand, CacheDirectiveRecord, CacheExpiration, CachePoolRecord,
    ModifyCacheDirective, ModifyCachePool, NO_CACHE_EXPIRY_MS, NO_CACHE_LIMIT, RemoveCacheDirective, RemoveCachePool,
};
use crate::errors;
use crate::namespace::Namespace;
use crate::outcome::{Effect, OutcomeValue};
use hadron_types::{ErrorKind, FsAction, FsPath, FsPermission, HadoopError, HadoopResult, TimeMs, duration_text};

/// Mode of a pool that is made without one.
const DEFAULT_POOL_MODE: u32 = 0o755;
/// Replicas of a directive where neither it nor its pool says how many.
const DEFAULT_REPLICATION: i16 = 1;

impl Operation for AddCachePool {
    type Plan = CachePool;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<CachePool> {
        require_superuser(context)?;
        check_pool(&self.pool)?;
        let CachePoolRecord { name, owner, group, .. } = &self.pool;
        if namespace.cache.pool(name).is_some() {
            return Err(errors::invalid_request(format!("Cache pool {name} already exists.")));
        }
        let caller = context.caller;
        let group = group.as_ref().or(caller.groups.first());
        let group = group.ok_or_else(|| {
            HadoopError::io(format!(
                "There is no primary group for UGI {} (auth:SIMPLE)",
                caller.user
            ))
        })?;
        Ok(CachePool {
            name: name.clone(),
            owner: owner.as_ref().unwrap_or(&caller.user).clone(),
            group: group.clone(),
            mode: FsPermission::from_wire(self.pool.mode.unwrap_or(DEFAULT_POOL_MODE)),
            limit: self.pool.limit.unwrap_or(NO_CACHE_LIMIT),
            default_replication: default_replication(&self.pool)?.unwrap_or(DEFAULT_REPLICATION),
            max_relative_expiry_ms: self.pool.max_relative_expiry_ms.unwrap_or(NO_CACHE_EXPIRY_MS),
        })
    }

    fn execute(&self, pool: CachePool, ns: &mut Namespace, _: Context<'_>, effects: &mut Vec<Effect>) -> OutcomeValue {
        ns.cache.put_pool(pool);
        effects.push(Effect::CacheChanged);
        OutcomeValue::Done
    }
}

impl Operation for ModifyCachePool {
    type Plan = CachePool;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<CachePool> {
        require_superuser(context)?;
        check_pool(&self.pool)?;
        let record = &self.pool;
        let Some(pool) = namespace.cache.pool(&record.name) else {
            let message = format!("Cache pool {} does not exist.", record.name);
            return Err(errors::invalid_request(message));
        };
        let pool = pool.clone();
        Ok(CachePool {
            owner: record.owner.clone().unwrap_or(pool.owner),
            group: record.group.clone().unwrap_or(pool.group),
            mode: record.mode.map_or(pool.mode, FsPermission::from_wire),
            limit: record.limit.unwrap_or(pool.limit),
            default_replication: default_replication(record)?.unwrap_or(pool.default_replication),
            max_relative_expiry_ms: record.max_relative_expiry_ms.unwrap_or(pool.max_relative_expiry_ms),
            name: pool.name,
        })
    }

    fn execute(&self, pool: CachePool, ns: &mut Namespace, _: Context<'_>, effects: &mut Vec<Effect>) -> OutcomeValue {
        ns.cache.put_pool(pool);
        effects.push(Effect::CacheChanged);
        OutcomeValue::Done
    }
}

impl Operation for RemoveCachePool {
    type Plan = ();
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<()> {
        require_superuser(context)?;
        check_pool_name(&self.name)?;
        if namespace.cache.pool(&self.name).is_none() {
            let message = format!("Cannot remove non-existent cache pool {}", self.name);
            return Err(errors::invalid_request(message));
        }
        Ok(())
    }

    fn execute(&self, (): (), ns: &mut Namespace, _: Context<'_>, effects: &mut Vec<Effect>) -> OutcomeValue {
        ns.cache.remove_pool(&self.name);
        effects.push(Effect::CacheChanged);
        OutcomeValue::Done
    }
}

impl Operation for AddCacheDirective {
    type Plan = CacheDirective;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<CacheDirective> {
        let record = &self.directive;
        if record.id.is_some() {
            return Err(HadoopError::io(
                "addDirective: you cannot specify an ID for this operation.",
            ));
        }
        let pool = pool_of(namespace, record.pool.as_deref())?;
        pool.check_access(context.caller, FsAction::WRITE)?;
        let path = directive_path(record.path.as_deref())?;
        let replication = directive_replication(record.replication, pool.default_replication)?;
        let expiry_ms = expiry(record.expiration, pool.max_relative_expiry_ms, context.now)?;
        if !self.force {
            namespace.check_cache_limit(pool, &path, replication, self.demand)?;
        }
        let id = namespace.cache.next_directive();
        if id >= i64::MAX - 1 {
            return Err(HadoopError::io("No more available IDs."));
        }
        Ok(CacheDirective {
            id,
            path,
            replication,
            pool: pool.name.clone(),
            expiry_ms,
        })
    }

    fn execute(
        &self,
        directive: CacheDirective,
        ns: &mut Namespace,
        _: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        let id = directive.id;
        ns.cache.put_directive(directive);
        effects.push(Effect::CacheChanged);
        OutcomeValue::CacheDirective(id)
    }
}

impl Operation for ModifyCacheDirective {
    type Plan = CacheDirective;
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<CacheDirective> {
        let CacheDirectiveRecord {
            id,
            path,
            replication,
            pool,
            expiration,
        } = &self.directive;
        let id = id.ok_or_else(|| errors::invalid_request("Must supply an ID.".to_owned()))?;
        let before = namespace.directive_for_write(context, id)?;
        let path = directive_path(Some(path.as_ref().unwrap_or(&before.path)))?;
        let replication = directive_replication(*replication, before.replication)?;
        let pool = pool_of(namespace, Some(pool.as_ref().unwrap_or(&before.pool)))?;
        if pool.name != before.pool {
            pool.check_access(context.caller, FsAction::WRITE)?;
            if !self.force {
                namespace.check_cache_limit(pool, &path, replication, self.demand)?;
            }
        }
        let kept = CacheExpiration {
            millis: before.expiry_ms,
            is_relative: false,
        };
        let expiry_ms = expiry(
            Some(expiration.unwrap_or(kept)),
            pool.max_relative_expiry_ms,
            context.now,
        )?;
        Ok(CacheDirective {
            id,
            path,
            replication,
            pool: pool.name.clone(),
            expiry_ms,
        })
    }

    fn execute(
        &self,
        directive: CacheDirective,
        ns: &mut Namespace,
        _: Context<'_>,
        effects: &mut Vec<Effect>,
    ) -> OutcomeValue {
        ns.cache.put_directive(directive);
        effects.push(Effect::CacheChanged);
        OutcomeValue::Done
    }
}

impl Operation for RemoveCacheDirective {
    type Plan = ();
    const AT_MOST_ONCE: bool = true;

    fn plan(&self, namespace: &Namespace, context: Context<'_>) -> HadoopResult<()> {
        namespace.directive_for_write(context, self.id).map(drop)
    }

    fn execute(&self, (): (), ns: &mut Namespace, _: Context<'_>, effects: &mut Vec<Effect>) -> OutcomeValue {
        ns.cache.remove_directive(self.id);
        effects.push(Effect::CacheChanged);
        OutcomeValue::Done
    }
}

/// Most files and directives whose sizes one check of a pool's limit adds up, under the lock: what comes behind them is not
/// counted then, and is after the next scan.
const MAX_FILES_LOOKED_AT: usize = 20_000;

impl Namespace {
    /// The directive with this id, which the caller may change.
    fn directive_for_write(&self, context: Context<'_>, id: i64) -> HadoopResult<&CacheDirective> {
        if id <= 0 {
            return Err(errors::invalid_request("Invalid negative ID.".to_owned()));
        }
        let directive = self.cache.directive(id);
        let directive =
            directive.ok_or_else(|| errors::invalid_request(format!("No directive with ID {id} found.")))?;
        if let Some(pool) = self.cache.pool(&directive.pool) {
            pool.check_access(context.caller, FsAction::WRITE)?;
        }
        Ok(directive)
    }

    /// Whether `pool` has room for `path`, given what its directives ask for already.
    fn check_cache_limit(
        &self,
        pool: &CachePool,
        path: &str,
        replication: i16,
        demand: Option<CacheDemand>,
    ) -> HadoopResult<()> {
        if pool.limit == NO_CACHE_LIMIT {
            return Ok(());
        }
        let demand = demand.unwrap_or_default();
        let seen = demand.next_directive.max(1) - 1;
        let later = self
            .cache
            .directives_after(seen)
            .filter(|directive| directive.pool == pool.name);
        let mut budget = MAX_FILES_LOOKED_AT;
        let size = self.cached_len(path, &mut budget);
        let later: i64 = later
            .map(|directive| times(self.cached_len(&directive.path, &mut budget), directive.replication))
            .fold(0, i64::saturating_add);
        let present = i64::try_from(demand.bytes).unwrap_or(i64::MAX).saturating_add(later);
        if present.saturating_add(times(size, replication)) <= pool.limit {
            return Ok(());
        }
        Err(errors::invalid_request(format!(
            "Caching path {path} of size {size} bytes at replication {replication} would exceed pool {}'s remaining \
             capacity of {} bytes.",
            pool.name,
            pool.limit.saturating_sub(present)
        )))
    }
}

fn times(bytes: u64, replication: i16) -> i64 {
    i64::try_from(bytes)
        .unwrap_or(i64::MAX)
        .saturating_mul(i64::from(replication))
}

/// What a pool's fields must be, whether it is made or changed.
fn check_pool(pool: &CachePoolRecord) -> HadoopResult<()> {
    let refuse = |what: &str| Err(errors::invalid_request(what.to_owned()));
    if pool.limit.is_some_and(|limit| limit < 0) {
        return refuse("Limit is negative.");
    }
    if pool.default_replication.is_some_and(|replication| replication < 0) {
        return refuse("Default Replication is negative");
    }
    match pool.max_relative_expiry_ms {
        Some(i64::MIN..0) => return refuse("Max relative expiry is negative."),
        Some(expiry) if expiry > NO_CACHE_EXPIRY_MS => return refuse("Max relative expiry is too big."),
        _ => {}
    }
    check_pool_name(&pool.name)
}

fn check_pool_name(name: &str) -> HadoopResult<()> {
    if name.is_empty() {
        return Err(HadoopError::io("invalid empty cache pool name"));
    }
    Ok(())
}

fn default_replication(pool: &CachePoolRecord) -> HadoopResult<Option<i16>> {
    pool.default_replication.map(short).transpose()
}

/// A Java short.
fn short(number: i32) -> HadoopResult<i16> {
    i16::try_from(number).map_err(|_| HadoopError::new(ErrorKind::IllegalArgument, format!("Out of range: {number}")))
}

fn pool_of<'a>(namespace: &'a Namespace, name: Option<&str>) -> HadoopResult<&'a CachePool> {
    let refuse = |what: String| Err(errors::invalid_request(what));
    match name {
        None => refuse("No pool specified.".to_owned()),
        Some("") => refuse("Invalid empty pool name.".to_owned()),
        Some(name) => match namespace.cache.pool(name) {
            Some(pool) => Ok(pool),
            None => refuse(format!("Unknown pool {name}")),
        },
    }
}

/// The path of a directive, normalised.
pub(crate) fn directive_path(path: Option<&str>) -> HadoopResult<String> {
    let path = path.ok_or_else(|| errors::invalid_request("No path specified.".to_owned()))?;
    match FsPath::parse(path) {
        Ok(path) => Ok(path.into_string()),
        Err(_) => Err(errors::invalid_request(format!("Invalid path '{path}'."))),
    }
}

fn directive_replication(asked: Option<i32>, default: i16) -> HadoopResult<i16> {
    let replication = asked.map_or(Ok(default), short)?;
    if replication <= 0 {
        let message = format!("Invalid replication factor {replication} <= 0");
        return Err(errors::invalid_request(message));
    }
    Ok(replication)
}

/// When a directive ends that asks for `asked`, ms since 1970.
fn expiry(asked: Option<CacheExpiration>, longest_ms: i64, now: TimeMs) -> HadoopResult<i64> {
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let Some(asked) = asked else {
        return Ok(now.saturating_add(longest_ms));
    };
    let refuse = |what: String| Err(errors::invalid_request(what));
    if asked.millis < 0 {
        return refuse(format!("Cannot set a negative expiration: {}", asked.millis));
    }
    let (relative, absolute) = match asked.is_relative {
        true => (asked.millis, now.saturating_add(asked.millis)),
        false => (asked.millis - now, asked.millis),
    };
    let shown = || match asked.is_relative {
        true => duration_text(asked.millis),
        false => TimeMs(absolute.unsigned_abs()).iso8601(0),
    };
    if relative > NO_CACHE_EXPIRY_MS {
        return refuse(format!("Expiration {} is too far in the future!", shown()));
    }
    if relative > longest_ms {
        return refuse(format!(
            "Expiration {} exceeds the max relative expiration time of {longest_ms} ms.",
            shown()
        ));
    }
    Ok(absolute)
}
