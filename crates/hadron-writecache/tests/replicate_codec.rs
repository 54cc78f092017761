//! Frames between members: all read back, damage is seen, and nothing a stranger sends panics or is believed too early.

use bytes::Bytes;
use hadron_types::Epoch;
use hadron_writecache::replicate::codec::{Frame, FrameError, HEAD_BYTES, Head, MAX_PARCEL_BYTES, Refusal, decode};
use hadron_writecache::replicate::{History, Member, MemberId, Parcel, Position, Reign};
use hadron_writecache::sealed::Body;
use proptest::prelude::*;

fn bytes_of(frame: &Frame) -> Vec<u8> {
    let encoded = frame.encode();
    [encoded.head.as_slice(), &encoded.data].concat()
}

fn samples() -> Vec<Frame> {
    let reign = |epoch, first| Reign {
        epoch: Epoch(epoch),
        first,
        extent: first * 10,
    };
    let history = History::from_reigns(vec![reign(1, 1), reign(4, 9)]).expect("they rise");
    let data = Bytes::from_static(b"some bytes");
    let member = MemberId(3);
    let parcel = |body| Parcel::new(9, 100, body, data.clone());
    let mut frames = vec![
        Frame::Hello {
            group: 1,
            epoch: Epoch(2),
            append_only: true,
            chain: vec![Member {
                id: member,
                address: "127.0.0.1:1".into(),
            }],
        },
        Frame::Probe { group: 1 },
        Frame::Prepare {
            group: 1,
            epoch: Epoch(2),
        },
        Frame::Welcome {
            member,
            promised: Epoch(1),
            last: 2,
            extent: 3,
            consistent: true,
            demand: Position {
                epoch: Epoch(1),
                sequence: 2,
            },
            history: history.clone(),
        },
        Frame::Start {
            epoch: Epoch(1),
            sequence: 2,
            extent: 3,
        },
        Frame::Begin(reign(4, 9)),
        Frame::Buffer {
            committed: 5,
            parcel: parcel(Body::Worm { offset: 90 }),
        },
        Frame::Buffer {
            committed: 5,
            parcel: parcel(Body::Prefixed),
        },
        Frame::FillStart { extent: 8 },
        Frame::Fill {
            offset: 7,
            crc: 6,
            bytes: data,
        },
        Frame::FillEnd {
            sequence: 9,
            extent: 100,
            consistent_at: 9,
            rewound: 0,
            history,
        },
        Frame::Beat { committed: 4 },
        Frame::Durable {
            member,
            epoch: Epoch(4),
            sequence: 3,
        },
        Frame::Filling { member, received: 2 },
        Frame::Broken { member },
    ];
    let refusals = [
        Refusal::StaleEpoch { promised: Epoch(9) },
        Refusal::Gap { expected: 1, found: 3 },
        Refusal::Checksum { sequence: 2 },
        Refusal::WrongGroup { group: 2 },
        Refusal::Committed { committed: 2 },
        Refusal::OutOfPlace,
        Refusal::Disk,
    ];
    frames.extend(refusals.map(|refusal| Frame::Refuse { member, refusal }));
    frames
}

#[test]
fn every_frame_reads_back_and_every_cut_or_flipped_bit_of_its_head_is_seen() {
    for frame in samples() {
        let bytes = bytes_of(&frame);
        assert_eq!(decode(&bytes), Ok(Some((frame.clone(), bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None), "{frame:?} cut at {cut}");
        }
        let head_bytes = frame.encode().head.len();
        for bit in 0..head_bytes * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = decode(&flipped);
            assert!(!matches!(found, Ok(Some(_))), "{frame:?} bit {bit}: {found:?}");
        }
        // Data is under the parcel's own checksum.
        if let Frame::Buffer { .. } = frame {
            let mut flipped = bytes.clone();
            flipped[head_bytes] ^= 1;
            let Ok(Some((Frame::Buffer { parcel, .. }, _))) = decode(&flipped) else {
                panic!("decodes");
            };
            assert!(!parcel.is_intact());
        }
    }
}

#[test]
fn hostile_lengths_are_refused_by_the_head_alone() {
    let head = |frame: &Frame, at: usize, value: u32| {
        let mut bytes: [u8; HEAD_BYTES] = frame.encode().head[..HEAD_BYTES].try_into().unwrap();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        Head::decode(&bytes)
    };
    let beat = Frame::Beat { committed: 1 };
    let fill = Frame::Fill {
        offset: 0,
        crc: 0,
        bytes: Bytes::new(),
    };
    const FIELDS: usize = 8;
    const DATA: usize = 12;
    assert_eq!(head(&beat, FIELDS, u32::MAX), Err(FrameError::TooLong));
    assert_eq!(head(&beat, DATA, 1), Err(FrameError::TooLong));
    assert_eq!(head(&fill, DATA, MAX_PARCEL_BYTES as u32 + 1), Err(FrameError::TooLong));
    assert!(head(&fill, DATA, MAX_PARCEL_BYTES as u32).is_ok());
    assert_eq!(head(&beat, 0, 0), Err(FrameError::NotAFrame));
    assert_eq!(head(&beat, 4, 0x0000_0b02), Err(FrameError::Version(2)));
    assert_eq!(head(&beat, 4, 0x0000_6301), Err(FrameError::Kind(0x63)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_panic_and_what_decodes_encodes_to_the_same(
        which in 0..22_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let frames = samples();
        let mut bytes = bytes_of(&frames[which % frames.len()]);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.extend(tail);
        if let Ok(Some((frame, used))) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&frame), &bytes[..used]);
        }
    }
}
