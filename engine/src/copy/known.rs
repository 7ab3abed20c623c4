//! What is known to be in the other repository, and under which ids.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;

use crate::base::{ShortId, lock};
use crate::catalog::Marks;
use crate::error::Result;
use crate::format::content::{Content, Part};
use crate::tree;

/// A note: an id, eight bytes of a length, and what it is.
const NOTE_BYTES: usize = 32;
const CHUNK: u8 = 1;
const TREE: u8 = 2;
const SEEN: u8 = 3;

/// From ids of the one repository to those of the other.
pub struct Known {
    notes: Mutex<Marks<NOTE_BYTES>>,
    /// Trees of more than one chunk: there are few.
    long: Mutex<HashMap<ShortId, Content>>,
    /// How often visits were forgotten.
    turn: u64,
}

impl Known {
    /// Begins without any. What does not fit into `memory_bytes` bytes goes to a file without a name in `dir`.
    pub fn new(dir: Option<&Path>, memory_bytes: usize) -> Self {
        Self { notes: Mutex::new(Marks::new(dir, memory_bytes)), long: Mutex::default(), turn: 0 }
    }

    fn note(&self, key: ShortId, what: u8, id: Option<&ShortId>, bytes: u64) -> Result<()> {
        let mut note = [0; NOTE_BYTES];
        if let Some(id) = id {
            note[..ShortId::LEN].copy_from_slice(id.as_bytes());
        }
        note[16..24].copy_from_slice(&bytes.to_le_bytes());
        note[NOTE_BYTES - 1] = what;
        Ok(lock(&self.notes).set(key, note)?)
    }

    fn find(&self, key: &ShortId) -> Result<Option<(u8, ShortId, u64)>> {
        let Some(note) = lock(&self.notes).get(key)? else { return Ok(None) };
        let (mut id, mut bytes) = ([0; ShortId::LEN], [0; 8]);
        id.copy_from_slice(&note[..ShortId::LEN]);
        bytes.copy_from_slice(&note[16..24]);
        Ok(Some((note[NOTE_BYTES - 1], ShortId::from_bytes(id), u64::from_le_bytes(bytes))))
    }

    /// Notes the id that a data chunk has in the other repository.
    pub fn add_chunk(&self, from: ShortId, to: ShortId) -> Result<()> {
        self.note(from, CHUNK, Some(&to), 0)
    }

    /// Returns that id.
    pub fn chunk(&self, from: &ShortId) -> Result<Option<ShortId>> {
        Ok(self.find(from)?.filter(|(what, ..)| *what == CHUNK).map(|(_, id, _)| id))
    }

    /// Notes where a tree's bytes are in the other repository, with all that it names.
    pub fn add_tree(&self, from: &Content, to: &Content) -> Result<()> {
        let key = tree::fingerprint(from).short();
        match to.parts.as_slice() {
            [Part::Chunk { id, bytes }] if to.level == 0 => self.note(key, TREE, Some(id), *bytes),
            _ => {
                lock(&self.long).insert(key, to.clone());
                Ok(())
            }
        }
    }

    /// Returns where a tree's bytes are there, if that is known.
    pub fn tree(&self, from: &Content) -> Result<Option<Content>> {
        let key = tree::fingerprint(from).short();
        if let Some((TREE, id, bytes)) = self.find(&key)? {
            return Ok(Some(Content { level: 0, parts: vec![Part::Chunk { id, bytes }] }));
        }
        Ok(lock(&self.long).get(&key).cloned())
    }

    /// Notes a visit to a tree, and returns whether it is the first and the tree is not known.
    pub fn visit(&self, from: &Content) -> Result<bool> {
        let key = tree::fingerprint(from).short();
        let is_seen = match self.find(&key)? {
            Some((SEEN, _, turn)) => turn == self.turn,
            found => found.is_some(),
        };
        if is_seen || lock(&self.long).contains_key(&key) {
            return Ok(false);
        }
        self.note(key, SEEN, None, self.turn)?;
        Ok(true)
    }

    /// Lets trees count as new that were visited and not copied.
    pub fn forget_visits(&mut self) {
        self.turn += 1;
    }
}
