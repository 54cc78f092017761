//! Names under which the protocols travel in RPC headers (`declaringClassProtocolName`).
//!
//! Every one has version [`PROTOCOL_VERSION`] on the wire; the version constants in Hadoop's Java interfaces are not sent.

/// Version of every protocol in the RPC request header.
pub const PROTOCOL_VERSION: u64 = 1;

/// Clients to the NameNode.
pub const CLIENT_PROTOCOL: &str = "org.apache.hadoop.hdfs.protocol.ClientProtocol";
/// DataNodes to the NameNode.
pub const DATANODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.server.protocol.DatanodeProtocol";
/// DataNodes to the NameNode's lifeline port (2.8+).
pub const DATANODE_LIFELINE_PROTOCOL: &str = "org.apache.hadoop.hdfs.server.protocol.DatanodeLifelineProtocol";
/// Balancer, checkpointers and standbys to the NameNode.
pub const NAMENODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.server.protocol.NamenodeProtocol";
/// Clients and administrators to a DataNode.
pub const CLIENT_DATANODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.protocol.ClientDatanodeProtocol";
/// DataNodes to each other, for block recovery.
pub const INTER_DATANODE_PROTOCOL: &str = "org.apache.hadoop.hdfs.server.protocol.InterDatanodeProtocol";
/// Reconfiguration without restart (2.8+).
pub const RECONFIGURATION_PROTOCOL: &str = "org.apache.hadoop.hdfs.protocol.ReconfigurationProtocol";
/// Health and state transitions of a NameNode.
pub const HA_SERVICE_PROTOCOL: &str = "org.apache.hadoop.ha.HAServiceProtocol";
/// The fail-over controller's own port.
pub const ZKFC_PROTOCOL: &str = "org.apache.hadoop.ha.ZKFCProtocol";
/// Reload users and groups.
pub const REFRESH_USER_MAPPINGS_PROTOCOL: &str = "org.apache.hadoop.security.RefreshUserMappingsProtocol";
/// Reload service-level authorization.
pub const REFRESH_AUTHORIZATION_POLICY_PROTOCOL: &str =
    "org.apache.hadoop.security.authorize.RefreshAuthorizationPolicyProtocol";
/// Reload the call queue.
pub const REFRESH_CALL_QUEUE_PROTOCOL: &str = "org.apache.hadoop.ipc.RefreshCallQueueProtocol";
/// Reload anything registered under a name.
pub const GENERIC_REFRESH_PROTOCOL: &str = "org.apache.hadoop.ipc.GenericRefreshProtocol";
/// Groups of a user as the NameNode sees them.
pub const GET_USER_MAPPINGS_PROTOCOL: &str = "org.apache.hadoop.tools.GetUserMappingsProtocol";
/// Span receivers (2.7 to 3.3).
pub const TRACE_ADMIN_PROTOCOL: &str = "org.apache.hadoop.tracing.TraceAdminPB.TraceAdminService";
/// Which protocols, versions and methods a server has.
pub const PROTOCOL_META_INFO: &str = "org.apache.hadoop.ipc.ProtocolMetaInfoPB";
