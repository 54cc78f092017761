//! A DataNode's Unix socket that does as a script says: segments, descriptors, releases.

use bytes::{Buf, BytesMut};
use hadron_proto::hdfs as proto;
use hadron_shm::{Segment, ShmId, SlotId, send_descriptors};
use hadron_types::ChecksumType;
use hadron_wire::delimited;
use hadron_wire::transfer::meta::encode_meta_header;
use hadron_wire::transfer::{Checksum, Op, response};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What is done with one operation instead of what should be.
#[derive(Clone, Debug)]
pub(crate) enum Instead {
    /// A status, with a text, and for op 87 perhaps a version.
    Refuse(proto::Status, Option<&'static str>, Option<u32>),
    /// The connection ends without an answer.
    Close,
    /// One descriptor of two, or none of one.
    TooFewFiles,
}

#[derive(Default)]
pub(crate) struct Script {
    /// Data and meta files of blocks.
    pub(crate) blocks: HashMap<(u64, String), (Vec<u8>, Vec<u8>)>,
    /// What is done differently, by opcode, one after the other.
    pub(crate) instead: HashMap<u8, VecDeque<Instead>>,
    /// Opcodes in the order of their arrival.
    pub(crate) ops: Vec<u8>,
    /// Connections accepted.
    pub(crate) accepted: usize,
    /// Bytes that confirmed descriptors.
    pub(crate) receipts: usize,
    /// Whether receipts are asked for.
    pub(crate) no_receipts: bool,
    pub(crate) segments: BTreeMap<ShmId, Arc<Segment>>,
    /// Slots that clients registered.
    pub(crate) slots: BTreeMap<SlotId, u64>,
    /// Whether the files that are passed can be changed afterwards.
    pub(crate) keep_files: bool,
    /// Data and meta files that were passed.
    pub(crate) kept_files: Vec<(File, File)>,
    /// Whether blocks are locked in memory.
    pub(crate) anchorable: bool,
    /// Sockets that belong to segments: dropping one ends it.
    pub(crate) owned: Arc<Mutex<Vec<AbortOnDropHandle<()>>>>,
}

pub(crate) struct ScriptedSocket {
    pub(crate) script: Arc<Mutex<Script>>,
    /// Operations of this code wait; 0: none does.
    pub(crate) held: watch::Sender<u8>,
    pub(crate) path: PathBuf,
    _home: tempfile::TempDir,
    _accepting: AbortOnDropHandle<()>,
}

pub(crate) const FDS: u8 = 87;
pub(crate) const RELEASE: u8 = 88;
pub(crate) const SHM: u8 = 89;

impl ScriptedSocket {
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("dn");
        let listener = UnixListener::bind(&path).unwrap();
        let script = Arc::<Mutex<Script>>::default();
        let (held, holding) = watch::channel(0);
        let accepting = tokio::spawn(accept(listener, Arc::clone(&script), holding));
        Self {
            script,
            held,
            path,
            _home: home,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Has a block of `data`, summed in chunks of 512.
    pub(crate) fn put(&self, block: u64, pool: &str, data: &[u8]) {
        let checksum = Checksum::new(ChecksumType::Crc32c, 512).unwrap();
        let mut meta = encode_meta_header(checksum).to_vec();
        let mut sums = vec![0; checksum.checksums_len(data.len())];
        checksum.compute_into(data, &mut sums);
        meta.extend_from_slice(&sums);
        let files = (data.to_vec(), meta);
        self.script.lock().blocks.insert((block, pool.to_owned()), files);
    }

    pub(crate) fn instead(&self, op: u8, what: Instead) {
        self.script.lock().instead.entry(op).or_default().push_back(what);
    }

    pub(crate) fn ops(&self) -> Vec<u8> {
        self.script.lock().ops.clone()
    }

    /// Ends all segments' sockets, as the end of the process would.
    pub(crate) fn end_segments(&self) {
        let owned = Arc::clone(&self.script.lock().owned);
        owned.lock().clear();
    }
}

async fn accept(listener: UnixListener, script: Arc<Mutex<Script>>, holding: watch::Receiver<u8>) {
    let mut serving = tokio::task::JoinSet::new();
    let mut next = 0;
    while let Ok((stream, _)) = listener.accept().await {
        script.lock().accepted += 1;
        let (script, holding) = (Arc::clone(&script), holding.clone());
        next += 1000;
        let seed = next;
        serving.spawn(async move {
            // Broken connections are the point of these tests.
            let _broken = serve(stream, &script, holding, seed).await;
        });
    }
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

async fn pass(stream: &UnixStream, files: &[BorrowedFd<'_>], byte: u8) -> io::Result<()> {
    stream
        .async_io(Interest::WRITABLE, || send_descriptors(stream, files, &[byte]))
        .await
}

async fn serve(
    mut stream: UnixStream,
    script: &Arc<Mutex<Script>>,
    mut holding: watch::Receiver<u8>,
    seed: u128,
) -> io::Result<()> {
    let mut buf = BytesMut::new();
    loop {
        let op = loop {
            if let Some((op, used)) = Op::decode(&buf)? {
                buf.advance(used);
                break op;
            }
            if stream.read_buf(&mut buf).await? == 0 {
                return Ok(());
            }
        };
        let code = match &op {
            Op::RequestShortCircuitFds(_) => FDS,
            Op::ReleaseShortCircuitFds(_) => RELEASE,
            Op::RequestShortCircuitShm(_) => SHM,
            other => panic!("unexpected {}", other.name()),
        };
        let instead = {
            let mut script = script.lock();
            script.ops.push(code);
            script.instead.get_mut(&code).and_then(VecDeque::pop_front)
        };
        let _ = holding.wait_for(|held| *held != code).await;
        if matches!(instead, Some(Instead::Close)) {
            return Ok(());
        }
        let mut out = BytesMut::new();
        match op {
            Op::RequestShortCircuitShm(_) => {
                if let Some(Instead::Refuse(status, text, _)) = instead {
                    let answer = proto::ShortCircuitShmResponseProto {
                        status: status as i32,
                        error: text.map(str::to_owned),
                        id: None,
                    };
                    delimited::put(&mut out, &answer);
                    stream.write_all(&out).await?;
                    continue;
                }
                let segment = Arc::new(Segment::create().unwrap());
                let id = ShmId::from_bits(seed);
                let answer = proto::ShortCircuitShmResponseProto {
                    status: proto::Status::Success as i32,
                    error: None,
                    id: Some(proto::ShortCircuitShmIdProto { hi: id.hi, lo: id.lo }),
                };
                delimited::put(&mut out, &answer);
                script.lock().segments.insert(id, Arc::clone(&segment));
                stream.write_all(&out).await?;
                if instead.is_some() {
                    stream.write_all(&[0]).await?;
                } else {
                    pass(&stream, &[segment.as_fd()], 0).await?;
                }
                let (owner, owned) = (Arc::clone(script), Arc::clone(&script.lock().owned));
                let watcher = tokio::spawn(async move {
                    let _ = stream.read_u8().await;
                    let mut script = owner.lock();
                    script.segments.remove(&id);
                    script.slots.retain(|slot, _| slot.shm != id);
                });
                owned.lock().push(AbortOnDropHandle::new(watcher));
                return Ok(());
            }
            Op::RequestShortCircuitFds(op) => {
                let slot = op.slot_id.map(slot_of);
                let key = (op.header.block.block_id, op.header.block.pool_id.clone());
                let (answer, files, byte) = {
                    let mut script = script.lock();
                    let byte = u8::from(op.supports_receipt_verification() && !script.no_receipts);
                    let files = script.blocks.get(&key).cloned();
                    let known = slot.is_none_or(|slot| script.segments.contains_key(&slot.shm));
                    let answer = match (&instead, &files) {
                        _ if !known => {
                            response::failure(proto::Status::Error, "there is no shared memory segment registered")
                        }
                        (Some(Instead::Refuse(status, text, version)), _) => proto::BlockOpResponseProto {
                            status: *status as i32,
                            message: text.map(str::to_owned),
                            short_circuit_access_version: *version,
                            ..Default::default()
                        },
                        (_, None) => response::failure(proto::Status::Error, "no such block"),
                        _ => proto::BlockOpResponseProto {
                            short_circuit_access_version: Some(1),
                            ..response::success()
                        },
                    };
                    if let Some(slot) = slot.filter(|_| answer.status == proto::Status::Success as i32) {
                        let word = script
                            .segments
                            .get(&slot.shm)
                            .unwrap()
                            .slot(slot.index as usize)
                            .unwrap();
                        assert!(word.word().is_valid(), "clients make slots valid first");
                        if script.anchorable {
                            word.word().make_anchorable();
                        }
                        assert!(script.slots.insert(slot, key.0).is_none(), "slot registered twice");
                    }
                    (answer, files, byte)
                };
                response::encode_response(&mut out, &answer);
                stream.write_all(&out).await?;
                let Some((data, meta)) = files.filter(|_| answer.status == proto::Status::Success as i32) else {
                    continue;
                };
                let files = [file_of(&data), file_of(&meta)];
                if script.lock().keep_files {
                    let copy = |file: &File| file.try_clone().unwrap();
                    script.lock().kept_files.push((copy(&files[0]), copy(&files[1])));
                }
                let both = [files[0].as_fd(), files[1].as_fd()];
                let count = if instead.is_some() { 1 } else { 2 };
                pass(&stream, &both[..count], byte).await?;
                if byte == 1 {
                    match stream.read_u8().await {
                        Ok(_) => script.lock().receipts += 1,
                        Err(error) => {
                            slot.map(|slot| script.lock().slots.remove(&slot));
                            return Err(error);
                        }
                    }
                }
            }
            Op::ReleaseShortCircuitFds(op) => {
                let slot = slot_of(op.slot_id);
                let (status, error) = match instead {
                    Some(Instead::Refuse(status, text, _)) => (status, text),
                    _ => {
                        let mut script = script.lock();
                        match script.slots.remove(&slot) {
                            Some(_) => {
                                let segment = script.segments.get(&slot.shm).unwrap();
                                segment.slot(slot.index as usize).unwrap().word().make_invalid();
                                (proto::Status::Success, None)
                            }
                            None => (proto::Status::ErrorInvalid, Some("no such slot")),
                        }
                    }
                };
                let answer = proto::ReleaseShortCircuitAccessResponseProto {
                    status: status as i32,
                    error: error.map(str::to_owned),
                };
                delimited::put(&mut out, &answer);
                stream.write_all(&out).await?;
            }
            _ => unreachable!(),
        }
    }
}

fn slot_of(slot: proto::ShortCircuitShmSlotProto) -> SlotId {
    SlotId {
        shm: ShmId {
            hi: slot.shm_id.hi,
            lo: slot.shm_id.lo,
        },
        index: slot.slot_idx,
    }
}
