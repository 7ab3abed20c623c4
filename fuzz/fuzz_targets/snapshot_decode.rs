//! Any bytes as a snapshot, a proof, a config, a key slot and a header.
#![no_main]

use daykeep_engine::internals::base::{ShortId, limits};
use daykeep_engine::internals::chunk::DEFAULT_PARAMS;
use daykeep_engine::internals::crypt::{SlotSecret, make_slot};
use daykeep_engine::internals::format::config::Config;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::header::{HEADER_BYTES, Header};
use daykeep_engine::internals::format::key_slot::{Argon2Params, KeySlot, SlotKind};
use daykeep_engine::internals::format::proof::{Proof, ProofRecord};
use daykeep_engine::{Counts, ObjectId, ObjectKind, SnapshotRecord, Timestamp};
use daykeep_fuzz::{codec, master, name, plant_seeds, recovery};
use libfuzzer_sys::fuzz_target;

fn encode_slot(slot: &KeySlot) -> Vec<u8> {
    [slot.encode_body(), slot.mac.to_vec()].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let now = Timestamp { seconds: 1_700_000_000, nanos: 5 };
    let part = Part::Chunk { id: ShortId::from_bytes([6; 16]), bytes: 300 };
    let snapshot = SnapshotRecord {
        started: now,
        ended: now,
        host: "host".into(),
        user: "me".into(),
        program: "daykeep 0.1.0".into(),
        tags: vec!["daily".into()],
        paths: vec![b"/home/me".to_vec()],
        parent: Some(ObjectId::from_bytes([2; 32])),
        original: Some(ObjectId::from_bytes([3; 32])),
        root: Content { level: 0, parts: vec![part] },
        counts: Counts { files: 1, bytes: 1 << 40, ..Counts::default() },
    };
    let header = codec().header(&name(ObjectKind::Key));
    let slot = make_slot(&master(), &SlotSecret::Recovery(&recovery()), &header, "recovery key", now);
    let slot = slot.expect("the system has random numbers");
    let argon2 = Argon2Params { memory_kib: 65_536, passes: 3, lanes: 4 };
    let password_slot = KeySlot { kind: SlotKind::Password { argon2 }, ..slot.clone() };
    let config = Config { created: now, chunker: DEFAULT_PARAMS, shared_gear: None, parity_percent: 0 };
    let bare = SnapshotRecord::default().encode();
    let proof = Proof { time: now, files: 7, bytes: 1 << 30, is_all: true, problems: 0 };
    let proofs = ProofRecord { proofs: vec![(ObjectId::from_bytes([4; 32]), proof)] };
    vec![
        snapshot.encode(),
        bare,
        proofs.encode(),
        config.encode(),
        encode_slot(&slot),
        encode_slot(&password_slot),
        header.to_vec(),
    ]
}

fuzz_target!(init: plant_seeds(&seeds()), |bytes: &[u8]| {
    if let Ok(snapshot) = SnapshotRecord::decode(bytes) {
        let encoded = snapshot.encode();
        assert!(encoded.len() <= bytes.len(), "nothing is written longer than it was read");
        assert_eq!(SnapshotRecord::decode(&encoded), Ok(snapshot));
    }
    if let Ok(proofs) = ProofRecord::decode(bytes) {
        assert_eq!(proofs.encode(), bytes, "a proof has one encoding");
    }
    if let Ok(config) = Config::decode(bytes) {
        assert!(config.chunker.media.max as usize <= limits::CHUNK_BYTES_MAX);
        assert_eq!(config.encode(), bytes, "a config has one encoding");
    }
    if let Ok(slot) = KeySlot::decode(bytes) {
        if let SlotKind::Password { argon2 } = &slot.kind {
            assert!(argon2.memory_kib <= limits::ARGON2_KIB_MAX && argon2.passes <= limits::ARGON2_PASSES_MAX);
        }
        assert_eq!(encode_slot(&slot), bytes, "a key slot has one encoding");
    }
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_BYTES], "a header has one encoding");
    }
});
