//! Reads of one path: status, block locations, openness, access.
//!
//! Rules a reader relies on: the length leaves out a last block under construction, whose locations are the pipeline's;
//! corrupt replicas are left out unless all are; nearer replicas come first.

use super::Call;
use super::call::Audit;
use crate::status_wire::file_info_answer;
use crate::{Members, convert};
use bytes::Bytes;
use hadron_blockmap::{BlockMap, Located};
use hadron_namespace::{BlockState, FileBlock, FileBlocks, FileStatus, Namespace};
use hadron_net::Reply;
use hadron_proto::hdfs::{
    CheckAccessRequestProto, CheckAccessResponseProto, GetBlockLocationsRequestProto, GetBlockLocationsResponseProto,
    GetFileInfoRequestProto, GetFileLinkInfoRequestProto, GetLinkTargetRequestProto, GetLinkTargetResponseProto,
    GetLocatedFileInfoRequestProto, GetLocatedFileInfoResponseProto, GetPreferredBlockSizeRequestProto,
    GetPreferredBlockSizeResponseProto, HdfsFileStatusProto, IsFileClosedRequestProto, IsFileClosedResponseProto,
    LocatedBlockProto, LocatedBlocksProto,
};
use hadron_types::{ErrorKind, FsAction, HadoopError, HadoopResult};

/// getFileInfo; a missing path gives an empty response.
pub(super) fn get_file_info(call: &Call, body: Bytes) -> Reply {
    call.read_bytes(body, |call, request: &GetFileInfoRequestProto, ns| {
        call.encoded_status(ns, &request.src)
    })
}

/// getFileLinkInfo: as getFileInfo, for there are no symlinks.
pub(super) fn get_file_link_info(call: &Call, body: Bytes) -> Reply {
    call.read_bytes(body, |call, request: &GetFileLinkInfoRequestProto, ns| {
        call.encoded_status(ns, &request.src)
    })
}

/// getLocatedFileInfo: the status, with all block locations of a file.
pub(super) fn get_located_file_info(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetLocatedFileInfoRequestProto, ns| {
        let path = request.src();
        // Who gets tokens can read, so that the line says so.
        let command = if request.need_block_token() {
            "open"
        } else {
            "getfileinfo"
        };
        let Some(status) = call.status(ns, command, path)? else {
            return Ok(GetLocatedFileInfoResponseProto { fs: None });
        };
        let is_file = !status.is_directory;
        let locations = is_file
            .then(|| call.locations(ns, path, (0, u64::MAX), request.need_block_token()))
            .transpose()?;
        let fs = HdfsFileStatusProto {
            locations,
            ..convert::file_status(status)
        };
        Ok(GetLocatedFileInfoResponseProto { fs: Some(fs) })
    })
}

/// getBlockLocations.
pub(super) fn get_block_locations(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetBlockLocationsRequestProto, ns| {
        for (name, value) in [("offset", request.offset), ("length", request.length)] {
            if i64::try_from(value).is_err() {
                let message = format!("Negative {name} is not supported. File: {}", request.src);
                return Err(HadoopError::new(ErrorKind::HadoopIllegalArgument, message));
            }
        }
        let audit = Audit::of("open", &request.src);
        let located = call.locations(ns, &request.src, (request.offset, request.length), true);
        call.audit_outcome(&audit, &located);
        let locations = Some(located?);
        Ok(GetBlockLocationsResponseProto { locations })
    })
}

/// isFileClosed.
pub(super) fn is_file_closed(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &IsFileClosedRequestProto, ns| {
        let closed = ns.is_file_closed(&call.caller, &request.src);
        if !matches!(closed, Ok(false)) && call.is_audited() {
            call.audit_outcome(&Audit::of("isFileClosed", &request.src), &closed);
        }
        closed.map(|result| IsFileClosedResponseProto { result })
    })
}

/// getPreferredBlockSize.
pub(super) fn get_preferred_block_size(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetPreferredBlockSizeRequestProto, ns| {
        let bsize = ns.preferred_block_size(&call.caller, &request.filename)?;
        Ok(GetPreferredBlockSizeResponseProto { bsize })
    })
}

/// getLinkTarget: no path is a symlink.
pub(super) fn get_link_target(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &GetLinkTargetRequestProto, ns| {
        let path = &request.path;
        Err::<GetLinkTargetResponseProto, _>(match ns.file_info(&call.caller, path)? {
            None => HadoopError::new(ErrorKind::FileNotFound, format!("File does not exist: {path}")),
            Some(_) => HadoopError::io(format!("Path {path} is not a symbolic link")),
        })
    })
}

/// checkAccess.
pub(super) fn check_access(call: &Call, body: Bytes) -> Reply {
    call.read(body, |call, request: &CheckAccessRequestProto, ns| {
        let action = FsAction(request.mode as u8 & 7);
        let result = ns.check_path_access(&call.caller, &request.path, action);
        call.audit_outcome(&Audit::of("checkAccess", &request.path), &result);
        result.map(|()| CheckAccessResponseProto {})
    })
}

impl Call {
    /// The status of a path, as the answer of a call, with its audit line.
    fn encoded_status(&self, ns: &Namespace, path: &str) -> HadoopResult<Bytes> {
        let status = ns.file_view(&self.caller, path);
        // Only the line needs the audit's owned path.
        if self.is_audited() {
            self.audit_outcome(&Audit::of("getfileinfo", path), &status);
        }
        Ok(file_info_answer(status?.as_ref()))
    }

    /// The status of a path with its audit line.
    fn status(&self, ns: &Namespace, command: &'static str, path: &str) -> HadoopResult<Option<FileStatus>> {
        let status = ns.file_info(&self.caller, path);
        // Only the line needs the audit's owned path.
        if self.is_audited() {
            self.audit_outcome(&Audit::of(command, path), &status);
        }
        status
    }

    fn locations(
        &self,
        ns: &Namespace,
        path: &str,
        (offset, len): (u64, u64),
        with_tokens: bool,
    ) -> HadoopResult<LocatedBlocksProto> {
        let shared = &self.shared;
        let (now, precision) = (shared.state.now(), shared.settings.access_time_precision_ms);
        let file = ns.block_locations(&self.caller, path, offset, len, now, precision)?;
        Members::note_client(&shared.members, &shared.state, self.context.peer);
        let mut blocks = shared.state.blocks.lock();
        let mut located = self.locate_file(ns, &mut blocks, &file);
        if blocks.safe_mode().is_on() {
            if located.blocks.iter().any(|block| block.locs.is_empty()) {
                let message = shared.safe_mode_message(&blocks, &format!("Zero blocklocations for {path}"));
                return Err(HadoopError::new(ErrorKind::SafeMode, message));
            }
        } else if file.access_time_stale {
            shared.access_times.note(file.file, now);
        }
        drop(blocks);
        if let Some(tokens) = shared.block_tokens.as_ref().filter(|_| with_tokens) {
            tokens.put_all(&mut located, &self.context.user.user);
        }
        Ok(located)
    }

    /// Adds locations to a file's blocks.
    pub(super) fn locate_file(&self, ns: &Namespace, blocks: &mut BlockMap, file: &FileBlocks) -> LocatedBlocksProto {
        let last_in_range = file
            .blocks
            .last()
            .zip(file.last_block)
            .is_some_and(|(a, b)| a.block.id == b.block.id);
        let listed: Vec<LocatedBlockProto> = file.blocks.iter().map(|block| self.locate(ns, blocks, block)).collect();
        let last_block = match listed.last() {
            Some(last) if last_in_range => Some(last.clone()),
            _ => file.last_block.map(|block| self.locate(ns, blocks, &block)),
        };
        LocatedBlocksProto {
            file_length: file.len,
            blocks: listed,
            under_construction: file.under_construction,
            last_block,
            is_last_block_complete: file.last_block_complete,
            ..LocatedBlocksProto::default()
        }
    }

    fn locate(&self, ns: &Namespace, blocks: &mut BlockMap, block: &FileBlock) -> LocatedBlockProto {
        let state = &self.shared.state;
        let (now, reader) = (state.now(), Some(self.context.peer));
        let mut rng = state.rng();
        let located = if block.state == BlockState::Complete {
            blocks.locate(block.block.id, reader, now, &mut rng)
        } else {
            let mut replicas = blocks.expected(block.block.id, now);
            blocks.sort(&mut replicas, reader, &mut rng);
            Located {
                replicas,
                corrupt: false,
            }
        };
        let mut message = convert::located_block(&ns.identity().block_pool, block.block, block.offset, &located);
        if let Some(cached) = blocks.cached_flags(block.block.id, &located.replicas) {
            message.is_cached = cached;
        }
        message
    }
}
