//! What the ACL calls make of an ACL: merge, filter, replace; masks, inferred defaults, validation.
//!
//! Pure functions from a whole ACL (mode bits included) and a request to a whole ACL. Entries come out sorted: access
//! before default; user, group, mask, other; unnamed before named.
//! Source: Hadoop `AclTransformation`; classes and texts are its.

use super::entry::{AclEntry, AclScope, AclType};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

/// Most entries of one scope.
pub const MAX_ACL_ENTRIES: usize = 32;

/// One fact for each scope.
type PerScope<T> = [T; AclScope::ALL.len()];

/// An ACL being put together, and what of it the request touched.
#[derive(Default)]
struct Builder {
    /// All entries but masks.
    entries: Vec<AclEntry>,
    masks: PerScope<Option<AclEntry>>,
    mask_touched: PerScope<bool>,
    scope_touched: PerScope<bool>,
}

fn invalid(what: impl std::fmt::Display) -> HadoopError {
    HadoopError::new(ErrorKind::Acl, format!("Invalid ACL: {what}"))
}

/// Adds the entries of `spec` to an ACL, replacing those about the same.
pub(crate) fn merge(existing: &[AclEntry], spec: &[AclEntry]) -> HadoopResult<Vec<AclEntry>> {
    let spec = validated(spec)?;
    let mut builder = Builder::default();
    for entry in existing {
        match spec.iter().find(|wanted| about_the_same(wanted, entry)) {
            Some(wanted) => builder.touch(wanted),
            None => builder.keep(entry),
        }
    }
    let is_new = |entry: &&AclEntry| !existing.iter().any(|known| about_the_same(known, entry));
    for entry in spec.iter().filter(is_new) {
        builder.touch(entry);
    }
    builder.build()
}

/// Takes the entries about the same as those of `spec` out of an ACL.
pub(crate) fn filter(existing: &[AclEntry], spec: &[AclEntry]) -> HadoopResult<Vec<AclEntry>> {
    let spec = validated(spec)?;
    let mut builder = Builder::default();
    for entry in existing {
        if spec.iter().any(|wanted| about_the_same(wanted, entry)) {
            builder.scope_touched[entry.scope as usize] = true;
            builder.mask_touched[entry.scope as usize] |= entry.kind == AclType::Mask;
        } else {
            builder.keep(entry);
        }
    }
    builder.build()
}

/// Takes the default entries out of an ACL.
pub(crate) fn filter_default(existing: &[AclEntry]) -> HadoopResult<Vec<AclEntry>> {
    let access = existing.iter().filter(|entry| entry.scope == AclScope::Access);
    sorted_and_valid(access.cloned().collect())
}

/// Replaces an ACL, or that scope of it about which `spec` says something.
pub(crate) fn replace(existing: &[AclEntry], spec: &[AclEntry]) -> HadoopResult<Vec<AclEntry>> {
    let spec = validated(spec)?;
    let mut builder = Builder::default();
    for entry in &spec {
        builder.touch(entry);
    }
    let replaced = builder.scope_touched;
    for entry in existing.iter().filter(|entry| !replaced[entry.scope as usize]) {
        builder.keep(entry);
    }
    builder.build()
}

fn about_the_same(one: &AclEntry, other: &AclEntry) -> bool {
    (one.scope, one.kind, &one.name) == (other.scope, other.kind, &other.name)
}

/// A request's entries in order, if they are not too many.
fn validated(spec: &[AclEntry]) -> HadoopResult<Vec<AclEntry>> {
    check_counts(spec)?;
    let mut spec = spec.to_vec();
    spec.sort_by(AclEntry::compare_key);
    Ok(spec)
}

fn check_counts(entries: &[AclEntry]) -> HadoopResult<()> {
    for (scope, name) in [(AclScope::Access, "access"), (AclScope::Default, "default")] {
        let count = entries.iter().filter(|entry| entry.scope == scope).count();
        if count > MAX_ACL_ENTRIES {
            return Err(invalid(format_args!(
                "ACL has {count} {name} entries, which exceeds maximum of {MAX_ACL_ENTRIES}."
            )));
        }
    }
    Ok(())
}

impl Builder {
    /// Takes an entry of the ACL as it was.
    fn keep(&mut self, entry: &AclEntry) {
        if entry.kind == AclType::Mask {
            self.masks[entry.scope as usize] = Some(entry.clone());
        } else {
            self.entries.push(entry.clone());
        }
    }

    /// Takes an entry of the request.
    fn touch(&mut self, entry: &AclEntry) {
        self.scope_touched[entry.scope as usize] = true;
        self.mask_touched[entry.scope as usize] |= entry.kind == AclType::Mask;
        self.keep(entry);
    }

    fn build(mut self) -> HadoopResult<Vec<AclEntry>> {
        self.entries.sort_by(AclEntry::compare_key);
        self.infer_defaults();
        for scope in AclScope::ALL {
            self.add_mask(scope)?;
        }
        sorted_and_valid(self.entries)
    }

    /// A default ACL gets the base entries it lacks from the access ACL.
    fn infer_defaults(&mut self) {
        if !self.entries.iter().any(|entry| entry.scope == AclScope::Default) {
            return;
        }
        for kind in AclType::BASE {
            if self.base(AclScope::Default, kind).is_none()
                && let Some(access) = self.base(AclScope::Access, kind)
            {
                let entry = AclEntry::unnamed(AclScope::Default, kind, access.permission);
                self.entries.push(entry);
            }
        }
    }

    fn base(&self, scope: AclScope, kind: AclType) -> Option<&AclEntry> {
        let is_it = |entry: &&AclEntry| entry.scope == scope && entry.kind == kind && entry.name.is_none();
        self.entries.iter().find(is_it)
    }

    /// Adds the mask that was given, or that follows from the entries, if there is to be one.
    fn add_mask(&mut self, scope: AclScope) -> HadoopResult<()> {
        let of_scope = || self.entries.iter().filter(|entry| entry.scope == scope);
        if of_scope().next().is_none() {
            return Ok(());
        }
        let is_needed = of_scope().any(|entry| entry.name.is_some());
        let index = scope as usize;
        let given = self.masks[index].take();
        // An ACL that has a mask keeps one, be it of nothing but the group's entry.
        let had_one = given.is_some();
        if given.is_none() && is_needed && self.mask_touched[index] {
            return Err(invalid("mask is required and cannot be deleted."));
        }
        if let Some(mask) = given.filter(|_| !self.scope_touched[index] || self.mask_touched[index]) {
            self.entries.push(mask);
        } else if is_needed || had_one {
            let in_group_class = |entry: &&AclEntry| entry.kind == AclType::Group || entry.name.is_some();
            let union = of_scope()
                .filter(in_group_class)
                .fold(0, |bits, entry| bits | entry.permission.0);
            self.entries
                .push(AclEntry::unnamed(scope, AclType::Mask, FsAction(union)));
        }
        Ok(())
    }
}

fn sorted_and_valid(mut entries: Vec<AclEntry>) -> HadoopResult<Vec<AclEntry>> {
    entries.sort_by(AclEntry::compare_key);
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 && about_the_same(&entries[index - 1], entry) {
            return Err(invalid("multiple entries with same scope, type and name."));
        }
        if entry.name.is_some() && matches!(entry.kind, AclType::Mask | AclType::Other) {
            return Err(invalid(format_args!("this entry type must not have a name: {entry}.")));
        }
    }
    check_counts(&entries)?;
    let has_default = entries.iter().any(|entry| entry.scope == AclScope::Default);
    let has = |scope, kind| {
        let is_it = |entry: &AclEntry| entry.scope == scope && entry.kind == kind && entry.name.is_none();
        entries.iter().any(is_it)
    };
    for kind in AclType::BASE {
        if !has(AclScope::Access, kind) {
            return Err(invalid("the user, group and other entries are required."));
        }
        if has_default && !has(AclScope::Default, kind) {
            return Err(HadoopError::new(
                ErrorKind::Acl,
                "Invalid default ACL: the user, group and other entries are required.",
            ));
        }
    }
    Ok(entries)
}
