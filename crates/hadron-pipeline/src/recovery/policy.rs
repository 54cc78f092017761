//! When a lost node of a pipeline is replaced by another.
//!
//! A free function of its inputs beside the rule's text. Source: Hadoop `ReplaceDatanodeOnFailure`.

use std::fmt;

/// `dfs.client.block.write.replace-datanode-on-failure.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplacePolicy {
    /// Never; also what `.enable` false means.
    Never,
    /// Only when it matters: three replicas or more are wanted, and either half of them or fewer are left, or the file
    /// is appended to or was hflushed (a reader may rely on its bytes).
    #[default]
    Default,
    /// Whenever a node is missing.
    Always,
}

impl fmt::Display for ReplacePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ReplacePolicy {
    /// Hadoop's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "NEVER",
            Self::Default => "DEFAULT",
            Self::Always => "ALWAYS",
        }
    }

    /// Reads the configuration's text, any case; `None` for an unknown one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Never, Self::Default, Self::Always]
            .into_iter()
            .find(|policy| policy.name().eq_ignore_ascii_case(name))
    }
}

/// Whether to look for one more node. `replication`: the file's; `remaining`: nodes left in the pipeline;
/// `appended_or_hflushed`: whether others may already rely on the block's bytes.
pub fn should_replace(policy: ReplacePolicy, replication: usize, remaining: usize, appended_or_hflushed: bool) -> bool {
    if remaining == 0 || remaining >= replication {
        return false;
    }
    match policy {
        ReplacePolicy::Never => false,
        ReplacePolicy::Always => true,
        ReplacePolicy::Default => replication >= 3 && (remaining <= replication / 2 || appended_or_hflushed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_policies() {
        use ReplacePolicy::{Always, Default, Never};
        for (policy, replication, remaining, relied_on, expected) in [
            (Never, 3, 1, true, false),
            (Always, 2, 1, false, true),
            (Always, 3, 3, true, false),
            (Always, 3, 0, true, false),
            (Default, 2, 1, true, false),
            (Default, 3, 2, false, false),
            (Default, 3, 2, true, true),
            (Default, 3, 1, false, true),
            (Default, 4, 2, false, true),
            (Default, 5, 3, false, false),
            (Default, 5, 2, false, true),
            (Default, 3, 3, true, false),
        ] {
            assert_eq!(
                should_replace(policy, replication, remaining, relied_on),
                expected,
                "{policy:?} {replication} {remaining} {relied_on}"
            );
        }
        assert_eq!(ReplacePolicy::from_name("default"), Some(Default));
        assert_eq!(ReplacePolicy::from_name("sometimes"), None);
    }
}
