//! The file system: one NameNode, one user, every call on paths.

use crate::error::{FsError, Result};
use crate::lease::LeaseRenewer;
use crate::listing::Listing;
use crate::local_addresses::LocalAddresses;
use crate::namenode::{NameNode, NameNodeSettings};
use crate::peers::PeerCache;
use crate::reader::{FileReader, HedgedReads, Hedging};
use crate::settings::ClientSettings;
use crate::short_circuit::{ShortCircuit, ShortCircuitCounts};
use crate::status::{
    BlockLocation, ContentSummary, FileStatus, FsStats, NodeReport, ReportKind, SafeModeAction, ServerDefaults,
};
use crate::writer::{self, AppendOptions, BufferPool, CreateOptions, FileWriter};
use hadron_env::config::keys;
use hadron_env::{Configuration, Random, SystemClock, SystemRandom};
use hadron_pipeline::window::WindowConfig;
use hadron_proto::hdfs as proto;
use hadron_types::{FsAction, FsPath, FsPermission, TimeMs};
use std::sync::Arc;
use tokio::net::TcpStream;

/// Scheme of the URLs this client understands.
const SCHEME: &str = "hdfs://";

/// A connection to an HDFS file system. Clones share everything.
///
/// All calls are cancel safe in the sense that dropping them leaves no task behind; whether the NameNode carried out a
/// dropped mutation is not known.
#[derive(Clone)]
pub struct HadronFs {
    shared: Arc<Shared>,
}

/// What streams and listings share with the file system they came from.
pub(crate) struct Shared {
    pub(crate) settings: ClientSettings,
    pub(crate) namenode: Arc<NameNode>,
    pub(crate) client_name: String,
    pub(crate) user: String,
    pub(crate) authority: String,
    pub(crate) renewer: Arc<LeaseRenewer>,
    pub(crate) peers: Arc<PeerCache<TcpStream>>,
    pub(crate) addresses: Arc<LocalAddresses>,
    /// Absent where short-circuit reads are not configured.
    pub(crate) short_circuit: Option<ShortCircuit>,
    pub(crate) hedging: Option<Hedging>,
    pub(crate) random: SystemRandom,
    pub(crate) buffers: Arc<BufferPool>,
}

impl Shared {
    /// The settings of a new stream's window.
    pub(crate) fn window_config(&self) -> WindowConfig {
        WindowConfig {
            seed: self.random.next_u64(),
            ..self.settings.window
        }
    }
    /// A number in 0..1.
    pub(crate) fn random_fraction(&self) -> f64 {
        const STEPS: u64 = 1 << 32;
        self.random.below(STEPS) as f64 / STEPS as f64
    }
}

impl HadronFs {
    /// Names the file system `url`, or `fs.defaultFS` without one, for the user of `HADOOP_USER_NAME` or else of this
    /// process. The NameNode is contacted by the first call.
    ///
    /// Errors: [`FsError::Config`] for an unusable URL or setting, or a host name that does not resolve.
    pub async fn connect(conf: &Configuration, url: Option<&str>) -> Result<Self> {
        let user = match std::env::var("HADOOP_USER_NAME") {
            Ok(user) if !user.is_empty() => user,
            _ => conf.user_name().to_owned(),
        };
        Self::connect_as(conf, url, &user).await
    }

    /// As [`HadronFs::connect`] for a given user.
    pub async fn connect_as(conf: &Configuration, url: Option<&str>, user: &str) -> Result<Self> {
        Self::connect_with(conf, url, user, ClientSettings::from_configuration(conf)?).await
    }

    /// As [`HadronFs::connect_as`] with settings that are not all from `conf`.
    pub async fn connect_with(
        conf: &Configuration,
        url: Option<&str>,
        user: &str,
        settings: ClientSettings,
    ) -> Result<Self> {
        let default_fs = conf.get(keys::FS_DEFAULT_FS);
        let url = url.unwrap_or(&default_fs);
        let authority = authority_of(url).ok_or_else(|| FsError::Config(format!("{url:?} is not an hdfs:// URL")))?;
        let namenode_settings = NameNodeSettings::from_configuration(conf, authority)?;
        namenode_settings.check_names().await?;
        let namenode = Arc::new(NameNode::new(user, &namenode_settings));
        let client_name = format!("DFSClient_HADRON_{}", uuid::Uuid::new_v4().simple());
        let addresses = Arc::default();
        let clock = Arc::new(SystemClock::new());
        let short_circuit = ShortCircuit::new(&settings, &client_name, &addresses, clock);
        let shared = Shared {
            addresses,
            short_circuit,
            renewer: LeaseRenewer::new(Arc::clone(&namenode), client_name.clone()),
            peers: PeerCache::new(settings.peer_cache_capacity, settings.peer_cache_expiry),
            hedging: Hedging::new(settings.hedged_read_places, settings.hedged_read_threshold),
            random: SystemRandom::new(),
            buffers: Arc::default(),
            namenode,
            client_name,
            user: user.to_owned(),
            authority: authority.to_owned(),
            settings,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// For other parts of this crate.
    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// `hdfs://host:port` or `hdfs://nameservice`, as given.
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}", self.shared.authority)
    }
    /// The user all calls are made as.
    pub fn user(&self) -> &str {
        &self.shared.user
    }
    /// The name that holds this client's lease.
    pub fn client_name(&self) -> &str {
        &self.shared.client_name
    }
    /// The settings in force.
    pub fn settings(&self) -> &ClientSettings {
        &self.shared.settings
    }
    /// Files this client has open for writing.
    pub fn open_writers(&self) -> usize {
        self.shared.renewer.open_files()
    }
    /// Packets that streams of this client hold: not acked yet, or on their way to the stream's task.
    pub fn held_packets(&self) -> usize {
        self.shared.buffers.in_use()
    }
    /// Ends every stream that is open for writing now, with "Filesystem closed" as its error. The files stay open at the
    /// NameNode until their lease expires.
    pub fn abort_writers(&self) {
        self.shared.renewer.give_up("Filesystem closed");
    }
    /// Idle DataNode connections this client keeps.
    pub fn idle_connections(&self) -> usize {
        self.shared.peers.len()
    }
    /// What this client holds for short-circuit reads; all 0 when they are not configured.
    pub fn short_circuit_counts(&self) -> ShortCircuitCounts {
        self.shared
            .short_circuit
            .as_ref()
            .map(ShortCircuit::counts)
            .unwrap_or_default()
    }
    /// How often this client's reads were hedged; all 0 when that is off.
    pub fn hedged_reads(&self) -> HedgedReads {
        self.shared.hedging.as_ref().map(Hedging::counts).unwrap_or_default()
    }
    /// `/user/<user>`, which relative paths are under.
    pub fn home_dir(&self) -> FsPath {
        FsPath::root().join("user").join(&self.shared.user)
    }

    /// Turns `hdfs://host/path`, `/path` or `path` (below the home directory) into a path.
    ///
    /// Errors: InvalidPath for a bad name; [`FsError::Config`] for the URL of another file system.
    pub fn resolve(&self, text: &str) -> Result<FsPath> {
        let path = match text.strip_prefix(SCHEME) {
            Some(rest) => {
                let (authority, path) = match rest.find('/') {
                    Some(at) => rest.split_at(at),
                    None => (rest, "/"),
                };
                if !authority.is_empty() && authority != self.shared.authority {
                    return Err(FsError::Config(format!("Wrong FS: {text}, expected: {}", self.uri())));
                }
                path.to_owned()
            }
            None if text.starts_with('/') => text.to_owned(),
            None => format!("{}/{text}", self.home_dir()),
        };
        FsPath::parse(&path).map_err(|_| {
            FsError::Refused(hadron_types::HadoopError::new(
                hadron_types::ErrorKind::InvalidPath,
                format!("Invalid path name {text}"),
            ))
        })
    }

    // ---- looking ----

    /// The status of `path`; `None` when it does not exist.
    pub async fn status(&self, path: &FsPath) -> Result<Option<FileStatus>> {
        let request = proto::GetFileInfoRequestProto { src: text(path) };
        let response = self.shared.namenode.get_file_info(&request).await?;
        Ok(response.fs.map(|status| FileStatus::from_proto(&status, path)))
    }
    /// The status of `path`; an error when it does not exist.
    pub async fn existing_status(&self, path: &FsPath) -> Result<FileStatus> {
        self.status(path)
            .await?
            .ok_or_else(|| FsError::not_found(path.as_str()))
    }
    /// The children of a directory, or the file itself, page by page.
    pub fn list(&self, path: &FsPath) -> Listing {
        Listing::new(Arc::clone(&self.shared), path.clone())
    }
    /// All pages of [`HadronFs::list`] at once.
    pub async fn list_all(&self, path: &FsPath) -> Result<Vec<FileStatus>> {
        let mut listing = self.list(path);
        let mut all = Vec::new();
        while let Some(page) = listing.next_page().await? {
            all.extend(page);
        }
        Ok(all)
    }
    pub(crate) fn namenode(&self) -> &NameNode {
        &self.shared.namenode
    }
    /// Totals of the subtree at `path`.
    pub async fn content_summary(&self, path: &FsPath) -> Result<ContentSummary> {
        let request = proto::GetContentSummaryRequestProto { path: text(path) };
        let response = self.shared.namenode.get_content_summary(&request).await?;
        Ok(ContentSummary::from_proto(&response.summary))
    }
    /// The blocks of `path` that overlap `offset..offset + len`, and the one being written if the range reaches the end
    /// of what the NameNode counts.
    pub async fn block_locations(&self, path: &FsPath, offset: u64, len: u64) -> Result<Vec<BlockLocation>> {
        let request = proto::GetBlockLocationsRequestProto {
            src: text(path),
            offset,
            length: len,
        };
        let response = self.shared.namenode.get_block_locations(&request).await?;
        let locations = response.locations.ok_or_else(|| FsError::not_found(path.as_str()))?;
        let mut blocks: Vec<_> = locations.blocks.iter().map(BlockLocation::from_proto).collect();
        if let Some(last) = locations.last_block.filter(|_| !locations.is_last_block_complete) {
            let last = BlockLocation::from_proto(&last);
            let reached = offset.saturating_add(len) > locations.file_length;
            if reached && blocks.iter().all(|block| block.block.block.id != last.block.block.id) {
                blocks.push(last);
            }
        }
        Ok(blocks)
    }
    /// Whether nobody has `path` open for writing.
    pub async fn is_file_closed(&self, path: &FsPath) -> Result<bool> {
        let request = proto::IsFileClosedRequestProto { src: text(path) };
        Ok(self.shared.namenode.is_file_closed(&request).await?.result)
    }
    /// Whether the caller may do `action` on `path`; the error is the server's refusal, `AccessControl` among others.
    pub async fn check_access(&self, path: &FsPath, action: FsAction) -> Result<()> {
        let request = proto::CheckAccessRequestProto {
            path: text(path),
            mode: i32::from(action.0),
        };
        self.shared.namenode.check_access(&request).await?;
        Ok(())
    }
    /// What the server would choose for a new file.
    pub async fn server_defaults(&self) -> Result<ServerDefaults> {
        let request = proto::GetServerDefaultsRequestProto {};
        let defaults = self
            .shared
            .namenode
            .get_server_defaults(&request)
            .await?
            .server_defaults;
        Ok(ServerDefaults {
            block_size: defaults.block_size,
            bytes_per_checksum: defaults.bytes_per_checksum,
            write_packet_size: defaults.write_packet_size,
            replication: defaults.replication,
            trash_interval_minutes: defaults.trash_interval(),
        })
    }
    /// Totals of the cluster.
    pub async fn stats(&self) -> Result<FsStats> {
        let stats = self
            .shared
            .namenode
            .get_fs_stats(&proto::GetFsStatusRequestProto {})
            .await?;
        Ok(FsStats {
            capacity: stats.capacity,
            used: stats.used,
            remaining: stats.remaining,
            under_replicated: stats.under_replicated,
            corrupt_blocks: stats.corrupt_blocks,
            missing_blocks: stats.missing_blocks,
        })
    }
    /// The DataNodes of a kind.
    pub async fn datanodes(&self, kind: ReportKind) -> Result<Vec<NodeReport>> {
        use proto::DatanodeReportTypeProto as Wire;
        let kind = match kind {
            ReportKind::All => Wire::All,
            ReportKind::Live => Wire::Live,
            ReportKind::Dead => Wire::Dead,
            ReportKind::Decommissioning => Wire::Decommissioning,
        };
        let request = proto::GetDatanodeReportRequestProto { r#type: kind as i32 };
        let response = self.shared.namenode.get_datanode_report(&request).await?;
        Ok(response.di.iter().map(NodeReport::from_proto).collect())
    }

    // ---- changing ----

    /// Makes a directory, with its parents when `create_parents`; `mode` loses the umask's bits. True also when it
    /// exists already.
    pub async fn mkdirs(&self, path: &FsPath, mode: FsPermission, create_parents: bool) -> Result<bool> {
        let request = proto::MkdirsRequestProto {
            src: text(path),
            masked: mode.without(self.shared.settings.umask).into(),
            create_parent: create_parents,
            unmasked: Some(mode.into()),
        };
        Ok(self.shared.namenode.mkdirs(&request).await?.result)
    }
    /// Hadoop's older rename: moves below `dst` when that is a directory, and answers false instead of an error for
    /// most refusals.
    pub async fn rename(&self, src: &FsPath, dst: &FsPath) -> Result<bool> {
        let request = proto::RenameRequestProto {
            src: text(src),
            dst: text(dst),
        };
        Ok(self.shared.namenode.rename(&request).await?.result)
    }
    /// Renames to exactly `dst`, replacing what is there (a file, or an empty directory) when `overwrite`.
    pub async fn rename_exact(&self, src: &FsPath, dst: &FsPath, overwrite: bool) -> Result<()> {
        let request = proto::Rename2RequestProto {
            src: text(src),
            dst: text(dst),
            overwrite_dest: overwrite,
            move_to_trash: None,
        };
        self.shared.namenode.rename2(&request).await?;
        Ok(())
    }
    /// Deletes; false when there was nothing. A directory with children needs `recursive`.
    pub async fn delete(&self, path: &FsPath, recursive: bool) -> Result<bool> {
        let request = proto::DeleteRequestProto {
            src: text(path),
            recursive,
        };
        Ok(self.shared.namenode.delete(&request).await?.result)
    }
    /// Sets the mode bits, as they are (no umask).
    pub async fn set_permission(&self, path: &FsPath, permission: FsPermission) -> Result<()> {
        let request = proto::SetPermissionRequestProto {
            src: text(path),
            permission: permission.into(),
        };
        self.shared.namenode.set_permission(&request).await?;
        Ok(())
    }
    /// Sets owner and group; `None` leaves one as it is.
    pub async fn set_owner(&self, path: &FsPath, owner: Option<&str>, group: Option<&str>) -> Result<()> {
        let request = proto::SetOwnerRequestProto {
            src: text(path),
            username: owner.map(str::to_owned),
            groupname: group.map(str::to_owned),
        };
        self.shared.namenode.set_owner(&request).await?;
        Ok(())
    }
    /// Sets times; `None` leaves one as it is.
    pub async fn set_times(&self, path: &FsPath, modified: Option<TimeMs>, accessed: Option<TimeMs>) -> Result<()> {
        const LEAVE: u64 = u64::MAX;
        let request = proto::SetTimesRequestProto {
            src: text(path),
            mtime: modified.map_or(LEAVE, |time| time.0),
            atime: accessed.map_or(LEAVE, |time| time.0),
        };
        self.shared.namenode.set_times(&request).await?;
        Ok(())
    }
    /// Sets the number of replicas; false when `path` is no file.
    pub async fn set_replication(&self, path: &FsPath, replication: u32) -> Result<bool> {
        let request = proto::SetReplicationRequestProto {
            src: text(path),
            replication,
        };
        Ok(self.shared.namenode.set_replication(&request).await?.result)
    }
    /// Makes what this client reads next at least as new as what the active NameNode has now, even from an observer.
    pub async fn msync(&self) -> Result<()> {
        self.shared.namenode.msync(&proto::MsyncRequestProto {}).await?;
        Ok(())
    }
    /// Asks for, enters or leaves safe mode; returns whether it is on now.
    pub async fn safe_mode(&self, action: SafeModeAction) -> Result<bool> {
        use proto::SafeModeActionProto as Wire;
        let action = match action {
            SafeModeAction::Leave => Wire::SafemodeLeave,
            SafeModeAction::Enter => Wire::SafemodeEnter,
            SafeModeAction::Get => Wire::SafemodeGet,
            SafeModeAction::ForceExit => Wire::SafemodeForceExit,
        };
        let request = proto::SetSafeModeRequestProto {
            action: action as i32,
            checked: None,
        };
        Ok(self.shared.namenode.set_safe_mode(&request).await?.result)
    }
    /// Writes a checkpoint; needs safe mode.
    pub async fn save_namespace(&self) -> Result<()> {
        self.shared
            .namenode
            .save_namespace(&proto::SaveNamespaceRequestProto::default())
            .await?;
        Ok(())
    }
    /// Takes a file away from a writer that is gone; true when it is closed now.
    pub async fn recover_lease(&self, path: &FsPath) -> Result<bool> {
        let request = proto::RecoverLeaseRequestProto {
            src: text(path),
            client_name: self.shared.client_name.clone(),
        };
        Ok(self.shared.namenode.recover_lease(&request).await?.result)
    }

    /// Cuts a file to `len` bytes. False when its last block is being cut: the file is open, and keeps its old length,
    /// until [`HadronFs::is_file_closed`].
    pub async fn truncate(&self, path: &FsPath, len: u64) -> Result<bool> {
        let request = proto::TruncateRequestProto {
            src: text(path),
            new_length: len,
            client_name: self.shared.client_name.clone(),
        };
        Ok(self.shared.namenode.truncate(&request).await?.result)
    }

    // ---- contents ----

    /// Creates a file for writing.
    pub async fn create(&self, path: &FsPath, options: CreateOptions) -> Result<FileWriter> {
        writer::create(Arc::clone(&self.shared), path, options).await
    }
    /// Opens a file for writing at its end.
    pub async fn append(&self, path: &FsPath) -> Result<FileWriter> {
        self.append_with(path, AppendOptions::default()).await
    }
    /// As [`HadronFs::append`], with options.
    pub async fn append_with(&self, path: &FsPath, options: AppendOptions) -> Result<FileWriter> {
        writer::append(Arc::clone(&self.shared), path, options).await
    }
    /// Opens a file for reading.
    pub async fn open(&self, path: &FsPath) -> Result<FileReader> {
        FileReader::open(Arc::clone(&self.shared), path).await
    }
}

pub(crate) fn text(path: &FsPath) -> String {
    path.as_str().to_owned()
}

fn authority_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix(SCHEME)?;
    let authority = rest.split('/').next()?;
    (!authority.is_empty()).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urls_and_relative_paths_are_resolved() {
        let fs = HadronFs::connect_as(&Configuration::new(), Some("hdfs://127.0.0.1:9"), "alice")
            .await
            .unwrap();
        let check = |text: &str, path: &str| assert_eq!(fs.resolve(text).unwrap().as_str(), path);
        check("/a//b/", "/a/b");
        check("a/b", "/user/alice/a/b");
        check("hdfs://127.0.0.1:9/x", "/x");
        check("hdfs:///x", "/x");
        check("hdfs://127.0.0.1:9", "/");
        assert!(
            fs.resolve("hdfs://other:8020/x")
                .unwrap_err()
                .to_string()
                .starts_with("Wrong FS")
        );
        assert!(fs.resolve("/a/../b").is_err());
        assert_eq!(fs.uri(), "hdfs://127.0.0.1:9");
    }

    #[tokio::test]
    async fn other_file_systems_are_refused() {
        let error = HadronFs::connect_as(&Configuration::new(), Some("file:///"), "alice")
            .await
            .err();
        assert!(matches!(error, Some(FsError::Config(_))));
    }
}
