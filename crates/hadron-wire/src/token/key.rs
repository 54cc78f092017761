//! One block key: its number, its end and the means to make passwords. The bytes never reach a log.

use bytes::Bytes;
use hadron_proto::hdfs::BlockKeyProto;
use hmac::{Hmac, Mac};
use sha1::{Digest, Sha1};
use std::fmt;

/// HMAC's key as it enters SHA-1: one block.
const HMAC_BLOCK: usize = 64;

/// A key that NameNode and DataNodes share.
#[derive(Clone)]
pub struct BlockKey {
    id: i32,
    expiry: i64,
    secret: Bytes,
    /// The keyed start of every password, computed once.
    mac: Hmac<Sha1>,
}

impl BlockKey {
    /// A key of any length; it may be forgotten after millisecond `expiry`.
    pub fn new(id: i32, expiry: i64, secret: Bytes) -> Self {
        // RFC 2104: long keys are hashed, short ones padded.
        let mut block = [0; HMAC_BLOCK];
        match block.get_mut(..secret.len()) {
            Some(start) => start.copy_from_slice(&secret),
            None => block[..20].copy_from_slice(&Sha1::digest(&secret)),
        }
        Self {
            id,
            expiry,
            secret,
            mac: Mac::new(&block.into()),
        }
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Last millisecond at which anything may depend on it.
    pub fn expiry(&self) -> i64 {
        self.expiry
    }

    /// The same key with another end.
    pub(super) fn until(&self, expiry: i64) -> Self {
        Self { expiry, ..self.clone() }
    }

    /// The password of an identifier.
    pub(super) fn password(&self, identifier: &[u8]) -> Bytes {
        let mut mac = self.mac.clone();
        mac.update(identifier);
        Bytes::copy_from_slice(&mac.finalize().into_bytes())
    }

    /// Whether `password` is that of `identifier`; takes the same time either way.
    pub(super) fn vouches(&self, identifier: &[u8], password: &[u8]) -> bool {
        let mut mac = self.mac.clone();
        mac.update(identifier);
        mac.verify_slice(password).is_ok()
    }

    pub(super) fn to_proto(&self) -> BlockKeyProto {
        BlockKeyProto {
            key_id: self.id as u32,
            expiry_date: self.expiry as u64,
            key_bytes: Some(self.secret.clone()),
        }
    }

    pub(super) fn from_proto(message: &BlockKeyProto) -> Self {
        let secret = message.key_bytes.clone().unwrap_or_default();
        Self::new(message.key_id as i32, message.expiry_date as i64, secret)
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockKey")
            .field("id", &self.id)
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn passwords_are_hmac_sha1() {
        // RFC 2202, test cases 1, 2, 3 and 6.
        for (key, data, password) in [
            (
                vec![0x0b; 20],
                b"Hi There".to_vec(),
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe".to_vec(),
                b"what do ya want for nothing?".to_vec(),
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
            ),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
        ] {
            let key = BlockKey::new(1, 0, key.into());
            let made = key.password(&data);
            assert_eq!(hex(&made), password);
            assert!(key.vouches(&data, &made));
            assert!(!key.vouches(&data, &made[..19]));
            assert!(!key.vouches(&data[1..], &made));
        }
    }

    #[test]
    fn texts_do_not_show_the_secret() {
        let key = BlockKey::new(7, 9, Bytes::from_static(&[231; 20]));
        assert_eq!(format!("{key:?}"), "BlockKey { id: 7, expiry: 9, .. }");
    }
}
