//! Erasure coding calls, as a NameNode answers them on which every policy is disabled.
//!
//! What it does not do: stripe files. The built-in policies are listed as DISABLED, so that `hdfs ec` and clients that
//! ask before they write go on; enabling one is refused.
//! Source of classes and texts: Hadoop `ErasureCodingPolicyManager`, `FSDirErasureCodingOp`, `SystemErasureCodingPolicies`.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    AddErasureCodingPoliciesRequestProto, AddErasureCodingPoliciesResponseProto, AddErasureCodingPolicyResponseProto,
    DisableErasureCodingPolicyRequestProto, DisableErasureCodingPolicyResponseProto, EcSchemaProto,
    EcTopologyVerifierResultProto, EnableErasureCodingPolicyRequestProto, EnableErasureCodingPolicyResponseProto,
    ErasureCodingPolicyProto, ErasureCodingPolicyState, GetEcTopologyResultForPoliciesRequestProto,
    GetEcTopologyResultForPoliciesResponseProto, GetErasureCodingCodecsRequestProto,
    GetErasureCodingCodecsResponseProto, GetErasureCodingPoliciesRequestProto, GetErasureCodingPoliciesResponseProto,
    RemoveErasureCodingPolicyRequestProto, RemoveErasureCodingPolicyResponseProto, SetErasureCodingPolicyRequestProto,
    SetErasureCodingPolicyResponseProto, UnsetErasureCodingPolicyRequestProto, UnsetErasureCodingPolicyResponseProto,
};
use hadron_types::{ErrorKind, HadoopError, HadoopResult};

/// Cell size of the built-in policies, bytes.
const CELL_BYTES: u32 = 1 << 20;
/// Name of the built-in policies: id, name, codec, data units, parity units.
const BUILT_IN: [(u32, &str, &str, u32, u32); 5] = [
    (1, "RS-6-3-1024k", "rs", 6, 3),
    (2, "RS-3-2-1024k", "rs", 3, 2),
    (3, "RS-LEGACY-6-3-1024k", "rs-legacy", 6, 3),
    (4, "XOR-2-1-1024k", "xor", 2, 1),
    (5, "RS-10-4-1024k", "rs", 10, 4),
];
/// `dfs.namenode.ec.system.default.policy`, meant when a call names none.
const DEFAULT_POLICY: &str = "RS-6-3-1024k";

/// getErasureCodingPolicies: the built-in ones, all disabled.
pub(super) fn get_erasure_coding_policies(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetErasureCodingPoliciesRequestProto| {
        call.audit_outcome(&Audit::command("getErasureCodingPolicies"), &Ok(()));
        let policy =
            |(id, name, codec, data_units, parity_units): (u32, &str, &str, u32, u32)| ErasureCodingPolicyProto {
                name: Some(name.to_owned()),
                schema: Some(EcSchemaProto {
                    codec_name: codec.to_owned(),
                    data_units,
                    parity_units,
                    options: Vec::new(),
                }),
                cell_size: Some(CELL_BYTES),
                id,
                state: Some(ErasureCodingPolicyState::Disabled as i32),
            };
        Ok(GetErasureCodingPoliciesResponseProto {
            ec_policies: BUILT_IN.map(policy).to_vec(),
        })
    })
}

/// getErasureCodingCodecs: none.
pub(super) fn get_erasure_coding_codecs(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: GetErasureCodingCodecsRequestProto| {
        call.audit_outcome(&Audit::command("getErasureCodingCodecs"), &Ok(()));
        Ok(GetErasureCodingCodecsResponseProto::default())
    })
}

/// setErasureCodingPolicy: no policy is enabled.
pub(super) fn set_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: SetErasureCodingPolicyRequestProto| {
        call.shared
            .require_no_safe_mode(|| format!("Cannot set erasure coding policy on {}", request.src))?;
        let name = request.ec_policy_name.as_deref().filter(|name| !name.is_empty());
        Err::<SetErasureCodingPolicyResponseProto, _>(illegal(format!(
            "Policy '{}' does not match any enabled erasure coding policies: []. An erasure coding policy can be \
             enabled by enableErasureCodingPolicy API.",
            name.unwrap_or(DEFAULT_POLICY)
        )))
    })
}

/// unsetErasureCodingPolicy: none was ever set.
pub(super) fn unset_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &UnsetErasureCodingPolicyRequestProto, ns| {
        let path = &request.src;
        call.shared
            .require_no_safe_mode(|| format!("Cannot unset erasure coding policy on {path}"))?;
        Err::<UnsetErasureCodingPolicyResponseProto, _>(match ns.file_info(&call.caller, path)? {
            None => HadoopError::new(ErrorKind::FileNotFound, format!("Path not found: {path}")),
            Some(status) if !status.is_directory => {
                HadoopError::io(format!("Cannot unset an erasure coding policy on a file {path}"))
            }
            Some(_) => HadoopError::new(
                ErrorKind::NoEcPolicySet,
                format!("No erasure coding policy explicitly set on {path}"),
            ),
        })
    })
}

/// addErasureCodingPolicies: each is refused, as with `dfs.namenode.ec.userdefined.policy.allowed` off.
pub(super) fn add_erasure_coding_policies(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: AddErasureCodingPoliciesRequestProto| {
        call.require_superuser_for(&Audit::command("addErasureCodingPolicies"))?;
        let refuse = |policy| AddErasureCodingPolicyResponseProto {
            policy,
            succeed: false,
            error_msg: Some("Addition of user defined erasure coding policy is disabled.".to_owned()),
        };
        Ok(AddErasureCodingPoliciesResponseProto {
            responses: request.ec_policies.into_iter().map(refuse).collect(),
        })
    })
}

/// removeErasureCodingPolicy: built-in ones stay, others do not exist.
pub(super) fn remove_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: RemoveErasureCodingPolicyRequestProto| {
        let name = &request.ec_policy_name;
        call.require_superuser_for(&Audit::of("removeErasureCodingPolicy", name))?;
        require_known(name)?;
        Err::<RemoveErasureCodingPolicyResponseProto, _>(illegal(format!(
            "System erasure coding policy {name} cannot be removed"
        )))
    })
}

/// enableErasureCodingPolicy: not supported.
pub(super) fn enable_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: EnableErasureCodingPolicyRequestProto| {
        let name = &request.ec_policy_name;
        call.require_superuser_for(&Audit::of("enableErasureCodingPolicy", name))?;
        require_known(name)?;
        Err::<EnableErasureCodingPolicyResponseProto, _>(HadoopError::new(
            ErrorKind::UnsupportedOperation,
            format!("erasure coding is not supported by this NameNode: policy {name} stays disabled"),
        ))
    })
}

/// disableErasureCodingPolicy: they all are disabled.
pub(super) fn disable_erasure_coding_policy(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: DisableErasureCodingPolicyRequestProto| {
        call.require_superuser_for(&Audit::of("disableErasureCodingPolicy", &request.ec_policy_name))?;
        require_known(&request.ec_policy_name)?;
        Ok(DisableErasureCodingPolicyResponseProto {})
    })
}

/// getECTopologyResultForPolicies: whether the cluster suits the policies named, or all enabled ones.
pub(super) fn get_ec_topology_result(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: GetEcTopologyResultForPoliciesRequestProto| {
        for name in &request.policies {
            if !BUILT_IN.iter().any(|policy| policy.1 == name) {
                return Err(illegal(format!(
                    "The given erasure coding policy {name} does not exist."
                )));
            }
        }
        let (result_message, is_supported) = match request.policies.is_empty() {
            true => ("No erasure coding policy is given.", true),
            false => ("Erasure coding is not supported by this NameNode.", false),
        };
        call.audit_outcome(&Audit::command("getECTopologyResultForPolicies"), &Ok(()));
        Ok(GetEcTopologyResultForPoliciesResponseProto {
            response: EcTopologyVerifierResultProto {
                result_message: result_message.to_owned(),
                is_supported,
            },
        })
    })
}

fn require_known(name: &str) -> HadoopResult<()> {
    match BUILT_IN.iter().any(|policy| policy.1 == name) {
        true => Ok(()),
        false => Err(illegal(format!("The policy name {name} does not exist"))),
    }
}

fn illegal(text: String) -> HadoopError {
    HadoopError::new(ErrorKind::HadoopIllegalArgument, text)
}
