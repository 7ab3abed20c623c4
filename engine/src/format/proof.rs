//! Proofs: what tests found that restored snapshots into nothing.

use crate::base::ObjectId;
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::tree::Timestamp;

/// The most snapshots that one object tells of.
pub const PROOFS_MAX: usize = 65_536;

/// What the last test of a snapshot found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// When it was done, by the clock of the machine that did it.
    pub time: Timestamp,
    /// Files that were restored.
    pub files: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// Whether these were all files of the snapshot, or a sample.
    pub is_all: bool,
    /// Files that could not be restored, or databases that SQLite found damaged.
    pub problems: u64,
}

/// The content of a proof object: the last test of each snapshot, by the id under which that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProofRecord {
    /// Sorted by id, none twice.
    pub proofs: Vec<(ObjectId, Proof)>,
}

impl ProofRecord {
    /// Returns the encoded record.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.varint(self.proofs.len() as u64);
        for (id, proof) in &self.proofs {
            out.raw(id.as_bytes());
            out.varint_signed(proof.time.seconds);
            out.varint(u64::from(proof.time.nanos));
            out.u8(u8::from(proof.is_all));
            [proof.files, proof.bytes, proof.problems].into_iter().for_each(|count| out.varint(count));
        }
        out.finish()
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// A [`FormatError`] that says where.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let count = input.length(PROOFS_MAX, "at most 65,536 snapshots")?;
        let mut proofs: Vec<(ObjectId, Proof)> = Vec::new();
        for _ in 0..count {
            let start = input.clone();
            let id = ObjectId::from_bytes(input.array()?);
            if proofs.last().is_some_and(|(last, _)| *last >= id) {
                return Err(start.error("ids in ascending order", id));
            }
            let seconds = input.varint_signed()?;
            let time = Timestamp { seconds, nanos: input.varint_u32(999_999_999, "nanoseconds below 10^9")? };
            let start = input.clone();
            let is_all = match input.u8()? {
                0 => false,
                1 => true,
                other => return Err(start.error("0 or 1 for a sample or all", other)),
            };
            let (files, bytes, problems) = (input.varint()?, input.varint()?, input.varint()?);
            proofs.push((id, Proof { time, files, bytes, is_all, problems }));
        }
        input.finish()?;
        Ok(Self { proofs })
    }
}
