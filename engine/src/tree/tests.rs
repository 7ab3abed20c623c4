//! Trees as long as the format allows, which no test could make on disk.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::sync::Arc;

use super::*;
use crate::base::{MemoryBudget, RepositoryId, ShortId};
use crate::catalog::Catalog;
use crate::chunk::DEFAULT_PARAMS;
use crate::chunks::{Healer, WriterOptions};
use crate::codec::Codec;
use crate::crypt::{Keys, MasterKey};
use crate::format::tree::{Metadata, OwnerName, Xattr};
use crate::store::MemoryStore;

/// A repository without anything around it.
struct Bare {
    writer: ChunkWriter,
    reader: Arc<ChunkReader>,
    chunker: Chunker,
}

impl Bare {
    fn new(dry_run: bool) -> Self {
        let keys = Keys::new(&MasterKey::from_bytes([7; 32]));
        let chunker = Chunker::new(DEFAULT_PARAMS, keys.gear());
        let codec = Arc::new(Codec {
            repository: RepositoryId::from_bytes([3; 16]),
            location: "bare".into(),
            keys,
            parity_percent: 0,
        });
        let catalog = Arc::new(Catalog::open(None, &codec.repository, 4 << 20).unwrap());
        let store = Arc::new(MemoryStore::new());
        let options = WriterOptions { memory_bytes: 32 << 20, threads: 1, level: 1, dry_run };
        let healer = Arc::new(Healer::new(codec.clone(), store.clone()));
        let reader = Arc::new(ChunkReader::new(
            codec.clone(),
            catalog.clone(),
            store.clone(),
            healer,
            &MemoryBudget::new(64 << 20),
            8 << 20,
        ));
        let writer = ChunkWriter::new(codec, catalog, store, reader.clone(), options).unwrap();
        Self { writer, reader, chunker }
    }

    fn store(&self, entries: impl Iterator<Item = impl Borrow<Entry>>) -> Result<Content> {
        let users = [OwnerName { id: 0, name: b"root".to_vec() }];
        let mut scratch = self.writer.lend()?;
        let head = TreeHead { users: &users, ..TreeHead::default() };
        let content = store(&self.writer, &mut scratch, &self.chunker, head, entries, Outline::default());
        self.writer.give_back(scratch);
        content
    }
}

/// An entry that takes a little more than `bytes`.
fn entry(number: usize, bytes: usize) -> Entry {
    let xattrs = vec![Xattr { name: b"user.long".to_vec(), value: vec![b'x'; bytes] }];
    Entry {
        name: format!("{number:06}").into(),
        metadata: Metadata { xattrs, ..Metadata::default() },
        node: Node::Fifo,
    }
}

#[test]
fn a_tree_encoded_in_steps_is_cut_as_if_it_were_whole() {
    let bare = Bare::new(false);
    let entries: Vec<Entry> = (0..40_000).map(|number| entry(number, number % 400)).collect();
    let content = bare.store(entries.iter()).unwrap();
    bare.writer.finish().unwrap();
    let tree = load(&bare.reader, &content).unwrap();
    assert!(tree.entries == entries && tree.users[0].name == b"root");
    let encoded = tree.encode();
    assert!(encoded.len() > 5 * AHEAD_BYTES, "{} bytes", encoded.len());
    let cutter = bare.chunker.cutter(sniff(&[]));
    let mut rest = encoded.as_slice();
    for_each_part(&bare.reader, &content, &mut |part| {
        let len = bare.chunker.cut(&cutter, rest);
        assert_eq!(part.bytes(), len as u64);
        rest = &rest[len..];
        Ok(())
    })
    .unwrap();
    assert!(rest.is_empty());
}

/// Three hundred megabytes, which once were too long.
#[test]
fn a_tree_of_millions_of_entries_comes_back() {
    let bare = Bare::new(false);
    let entries: Vec<Entry> = (0..1_200).map(|number| entry(number, 256 * 1024)).collect();
    let content = bare.store(entries.iter()).unwrap();
    assert!(content.bytes() > 300_000_000);
    drop(entries);
    bare.writer.finish().unwrap();
    let tree = load(&bare.reader, &content).unwrap();
    assert!(tree.entries.len() == 1_200 && tree.entries[1_199] == entry(1_199, 256 * 1024));
}

#[test]
fn a_tree_beyond_the_limit_is_refused_with_advice() {
    let bare = Bare::new(true);
    let entries = (0..TREE_BYTES_MAX / (256 * 1024)).map(|number| entry(number, 256 * 1024));
    let error = bare.store(entries).unwrap_err();
    assert!(matches!(&error, Error::LimitExceeded { reason, .. } if reason.contains("move some")), "{error}");
    // A reader refuses one before it reads any of it: these chunks are not there.
    let part = Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: TREE_BYTES_MAX as u64 };
    let load = |level, parts| load(&bare.reader, &Content { level, parts }).unwrap_err();
    assert!(matches!(load(1, vec![part]), Error::Missing { .. }));
    let more = Part::Chunk { id: ShortId::from_bytes([1; 16]), bytes: 1 };
    assert!(matches!(load(1, vec![part, more]), Error::Damaged { .. }));
}
