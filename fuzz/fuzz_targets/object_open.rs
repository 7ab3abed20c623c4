//! Sealed objects and packs: any bytes, valid ones with damage, and hostile ones whose seal is right.
#![no_main]

use daykeep_engine::ObjectKind;
use daykeep_engine::internals::base::limits::PACK_BYTES_MIN;
use daykeep_engine::internals::format::header::{HEADER_BYTES, TAG_BYTES};
use daykeep_engine::internals::format::index::ChunkKind;
use daykeep_engine::internals::format::pack::{TRAILER_BYTES, Trailer, padme};
use daykeep_engine::internals::format::parity::Geometry;
use daykeep_engine::internals::{pack, parity};
use daykeep_fuzz::{Damage, FrameChunks, build_pack, codec, name, sample_pack};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

const PAYLOAD_MAX: usize = 1 << 16;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Any bytes, as every kind of object.
    Anything(Vec<u8>),
    /// Any bytes behind the right header.
    AnythingBehindHeader(Vec<u8>),
    /// A payload that is sealed, damaged and opened.
    Payload(u8, Vec<u8>, Damage),
    /// The inside of a sealed object: encoding, lengths, payload and padding are the input's.
    Inside(u8, Vec<u8>),
    /// A valid pack, damaged.
    DamagedPack(Damage),
    /// A pack of the input's chunks.
    Pack(Vec<Vec<(u8, Vec<u8>)>>, Damage),
    /// A pack whose frames are noise and whose footer is the input's.
    Footer(Vec<u8>, Vec<u8>),
    /// The lengths in a trailer, in a pack of some length.
    Lengths(u64, u32, u32),
    /// A pack with the parity of any percentage that is all damage.
    Parity(u8, Vec<u8>),
}

fn kind(number: u8) -> ObjectKind {
    [ObjectKind::Config, ObjectKind::Index, ObjectKind::Snapshot][usize::from(number) % 3]
}

fn chunk_kind(number: u8) -> ChunkKind {
    [ChunkKind::Data, ChunkKind::Tree, ChunkKind::List][usize::from(number) % 3]
}

fn open_all(bytes: &[u8]) {
    for kind in ObjectKind::ALL {
        assert!(codec().open_object(&name(kind), bytes, PAYLOAD_MAX).is_err(), "nobody guesses a seal");
    }
    let pack = name(ObjectKind::Pack);
    assert!(pack::verify(codec(), &pack, bytes).is_err(), "nobody guesses a seal");
}

/// Opens a pack, which must fail if it is not `whole`, and heals it, which makes it whole or fails.
fn open_pack(whole: &[u8], mut bytes: Vec<u8>) {
    let outcome = pack::verify(codec(), &name(ObjectKind::Pack), &bytes);
    assert_eq!(outcome.is_ok(), whole == bytes, "{outcome:?}");
    let geometry = Geometry::of_pack(whole.len(), codec().parity_percent).expect("it has parity");
    bytes.resize(whole.len(), 0);
    if parity::heal(&mut bytes, &geometry) {
        assert!(bytes == whole, "it is as it was");
    }
}

fn run(input: Input) {
    match input {
        Input::Anything(bytes) => open_all(&bytes),
        Input::AnythingBehindHeader(bytes) => {
            for kind in ObjectKind::ALL {
                let header = codec().header(&name(kind));
                open_all(&[&header, bytes.as_slice()].concat());
            }
        }
        Input::Payload(number, payload, damage) => {
            let name = name(kind(number));
            let object = codec().seal_object(&name, &payload).expect("anything can be sealed");
            assert_eq!(padme(object.len() as u64), object.len() as u64, "objects are padded");
            assert_eq!(codec().open_object(&name, &object, payload.len()).expect("it is whole"), payload);
            if !payload.is_empty() {
                assert!(codec().open_object(&name, &object, payload.len() - 1).is_err(), "the limit holds");
            }
            let damaged = damage.apply(&object);
            assert_eq!(codec().open_object(&name, &damaged, PAYLOAD_MAX).is_ok(), damaged == object);
        }
        Input::Inside(number, plain) => {
            let name = name(kind(number));
            let header = codec().header(&name);
            let mut object = [header.as_slice(), &vec![0; plain.len() + TAG_BYTES]].concat();
            let (_, sealed) = object.split_at_mut(HEADER_BYTES);
            codec().keys.object(&name).seal(HEADER_BYTES as u64, &header, &plain, sealed).expect("lengths fit");
            if let Ok(payload) = codec().open_object(&name, &object, PAYLOAD_MAX) {
                assert!(payload.len() <= PAYLOAD_MAX);
            }
        }
        Input::DamagedPack(damage) => open_pack(sample_pack(), damage.apply(sample_pack())),
        Input::Pack(frames, damage) => {
            let chunk = |(number, bytes): (u8, Vec<u8>)| (!bytes.is_empty()).then(|| (chunk_kind(number), bytes));
            let frames = frames.into_iter().map(|frame| frame.into_iter().filter_map(chunk).collect());
            let frames: Vec<FrameChunks> = frames.filter(|frame: &FrameChunks| !frame.is_empty()).collect();
            let Some(sealed) = build_pack(&frames, PACK_BYTES_MIN) else { return };
            let footer = pack::verify(codec(), &name(ObjectKind::Pack), sealed.as_bytes()).expect("it is whole");
            assert_eq!(footer.table, sealed.table);
            assert_eq!(footer.table.chunks.len(), frames.iter().map(Vec::len).sum::<usize>());
            assert!(sealed.as_bytes().len() <= PACK_BYTES_MIN);
            open_pack(sealed.as_bytes(), damage.apply(sealed.as_bytes()));
        }
        Input::Footer(frames, footer) => {
            let name = name(ObjectKind::Pack);
            let header = codec().header(&name);
            let trailer = Trailer { footer_bytes: (footer.len() + TAG_BYTES) as u32, parity_bytes: 0 }.encode();
            let mut object = [header.as_slice(), &frames].concat();
            let at = object.len();
            object.resize(at + footer.len() + TAG_BYTES, 0);
            let associated = [header.as_slice(), &trailer].concat();
            let key = codec().keys.object(&name);
            key.seal(at as u64, &associated, &footer, &mut object[at..]).expect("lengths fit");
            object.extend_from_slice(&trailer);
            assert_eq!(object.len(), at + footer.len() + TAG_BYTES + TRAILER_BYTES);
            // Only a pack without frames can be whole here.
            if let Ok(found) = pack::verify(codec(), &name, &object) {
                assert!(found.table.frames.is_empty() && frames.is_empty());
            }
        }
        Input::Lengths(bytes, footer_bytes, parity_bytes) => {
            let trailer = Trailer { footer_bytes, parity_bytes };
            for bytes in [bytes, bytes % (1 << 27)] {
                if let Some((geometry, footer_at)) = trailer.place(bytes) {
                    assert_eq!(geometry.bytes() as u64, bytes);
                    assert_eq!(geometry.section_bytes() as u32, parity_bytes);
                    let end = footer_at + u64::from(footer_bytes) + TRAILER_BYTES as u64;
                    assert!(end == geometry.protected as u64 && footer_at >= HEADER_BYTES as u64);
                }
            }
        }
        Input::Parity(percent, bytes) => {
            let geometry = Geometry::of_protected(bytes.len().max(HEADER_BYTES + TRAILER_BYTES), percent % 101);
            let mut found: Vec<u8> = bytes.iter().copied().cycle().take(geometry.bytes()).collect();
            found.resize(geometry.bytes(), 0);
            if parity::heal(&mut found, &geometry) {
                assert!(parity::is_intact(&found, &geometry));
            }
        }
    }
}

fuzz_target!(|input: Input| run(input));
