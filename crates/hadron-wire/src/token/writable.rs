//! Hadoop's `WritableUtils` and `Text` encodings, as far as token identifiers use them.
//!
//! A variable-length integer is one byte for -112..=127; else the first byte says sign and number of the big-endian
//! bytes that follow. A string has a 4-byte length (-1: none); an enum's name a variable-length one.

use bytes::{BufMut, BytesMut};

/// Why a Writable field cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The bytes end before the field does.
    #[error("ends early")]
    End,
    /// The field's bytes make no sense.
    #[error("{0}")]
    Malformed(&'static str),
}

/// Appends a variable-length integer.
pub(super) fn put_vlong(out: &mut BytesMut, value: i64) {
    if (-112..=127).contains(&value) {
        out.put_i8(value as i8);
        return;
    }
    let (base, magnitude) = if value < 0 { (-120, !value) } else { (-112, value) };
    let len = 8 - (magnitude.leading_zeros() / 8) as usize;
    out.put_i8((base - len as i64) as i8);
    out.put_slice(&magnitude.to_be_bytes()[8 - len..]);
}

/// Appends a string with its 4-byte length; `None` as Java's null.
pub(super) fn put_string(out: &mut BytesMut, text: Option<&str>) {
    match text {
        None => out.put_i32(-1),
        Some(text) => {
            out.put_i32(i32::try_from(text.len()).unwrap_or(i32::MAX));
            out.put_slice(text.as_bytes());
        }
    }
}

/// Appends an enum's name with its variable length.
pub(super) fn put_name(out: &mut BytesMut, name: &str) {
    put_vlong(out, name.len() as i64);
    out.put_slice(name.as_bytes());
}

/// Takes fields off the front of some bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ReadError::End)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn vlong(&mut self) -> Result<i64, ReadError> {
        let first = self.bytes(1)?[0] as i8;
        let (len, negative) = match first {
            -112.. => return Ok(i64::from(first)),
            -120..=-113 => (-112 - i32::from(first), false),
            _ => (-120 - i32::from(first), true),
        };
        let value = self
            .bytes(len as usize)?
            .iter()
            .fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
        Ok(if negative { !value } else { value })
    }

    pub(super) fn vint(&mut self) -> Result<i32, ReadError> {
        i32::try_from(self.vlong()?).map_err(|_| ReadError::Malformed("value too long to fit in integer"))
    }

    /// A count or length.
    pub(super) fn count(&mut self) -> Result<usize, ReadError> {
        usize::try_from(self.vint()?).map_err(|_| ReadError::Malformed("negative length"))
    }

    pub(super) fn string(&mut self) -> Result<Option<String>, ReadError> {
        let len = self
            .bytes(4)?
            .iter()
            .fold(0_u32, |len, byte| len << 8 | u32::from(*byte)) as i32;
        match usize::try_from(len) {
            Ok(len) => Ok(Some(String::from_utf8_lossy(self.bytes(len)?).into_owned())),
            Err(_) if len == -1 => Ok(None),
            Err(_) => Err(ReadError::Malformed("negative length")),
        }
    }

    pub(super) fn name(&mut self) -> Result<&'a str, ReadError> {
        let len = self.count()?;
        std::str::from_utf8(self.bytes(len)?).map_err(|_| ReadError::Malformed("name is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_javas() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-112, &[0x90]),
            (127, &[0x7f]),
            (128, &[0x8f, 0x80]),
            (-113, &[0x87, 0x70]),
            (1_073_741_825, &[0x8c, 0x40, 0, 0, 1]),
            (i64::MAX, &[0x88, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (i64::MIN, &[0x80, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let mut out = BytesMut::new();
            put_vlong(&mut out, value);
            assert_eq!(&out[..], bytes, "{value}");
            assert_eq!(Reader(bytes).vlong(), Ok(value));
            assert_eq!(Reader(&bytes[..bytes.len() - 1]).vlong(), Err(ReadError::End));
        }
        assert!(matches!(
            Reader(&[0x8b, 1, 0, 0, 0, 0]).vint(),
            Err(ReadError::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn whatever_is_put_is_read(value: i64, text: Option<String>, name: String) {
            let mut out = BytesMut::new();
            put_vlong(&mut out, value);
            put_string(&mut out, text.as_deref());
            put_name(&mut out, &name);
            let mut reader = Reader(&out);
            prop_assert_eq!(reader.vlong(), Ok(value));
            prop_assert_eq!(reader.string(), Ok(text));
            prop_assert_eq!(reader.name(), Ok(name.as_str()));
            prop_assert!(reader.0.is_empty());
        }
    }
}
