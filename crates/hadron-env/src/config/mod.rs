//! Hadoop configuration: XML files, substitution, deprecated names, typed keys.
//!
//! What it is for: the same `core-site.xml` and `hdfs-site.xml` that a Hadoop cluster uses, `-D` overrides on top, and
//! one table of keys ([`keys`]) from which every default comes. What it does not do: write files, watch them, or read
//! Hadoop's `*-default.xml`.
//! Invariants: a later file wins unless an earlier one said `final`; programmatic values win over all files; values are
//! substituted when read, not when loaded; a typed getter trims.

mod addresses;
mod deprecated;
mod environment;
mod error;
pub mod keys;
mod value;
mod xml;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use addresses::{DEFAULT_NAMENODE_PORT, DataDir, HostPort};
pub use environment::Environment;
pub use error::ConfigError;
pub use keys::{Key, KeyInfo};
pub use value::{Kind, kind, parse_duration, parse_size};

/// Files read by [`Configuration::load`], in order.
pub const SITE_FILES: [&str; 2] = ["core-site.xml", "hdfs-site.xml"];

/// Source of values that no file gave.
const PROGRAM: &str = "program";
/// How often a value is substituted before it is taken as it stands (Hadoop's `MAX_SUBST`).
const MAX_SUBSTITUTION_ROUNDS: usize = 20;
/// A substituted value may not grow beyond this.
const MAX_VALUE_BYTES: usize = 1 << 20;

/// A set of properties. Cheap to clone in the sense of one map of strings; hand it around in an `Arc` when hot.
#[derive(Clone, Debug)]
pub struct Configuration {
    properties: BTreeMap<String, Property>,
    environment: Arc<Environment>,
    /// Files read so far, in order.
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
struct Property {
    value: String,
    source: Arc<str>,
    is_final: bool,
}

impl Configuration {
    /// No properties: every typed getter gives its default. The process's environment serves `${…}`.
    pub fn new() -> Self {
        Self::with_environment(Environment::system())
    }

    /// No properties, with a given environment (tests).
    pub fn with_environment(environment: Environment) -> Self {
        Self {
            properties: BTreeMap::new(),
            environment: Arc::new(environment),
            files: Vec::new(),
        }
    }

    /// Reads the site files that exist in `dir`.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let mut conf = Self::new();
        for name in SITE_FILES {
            conf.add_file_if_there(&dir.join(name))?;
        }
        Ok(conf)
    }

    /// Reads `dir` when given, else the directory that [`Self::default_dir`] finds, else nothing.
    pub fn load_or_default(dir: Option<&Path>) -> Result<Self, ConfigError> {
        match dir.map(Path::to_owned).or_else(Self::default_dir) {
            Some(dir) => Self::load(&dir),
            None => Ok(Self::new()),
        }
    }

    /// `HADOOP_CONF_DIR`, else `HADOOP_HOME/etc/hadoop`, when set.
    pub fn default_dir() -> Option<PathBuf> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let home = || variable("HADOOP_HOME").map(|home| Path::new(&home).join("etc/hadoop"));
        variable("HADOOP_CONF_DIR").map(PathBuf::from).or_else(home)
    }

    /// The same configuration with its files read again: what was set by the program stays, what files said is what they
    /// say now. A file that is gone says nothing.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        let mut conf = Self {
            properties: BTreeMap::new(),
            environment: Arc::clone(&self.environment),
            files: Vec::new(),
        };
        for path in &self.files {
            conf.add_file_if_there(path)?;
        }
        let own = self
            .properties
            .iter()
            .filter(|(_, property)| *property.source == *PROGRAM);
        for (name, property) in own {
            conf.properties.insert(name.clone(), property.clone());
        }
        Ok(conf)
    }

    /// Adds a file unless it is missing; a later [`Self::reload`] looks for it again.
    fn add_file_if_there(&mut self, path: &Path) -> Result<(), ConfigError> {
        if path.is_file() {
            return self.add_file(path);
        }
        self.files.push(path.to_owned());
        Ok(())
    }

    /// Adds the properties of one XML file; they win over those present unless these are final.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let source: Arc<str> = path.display().to_string().into();
        for entry in xml::read_file(path)? {
            self.add_entry(entry, &source);
        }
        self.files.push(path.to_owned());
        Ok(())
    }

    /// Adds the properties of XML text; `source` names it in messages. Includes are relative to the working directory.
    pub fn add_xml(&mut self, text: &str, source: &str) -> Result<(), ConfigError> {
        let name: Arc<str> = source.into();
        for entry in xml::read_text(text, Path::new(source))? {
            self.add_entry(entry, &name);
        }
        Ok(())
    }

    fn add_entry(&mut self, entry: xml::Entry, source: &Arc<str>) {
        let name = match deprecated::current_name(&entry.name) {
            Some(new) => {
                tracing::debug!(old = entry.name, new, %source, "deprecated configuration key");
                new.to_owned()
            }
            None => entry.name,
        };
        if let Some(present) = self.properties.get(&name)
            && present.is_final
        {
            if Some(&present.value) != entry.value.as_ref() {
                tracing::warn!(key = name, first = %present.source, later = %source, "ignoring override of final value");
            }
            return;
        }
        let Some(value) = entry.value else {
            return;
        };
        let property = Property {
            value,
            source: Arc::clone(source),
            is_final: entry.is_final,
        };
        self.properties.insert(name, property);
    }

    /// Sets a value, over any file. Takes a typed [`Key`] or a name; old names are translated.
    pub fn set(&mut self, name: impl AsRef<str>, value: impl Into<String>) -> &mut Self {
        let name = canonical(name.as_ref());
        let property = Property {
            value: value.into(),
            source: PROGRAM.into(),
            is_final: self.properties.get(name).is_some_and(|present| present.is_final),
        };
        self.properties.insert(name.to_owned(), property);
        self
    }

    /// Removes a value, so that its default holds.
    pub fn unset(&mut self, name: impl AsRef<str>) -> &mut Self {
        self.properties.remove(canonical(name.as_ref()));
        self
    }

    /// Applies one `-D` argument, `key=value`.
    pub fn apply_override(&mut self, argument: &str) -> Result<(), ConfigError> {
        match argument.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                self.set(name.trim(), value);
                Ok(())
            }
            _ => Err(ConfigError::Override {
                argument: argument.to_owned(),
            }),
        }
    }

    /// Applies `-D` arguments in order.
    pub fn apply_overrides<S: AsRef<str>>(
        &mut self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<(), ConfigError> {
        arguments
            .into_iter()
            .try_for_each(|argument| self.apply_override(argument.as_ref()))
    }

    /// True when a file or the program set this key.
    pub fn contains(&self, name: impl AsRef<str>) -> bool {
        self.properties.contains_key(canonical(name.as_ref()))
    }

    /// The text as it was set, without substitution; `None` when it was not.
    pub fn raw(&self, name: impl AsRef<str>) -> Option<&str> {
        self.properties
            .get(canonical(name.as_ref()))
            .map(|property| property.value.as_str())
    }

    /// The value of any key by name, substituted, not trimmed; the table's default when it was not set.
    pub fn text(&self, name: impl AsRef<str>) -> Option<String> {
        let name = canonical(name.as_ref());
        let raw = match self.raw(name) {
            Some(raw) => raw,
            None => keys::find(name)?.default?,
        };
        Some(self.substitute(raw))
    }

    /// The typed value of a key. A value that does not parse gives the default, with a warning in the log: daemons call
    /// [`Self::validate`] at start, which refuses such values.
    pub fn get<K: Kind>(&self, key: Key<K>) -> K::Value {
        match self.try_get(key) {
            Ok(value) => value,
            Err(error) => {
                tracing::warn!(%error, "using the default instead");
                self.default_of(&key)
            }
        }
    }

    /// The typed value of a key, or what is wrong with it.
    pub fn try_get<K: Kind>(&self, key: Key<K>) -> Result<K::Value, ConfigError> {
        match self.raw(key.info.name) {
            None => Ok(self.default_of(&key)),
            Some(raw) => {
                let text = self.substitute(raw);
                match K::parse(text.trim(), &key.info) {
                    Ok(Some(value)) => Ok(value),
                    Ok(None) => Ok(self.default_of(&key)),
                    Err(reason) => Err(self.value_error(&key.info, &text, reason)),
                }
            }
        }
    }

    /// As [`Self::get`] for `key.SUFFIX`, falling back to the bare key (`dfs.datanode.du.reserved.ssd`).
    pub fn get_suffixed<K: Kind>(&self, key: Key<K>, suffix: &str) -> K::Value {
        let name = format!("{}.{suffix}", key.info.name);
        let Some(raw) = self.raw(&name) else {
            return self.get(key);
        };
        match K::parse(self.substitute(raw).trim(), &key.info) {
            Ok(Some(value)) => value,
            Ok(None) => self.default_of(&key),
            Err(reason) => {
                tracing::warn!(key = name, raw, reason, "using the default instead");
                self.default_of(&key)
            }
        }
    }

    /// Checks every set key that the table knows. Daemons refuse to start on an error.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for info in keys::ALL {
            if let Some(raw) = self.raw(info.name) {
                let text = self.substitute(raw);
                (info.check)(text.trim(), info).map_err(|reason| self.value_error(info, &text, reason))?;
            }
        }
        Ok(())
    }

    /// All set properties: name, value without substitution, and where it came from.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.properties
            .iter()
            .map(|(name, property)| (name.as_str(), property.value.as_str(), &*property.source))
    }

    /// The name of the user who runs this process (`${user.name}`).
    pub fn user_name(&self) -> &str {
        self.environment.property("user.name").unwrap_or("hadoop")
    }

    fn default_of<K: Kind>(&self, key: &Key<K>) -> K::Value {
        let text = key.info.default.map(|text| self.substitute(text));
        let parsed = text.and_then(|text| K::parse(text.trim(), &key.info).ok().flatten());
        parsed.unwrap_or_else(K::absent)
    }

    fn value_error(&self, info: &KeyInfo, value: &str, reason: String) -> ConfigError {
        let source = self
            .properties
            .get(info.name)
            .map_or("default", |property| &property.source);
        ConfigError::Value {
            key: info.name.to_owned(),
            value: value.to_owned(),
            place: source.to_owned(),
            reason,
        }
    }

    /// Replaces `${name}` by system property, environment variable or other key, innermost first. What is unknown stays.
    fn substitute(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for _ in 0..MAX_SUBSTITUTION_ROUNDS {
            let Some((start, end, value)) = self.next_variable(&text) else {
                break;
            };
            if text.len() + value.len() > MAX_VALUE_BYTES {
                break;
            }
            text.replace_range(start..end, &value);
        }
        text
    }

    /// The first innermost `${name}` that has a value: its range and the value.
    fn next_variable(&self, text: &str) -> Option<(usize, usize, String)> {
        let mut from = 0;
        while let Some(close) = text[from..].find('}').map(|at| from + at) {
            if let Some(open) = text[..close]
                .rfind("${")
                .filter(|open| *open >= from || !text[*open..close].contains('}'))
            {
                let name = &text[open + 2..close];
                let whole = &text[open..=close];
                if let Some(value) = self.variable(name).filter(|value| value != whole) {
                    return Some((open, close + 1, value));
                }
            }
            from = close + 1;
        }
        None
    }

    fn variable(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix("env.") {
            return self.environment.expand_variable(rest);
        }
        if let Some(value) = self.environment.property(name) {
            return Some(value.to_owned());
        }
        let name = canonical(name);
        self.raw(name)
            .or_else(|| keys::find(name).and_then(|info| info.default))
            .map(str::to_owned)
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self::new()
    }
}

fn canonical(name: &str) -> &str {
    deprecated::current_name(name).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn conf(xml_properties: &str) -> Configuration {
        let environment = Environment::fixed(
            &[("user.name", "alice"), ("user.home", "/home/alice")],
            &[("DISK", "/mnt")],
        );
        let mut conf = Configuration::with_environment(environment);
        conf.add_xml(&format!("<configuration>{xml_properties}</configuration>"), "test.xml")
            .unwrap();
        conf
    }

    fn property(name: &str, value: &str) -> String {
        format!("<property><name>{name}</name><value>{value}</value></property>")
    }

    #[test]
    fn typed_values_and_defaults() {
        let conf = conf(
            &[
                property("dfs.blocksize", " 1m "),
                property("dfs.heartbeat.interval", "500ms"),
                property("dfs.permissions.enabled", "FALSE"),
                property("dfs.webhdfs.enabled", "maybe"),
            ]
            .concat(),
        );
        assert_eq!(conf.get(keys::DFS_BLOCKSIZE), 1 << 20);
        assert_eq!(conf.get(keys::DFS_HEARTBEAT_INTERVAL), Duration::from_millis(500));
        assert!(!conf.get(keys::DFS_PERMISSIONS_ENABLED));
        assert!(conf.get(keys::DFS_WEBHDFS_ENABLED), "other text means the default");
        assert_eq!(conf.get(keys::DFS_REPLICATION), 3);
        assert_eq!(
            conf.get(keys::DFS_NAMENODE_CHECKPOINT_PERIOD),
            Duration::from_secs(3600)
        );
        conf.validate().unwrap();
    }

    #[test]
    fn substitution_follows_hadoop() {
        let cases = [
            ("${user.name}@${user.home}", "alice@/home/alice"),
            ("${env.DISK}/x", "/mnt/x"),
            ("${env.NONE}", "${env.NONE}"),
            ("${env.NONE-a}${env.NONE:-b}", "ab"),
            ("${hadoop.tmp.dir}/dfs", "/tmp/hadoop-alice/dfs"),
            ("${no.such.key}/${user.name}", "${no.such.key}/alice"),
            ("${outer.${user.name}}", "found"),
            ("${loop.a}", "${loop.a}"),
            ("a } b ${ c", "a } b ${ c"),
        ];
        for (text, expected) in cases {
            let mut conf = conf("");
            conf.set("outer.alice", "found")
                .set("loop.a", "${loop.b}")
                .set("loop.b", "${loop.a}")
                .set("key", text);
            let value = conf.text("key").unwrap();
            if text == "${loop.a}" {
                assert!(value.starts_with("${loop."), "ends after 20 rounds: {value}");
            } else {
                assert_eq!(value, expected, "{text}");
            }
        }
    }

    #[test]
    fn final_deprecated_and_overrides() {
        let mut conf = conf("<property><name>dfs.replication</name><value>2</value><final>true</final></property>");
        conf.add_xml(
            &format!(
                "<configuration>{}{}</configuration>",
                property("dfs.replication", "1"),
                property("dfs.block.size", "4096")
            ),
            "later.xml",
        )
        .unwrap();
        assert_eq!(conf.get(keys::DFS_REPLICATION), 2);
        assert_eq!(conf.get(keys::DFS_BLOCKSIZE), 4096);
        assert_eq!(conf.text("dfs.block.size").unwrap(), "4096");
        conf.apply_overrides(["dfs.replication=5", "dfs.name.dir=/a,/b"])
            .unwrap();
        assert_eq!(conf.get(keys::DFS_REPLICATION), 5);
        assert_eq!(conf.name_dirs(), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(conf.apply_override("novalue").is_err());
    }

    #[test]
    fn bad_values_are_named_with_their_place() {
        let conf = conf(&property("dfs.replication", "three"));
        assert_eq!(conf.get(keys::DFS_REPLICATION), 3);
        let text = conf.validate().unwrap_err().to_string();
        assert!(
            text.contains("dfs.replication") && text.contains("three") && text.contains("test.xml"),
            "{text}"
        );
    }

    #[test]
    fn suffixed_keys_fall_back() {
        let conf = conf(
            &[
                property("dfs.datanode.du.reserved", "1k"),
                property("dfs.datanode.du.reserved.ssd", "2k"),
            ]
            .concat(),
        );
        assert_eq!(conf.get_suffixed(keys::DFS_DATANODE_DU_RESERVED, "ssd"), 2048);
        assert_eq!(conf.get_suffixed(keys::DFS_DATANODE_DU_RESERVED, "disk"), 1024);
    }
}
