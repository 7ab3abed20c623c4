//! Snapshots: what was backed up, when, where, and the root of its trees.

use crate::base::ObjectId;
use crate::base::limits::{NAME_BYTES_MAX, SYMLINK_BYTES_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};
use crate::format::content::Content;
use crate::format::tree::Timestamp;

/// What a backup counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files in the snapshot: everything but directories.
    pub files: u64,
    /// Directories in it.
    pub directories: u64,
    /// Bytes of the files' content.
    pub bytes: u64,
    /// Files that the parent did not have.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files taken over from the parent unread.
    pub files_unmodified: u64,
    /// Bytes of chunks that the repository did not have, before compression.
    pub bytes_new: u64,
    /// Sources that could not be read, or changed while they were.
    pub errors: u64,
}

/// The content of a snapshot object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRecord {
    /// When the backup began, by the clock of the machine that made it.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// The machine's name.
    pub host: String,
    /// The user's name.
    pub user: String,
    /// The program and version that made it.
    pub program: String,
    /// The user's words for it, sorted, none twice.
    pub tags: Vec<String>,
    /// The absolute paths that were backed up, sorted, none twice; for readers their names.
    pub paths: Vec<Vec<u8>>,
    /// The snapshot that it was compared with.
    pub parent: Option<ObjectId>,
    /// The id that the snapshot was made under, if it is a copy: with other tags, rewritten or repaired.
    pub original: Option<ObjectId>,
    /// The tree of `/`.
    pub root: Content,
    /// What it counted.
    pub counts: Counts,
}

const TEXT_MAX: usize = NAME_BYTES_MAX;
const LIST_MAX: usize = 65_536;

impl SnapshotRecord {
    /// Adds a tag, in its place.
    pub(crate) fn add_tag(&mut self, tag: &str) {
        if let Err(at) = self.tags.binary_search_by(|other| other.as_str().cmp(tag)) {
            self.tags.insert(at, tag.to_owned());
        }
    }

    /// Returns the encoded snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::default();
        for time in [self.started, self.ended] {
            out.varint_signed(time.seconds);
            out.varint(u64::from(time.nanos));
        }
        for text in [&self.host, &self.user, &self.program] {
            out.bytes(text.as_bytes());
        }
        out.varint(self.tags.len() as u64);
        self.tags.iter().for_each(|tag| out.bytes(tag.as_bytes()));
        out.varint(self.paths.len() as u64);
        self.paths.iter().for_each(|path| out.bytes(path));
        for id in [&self.parent, &self.original] {
            out.u8(u8::from(id.is_some()));
            if let Some(id) = id {
                out.raw(id.as_bytes());
            }
        }
        self.root.write(&mut out);
        let c = &self.counts;
        let counts = [c.files, c.directories, c.bytes, c.files_new, c.files_changed, c.files_unmodified, c.bytes_new];
        counts.into_iter().chain([c.errors]).for_each(|count| out.varint(count));
        out.finish()
    }

    /// Decodes a snapshot.
    ///
    /// # Errors
    /// A [`FormatError`] that says where.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut input = Reader::new(bytes);
        let mut time = || -> Result<_, FormatError> {
            let seconds = input.varint_signed()?;
            Ok(Timestamp { seconds, nanos: input.varint_u32(999_999_999, "nanoseconds below 10^9")? })
        };
        let (started, ended) = (time()?, time()?);
        let mut text = || input.string(TEXT_MAX, "a text of at most 4096 bytes");
        let (host, user, program) = (text()?, text()?, text()?);
        let count = input.length(LIST_MAX, "at most 65,536 tags")?;
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..count {
            let start = input.clone();
            let tag = input.string(TEXT_MAX, "a tag")?;
            start.ascending(tags.last(), &tag, "tags in ascending order")?;
            tags.push(tag);
        }
        let count = input.length(LIST_MAX, "at most 65,536 paths")?;
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for _ in 0..count {
            let start = input.clone();
            let path = input.bytes(SYMLINK_BYTES_MAX, "a path of at most 64 KiB")?.to_vec();
            start.ascending(paths.last(), &path, "paths in ascending order")?;
            paths.push(path);
        }
        let mut id = || {
            let start = input.clone();
            match input.u8()? {
                0 => Ok(None),
                1 => Ok(Some(ObjectId::from_bytes(input.array()?))),
                other => Err(start.error("0 or 1 before an id", other)),
            }
        };
        let (parent, original) = (id()?, id()?);
        let root = Content::read(&mut input)?;
        let mut count = || input.varint();
        let counts = Counts {
            files: count()?,
            directories: count()?,
            bytes: count()?,
            files_new: count()?,
            files_changed: count()?,
            files_unmodified: count()?,
            bytes_new: count()?,
            errors: count()?,
        };
        input.finish()?;
        Ok(Self { started, ended, host, user, program, tags, paths, parent, original, root, counts })
    }
}
