//! The cursor file of a block scanner, in Hadoop's JSON, so that either make of DataNode goes on where the other was.
//!
//! ```json
//! {"lastSavedMs":1,"iterStartMs":1,"curFinalizedDir":"subdir0","curFinalizedSubDir":"subdir3","curEntry":"blk_1","atEnd":false}
//! ```
//! Times are Unix time. What it does not do: read or write files. Source: Hadoop `FsVolumeImpl.BlockIteratorState`.

use hadron_replica::WalkPosition;
use serde_json::{Map, Value};

/// What a cursor file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor {
    /// When it was written.
    pub(super) saved_ms: u64,
    /// When this round through the pool began.
    pub(super) started_ms: u64,
    /// How far it is.
    pub(super) position: WalkPosition,
}

const NAMES: [&str; 6] = [
    "lastSavedMs",
    "iterStartMs",
    "curFinalizedDir",
    "curFinalizedSubDir",
    "curEntry",
    "atEnd",
];

impl Cursor {
    /// The file's content.
    pub(super) fn encode(&self) -> Vec<u8> {
        let name = |name: &Option<String>| name.clone().map_or(Value::Null, Value::String);
        let position = &self.position;
        let values = [
            Value::from(self.saved_ms),
            Value::from(self.started_ms),
            name(&position.dir),
            name(&position.subdir),
            name(&position.entry),
            Value::from(position.at_end),
        ];
        let lines: Vec<String> = NAMES
            .iter()
            .zip(values)
            .map(|(name, value)| format!("  \"{name}\" : {value}"))
            .collect();
        format!("{{\n{}\n}}", lines.join(",\n")).into_bytes()
    }

    /// Reads a file's content. Errors: what is wrong with it; fields that nobody knows are fine.
    pub(super) fn decode(content: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        let time = |name: &str| {
            let value = fields.get(name).and_then(Value::as_u64);
            value.ok_or_else(|| format!("{name} is not a time"))
        };
        let text = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name} is not a name")),
        };
        let position = WalkPosition {
            dir: text(NAMES[2])?,
            subdir: text(NAMES[3])?,
            entry: text(NAMES[4])?,
            at_end: fields
                .get(NAMES[5])
                .and_then(Value::as_bool)
                .ok_or("atEnd is missing")?,
        };
        if !position.is_plausible() {
            return Err("it names no block directories".to_owned());
        }
        Ok(Self {
            saved_ms: time(NAMES[0])?,
            started_ms: time(NAMES[1])?,
            position,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hadoops_text_goes_both_ways_and_others_are_refused() {
        let cursor = Cursor {
            saved_ms: 1_700_000_000_123,
            started_ms: 1_699_999_999_000,
            position: WalkPosition {
                dir: Some("subdir0".into()),
                subdir: Some("subdir12".into()),
                entry: Some("blk_1073741830".into()),
                at_end: false,
            },
        };
        // As Jackson's pretty printer of Hadoop 2.7.3 and 3.3.6 has it.
        let text = "{\n  \"lastSavedMs\" : 1700000000123,\n  \"iterStartMs\" : 1699999999000,\n  \"curFinalizedDir\" : \
                    \"subdir0\",\n  \"curFinalizedSubDir\" : \"subdir12\",\n  \"curEntry\" : \"blk_1073741830\",\n  \
                    \"atEnd\" : false\n}";
        assert_eq!(String::from_utf8(cursor.encode()).unwrap(), text);
        assert_eq!(Cursor::decode(text.as_bytes()), Ok(cursor.clone()));
        let fresh = Cursor::default();
        assert_eq!(Cursor::decode(&fresh.encode()), Ok(fresh));
        for torn in 1..text.len() {
            assert!(Cursor::decode(&text.as_bytes()[..torn]).is_err(), "{torn} bytes");
        }
        for bad in ["", "[]", "{}", "nonsense"] {
            assert!(Cursor::decode(bad.as_bytes()).is_err(), "{bad}");
        }
        for (from, to) in [
            ("subdir12", "../.."),
            ("1700000000123", "-1"),
            ("false", "\"no\""),
            ("\"subdir0\"", "7"),
        ] {
            assert!(Cursor::decode(text.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
