//! A DataNode introduces itself: the checks of `NameNodeRpcServer.registerDatanode` and
//! `DatanodeManager.registerDatanode`, in their order.

use super::{Core, decode, names, version};
use crate::Shared;
use crate::block_tokens::keys_for;
use crate::members::{Unresolved, has_name, is_local, log_changes};
use crate::settings::SOFTWARE_VERSION;
use bytes::Bytes;
use hadron_blockmap::{DatanodeId, Registration, RegistrationError};
use hadron_net::{CallContext, Reply};
use hadron_proto::datanode::{DatanodeRegistrationProto, RegisterDatanodeRequestProto, RegisterDatanodeResponseProto};
use hadron_proto::hdfs::{NamespaceInfoProto, StorageInfoProto, nnha_status_heartbeat_proto};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

/// `NameNodeLayoutVersion` of Hadoop 3.3; no DataNode compares it with its own.
const LAYOUT_VERSION: i32 = -66;
/// Capability bit 0: full reports may come as byte buffers.
const BLOCK_REPORT_BUFFERS: u64 = 1;

/// What `versionRequest` answers.
pub(crate) fn namespace_info(shared: &Shared) -> NamespaceInfoProto {
    let ns = shared.state.ns.read();
    let identity = ns.identity();
    NamespaceInfoProto {
        build_version: concat!("hadron-", env!("CARGO_PKG_VERSION")).to_owned(),
        unused: 0,
        block_pool_id: identity.block_pool.as_str().to_owned(),
        storage_info: StorageInfoProto {
            layout_version: LAYOUT_VERSION as u32,
            namespce_id: identity.namespace_id,
            cluster_id: identity.cluster_id.clone(),
            c_time: identity.created.0,
        },
        software_version: SOFTWARE_VERSION.to_owned(),
        capabilities: Some(BLOCK_REPORT_BUFFERS),
        state: Some(nnha_status_heartbeat_proto::State::Active as i32),
    }
}

/// Serves `registerDatanode`.
pub(super) fn register(core: &Arc<Core>, context: &CallContext, body: Bytes) -> Reply {
    let request: RegisterDatanodeRequestProto = match decode(body) {
        Ok(request) => request,
        Err(error) => return Reply::error(error),
    };
    let peer = context.peer.to_canonical();
    let members = &core.shared.members;
    let needs_name = members.settings().check_host_name && !is_local(peer);
    let host = names::printable(&request.registration.datanode_id.host_name);
    if !needs_name && let Some(rack) = members.known_rack(peer, &host) {
        return Reply::of(admit(core, request.registration, peer, true, rack));
    }
    let (core, members) = (Arc::clone(core), Arc::clone(members));
    Reply::spawned(async move {
        let _place = members.lookup_place().await;
        let members = Arc::clone(&members);
        let lookup = tokio::task::spawn_blocking(move || {
            let has_name = !needs_name || has_name(peer);
            (has_name, members.resolve(peer, &host))
        });
        let (has_name, rack) = lookup
            .await
            .map_err(|error| HadoopError::io(format!("look up a datanode: {error}")))?;
        admit(&core, request.registration, peer, has_name, rack)
    })
}

fn admit(
    core: &Core,
    mut registration: DatanodeRegistrationProto,
    peer: IpAddr,
    has_name: bool,
    rack: Result<Arc<str>, Unresolved>,
) -> HadoopResult<RegisterDatanodeResponseProto> {
    let checked = check(core, &registration, peer, has_name)
        .and_then(|()| rack.map_err(|error| HadoopError::new(ErrorKind::UnresolvedTopology, error.to_string())));
    if let Err(error) = &checked {
        tracing::warn!(node = %names::registration(&registration), %error, "datanode is not taken in");
    }
    let rack = checked?;
    registration.datanode_id.ip_addr = peer.to_string();
    let id = datanode_id(&registration, peer)?;
    let (uuid, address) = (id.uuid.clone(), id.xfer_addr());
    let accepted = Registration {
        id,
        software_version: names::printable(&registration.software_version),
        rack: Some(rack.to_string()),
    };
    let state = &core.shared.state;
    let standing = core
        .shared
        .members
        .standing(peer, &accepted.id.host_name, accepted.id.xfer_port);
    state
        .with_blocks(|source, blocks, now| {
            blocks.register(accepted, source, now)?;
            blocks.set_standing(&uuid, &standing, now);
            Ok(())
        })
        .map_err(|error| refused(&error, &rack, &address))?;
    state.recoveries.lock().registered(&uuid, state.now());
    log_changes(state);
    let tokens = core.shared.block_tokens.as_ref();
    registration.keys = keys_for(tokens, &uuid, &registration.software_version);
    tracing::info!(%uuid, %address, %rack, version = %registration.software_version, "datanode registered");
    Ok(RegisterDatanodeResponseProto { registration })
}

fn check(core: &Core, registration: &DatanodeRegistrationProto, peer: IpAddr, has_name: bool) -> HadoopResult<()> {
    check_version(core, registration)?;
    let name = names::printable(&registration.datanode_id.host_name);
    if !has_name {
        let reason = format!("hostname cannot be resolved (ip={peer}, hostname={peer})");
        return Err(disallowed_at(registration, peer, &reason));
    }
    let id = datanode_id(registration, peer)?;
    if !core.shared.members.standing(peer, &name, id.xfer_port).included {
        return Err(disallowed_at(registration, peer, "the host is not in the include-list"));
    }
    Ok(())
}

/// Old versions are refused; another version than ours must at least have been upgraded along with us.
fn check_version(core: &Core, registration: &DatanodeRegistrationProto) -> HadoopResult<()> {
    let (theirs, minimum) = (
        names::printable(&registration.software_version),
        &core.shared.members.settings().min_version,
    );
    if version::compare(&theirs, minimum) == Ordering::Less {
        return Err(HadoopError::new(
            ErrorKind::IncorrectVersion,
            format!(
                "The reported DataNode version is too low to communicate with this NameNode. DataNode version: \
                 '{theirs}' Minimum DataNode version: '{minimum}'"
            ),
        ));
    }
    let (their_time, our_time) = (
        registration.storage_info.c_time,
        core.shared.state.ns.read().identity().created.0,
    );
    if theirs != SOFTWARE_VERSION && their_time != our_time {
        return Err(HadoopError::new(
            ErrorKind::IncorrectVersion,
            format!(
                "Reported DataNode version '{theirs}' of DN {} does not match NameNode version '{SOFTWARE_VERSION}' \
                 and CTime of DN ('{their_time}') does not match CTime of NN ('{our_time}')",
                names::registration(registration)
            ),
        ));
    }
    Ok(())
}

fn disallowed_at(registration: &DatanodeRegistrationProto, peer: IpAddr, reason: &str) -> HadoopError {
    let mut seen = registration.clone();
    seen.datanode_id.ip_addr = peer.to_string();
    disallowed(&seen, reason)
}

/// "You may not serve", on which a DataNode stops.
pub(super) fn disallowed(registration: &DatanodeRegistrationProto, reason: &str) -> HadoopError {
    let message = format!(
        "Datanode denied communication with namenode because {reason}: {}",
        names::registration(registration)
    );
    HadoopError::new(ErrorKind::DisallowedDatanode, message)
}

fn refused(error: &RegistrationError, rack: &str, address: &str) -> HadoopError {
    match error {
        RegistrationError::OddRack { .. } => {
            tracing::error!(%address, %rack, %error, "mend the topology mapping, then run refreshNodes");
            let message = format!(
                "Failed to add {rack}/{address}: You cannot have a rack and a non-rack node at the same level of the \
                 network topology."
            );
            HadoopError::new(ErrorKind::InvalidTopology, message)
        }
        error => HadoopError::io(error.to_string()),
    }
}

fn datanode_id(registration: &DatanodeRegistrationProto, peer: IpAddr) -> HadoopResult<DatanodeId> {
    let id = &registration.datanode_id;
    let port = |what: &str, port: u32| {
        u16::try_from(port).map_err(|_| HadoopError::io(format!("{what} port {port} of a datanode is out of range")))
    };
    if id.datanode_uuid.is_empty() {
        return Err(HadoopError::io("datanode has no uuid"));
    }
    Ok(DatanodeId {
        ip: peer,
        host_name: names::printable(&id.host_name).into(),
        uuid: id.datanode_uuid.as_str().into(),
        xfer_port: port("transfer", id.xfer_port)?,
        info_port: port("info", id.info_port)?,
        info_secure_port: port("secure info", id.info_secure_port())?,
        ipc_port: port("ipc", id.ipc_port)?,
    })
}
