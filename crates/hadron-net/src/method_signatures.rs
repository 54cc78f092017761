//! The Java signatures of the methods served, from which clients compute the fingerprints they look for.
//!
//! What it is for: `ProtocolMetaInfo.getProtocolSignature`. A Java client asks whether a method exists by the hash of
//! its name, result and parameter classes; releases before 3.3 and since differ in the package of one parameter class,
//! so each method has two. What it does not do: say which methods a server serves; that is asked of the protocols.
//! Source: Hadoop `ProtocolSignature.getFingerprint`; the classes are those that 2.7.3 and 3.3.4 were compiled to.

use hadron_proto::protocol;

/// Class of the first parameter, before 3.3 and since.
const CONTROLLERS: [&str; 2] = [
    "com.google.protobuf.RpcController",
    "org.apache.hadoop.thirdparty.protobuf.RpcController",
];

/// The generated Java classes of one protocol.
struct Signatures {
    protocol: &'static str,
    /// Class that holds the messages.
    outer: &'static str,
    /// Methods whose messages are named after them.
    regular: &'static [&'static str],
    /// Others: method, result, parameter. A leading `$` stands for `outer`.
    others: &'static [(&'static str, &'static str, &'static str)],
}

/// Fingerprints of those `methods` of `protocol` that Java knows, two for each.
pub(crate) fn fingerprints(protocol: &str, methods: &[&str]) -> Vec<u32> {
    let Some(known) = TABLE.iter().find(|known| known.protocol == protocol) else {
        return Vec::new();
    };
    let classes = methods.iter().filter_map(|method| known.classes(method));
    classes
        .flat_map(|(method, result, parameter)| {
            CONTROLLERS.map(|controller| hash(method, &result, [controller, &parameter]))
        })
        .collect()
}

impl Signatures {
    /// The method with its result and parameter classes.
    fn classes<'a>(&self, method: &'a str) -> Option<(&'a str, String, String)> {
        let outer = self.outer;
        if self.regular.contains(&method) {
            let mut name = method.to_owned();
            name[..1].make_ascii_uppercase();
            let (result, parameter) = (
                format!("{outer}${name}ResponseProto"),
                format!("{outer}${name}RequestProto"),
            );
            return Some((method, result, parameter));
        }
        let (_, result, parameter) = self.others.iter().find(|(other, _, _)| *other == method)?;
        let full = |class: &str| match class.starts_with('$') {
            true => format!("{outer}{class}"),
            false => class.to_owned(),
        };
        Some((method, full(result), full(parameter)))
    }
}

fn hash(method: &str, result: &str, parameters: [&str; 2]) -> u32 {
    let start = java_hash(method).wrapping_add(java_hash(result).wrapping_mul(31));
    parameters
        .into_iter()
        .fold(start, |hash, class| hash.wrapping_mul(31) ^ java_hash(class))
}

/// `String.hashCode` of an ASCII text.
fn java_hash(text: &str) -> u32 {
    text.bytes()
        .fold(0, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)))
}

const TABLE: &[Signatures] = &[
    Signatures {
        protocol: protocol::CLIENT_PROTOCOL,
        outer: "org.apache.hadoop.hdfs.protocol.proto.ClientNamenodeProtocolProtos",
        regular: &[
            "abandonBlock",
            "addBlock",
            "addCacheDirective",
            "addCachePool",
            "allowSnapshot",
            "append",
            "checkAccess",
            "complete",
            "concat",
            "create",
            "createSnapshot",
            "createSymlink",
            "delete",
            "deleteSnapshot",
            "disallowSnapshot",
            "finalizeUpgrade",
            "fsync",
            "getAdditionalDatanode",
            "getBatchedListing",
            "getBlockLocations",
            "getContentSummary",
            "getCurrentEditLogTxid",
            "getDataEncryptionKey",
            "getDatanodeReport",
            "getDatanodeStorageReport",
            "getEditsFromTxid",
            "getFileInfo",
            "getFileLinkInfo",
            "getFsECBlockGroupStats",
            "getFsReplicatedBlockStats",
            "getLinkTarget",
            "getListing",
            "getLocatedFileInfo",
            "getPreferredBlockSize",
            "getQuotaUsage",
            "getServerDefaults",
            "getSnapshotDiffReport",
            "getSnapshotDiffReportListing",
            "getSnapshottableDirListing",
            "getStoragePolicies",
            "getStoragePolicy",
            "isFileClosed",
            "listCacheDirectives",
            "listCachePools",
            "listCorruptFileBlocks",
            "listOpenFiles",
            "metaSave",
            "mkdirs",
            "modifyCacheDirective",
            "modifyCachePool",
            "msync",
            "recoverLease",
            "refreshNodes",
            "removeCacheDirective",
            "removeCachePool",
            "rename",
            "rename2",
            "renameSnapshot",
            "renewLease",
            "reportBadBlocks",
            "restoreFailedStorage",
            "rollEdits",
            "rollingUpgrade",
            "satisfyStoragePolicy",
            "saveNamespace",
            "setBalancerBandwidth",
            "setOwner",
            "setPermission",
            "setQuota",
            "setReplication",
            "setSafeMode",
            "setStoragePolicy",
            "setTimes",
            "truncate",
            "unsetStoragePolicy",
            "updateBlockForPipeline",
            "updatePipeline",
            "upgradeStatus",
        ],
        others: &[
            (
                "addErasureCodingPolicies",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$AddErasureCodingPoliciesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$AddErasureCodingPoliciesRequestProto",
            ),
            (
                "cancelDelegationToken",
                "org.apache.hadoop.security.proto.SecurityProtos$CancelDelegationTokenResponseProto",
                "org.apache.hadoop.security.proto.SecurityProtos$CancelDelegationTokenRequestProto",
            ),
            (
                "createEncryptionZone",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$CreateEncryptionZoneResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$CreateEncryptionZoneRequestProto",
            ),
            (
                "disableErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$DisableErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$DisableErasureCodingPolicyRequestProto",
            ),
            (
                "enableErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$EnableErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$EnableErasureCodingPolicyRequestProto",
            ),
            (
                "getAclStatus",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$GetAclStatusResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$GetAclStatusRequestProto",
            ),
            (
                "getDelegationToken",
                "org.apache.hadoop.security.proto.SecurityProtos$GetDelegationTokenResponseProto",
                "org.apache.hadoop.security.proto.SecurityProtos$GetDelegationTokenRequestProto",
            ),
            (
                "getECTopologyResultForPolicies",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetECTopologyResultForPoliciesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetECTopologyResultForPoliciesRequestProto",
            ),
            (
                "getEZForPath",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$GetEZForPathResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$GetEZForPathRequestProto",
            ),
            (
                "getErasureCodingCodecs",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingCodecsResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingCodecsRequestProto",
            ),
            (
                "getErasureCodingPolicies",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingPoliciesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingPoliciesRequestProto",
            ),
            (
                "getErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$GetErasureCodingPolicyRequestProto",
            ),
            ("getFsStats", "$GetFsStatsResponseProto", "$GetFsStatusRequestProto"),
            (
                "getHAServiceState",
                "$HAServiceStateResponseProto",
                "$HAServiceStateRequestProto",
            ),
            (
                "getXAttrs",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$GetXAttrsResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$GetXAttrsRequestProto",
            ),
            (
                "listEncryptionZones",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ListEncryptionZonesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ListEncryptionZonesRequestProto",
            ),
            (
                "listReencryptionStatus",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ListReencryptionStatusResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ListReencryptionStatusRequestProto",
            ),
            (
                "listXAttrs",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$ListXAttrsResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$ListXAttrsRequestProto",
            ),
            (
                "modifyAclEntries",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$ModifyAclEntriesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$ModifyAclEntriesRequestProto",
            ),
            (
                "reencryptEncryptionZone",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ReencryptEncryptionZoneResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.EncryptionZonesProtos$ReencryptEncryptionZoneRequestProto",
            ),
            (
                "removeAcl",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveAclResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveAclRequestProto",
            ),
            (
                "removeAclEntries",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveAclEntriesResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveAclEntriesRequestProto",
            ),
            (
                "removeDefaultAcl",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveDefaultAclResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$RemoveDefaultAclRequestProto",
            ),
            (
                "removeErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$RemoveErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$RemoveErasureCodingPolicyRequestProto",
            ),
            (
                "removeXAttr",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$RemoveXAttrResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$RemoveXAttrRequestProto",
            ),
            (
                "renewDelegationToken",
                "org.apache.hadoop.security.proto.SecurityProtos$RenewDelegationTokenResponseProto",
                "org.apache.hadoop.security.proto.SecurityProtos$RenewDelegationTokenRequestProto",
            ),
            (
                "setAcl",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$SetAclResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.AclProtos$SetAclRequestProto",
            ),
            (
                "setErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$SetErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$SetErasureCodingPolicyRequestProto",
            ),
            (
                "setXAttr",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$SetXAttrResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.XAttrProtos$SetXAttrRequestProto",
            ),
            (
                "unsetErasureCodingPolicy",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$UnsetErasureCodingPolicyResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.ErasureCodingProtos$UnsetErasureCodingPolicyRequestProto",
            ),
        ],
    },
    Signatures {
        protocol: protocol::DATANODE_PROTOCOL,
        outer: "org.apache.hadoop.hdfs.protocol.proto.DatanodeProtocolProtos",
        regular: &[
            "blockReceivedAndDeleted",
            "blockReport",
            "cacheReport",
            "commitBlockSynchronization",
            "errorReport",
            "registerDatanode",
            "reportBadBlocks",
        ],
        others: &[
            ("sendHeartbeat", "$HeartbeatResponseProto", "$HeartbeatRequestProto"),
            (
                "versionRequest",
                "org.apache.hadoop.hdfs.protocol.proto.HdfsProtos$VersionResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.HdfsProtos$VersionRequestProto",
            ),
        ],
    },
    Signatures {
        protocol: protocol::NAMENODE_PROTOCOL,
        outer: "org.apache.hadoop.hdfs.protocol.proto.NamenodeProtocolProtos",
        regular: &[
            "endCheckpoint",
            "errorReport",
            "getBlockKeys",
            "getBlocks",
            "getEditLogManifest",
            "getMostRecentCheckpointTxId",
            "getTransactionId",
            "isUpgradeFinalized",
            "rollEditLog",
            "startCheckpoint",
        ],
        others: &[
            (
                "registerSubordinateNamenode",
                "$RegisterResponseProto",
                "$RegisterRequestProto",
            ),
            (
                "versionRequest",
                "org.apache.hadoop.hdfs.protocol.proto.HdfsProtos$VersionResponseProto",
                "org.apache.hadoop.hdfs.protocol.proto.HdfsProtos$VersionRequestProto",
            ),
        ],
    },
    Signatures {
        protocol: protocol::HA_SERVICE_PROTOCOL,
        outer: "org.apache.hadoop.ha.proto.HAServiceProtocolProtos",
        regular: &[
            "getServiceStatus",
            "monitorHealth",
            "transitionToActive",
            "transitionToObserver",
            "transitionToStandby",
        ],
        others: &[],
    },
    Signatures {
        protocol: protocol::REFRESH_USER_MAPPINGS_PROTOCOL,
        outer: "org.apache.hadoop.security.proto.RefreshUserMappingsProtocolProtos",
        regular: &["refreshSuperUserGroupsConfiguration", "refreshUserToGroupsMappings"],
        others: &[],
    },
    Signatures {
        protocol: protocol::REFRESH_AUTHORIZATION_POLICY_PROTOCOL,
        outer: "org.apache.hadoop.security.proto.RefreshAuthorizationPolicyProtocolProtos",
        regular: &["refreshServiceAcl"],
        others: &[],
    },
    Signatures {
        protocol: protocol::REFRESH_CALL_QUEUE_PROTOCOL,
        outer: "org.apache.hadoop.ipc.proto.RefreshCallQueueProtocolProtos",
        regular: &["refreshCallQueue"],
        others: &[],
    },
    Signatures {
        protocol: protocol::GENERIC_REFRESH_PROTOCOL,
        outer: "org.apache.hadoop.ipc.proto.GenericRefreshProtocolProtos",
        regular: &[],
        others: &[(
            "refresh",
            "$GenericRefreshResponseCollectionProto",
            "$GenericRefreshRequestProto",
        )],
    },
    Signatures {
        protocol: protocol::GET_USER_MAPPINGS_PROTOCOL,
        outer: "org.apache.hadoop.tools.proto.GetUserMappingsProtocolProtos",
        regular: &["getGroupsForUser"],
        others: &[],
    },
    Signatures {
        protocol: protocol::RECONFIGURATION_PROTOCOL,
        outer: "org.apache.hadoop.hdfs.protocol.proto.ReconfigurationProtocolProtos",
        regular: &[
            "getReconfigurationStatus",
            "listReconfigurableProperties",
            "startReconfiguration",
        ],
        others: &[],
    },
    Signatures {
        protocol: protocol::TRACE_ADMIN_PROTOCOL,
        outer: "org.apache.hadoop.tracing.TraceAdminPB",
        regular: &["addSpanReceiver", "listSpanReceivers", "removeSpanReceiver"],
        others: &[],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers printed by Hadoop's own `ProtocolSignature` in 2.7.3 and in 3.3.4.
    #[test]
    fn fingerprints_are_those_of_java() {
        let cases: [(&str, &str, [i32; 2]); 2] = [
            (protocol::CLIENT_PROTOCOL, "getFileInfo", [1_951_910_234, 1_765_082_430]),
            (
                protocol::REFRESH_CALL_QUEUE_PROTOCOL,
                "refreshCallQueue",
                [-589_522_386, 1_149_622_002],
            ),
        ];
        for (protocol, method, expected) in cases {
            let found: Vec<i32> = fingerprints(protocol, &[method])
                .into_iter()
                .map(|hash| hash as i32)
                .collect();
            assert_eq!(found, expected, "{method}");
        }
        assert!(fingerprints(protocol::CLIENT_PROTOCOL, &["noSuchMethod"]).is_empty());
        assert!(fingerprints("no.such.Protocol", &["getFileInfo"]).is_empty());
    }
}
