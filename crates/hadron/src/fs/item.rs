//! A path as the user wrote it, and what it stands for.
//!
//! Messages and listings repeat the user's own spelling (relative, absolute or with scheme), so an item keeps that text
//! beside the absolute path. Children extend both.

use std::rc::Rc;

use super::store::{FsError, FsResult, Status, Store};

/// One argument or one entry below it.
#[derive(Clone)]
pub(crate) struct Item {
    /// As shown.
    pub(crate) text: String,
    /// Absolute within the store.
    pub(crate) path: String,
    pub(crate) store: Rc<dyn Store>,
    /// `None`: there is nothing.
    pub(crate) status: Option<Status>,
}

impl Item {
    /// Looks up `text`, whose path part is `spelled` (relative or absolute).
    pub(crate) fn look_up(store: &Rc<dyn Store>, text: &str, spelled: &str) -> FsResult<Self> {
        let path = absolute(store.as_ref(), spelled);
        let status = store.status(&path)?;
        Ok(Self {
            text: text.to_owned(),
            path,
            store: Rc::clone(store),
            status,
        })
    }

    /// The status, or the error that there is nothing.
    pub(crate) fn status(&self) -> FsResult<&Status> {
        self.status.as_ref().ok_or_else(|| FsError::missing(&self.text))
    }

    pub(crate) fn exists(&self) -> bool {
        self.status.is_some()
    }

    pub(crate) fn is_dir(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.is_dir)
    }

    /// Last part of the path; empty for the root.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or("")
    }

    /// Scheme, authority and path.
    pub(crate) fn address(&self) -> String {
        address_of(self.store.as_ref(), &self.path)
    }

    /// Whether the text means a directory whether or not it exists: it ends in `/`, `.` or `..`.
    pub(crate) fn reads_as_directory(&self) -> bool {
        matches!(self.text.rsplit('/').next().unwrap_or(""), "" | "." | "..")
    }

    pub(crate) fn parent_path(&self) -> &str {
        parent(&self.path)
    }

    pub(crate) fn parent_exists(&self) -> FsResult<bool> {
        Ok(self.store.status(self.parent_path())?.is_some())
    }

    /// The entries of a directory, by name.
    pub(crate) fn children(&self) -> FsResult<Vec<Self>> {
        let mut children: Vec<Self> = self
            .store
            .list(&self.path)?
            .into_iter()
            .map(|status| Self {
                text: self.child_text(status.path.rsplit('/').next().unwrap_or("")),
                path: status.path.clone(),
                store: Rc::clone(&self.store),
                status: Some(status),
            })
            .collect();
        children.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(children)
    }

    /// The entry called `name`, looked up.
    pub(crate) fn child(&self, name: &str) -> FsResult<Self> {
        let path = if self.path == "/" {
            format!("/{name}")
        } else {
            format!("{}/{name}", self.path)
        };
        let status = self.store.status(&path)?;
        Ok(Self {
            text: self.child_text(name),
            path,
            store: Rc::clone(&self.store),
            status,
        })
    }

    /// The same name with `suffix`, not looked up.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        Self {
            text: format!("{}{suffix}", self.text),
            path: format!("{}{suffix}", self.path),
            store: Rc::clone(&self.store),
            status: None,
        }
    }

    /// Looks again.
    pub(crate) fn refresh(&mut self) -> FsResult<()> {
        self.status = self.store.status(&self.path)?;
        Ok(())
    }

    fn child_text(&self, name: &str) -> String {
        if self.text == "." {
            name.to_owned()
        } else if self.text.ends_with('/') {
            format!("{}{name}", self.text)
        } else {
            format!("{}/{name}", self.text)
        }
    }
}

/// Scheme, authority and path in one.
pub(crate) fn address_of(store: &dyn Store, path: &str) -> String {
    format!("{}{path}", store.address())
}

/// The path above; the root is its own parent.
pub(crate) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// Makes `spelled` absolute in `store`: relative ones start in the working directory; doubled and closing slashes and
/// `.` parts go away, `..` parts are resolved.
pub(crate) fn absolute(store: &dyn Store, spelled: &str) -> String {
    let whole = if spelled.starts_with('/') {
        spelled.to_owned()
    } else {
        format!("{}/{spelled}", store.working_directory())
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Splits `scheme://authority/path` or `scheme:path` into (`scheme`, `authority`, `path`); plain text has no scheme.
pub(crate) fn split_address(text: &str) -> (Option<&str>, &str, &str) {
    let Some((scheme, rest)) = text.split_once(':') else {
        return (None, "", text);
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !is_scheme || scheme.contains('/') {
        return (None, "", text);
    }
    match rest.strip_prefix("//") {
        Some(rest) => match rest.find('/') {
            Some(at) => (Some(scheme), &rest[..at], &rest[at..]),
            None => (Some(scheme), rest, "/"),
        },
        None if rest.starts_with('/') => (Some(scheme), "", rest),
        None => (None, "", text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_split() {
        for (text, expected) in [
            ("/a/b", (None, "", "/a/b")),
            ("a:b", (None, "", "a:b")),
            ("hdfs://h:1/a", (Some("hdfs"), "h:1", "/a")),
            ("hdfs://h:1", (Some("hdfs"), "h:1", "/")),
            ("hdfs:///a", (Some("hdfs"), "", "/a")),
            ("file:/a", (Some("file"), "", "/a")),
            ("./a:/b", (None, "", "./a:/b")),
        ] {
            assert_eq!(split_address(text), expected, "{text}");
        }
    }

    #[test]
    fn parents() {
        for (path, expected) in [("/", "/"), ("/a", "/"), ("/a/b", "/a")] {
            assert_eq!(parent(path), expected);
        }
    }
}
