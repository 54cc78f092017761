//! Who holds a file: the checks every write call makes, and the ends of a lease.

use crate::errors;
use crate::inode::{BlockState, InodeHandle};
use crate::namespace::Namespace;
use crate::resolve::Resolved;
use hadron_types::HadoopResult;

impl Namespace {
    /// What Hadoop's `checkLease` demands of a write call: the file exists, is open, and is `holder`'s.
    pub(super) fn check_lease(&self, at: &Resolved, holder: &str, file_id: u64) -> HadoopResult<InodeHandle> {
        let who = || format!("{} (inode {file_id}) {}", at.path, self.lease_text(holder));
        let Some(file) = at.last() else {
            return Err(errors::missing(format!("File does not exist: {}", who())));
        };
        if self.inode(file).is_directory() {
            return Err(errors::lease_expired(format!("INode is not a regular file: {}", who())));
        }
        let Some(record) = self.open_record(file) else {
            return Err(errors::lease_expired(format!(
                "File is not open for writing: {}",
                who()
            )));
        };
        if &*record.holder != holder {
            return Err(errors::lease_expired(format!(
                "Client (={holder}) is not the lease owner (={}: {}",
                record.holder,
                who()
            )));
        }
        Ok(file)
    }

    /// How texts show the lease of `holder`.
    fn lease_text(&self, holder: &str) -> String {
        match self.holders.get(holder) {
            Some(count) => format!("[Lease.  Holder: {holder}, pending creates: {count}]"),
            None => format!("Holder {holder} does not have any open files."),
        }
    }

    /// Refuses to open a file that a writer has open. `operation`: Hadoop's name, e.g. `CREATE_FILE`.
    ///
    /// Soft limits are the shell's business: it ends an expired lease by ReleaseLease before it proposes the opening.
    pub(super) fn check_not_open(
        &self,
        operation: &str,
        at: &Resolved,
        file: InodeHandle,
        holder: &str,
        client_machine: &str,
    ) -> HadoopResult<()> {
        let Some(record) = self.open_record(file) else {
            return Ok(());
        };
        let because = |reason: String| {
            format!(
                "Failed to {operation} {} for {holder} on {client_machine} because {reason}",
                at.path
            )
        };
        if &*record.holder == holder {
            let reason = format!("{holder} is already the current lease holder.");
            return Err(errors::already_being_created(because(reason)));
        }
        let owner = format!("{} on {}", record.holder, record.client_machine);
        let recovering = self
            .last_block(file)
            .is_some_and(|block| self.block(block).state == BlockState::UnderRecovery);
        if recovering {
            let reason = format!("another recovery is in progress by {owner}");
            return Err(errors::recovery_in_progress(because(reason)));
        }
        let reason = format!("this file lease is currently owned by {owner}");
        Err(errors::already_being_created(because(reason)))
    }
}
