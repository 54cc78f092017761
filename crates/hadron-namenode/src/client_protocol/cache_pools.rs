//! Centralized cache calls, as a NameNode answers them that has no cache pool.
//!
//! What it does not do: cache. Lists are empty; a pool cannot be made; whatever names a pool or a directive meets
//! Hadoop's answer for one that does not exist. Source of classes and texts: Hadoop `CacheManager`.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AddCacheDirectiveRequestProto, AddCacheDirectiveResponseProto, AddCachePoolRequestProto, AddCachePoolResponseProto,
    CacheDirectiveInfoProto, ListCacheDirectivesRequestProto, ListCacheDirectivesResponseProto,
    ListCachePoolsRequestProto, ListCachePoolsResponseProto, ModifyCacheDirectiveRequestProto,
    ModifyCacheDirectiveResponseProto, ModifyCachePoolRequestProto, ModifyCachePoolResponseProto,
    RemoveCacheDirectiveRequestProto, RemoveCacheDirectiveResponseProto, RemoveCachePoolRequestProto,
    RemoveCachePoolResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// addCacheDirective: its pool does not exist.
pub(super) fn add_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: AddCacheDirectiveRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot add cache directive".to_owned())?;
        Err::<AddCacheDirectiveResponseProto, _>(refuse_pool_of(&request.info))
    })
}

/// modifyCacheDirective: it does not exist.
pub(super) fn modify_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: ModifyCacheDirectiveRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot add cache directive".to_owned())?;
        let Some(id) = request.info.id else {
            return Err(invalid("Must supply an ID."));
        };
        no_directive::<ModifyCacheDirectiveResponseProto>(id)
    })
}

/// removeCacheDirective: it does not exist.
pub(super) fn remove_cache_directive(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RemoveCacheDirectiveRequestProto| {
        call.shared
            .require_no_safe_mode(|| "Cannot remove cache directives".to_owned())?;
        no_directive::<RemoveCacheDirectiveResponseProto>(request.id)
    })
}

/// listCacheDirectives: none; a filter by id or replication is refused as Hadoop refuses it.
pub(super) fn list_cache_directives(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: ListCacheDirectivesRequestProto| {
        if request.filter.replication.is_some() {
            return Err(invalid("Filtering by replication is unsupported."));
        }
        if let Some(id) = request.filter.id {
            return Err(invalid(format!("Did not find requested id {id}")));
        }
        let filter = [("path", &request.filter.path), ("pool", &request.filter.pool)];
        let set = filter.map(|(name, value)| value.as_ref().map(|value| format!("{name}: {value}")));
        let shown = set.into_iter().flatten().collect::<Vec<_>>().join(", ");
        call.audit_outcome(&Audit::of("listCacheDirectives", &format!("{{{shown}}}")), &Ok(()));
        Ok(ListCacheDirectivesResponseProto::default())
    })
}

/// addCachePool: not supported.
pub(super) fn add_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: AddCachePoolRequestProto| {
        let name = request.info.pool_name();
        call.require_superuser_for(&Audit::of("addCachePool", name))?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot add cache pool{name}"))?;
        Err::<AddCachePoolResponseProto, _>(HadoopError::new(
            ErrorKind::UnsupportedOperation,
            format!("centralized cache management is not supported by this NameNode: cannot add cache pool {name}"),
        ))
    })
}

/// modifyCachePool: it does not exist.
pub(super) fn modify_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: ModifyCachePoolRequestProto| {
        let name = request.info.pool_name();
        call.require_superuser_for(&Audit::of("modifyCachePool", &format!("{{poolName: {name}}}")))?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot modify cache pool{name}"))?;
        Err::<ModifyCachePoolResponseProto, _>(invalid(format!("Cache pool {name} does not exist.")))
    })
}

/// removeCachePool: it does not exist.
pub(super) fn remove_cache_pool(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RemoveCachePoolRequestProto| {
        let name = &request.pool_name;
        call.require_superuser_for(&Audit::of("removeCachePool", &format!("{{poolName: {name}}}")))?;
        call.shared
            .require_no_safe_mode(|| format!("Cannot modify cache pool{name}"))?;
        Err::<RemoveCachePoolResponseProto, _>(invalid(format!("Cannot remove non-existent cache pool {name}")))
    })
}

/// listCachePools: none.
pub(super) fn list_cache_pools(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListCachePoolsRequestProto| {
        call.audit_outcome(&Audit::command("listCachePools"), &Ok(()));
        Ok(ListCachePoolsResponseProto::default())
    })
}

fn invalid(text: impl Into<String>) -> HadoopError {
    HadoopError::new(ErrorKind::InvalidRequest, text)
}

fn refuse_pool_of(info: &CacheDirectiveInfoProto) -> HadoopError {
    match info.pool.as_deref() {
        None => invalid("No pool specified."),
        Some("") => invalid("Invalid empty pool name."),
        Some(pool) => invalid(format!("Unknown pool {pool}")),
    }
}

fn no_directive<R>(id: i64) -> HadoopResult<R> {
    Err(match id {
        i64::MIN..=0 => invalid("Invalid negative ID."),
        _ => invalid(format!("No directive with ID {id} found.")),
    })
}
