//! Absolute HDFS paths, checked once at the border.
//!
//! Keeps Hadoop's `DFSUtil.isValidName` rules: absolute, no `.` or `..` component, no `:` inside a component;
//! repeated and trailing slashes are folded. `.reserved` and `.snapshot` are the namespace's business, not ours.
//! Invariant: an [`FsPath`]'s text starts with `/`, has no empty component and no trailing slash (but for the root).

use std::fmt;

/// Longest path in UTF-16 units that create and mkdirs accept (Hadoop `HdfsServerConstants.MAX_PATH_LENGTH`).
pub const MAX_PATH_LEN: usize = 8000;
/// Most components of a path (Hadoop `HdfsServerConstants.MAX_PATH_DEPTH`).
pub const MAX_PATH_COMPONENTS: usize = 1000;

/// Why a text is no path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PathError {
    /// Does not begin with a slash.
    #[error("path is not absolute")]
    NotAbsolute,
    /// Has a `.` or `..` component or a `:`.
    #[error("path has an invalid component")]
    InvalidComponent,
    /// Is longer than [`MAX_PATH_LEN`] or deeper than [`MAX_PATH_COMPONENTS`].
    #[error("path is too long or too deep")]
    TooLong,
}

/// A normalised absolute path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FsPath(String);

impl FsPath {
    /// The root directory.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Checks and normalises `text`.
    ///
    /// Errors: [`PathError`]; the caller turns it into `InvalidPathException` with the text it was given.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if !text.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if text.len() > MAX_PATH_LEN && text.encode_utf16().count() > MAX_PATH_LEN {
            return Err(PathError::TooLong);
        }
        let mut normal = String::with_capacity(text.len());
        let mut count = 0;
        for component in text.split('/').filter(|component| !component.is_empty()) {
            if component == "." || component == ".." || component.contains(':') {
                return Err(PathError::InvalidComponent);
            }
            count += 1;
            normal.push('/');
            normal.push_str(component);
        }
        if count > MAX_PATH_COMPONENTS {
            return Err(PathError::TooLong);
        }
        if normal.is_empty() {
            normal.push('/');
        }
        Ok(Self(normal))
    }

    /// The text, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The text, given away.
    pub fn into_string(self) -> String {
        self.0
    }
    /// Whether this is `/`.
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }
    /// Components from the top; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.0.split('/').filter(|component| !component.is_empty())
    }
    /// The last component; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.components().next_back()
    }
    /// The path above; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let cut = self.0.rfind('/')?;
        Some(if cut == 0 {
            Self::root()
        } else {
            Self(self.0[..cut].to_owned())
        })
    }
    /// This path with one more component. `name` is not checked; the caller has it from a checked source.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        if self.is_root() {
            Self(format!("/{name}"))
        } else {
            Self(format!("{}/{name}", self.0))
        }
    }
    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_at_or_below(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || self.0 == ancestor.0
            || (self.0.starts_with(&ancestor.0) && self.0.as_bytes()[ancestor.0.len()] == b'/')
    }
}

impl fmt::Display for FsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for FsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FsPath({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_or_refused() {
        let ok = |text: &str, normal: &str| assert_eq!(FsPath::parse(text).map(|path| path.0), Ok(normal.to_owned()));
        ok("/", "/");
        ok("///", "/");
        ok("/a//b/", "/a/b");
        for (text, error) in [
            ("", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("/a/../b", PathError::InvalidComponent),
            ("/a/.", PathError::InvalidComponent),
            ("/a:b", PathError::InvalidComponent),
        ] {
            assert_eq!(FsPath::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            FsPath::parse(&"/a".repeat(MAX_PATH_COMPONENTS + 1)),
            Err(PathError::TooLong)
        );
        assert_eq!(
            FsPath::parse(&format!("/{}", "x".repeat(MAX_PATH_LEN))),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn below_means_whole_components() {
        let path = |text| FsPath::parse(text).expect("valid");
        assert!(path("/a/b").is_at_or_below(&path("/a")));
        assert!(path("/a").is_at_or_below(&path("/a")));
        assert!(!path("/ab").is_at_or_below(&path("/a")));
        assert!(path("/ab").is_at_or_below(&FsPath::root()));
        assert_eq!(path("/a").parent(), Some(FsPath::root()));
        assert_eq!(FsPath::root().parent(), None);
    }
}
