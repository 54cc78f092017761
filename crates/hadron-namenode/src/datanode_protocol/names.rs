//! DataNodes as Hadoop's log lines and exceptions name them.

use hadron_proto::datanode::DatanodeRegistrationProto;

/// Longest text of a peer that goes to the log, in characters.
const MAX_PRINTED: usize = 500;

/// Hadoop's `DatanodeRegistration.toString`.
pub(crate) fn registration(registration: &DatanodeRegistrationProto) -> String {
    let (id, storage) = (&registration.datanode_id, &registration.storage_info);
    format!(
        "DatanodeRegistration({}:{}, datanodeUuid={}, infoPort={}, infoSecurePort={}, ipcPort={}, \
         storageInfo=lv={};cid={};nsid={};c={})",
        printable(&id.ip_addr),
        id.xfer_port,
        printable(&id.datanode_uuid),
        id.info_port,
        id.info_secure_port(),
        id.ipc_port,
        storage.layout_version as i32,
        printable(&storage.cluster_id),
        storage.namespce_id as i32,
        storage.c_time
    )
}

/// A peer's text, shortened and without control characters, which could forge log lines.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_PRINTED)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}
