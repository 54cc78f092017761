//! Cache pools and directives: what DataNodes are to keep in memory, for whom, how many times and until when.
//!
//! What it is for: the tables of the replicated state, and who may see and change a pool. What it does not do: which
//! blocks are cached where, and how many bytes that takes, is soft state of the NameNode.
//! Invariants: a directive's pool exists; ids are given out once, in order, from [`FIRST_DIRECTIVE`] on. Both tables
//! are copied as a whole at the first write after a snapshot: there are few of either.
//! Source: Hadoop `CacheManager`, `CachePool`, `CacheDirective`.

use crate::command::{CacheDirectiveRecord, CacheExpiration, CachePoolRecord, Caller};
use crate::errors;
use crate::namespace::Namespace;
use crate::permission::is_member;
use hadron_types::{FsAction, FsPermission, HadoopResult, TimeMs};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The id of the first directive.
pub(crate) const FIRST_DIRECTIVE: i64 = 1;

/// A cache pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CachePool {
    /// Name, never empty.
    pub name: String,
    /// Owner.
    pub owner: String,
    /// Group.
    pub group: String,
    /// READ: may see it and its directives; WRITE: may change its directives.
    pub mode: FsPermission,
    /// Most bytes, times replication, that its directives may ask for.
    pub limit: i64,
    /// Replicas of directives that do not say how many.
    pub default_replication: i16,
    /// Longest life of a directive in ms.
    pub max_relative_expiry_ms: i64,
}

impl CachePool {
    /// Checks that `caller` has all of `action` on the pool.
    ///
    /// Errors: AccessControlException.
    pub fn check_access(&self, caller: &Caller, action: FsAction) -> HadoopResult<()> {
        let is_owner = self.owner == caller.user;
        let is_member = is_member(caller, &self.group);
        let granted = caller.superuser
            || (is_owner && self.mode.owner().implies(action))
            || (is_member && self.mode.group().implies(action))
            || (!is_owner && !is_member && self.mode.other().implies(action));
        if granted {
            return Ok(());
        }
        Err(errors::denied(format!(
            "Permission denied while accessing pool {}: user {} does not have {} permissions.",
            self.name,
            caller.user,
            action.name()
        )))
    }

    /// With every field.
    pub(crate) fn record(&self) -> CachePoolRecord {
        CachePoolRecord {
            name: self.name.clone(),
            owner: Some(self.owner.clone()),
            group: Some(self.group.clone()),
            mode: Some(u32::from(self.mode.bits())),
            limit: Some(self.limit),
            default_replication: Some(i32::from(self.default_replication)),
            max_relative_expiry_ms: Some(self.max_relative_expiry_ms),
        }
    }

    /// `None` if a field is missing or out of range.
    pub(crate) fn from_record(record: CachePoolRecord) -> Option<Self> {
        Some(Self {
            name: Some(record.name).filter(|name| !name.is_empty())?,
            owner: record.owner?,
            group: record.group?,
            mode: FsPermission::from_wire(record.mode?),
            limit: record.limit?,
            default_replication: i16::try_from(record.default_replication?).ok()?,
            max_relative_expiry_ms: record.max_relative_expiry_ms?,
        })
    }
}

/// A cache directive: a file, or all files right in a directory, is to be cached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheDirective {
    /// Id, greater than 0.
    pub id: i64,
    /// The path, which need not exist.
    pub path: String,
    /// Cached replicas wanted, greater than 0.
    pub replication: i16,
    /// The pool it is in.
    pub pool: String,
    /// When it ends, ms since 1970; 0: not at all.
    pub expiry_ms: i64,
}

impl CacheDirective {
    /// Whether its time is over.
    pub fn is_expired(&self, now: TimeMs) -> bool {
        self.expiry_ms > 0 && u64::try_from(self.expiry_ms).is_ok_and(|expiry| expiry <= now.0)
    }

    /// With every field.
    pub(crate) fn record(&self) -> CacheDirectiveRecord {
        CacheDirectiveRecord {
            id: Some(self.id),
            path: Some(self.path.clone()),
            replication: Some(i32::from(self.replication)),
            pool: Some(self.pool.clone()),
            expiration: Some(CacheExpiration {
                millis: self.expiry_ms,
                is_relative: false,
            }),
        }
    }

    /// `None` if a field is missing or out of range.
    pub(crate) fn from_record(record: CacheDirectiveRecord) -> Option<Self> {
        let replication = i16::try_from(record.replication?).ok()?;
        Some(Self {
            id: record.id.filter(|&id| id >= FIRST_DIRECTIVE)?,
            path: record.path?,
            replication: Some(replication).filter(|&replication| replication > 0)?,
            pool: record.pool?,
            expiry_ms: record.expiration.filter(|expiration| !expiration.is_relative)?.millis,
        })
    }
}

/// The tables.
#[derive(Clone)]
pub(crate) struct CacheTable {
    pools: Arc<BTreeMap<String, CachePool>>,
    directives: Arc<BTreeMap<i64, CacheDirective>>,
    next_directive: i64,
}

impl CacheTable {
    pub(crate) fn new() -> Self {
        Self {
            pools: Arc::default(),
            directives: Arc::default(),
            next_directive: FIRST_DIRECTIVE,
        }
    }

    pub(crate) fn pool(&self, name: &str) -> Option<&CachePool> {
        self.pools.get(name)
    }
    pub(crate) fn pools(&self) -> impl Iterator<Item = &CachePool> {
        self.pools.values()
    }
    pub(crate) fn pool_count(&self) -> usize {
        self.pools.len()
    }
    pub(crate) fn directive(&self, id: i64) -> Option<&CacheDirective> {
        self.directives.get(&id)
    }
    /// Directives with ids above `id`.
    pub(crate) fn directives_after(&self, id: i64) -> impl Iterator<Item = &CacheDirective> {
        let above = (Bound::Excluded(id), Bound::Unbounded);
        self.directives.range(above).map(|(_, directive)| directive)
    }
    /// The id of the next directive.
    pub(crate) fn next_directive(&self) -> i64 {
        self.next_directive
    }
    /// Pools and directives.
    pub(crate) fn len(&self) -> usize {
        self.pools.len() + self.directives.len()
    }

    /// Enters a pool, in place of the one of this name.
    pub(crate) fn put_pool(&mut self, pool: CachePool) {
        Arc::make_mut(&mut self.pools).insert(pool.name.clone(), pool);
    }

    /// Removes a pool and its directives.
    pub(crate) fn remove_pool(&mut self, name: &str) {
        Arc::make_mut(&mut self.pools).remove(name);
        Arc::make_mut(&mut self.directives).retain(|_, directive| directive.pool != name);
    }

    /// Enters a directive, in place of the one with this id.
    pub(crate) fn put_directive(&mut self, directive: CacheDirective) {
        self.next_directive = self.next_directive.max(directive.id.saturating_add(1));
        Arc::make_mut(&mut self.directives).insert(directive.id, directive);
    }

    pub(crate) fn remove_directive(&mut self, id: i64) {
        Arc::make_mut(&mut self.directives).remove(&id);
    }

    /// Enters a pool of an image; false if it is there already.
    pub(crate) fn restore_pool(&mut self, pool: CachePool) -> bool {
        let is_new = self.pool(&pool.name).is_none();
        self.put_pool(pool);
        is_new
    }

    /// Enters a directive of an image; false if it is there already or has no pool.
    pub(crate) fn restore_directive(&mut self, directive: CacheDirective) -> bool {
        let fits = self.directive(directive.id).is_none() && self.pool(&directive.pool).is_some();
        self.put_directive(directive);
        fits
    }

    pub(crate) fn restore_next_directive(&mut self, next: i64) {
        self.next_directive = self.next_directive.max(next);
    }
}

impl Namespace {
    /// The pool called `name`.
    pub fn cache_pool(&self, name: &str) -> Option<&CachePool> {
        self.cache.pool(name)
    }

    /// Pools whose names come after `name` (empty: all), by name.
    pub fn cache_pools_after<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a CachePool> + use<'a> {
        let after = (Bound::Excluded(name.to_owned()), Bound::Unbounded);
        self.cache.pools.range(after).map(|(_, pool)| pool)
    }

    /// The directive with this id.
    pub fn cache_directive(&self, id: i64) -> Option<&CacheDirective> {
        self.cache.directive(id)
    }

    /// Directives with ids above `id`, by id.
    pub fn cache_directives_after(&self, id: i64) -> impl Iterator<Item = &CacheDirective> {
        self.cache.directives_after(id)
    }

    /// The id that the next directive gets.
    pub fn next_cache_directive(&self) -> i64 {
        self.cache.next_directive()
    }
}
