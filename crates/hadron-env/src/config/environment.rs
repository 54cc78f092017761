//! What `${user.name}` and `${env.NAME}` stand for.
//!
//! What it is for: a snapshot of the process's environment that tests can replace. What it does not do: Java's other
//! system properties beyond the few that site files use.

use std::collections::HashMap;

/// System properties and environment variables.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    properties: HashMap<String, String>,
    variables: HashMap<String, String>,
}

impl Environment {
    /// Those of this process. The user is the one of the process's uid, as in Java, not `$USER`.
    pub fn system() -> Self {
        let uid = rustix::process::getuid().as_raw().to_string();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (name, home) = find_user(&passwd, &uid).unwrap_or_else(|| {
            let variable = |name| std::env::var(name).ok();
            (
                variable("USER").unwrap_or(uid),
                variable("HOME").unwrap_or_else(|| "/".into()),
            )
        });
        let directory = std::env::current_dir().map_or_else(|_| ".".into(), |dir| dir.display().to_string());
        let properties = [
            ("user.name", name),
            ("user.home", home),
            ("user.dir", directory),
            ("java.io.tmpdir", "/tmp".into()),
        ];
        Self {
            properties: properties
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        }
    }

    /// Given ones, for tests.
    pub fn fixed(properties: &[(&str, &str)], variables: &[(&str, &str)]) -> Self {
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Self {
            properties: own(properties),
            variables: own(variables),
        }
    }

    pub(super) fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// Evaluates what follows `env.`: `NAME`, `NAME-default` (when unset) or `NAME:-default` (when unset or empty).
    pub(super) fn expand_variable(&self, expression: &str) -> Option<String> {
        let Some(dash) = expression.find('-') else {
            return self.variables.get(expression).cloned();
        };
        let (name, default) = (&expression[..dash], &expression[dash + 1..]);
        let (name, empty_counts) = match name.strip_suffix(':') {
            Some(name) => (name, false),
            None => (name, true),
        };
        let value = self
            .variables
            .get(name)
            .filter(|value| empty_counts || !value.is_empty());
        Some(value.map_or_else(|| default.to_owned(), Clone::clone))
    }
}

fn find_user(passwd: &str, uid: &str) -> Option<(String, String)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then_some(())?;
        Some((name.to_owned(), fields.nth(2)?.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_name_and_home_by_uid() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nhdfs:x:42:42::/var/hdfs:/bin/false\n";
        assert_eq!(find_user(passwd, "42"), Some(("hdfs".into(), "/var/hdfs".into())));
        assert_eq!(find_user(passwd, "7"), None);
    }
}
