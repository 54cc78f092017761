//! Encryption zone calls, as a NameNode answers them that has no key provider.
//!
//! What it does not do: encrypt. Source of classes and texts: Hadoop `FSDirEncryptionZoneOp`, `FSNamesystem`.

use super::Call;
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
        call.require_superuser()?;
        Err::<CreateEncryptionZoneResponseProto, _>(HadoopError::io(format!(
            "Can't create an encryption zone for {} since no key provider is available.",
            request.src
        )))
    })
}

/// listEncryptionZones: none.
pub(super) fn list_encryption_zones(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListEncryptionZonesRequestProto| {
        call.require_superuser()
            .map(|()| ListEncryptionZonesResponseProto::default())
    })
}

/// reencryptEncryptionZone: there is no key provider.
pub(super) fn reencrypt_encryption_zone(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ReencryptEncryptionZoneRequestProto| {
        call.require_superuser()?;
        Err::<ReencryptEncryptionZoneResponseProto, _>(HadoopError::io(
            "No key provider configured, re-encryption operation is rejected",
        ))
    })
}

/// listReencryptionStatus: none.
pub(super) fn list_reencryption_status(call: &Call, body: Bytes) -> Reply {
    call.plain(body, |call, _: ListReencryptionStatusRequestProto| {
        call.require_superuser()
            .map(|()| ListReencryptionStatusResponseProto::default())
    })
}
