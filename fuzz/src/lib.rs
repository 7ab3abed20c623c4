//! What the fuzz targets share: one repository's fixed keys, names, damage, and seeds.

use std::path::PathBuf;
use std::sync::OnceLock;

use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::crypt::{Keys, MasterKey};
use daykeep_engine::internals::format::index::{ChunkKind, ChunkRecord, Encoding};
use daykeep_engine::internals::{compress, hash, pack};
use daykeep_engine::{ObjectId, ObjectKind, ObjectName, RecoveryKey, RepositoryId};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

/// Returns the master key of the fuzzed repository.
pub fn master() -> MasterKey {
    MasterKey::from_bytes([7; 32])
}

/// Returns the key that opens its recovery slot.
pub fn recovery() -> RecoveryKey {
    RecoveryKey::from_bytes([9; 32])
}

/// Returns what seals and opens its objects.
pub fn codec() -> &'static Codec {
    static CODEC: OnceLock<Codec> = OnceLock::new();
    CODEC.get_or_init(|| Codec {
        repository: RepositoryId::from_bytes([3; 16]),
        location: "fuzz".to_owned(),
        keys: Keys::new(&master()),
        parity_percent: 5,
    })
}

/// Returns the name of one object of a kind.
pub fn name(kind: ObjectKind) -> ObjectName {
    match kind {
        ObjectKind::Config => ObjectName::CONFIG,
        kind => ObjectName::new(kind, ObjectId::from_bytes([0x40 | kind.code(); 32])),
    }
}

/// Returns a new folder of this process, in memory where the system offers that, in place of the one before.
pub fn scratch() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let parent = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let path = parent.join(format!("daykeep-fuzz-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("there is a folder for temporary files");
    path
}

/// What happens to an object's bytes.
#[derive(Arbitrary, Debug)]
pub struct Damage {
    flips: Vec<(u32, u8)>,
    cut_off: u16,
    appended: Vec<u8>,
}

impl Damage {
    /// Returns the damaged bytes, which may be the same as before.
    pub fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for &(at, mask) in &self.flips {
            let at = at as usize % out.len().max(1);
            if let Some(byte) = out.get_mut(at) {
                *byte ^= mask;
            }
        }
        out.truncate(out.len() - out.len().min(usize::from(self.cut_off)));
        out.extend_from_slice(&self.appended);
        out
    }
}

/// The chunks of one frame, in order.
pub type FrameChunks = Vec<(ChunkKind, Vec<u8>)>;

/// Returns a pack whose frames hold these chunks, compressed where that pays, or `None` if they do not fit.
pub fn build_pack(frames: &[FrameChunks], bytes_max: usize) -> Option<pack::SealedPack> {
    let mut builder = pack::PackBuilder::new(codec(), name(ObjectKind::Pack).id, bytes_max, Vec::new());
    let mut compressor = compress::Compressor::new(1).expect("zstd has its memory");
    for frame in frames {
        let plain: Vec<u8> = frame.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let keys = &codec().keys;
        let record = |(kind, bytes): &(ChunkKind, Vec<u8>)| {
            let id = hash::chunk_id(keys.ids(*kind), bytes);
            ChunkRecord { id, kind: *kind, bytes: bytes.len() as u32, delta: None }
        };
        let chunks: Vec<_> = frame.iter().map(record).collect();
        let mut compressed = Vec::new();
        let pays = compressor.compress(&plain, &mut compressed).expect("zstd has its memory");
        let (encoding, body) = if pays { (Encoding::Zstd, &compressed) } else { (Encoding::Raw, &plain) };
        let frame = pack::Frame { encoding, body, chunks: &chunks };
        if !builder.fits(&frame) {
            return None;
        }
        builder.append(&frame).expect("it fits");
    }
    Some(builder.finish().expect("a pack of valid frames can be closed"))
}

/// Returns a small pack with a frame of each sort.
pub fn sample_pack() -> &'static [u8] {
    static PACK: OnceLock<Vec<u8>> = OnceLock::new();
    PACK.get_or_init(|| {
        let frames = [
            vec![(ChunkKind::Data, b"a chat, a chat, a chat, a chat, a chat, a chat, a chat, a chat".to_vec())],
            vec![(ChunkKind::Data, vec![1]), (ChunkKind::Tree, vec![0, 0, 0]), (ChunkKind::List, (0..200).collect())],
        ];
        build_pack(&frames, 1 << 20).expect("it is small").as_bytes().to_vec()
    })
}

/// Writes seeds into the folder that `DAYKEEP_FUZZ_SEEDS` names, if it does. Called before libFuzzer reads its corpus.
pub fn plant_seeds(seeds: &[Vec<u8>]) {
    let Some(folder) = std::env::var_os("DAYKEEP_FUZZ_SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("the folder for seeds can be made");
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed can be written");
    }
}
