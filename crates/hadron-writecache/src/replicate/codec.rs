//! The frames members send each other. Byte map: docs/formats/replication.md.
//!
//! What it is for: bytes to frames and back. What it does not do: I/O, or judge a frame by what came before.
//! Invariants: no length of a peer's is believed beyond its limit; no panic on any bytes; a parcel's checksum is carried,
//! not checked here (the receiver checks it once, where it is written); what decodes encodes to the same bytes.

use bytes::Bytes;
use hadron_types::Epoch;

use crate::sealed::Body;

use super::types::{History, MAX_REIGNS, Member, MemberId, Parcel, Position, Reign};

/// Bytes of a frame's head.
pub const HEAD_BYTES: usize = 24;
/// Members of a group at most.
pub const MAX_MEMBERS: usize = 15;
/// Bytes of a member's address at most.
pub const MAX_ADDRESS_BYTES: usize = 255;
/// Bytes of one parcel at most.
pub const MAX_PARCEL_BYTES: usize = 64 << 20;
/// Bytes of a frame's fixed part, before the data, at most.
pub const MAX_FIELD_BYTES: usize = 8 << 10;

const MAGIC: u32 = u32::from_le_bytes(*b"HRP1");
const VERSION: u8 = 1;

/// Why a member does not go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// The sender's epoch is over: a later leader was promised.
    #[error("epoch is stale, epoch {} was promised", promised.0)]
    StaleEpoch {
        /// The epoch promised.
        promised: Epoch,
    },
    /// A parcel that does not follow the last one.
    #[error("sequence {found} came where {expected} was due")]
    Gap {
        /// What was due.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A parcel whose bytes are not those its checksum was made of.
    #[error("checksum of sequence {sequence} does not match")]
    Checksum {
        /// The parcel.
        sequence: u64,
    },
    /// Another group's member.
    #[error("belongs to group {group:016x}")]
    WrongGroup {
        /// The group the refuser belongs to.
        group: u64,
    },
    /// The sender would cut off what a quorum has.
    #[error("sequence {committed} is committed and cannot be cut off")]
    Committed {
        /// The highest sequence known to be committed.
        committed: u64,
    },
    /// A frame that has no place here.
    #[error("unexpected frame")]
    OutOfPlace,
    /// The member's disk failed.
    #[error("the member's disk failed")]
    Disk,
}

/// One message between two members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Opens a link: "I speak for the leader of this epoch; relay to these, in this order".
    Hello {
        /// The group.
        group: u64,
        /// The leader's epoch.
        epoch: Epoch,
        /// True when bytes once written never change.
        append_only: bool,
        /// Members further down.
        chain: Vec<Member>,
    },
    /// Asks whether a member is alive, and for its log's end. Promises nothing.
    Probe {
        /// The group.
        group: u64,
    },
    /// Asks to refuse all epochs below this one, durably.
    Prepare {
        /// The group.
        group: u64,
        /// The epoch of a leader to be. Must be above all promised so far.
        epoch: Epoch,
    },
    /// The answer to the three above.
    Welcome {
        /// Who answers.
        member: MemberId,
        /// What it promised.
        promised: Epoch,
        /// Its last sequence.
        last: u64,
        /// Its file's length there.
        extent: u64,
        /// False while its file is between two states.
        consistent: bool,
        /// What its vote demands of a new leader's log.
        demand: Position,
        /// Its reigns.
        history: History,
    },
    /// Keep the log up to here and cut off the rest. Always the first after a welcome.
    Start {
        /// The last reign to keep; 0: keep nothing.
        epoch: Epoch,
        /// The last sequence to keep.
        sequence: u64,
        /// The file's length there.
        extent: u64,
    },
    /// A reign begins.
    Begin(Reign),
    /// A sealed buffer.
    Buffer {
        /// The highest sequence that is committed.
        committed: u64,
        /// The buffer.
        parcel: Parcel,
    },
    /// Bytes of the file follow, from which the member makes its copy.
    FillStart {
        /// The file's length at the sequence the copy begins with.
        extent: u64,
    },
    /// A piece of the file.
    Fill {
        /// Where it lies.
        offset: u64,
        /// CRC-32C of `bytes`.
        crc: u32,
        /// What it holds.
        bytes: Bytes,
    },
    /// The copy is there.
    FillEnd {
        /// The sequence the copy holds at least.
        sequence: u64,
        /// The file's length at `sequence`.
        extent: u64,
        /// The copy is a state of the file once this sequence is in it.
        consistent_at: u64,
        /// The last sequence that wrote before the file's end.
        rewound: u64,
        /// The reigns up to `sequence`.
        history: History,
    },
    /// Nothing new but what is committed.
    Beat {
        /// The highest sequence that is committed.
        committed: u64,
    },
    /// Upstream: all up to here is on this member's disk.
    Durable {
        /// Who says so.
        member: MemberId,
        /// The newest reign its log has reached.
        epoch: Epoch,
        /// The last durable sequence.
        sequence: u64,
    },
    /// Upstream: a copy is being made and grows.
    Filling {
        /// Who says so.
        member: MemberId,
        /// Bytes received.
        received: u64,
    },
    /// Upstream: this member is lost to the chain.
    Broken {
        /// The lost member.
        member: MemberId,
    },
    /// The sender of this goes no further; the link ends.
    Refuse {
        /// Who refuses.
        member: MemberId,
        /// Why.
        refusal: Refusal,
    },
}

/// What a frame's head says; lengths are within their limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    kind: u8,
    crc: u32,
    /// Bytes of fields that follow.
    pub field_bytes: usize,
    /// Bytes of data that follow the fields.
    pub data_bytes: usize,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// Not the start of a frame.
    #[error("not the start of a frame")]
    NotAFrame,
    /// A frame of a version this program does not know.
    #[error("frame version {0} is unknown")]
    Version(u8),
    /// A kind this program does not know.
    #[error("frame kind {0} is unknown")]
    Kind(u8),
    /// More bytes than any frame of this kind has.
    #[error("frame is longer than its limit")]
    TooLong,
    /// The checksum of the fields does not match.
    #[error("checksum of a frame's fields does not match")]
    Checksum,
    /// A field is cut short, out of its range, or something is left over.
    #[error("field `{0}` of a frame is out of range")]
    Field(&'static str),
}

/// A frame as bytes: `head` then `data`, which is shared with the parcel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoded {
    /// Head and fields.
    pub head: Vec<u8>,
    /// Data; empty for most frames.
    pub data: Bytes,
}

impl Frame {
    /// The bytes of this frame. Lists longer than their limit are the caller's fault and are refused by the peer.
    pub fn encode(&self) -> Encoded {
        let mut fields = Fields::default();
        let mut data = Bytes::new();
        let kind = match self {
            Self::Hello {
                group,
                epoch,
                append_only,
                chain,
            } => {
                fields.u64(*group).u64(epoch.0).u8(u8::from(*append_only));
                fields.u8(chain.len() as u8);
                for member in chain {
                    fields.u32(member.id.0).u8(member.address.len() as u8);
                    fields.0.extend_from_slice(member.address.as_bytes());
                }
                1
            }
            Self::Probe { group } => {
                fields.u64(*group);
                2
            }
            Self::Prepare { group, epoch } => {
                fields.u64(*group).u64(epoch.0);
                3
            }
            Self::Welcome {
                member,
                promised,
                last,
                extent,
                consistent,
                demand,
                history,
            } => {
                fields.u32(member.0).u64(promised.0).u64(*last).u64(*extent);
                fields
                    .u8(u8::from(*consistent))
                    .u64(demand.epoch.0)
                    .u64(demand.sequence);
                fields.history(history);
                4
            }
            Self::Start {
                epoch,
                sequence,
                extent,
            } => {
                fields.u64(epoch.0).u64(*sequence).u64(*extent);
                5
            }
            Self::Begin(reign) => {
                fields.reign(reign);
                6
            }
            Self::Buffer { committed, parcel } => {
                let (prefixed, offset) = match parcel.body {
                    Body::Worm { offset } => (0, offset),
                    Body::Prefixed => (1, 0),
                };
                fields.u64(*committed).u64(parcel.sequence).u64(parcel.extent);
                fields.u8(prefixed).u64(offset).u32(parcel.crc);
                data = parcel.bytes.clone();
                7
            }
            Self::FillStart { extent } => {
                fields.u64(*extent);
                8
            }
            Self::Fill { offset, crc, bytes } => {
                fields.u64(*offset).u32(*crc);
                data = bytes.clone();
                9
            }
            Self::FillEnd {
                sequence,
                extent,
                consistent_at,
                rewound,
                history,
            } => {
                fields.u64(*sequence).u64(*extent).u64(*consistent_at).u64(*rewound);
                fields.history(history);
                10
            }
            Self::Beat { committed } => {
                fields.u64(*committed);
                11
            }
            Self::Durable {
                member,
                epoch,
                sequence,
            } => {
                fields.u32(member.0).u64(epoch.0).u64(*sequence);
                12
            }
            Self::Filling { member, received } => {
                fields.u32(member.0).u64(*received);
                13
            }
            Self::Broken { member } => {
                fields.u32(member.0);
                14
            }
            Self::Refuse { member, refusal } => {
                let (code, first, second) = match *refusal {
                    Refusal::StaleEpoch { promised } => (1, promised.0, 0),
                    Refusal::Gap { expected, found } => (2, expected, found),
                    Refusal::Checksum { sequence } => (3, sequence, 0),
                    Refusal::WrongGroup { group } => (4, group, 0),
                    Refusal::Committed { committed } => (5, committed, 0),
                    Refusal::OutOfPlace => (6, 0, 0),
                    Refusal::Disk => (7, 0, 0),
                };
                fields.u32(member.0).u8(code).u64(first).u64(second);
                15
            }
        };
        fields.finish(kind, data)
    }
}

impl Head {
    /// Reads a head.
    ///
    /// Errors: anything that cannot be the head of a frame, lengths above their limits included.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, FrameError> {
        let mut reader = Reader(bytes);
        if reader.u32("magic")? != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let version = reader.u8("version")?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        let kind = reader.u8("kind")?;
        if reader.u8("reserved")? != 0 || reader.u8("reserved")? != 0 {
            return Err(FrameError::Field("reserved"));
        }
        let field_bytes = reader.u32("field length")? as usize;
        let data_bytes = reader.u32("data length")? as usize;
        if reader.u32("reserved")? != 0 {
            return Err(FrameError::Field("reserved"));
        }
        let carries_data = matches!(kind, 7 | 9);
        match kind {
            1..=15 if field_bytes > MAX_FIELD_BYTES => Err(FrameError::TooLong),
            1..=15 if data_bytes > if carries_data { MAX_PARCEL_BYTES } else { 0 } => Err(FrameError::TooLong),
            1..=15 => Ok(Self {
                kind,
                crc: reader.u32("checksum")?,
                field_bytes,
                data_bytes,
            }),
            other => Err(FrameError::Kind(other)),
        }
    }

    /// Reads the frame of this head. `fields` holds `field_bytes` bytes, `data` holds `data_bytes`.
    ///
    /// Errors: a checksum that does not match, a field out of its range, bytes too many or too few.
    pub fn frame(&self, fields: &[u8], data: Bytes) -> Result<Frame, FrameError> {
        if fields.len() != self.field_bytes || data.len() != self.data_bytes {
            return Err(FrameError::Field("length"));
        }
        if checksum(self.kind, data.len(), fields) != self.crc {
            return Err(FrameError::Checksum);
        }
        let mut reader = Reader(fields);
        let r = &mut reader;
        let frame = match self.kind {
            1 => {
                let group = r.u64("group")?;
                let epoch = Epoch(r.u64("epoch")?);
                let append_only = r.flag("append only")?;
                let count = usize::from(r.u8("chain")?);
                if count > MAX_MEMBERS {
                    return Err(FrameError::Field("chain"));
                }
                let chain = (0..count).map(|_| r.member()).collect::<Result<_, _>>()?;
                Frame::Hello {
                    group,
                    epoch,
                    append_only,
                    chain,
                }
            }
            2 => Frame::Probe { group: r.u64("group")? },
            3 => Frame::Prepare {
                group: r.u64("group")?,
                epoch: Epoch(r.u64("epoch")?),
            },
            4 => Frame::Welcome {
                member: MemberId(r.u32("member")?),
                promised: Epoch(r.u64("promised")?),
                last: r.u64("last")?,
                extent: r.u64("extent")?,
                consistent: r.flag("consistent")?,
                demand: Position {
                    epoch: Epoch(r.u64("demand")?),
                    sequence: r.u64("demand")?,
                },
                history: r.history()?,
            },
            5 => Frame::Start {
                epoch: Epoch(r.u64("epoch")?),
                sequence: r.u64("sequence")?,
                extent: r.u64("extent")?,
            },
            6 => Frame::Begin(r.reign()?),
            7 => {
                let committed = r.u64("committed")?;
                let sequence = r.u64("sequence")?;
                let extent = r.u64("extent")?;
                let prefixed = r.flag("body")?;
                let offset = r.u64("offset")?;
                let body = if prefixed {
                    Body::Prefixed
                } else {
                    Body::Worm { offset }
                };
                if (prefixed && offset != 0) || offset.checked_add(data.len() as u64).is_none() {
                    return Err(FrameError::Field("offset"));
                }
                Frame::Buffer {
                    committed,
                    parcel: Parcel {
                        sequence,
                        extent,
                        body,
                        crc: r.u32("crc")?,
                        bytes: data,
                    },
                }
            }
            8 => Frame::FillStart {
                extent: r.u64("extent")?,
            },
            9 => {
                let offset = r.u64("offset")?;
                if offset.checked_add(data.len() as u64).is_none() {
                    return Err(FrameError::Field("offset"));
                }
                Frame::Fill {
                    offset,
                    crc: r.u32("crc")?,
                    bytes: data,
                }
            }
            10 => Frame::FillEnd {
                sequence: r.u64("sequence")?,
                extent: r.u64("extent")?,
                consistent_at: r.u64("consistent at")?,
                rewound: r.u64("rewound")?,
                history: r.history()?,
            },
            11 => Frame::Beat {
                committed: r.u64("committed")?,
            },
            12 => Frame::Durable {
                member: MemberId(r.u32("member")?),
                epoch: Epoch(r.u64("epoch")?),
                sequence: r.u64("sequence")?,
            },
            13 => Frame::Filling {
                member: MemberId(r.u32("member")?),
                received: r.u64("received")?,
            },
            14 => Frame::Broken {
                member: MemberId(r.u32("member")?),
            },
            15 => Frame::Refuse {
                member: MemberId(r.u32("member")?),
                refusal: r.refusal()?,
            },
            other => return Err(FrameError::Kind(other)),
        };
        if reader.0.is_empty() {
            Ok(frame)
        } else {
            Err(FrameError::Field("end"))
        }
    }
}

/// Decodes one whole frame from the front of `bytes`; `None` when there are too few. Returns the bytes used.
pub fn decode(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let head = Head::decode(head)?;
    let total = head.field_bytes + head.data_bytes;
    if rest.len() < total {
        return Ok(None);
    }
    let data = Bytes::copy_from_slice(&rest[head.field_bytes..total]);
    let frame = head.frame(&rest[..head.field_bytes], data)?;
    Ok(Some((frame, HEAD_BYTES + total)))
}

fn checksum(kind: u8, data_bytes: usize, fields: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&[kind]);
    digest.update(&(data_bytes as u32).to_le_bytes());
    digest.update(fields);
    digest.finalize() as u32
}

#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn reign(&mut self, reign: &Reign) -> &mut Self {
        self.u64(reign.epoch.0).u64(reign.first).u64(reign.extent)
    }
    fn history(&mut self, history: &History) {
        self.u8(history.reigns().len() as u8);
        for reign in history.reigns() {
            self.reign(reign);
        }
    }
    fn finish(self, kind: u8, data: Bytes) -> Encoded {
        let mut head = Vec::with_capacity(HEAD_BYTES + self.0.len());
        head.extend_from_slice(&MAGIC.to_le_bytes());
        head.extend_from_slice(&[VERSION, kind, 0, 0]);
        head.extend_from_slice(&(self.0.len() as u32).to_le_bytes());
        head.extend_from_slice(&(data.len() as u32).to_le_bytes());
        head.extend_from_slice(&[0; 4]);
        head.extend_from_slice(&checksum(kind, data.len(), &self.0).to_le_bytes());
        head.extend_from_slice(&self.0);
        Encoded { head, data }
    }
}

/// Writes a history and other fields for the state file, in the frames' own form.
pub(super) fn put_history(buffer: &mut Vec<u8>, history: &History) {
    let mut fields = Fields(std::mem::take(buffer));
    fields.history(history);
    *buffer = fields.0;
}

/// Reads what [`put_history`] wrote, from the front of `bytes`.
pub(super) fn take_history(bytes: &[u8]) -> Result<History, FrameError> {
    Reader(bytes).history()
}

/// A cursor that cannot overrun.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], FrameError> {
        let (value, rest) = self.0.split_first_chunk::<N>().ok_or(FrameError::Field(field))?;
        self.0 = rest;
        Ok(*value)
    }
    fn u8(&mut self, field: &'static str) -> Result<u8, FrameError> {
        self.take::<1>(field).map(|bytes| bytes[0])
    }
    fn u32(&mut self, field: &'static str) -> Result<u32, FrameError> {
        self.take(field).map(u32::from_le_bytes)
    }
    fn u64(&mut self, field: &'static str) -> Result<u64, FrameError> {
        self.take(field).map(u64::from_le_bytes)
    }
    fn flag(&mut self, field: &'static str) -> Result<bool, FrameError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::Field(field)),
        }
    }
    fn member(&mut self) -> Result<Member, FrameError> {
        let id = MemberId(self.u32("member")?);
        let len = usize::from(self.u8("address")?);
        let (address, rest) = self.0.split_at_checked(len).ok_or(FrameError::Field("address"))?;
        self.0 = rest;
        let address = std::str::from_utf8(address).map_err(|_| FrameError::Field("address"))?;
        Ok(Member {
            id,
            address: address.to_owned(),
        })
    }
    fn reign(&mut self) -> Result<Reign, FrameError> {
        Ok(Reign {
            epoch: Epoch(self.u64("epoch")?),
            first: self.u64("first")?,
            extent: self.u64("extent")?,
        })
    }
    fn history(&mut self) -> Result<History, FrameError> {
        let count = usize::from(self.u8("history")?);
        if count > MAX_REIGNS {
            return Err(FrameError::Field("history"));
        }
        let reigns = (0..count).map(|_| self.reign()).collect::<Result<_, _>>()?;
        History::from_reigns(reigns).ok_or(FrameError::Field("history"))
    }
    fn refusal(&mut self) -> Result<Refusal, FrameError> {
        let code = self.u8("refusal")?;
        let first = self.u64("refusal")?;
        let second = self.u64("refusal")?;
        let refusal = match code {
            1 => Refusal::StaleEpoch { promised: Epoch(first) },
            2 => {
                return Ok(Refusal::Gap {
                    expected: first,
                    found: second,
                });
            }
            3 => Refusal::Checksum { sequence: first },
            4 => Refusal::WrongGroup { group: first },
            5 => Refusal::Committed { committed: first },
            6 if first == 0 => Refusal::OutOfPlace,
            7 if first == 0 => Refusal::Disk,
            _ => return Err(FrameError::Field("refusal")),
        };
        if second == 0 {
            Ok(refusal)
        } else {
            Err(FrameError::Field("refusal"))
        }
    }
}
