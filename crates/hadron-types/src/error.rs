//! The one error that crosses an RPC, and the one table between its kinds and Java's exception classes.
//!
//! Clients act on the class name and print the first line of the message; both are part of the protocol.
//! Invariant: `ErrorKind::from_class(kind.class()) == kind` for every kind in the table.

use std::fmt;

/// Result of anything a peer may be told about.
pub type HadoopResult<T> = Result<T, HadoopError>;

/// An exception as Hadoop RPC carries it: what kind, and its message (first line is what shells print).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HadoopError {
    /// The kind; decides the class name.
    pub kind: ErrorKind,
    /// The message. More lines may follow the first, as Java's stack traces do.
    pub message: String,
}

impl HadoopError {
    /// Makes an error of `kind` with `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
    /// The plain `java.io.IOException`.
    pub fn io(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Io, message)
    }
    /// The message up to its first line break.
    pub fn first_line(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}

impl fmt::Display for HadoopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.class(), self.message)
    }
}
impl std::error::Error for HadoopError {}

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $kind:ident = $class:literal,)*) => {
        /// What went wrong, one kind per Java class that some client acts on.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $kind,)*
            /// A class a peer sent that is not in the table; the message names it.
            Other,
        }
        impl ErrorKind {
            /// Every kind of the table.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];
            /// The exact Java binary class name (`$` for nested classes).
            pub fn class(self) -> &'static str {
                match self {
                    $(Self::$kind => $class,)*
                    Self::Other => "java.io.IOException",
                }
            }
            /// Finds the kind of a class name received from a peer; [`ErrorKind::Other`] for unknown ones.
            pub fn from_class(class: &str) -> Self {
                match class {
                    $($class => Self::$kind,)*
                    "org.apache.hadoop.thirdparty.protobuf.InvalidProtocolBufferException"
                    | "com.google.protobuf.UninitializedMessageException" => Self::InvalidProtocolBuffer,
                    _ => Self::Other,
                }
            }
        }
    };
}

error_kinds! {
    /// Generic.
    Io = "java.io.IOException",
    /// Path or parent missing.
    FileNotFound = "java.io.FileNotFoundException",
    /// End of stream.
    Eof = "java.io.EOFException",
    /// Argument errors of plain Java.
    IllegalArgument = "java.lang.IllegalArgumentException",
    /// Not supported here.
    UnsupportedOperation = "java.lang.UnsupportedOperationException",
    /// A bug of the server; named so that clients do not retry.
    NullPointer = "java.lang.NullPointerException",
    /// The HA state does not allow the operation; clients fail over.
    Standby = "org.apache.hadoop.ipc.StandbyException",
    /// An observer cannot serve.
    ObserverRetryOnActive = "org.apache.hadoop.ipc.ObserverRetryOnActiveException",
    /// Try again on the same server.
    Retriable = "org.apache.hadoop.ipc.RetriableException",
    /// Unknown method.
    NoSuchMethod = "org.apache.hadoop.ipc.RpcNoSuchMethodException",
    /// Unknown protocol.
    NoSuchProtocol = "org.apache.hadoop.ipc.RpcNoSuchProtocolException",
    /// Version mismatch of IPC or protocol.
    VersionMismatch = "org.apache.hadoop.ipc.RPC$VersionMismatch",
    /// Problem inside the RPC layer.
    IpcServer = "org.apache.hadoop.ipc.RpcServerException",
    /// The SASL conversation broke its rules.
    Sasl = "javax.security.sasl.SaslException",
    /// Malformed connection.
    Ipc = "org.apache.hadoop.ipc.IpcException",
    /// Undecodable request.
    InvalidProtocolBuffer = "com.google.protobuf.InvalidProtocolBufferException",
    /// Permission denied.
    AccessControl = "org.apache.hadoop.security.AccessControlException",
    /// Proxy user or service ACL refused.
    Authorization = "org.apache.hadoop.security.authorize.AuthorizationException",
    /// Expired or unknown token.
    InvalidToken = "org.apache.hadoop.security.token.SecretManager$InvalidToken",
    /// Target exists.
    FileAlreadyExists = "org.apache.hadoop.fs.FileAlreadyExistsException",
    /// A path component is a file.
    ParentNotDirectory = "org.apache.hadoop.fs.ParentNotDirectoryException",
    /// Directory is not empty.
    PathIsNotEmptyDirectory = "org.apache.hadoop.fs.PathIsNotEmptyDirectoryException",
    /// A directory was wanted.
    PathIsNotDirectory = "org.apache.hadoop.fs.PathIsNotDirectoryException",
    /// A request that cannot be granted as it stands (cache pools and directives).
    InvalidRequest = "org.apache.hadoop.fs.InvalidRequestException",
    /// No erasure coding policy was set on the path.
    NoEcPolicySet = "org.apache.hadoop.hdfs.protocol.NoECPolicySetException",
    /// Bad name.
    InvalidPath = "org.apache.hadoop.fs.InvalidPathException",
    /// Symlink met.
    UnresolvedPath = "org.apache.hadoop.hdfs.protocol.UnresolvedPathException",
    /// A listing's start is gone.
    DirectoryListingStartAfterNotFound = "org.apache.hadoop.fs.DirectoryListingStartAfterNotFoundException",
    /// Argument errors of Hadoop.
    HadoopIllegalArgument = "org.apache.hadoop.HadoopIllegalArgumentException",
    /// File is open by another writer.
    AlreadyBeingCreated = "org.apache.hadoop.hdfs.protocol.AlreadyBeingCreatedException",
    /// Lease recovery of the last block runs.
    RecoveryInProgress = "org.apache.hadoop.hdfs.protocol.RecoveryInProgressException",
    /// Caller no longer owns the file's lease.
    LeaseExpired = "org.apache.hadoop.hdfs.server.namenode.LeaseExpiredException",
    /// The previous block has too few replicas yet.
    NotReplicatedYet = "org.apache.hadoop.hdfs.server.namenode.NotReplicatedYetException",
    /// The NameNode is in safe mode.
    SafeMode = "org.apache.hadoop.hdfs.server.namenode.SafeModeException",
    /// Not supported by this NameNode.
    UnsupportedAction = "org.apache.hadoop.hdfs.server.namenode.UnsupportedActionException",
    /// Namespace quota exceeded.
    NsQuotaExceeded = "org.apache.hadoop.hdfs.protocol.NSQuotaExceededException",
    /// Space quota exceeded.
    DsQuotaExceeded = "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException",
    /// Quota of a storage type exceeded.
    QuotaByStorageTypeExceeded = "org.apache.hadoop.hdfs.protocol.QuotaByStorageTypeExceededException",
    /// A component is too long.
    PathComponentTooLong = "org.apache.hadoop.hdfs.protocol.FSLimitException$PathComponentTooLongException",
    /// A directory is full.
    MaxDirectoryItemsExceeded = "org.apache.hadoop.hdfs.protocol.FSLimitException$MaxDirectoryItemsExceededException",
    /// Snapshot refusals.
    Snapshot = "org.apache.hadoop.hdfs.protocol.SnapshotException",
    /// Writing below `.snapshot`.
    SnapshotAccessControl = "org.apache.hadoop.hdfs.protocol.SnapshotAccessControlException",
    /// ACL refusals.
    Acl = "org.apache.hadoop.hdfs.protocol.AclException",
    /// Extended attribute missing.
    XAttrNotFound = "org.apache.hadoop.hdfs.protocol.XAttrNotFoundException",
    /// Registration unknown or of another cluster.
    UnregisteredNode = "org.apache.hadoop.hdfs.protocol.UnregisteredNodeException",
    /// DataNode not in the include list.
    DisallowedDatanode = "org.apache.hadoop.hdfs.server.protocol.DisallowedDatanodeException",
    /// The topology mapping gave a DataNode no rack.
    UnresolvedTopology = "org.apache.hadoop.hdfs.server.blockmanagement.UnresolvedTopologyException",
    /// A DataNode's rack does not fit in with the others.
    InvalidTopology = "org.apache.hadoop.net.NetworkTopology$InvalidTopologyException",
    /// Layout or software version refused.
    IncorrectVersion = "org.apache.hadoop.hdfs.server.common.IncorrectVersionException",
    /// Replica missing on a DataNode.
    ReplicaNotFound = "org.apache.hadoop.hdfs.server.datanode.ReplicaNotFoundException",
    /// Replica present on a DataNode that should create it.
    ReplicaAlreadyExists = "org.apache.hadoop.hdfs.server.datanode.ReplicaAlreadyExistsException",
    /// No volume of a DataNode has room.
    DiskOutOfSpace = "org.apache.hadoop.util.DiskChecker$DiskOutOfSpaceException",
    /// The disk balancer refuses.
    DiskBalancer = "org.apache.hadoop.hdfs.server.datanode.DiskBalancerException",
    /// inotify gap.
    MissingEvents = "org.apache.hadoop.hdfs.inotify.MissingEventsException",
    /// A change of the HA state was refused.
    ServiceFailed = "org.apache.hadoop.ha.ServiceFailedException",
    /// Health check failed.
    HealthCheckFailed = "org.apache.hadoop.ha.HealthCheckFailedException",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads_both_ways() {
        for &kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_class(kind.class()), kind);
        }
        assert_eq!(ErrorKind::from_class("com.example.Mine"), ErrorKind::Other);
    }
}
