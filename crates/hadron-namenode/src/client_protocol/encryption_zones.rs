//! Encryption zone calls, as a NameNode answers them that has no key provider.
//!
//! What it does not do: encrypt. Source of classes and texts: Hadoop `FSDirEncryptionZoneOp`, `FSNamesystem`.

use super::Call;
use super::call::Audit;
use bytes::Bytes;
use hadron_net::Reply;
use hadron_proto::hdfs::{
    CreateEncryptionZoneRequestProto, CreateEncryptionZoneResponseProto, ListEncryptionZonesRequestProto,
    ListEncryptionZonesResponseProto, ListReencryptionStatusRequestProto, ListReencryptionStatusResponseProto,
    ReencryptEncryptionZoneRequestProto, ReencryptEncryptionZoneResponseProto,
};
use hadron_types::HadoopError;

/// createEncryptionZone: there is no key provider.
pub(super) fn create_encryption_zone(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: CreateEncryptionZoneRequestProto| {
        call.require_superuser_for(&Audit::of("createEncryptionZone", &request.src))?;
        Err::<CreateEncryptionZoneResponseProto, _>(HadoopError::io(format!(
            "Can't create an encryption zone for {} since no key provider is available.",
            request.src
        )))
    })
}

/// listEncryptionZones: none.
pub(super) fn list_encryption_zones(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListEncryptionZonesRequestProto| {
        call.require_superuser_for(&Audit::of("listEncryptionZones", "/"))?;
        call.audit_outcome(&Audit::command("listEncryptionZones"), &Ok(()));
        Ok(ListEncryptionZonesResponseProto::default())
    })
}

/// reencryptEncryptionZone: there is no key provider.
pub(super) fn reencrypt_encryption_zone(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, request: ReencryptEncryptionZoneRequestProto| {
        call.require_superuser_for(&Audit::of("reencryptEncryptionZone", &request.zone))?;
        Err::<ReencryptEncryptionZoneResponseProto, _>(HadoopError::io(
            "No key provider configured, re-encryption operation is rejected",
        ))
    })
}

/// listReencryptionStatus: none.
pub(super) fn list_reencryption_status(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListReencryptionStatusRequestProto| {
        call.require_superuser_for(&Audit::of("listReencryptionStatus", "/"))?;
        call.audit_outcome(&Audit::command("listReencryptionStatus"), &Ok(()));
        Ok(ListReencryptionStatusResponseProto::default())
    })
}
