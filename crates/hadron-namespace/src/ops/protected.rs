//! Directories that neither delete nor rename may take away while something is in them.
//!
//! Source: Hadoop `DFSUtil.checkProtectedDescendants`.

use crate::command::ProtectedDirectories;
use crate::errors;
use crate::namespace::Namespace;
use crate::resolve::Resolved;
use hadron_types::HadoopResult;

impl Namespace {
    /// Refuses to take away what is at `at`, if it is not empty and `protected` has something against it.
    pub(super) fn check_not_protected(
        &self,
        at: &Resolved,
        protected: Option<&ProtectedDirectories>,
    ) -> HadoopResult<()> {
        let Some(protected) = protected else { return Ok(()) };
        let is_filled = |at: &Resolved| {
            let directory = at.last().and_then(|handle| self.directory(handle));
            directory.is_some_and(|directory| !directory.is_empty())
        };
        if !is_filled(at) {
            return Ok(());
        }
        let refused = |what: &str, path: &str| Err(errors::denied(format!("Cannot delete/rename {what} {path}")));
        let lies_below = |path: &str, top: &str| path.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
        if protected.paths.contains(&at.path) {
            return refused("non-empty protected directory", &at.path);
        }
        let below = protected
            .paths
            .iter()
            .filter(|path| lies_below(path, at.path.trim_end_matches('/')));
        for path in below {
            if is_filled(&self.walk(path.clone())) {
                return refused("non-empty protected subdirectory", path);
            }
        }
        let above = |path: &&String| protected.below && lies_below(&at.path, path);
        match protected.paths.iter().filter(above).max_by_key(|path| path.len()) {
            Some(path) => refused("subdirectory under protected subdirectory", path),
            None => Ok(()),
        }
    }
}
