//! Reads one file or stream: cut, stored, described by its parts.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::backup::capture::entry_name;
use crate::backup::database::DatabaseFile;
use crate::backup::engine::Engine;
use crate::backup::outcome::Spot;
use crate::backup::resemble::Resemblance;
use crate::base::Event;
use crate::base::limits::{CRYPT_HEADER_BYTES_MAX, MIB};
use crate::chunk::{Cutter, SNIFF_BYTES, may_be_encrypted, sniff, sniff_encrypted};
use crate::chunks::{Scratch, Sort};
use crate::compress::looks_incompressible;
use crate::error::Result;
use crate::format::content::{Content, Part};
use crate::format::tree::{Class, Entry, Metadata, Node};
use crate::source::database::SharedLock;
use crate::source::whatsapp::Envelope;
use crate::source::{Dir, Stat, UnsizedFile, data_extents, file_xattrs, inode_flags, may_be_sparse, same_file_state};
use crate::tree::ContentBuilder;

/// What one worker reads at a time: a chunk of the greatest length and then some.
const READ_BYTES: usize = 2 * MIB;
/// A stream with this much left is worth all cores, if they are free.
const BATCH_BYTES_MIN: u64 = 8 * MIB as u64;
/// Files shorter than this are not compared with their last version.
const COMPARED_BYTES_MIN: u64 = 4096;
/// How much each core reads at a time.
const PREAD_BYTES: usize = MIB;

/// Where bytes come from.
pub(super) trait Source: Send {
    /// Fills `buffer` and returns how much of it; less than all only at the end.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// As [`fill`](Self::fill), on all cores if the source can.
    fn fill_parallel(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer)
    }
    /// Returns how much is left, if that is known.
    fn remaining(&self) -> Option<u64>;
}

/// A run of bytes of a file.
struct FileSource<'a> {
    file: &'a File,
    /// Is given back at the end.
    lock: Option<&'a SharedLock<'a>>,
    at: u64,
    end: u64,
}

fn read_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                buffer = &mut buffer[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

impl FileSource<'_> {
    /// Notes that so many bytes were read of those that were asked for.
    fn read(&mut self, wanted: usize, count: usize) {
        self.at += count as u64;
        if let Some(lock) = self.lock
            && (self.at == self.end || count < wanted)
        {
            lock.end();
        }
    }

    fn window(&self, len: usize) -> usize {
        usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(len)
    }
}

impl Source for FileSource<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.window(buffer.len());
        let count = read_at(self.file, &mut buffer[..len], self.at)?;
        self.read(len, count);
        Ok(count)
    }

    fn fill_parallel(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.window(buffer.len());
        let (file, at) = (self.file, self.at);
        let counts: Vec<usize> = buffer[..len]
            .par_chunks_mut(PREAD_BYTES)
            .enumerate()
            .map(|(index, part)| read_at(file, part, at + (index * PREAD_BYTES) as u64))
            .collect::<io::Result<_>>()?;
        // A file that was cut short meanwhile ends at the first part that is not full.
        let full = counts.iter().take_while(|&&count| count == PREAD_BYTES).count();
        let count = full * PREAD_BYTES + counts.get(full).copied().unwrap_or(0);
        self.read(len, count);
        Ok(count)
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.end - self.at)
    }
}

/// Any stream.
pub(super) struct ReadSource<R>(pub R);

impl<R: Read + Send> Source for ReadSource<R> {
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// A stream that could not be read to its end, or a backup that cannot go on.
pub(super) enum StreamError {
    Source(io::Error),
    Engine(crate::error::Error),
}

impl From<crate::error::Error> for StreamError {
    fn from(error: crate::error::Error) -> Self {
        Self::Engine(error)
    }
}

/// The content of a stream as it grows.
#[derive(Default)]
pub(super) struct Stream {
    pub builder: ContentBuilder,
    pub cutter: Option<Cutter>,
    pub class: Class,
    pub bytes: u64,
    /// How long it will be, if that is known.
    pub bytes_expected: Option<u64>,
    /// Whether length and name are those of a database whose pages may be encrypted one by one.
    pub may_be_encrypted: bool,
    /// What the stream is, for comparing it with its last version: its name and that version's content.
    pub last: Option<(Vec<u8>, Option<Content>)>,
    /// The name of another file that it may resemble, if nothing is known of its own last version.
    pub like: Option<Vec<u8>>,
    pub resemblance: Option<Box<Resemblance>>,
}

impl Engine<'_> {
    /// Backs up a regular file; `None` if it cannot be read. `stat` is what it was before, if that was looked at.
    pub fn file(&self, dir: &Dir, spot: Spot<'_>, stat: Option<&Stat>) -> Result<Option<Entry>> {
        let Spot { name, .. } = spot;
        let (file, before) = match dir.open_file(name) {
            Ok(opened) => opened,
            Err(error) => {
                self.warn_io(spot.full_path(), "open it", &error);
                return Ok(None);
            }
        };
        if self.rules.is_own(&before) {
            self.tell(spot.full_path(), "is this repository itself; left out".into());
            return Ok(None);
        }
        if self.rules.is_too_large(&before) {
            return Ok(None);
        }
        let xattrs = self.told(file_xattrs(&file), || spot.full_path());
        let flags = inode_flags(&file);
        let beside = self.beside(dir, name, &file, &before);
        let may_open = spot.may_open && self.captures.may_open(name.to_bytes());
        let linked = if may_open { None } else { self.linked(&before, beside) };
        let read = match linked {
            Some(known) => Some((known, None)),
            None => self.read_file(dir, spot, (&file, &before, stat.unwrap_or(&before)))?,
        };
        let Some((node, envelope)) = read else { return Ok(None) };
        self.remember_link(&before, beside, &node, &file);
        let crypt_header = envelope.map(|envelope| envelope.to_bytes().into_boxed_slice());
        let crypt_header = crypt_header.filter(|header| header.len() <= CRYPT_HEADER_BYTES_MAX);
        let metadata = Metadata { xattrs, flags, crypt_header, ..before.metadata };
        Ok(Some(Entry { name: entry_name(name.to_bytes(), &node).to_vec(), metadata, node }))
    }

    /// Reads a file, in one committed state if it is a database; `None` if it cannot be read. `before` is what it was when
    /// it was opened, `seen` what it was at the first look.
    fn read_file(
        &self,
        dir: &Dir,
        spot: Spot<'_>,
        (file, before, seen): (&File, &Stat, &Stat),
    ) -> Result<Option<(Node, Option<Envelope>)>> {
        let Spot { name, path, previous, may_open, .. } = spot;
        let full_path = || path.join(name.to_bytes());
        let database = || Ok(self.database(DatabaseFile { dir, name, path, file }, previous)?.map(|node| (node, None)));
        if may_open && let Some(opened) = self.open_crypt(name, path, (file, before), previous)? {
            return Ok(Some(opened));
        }
        if self.is_database(file, before) {
            return database();
        }
        let (content, class) = match self.file_content((file, None), before, full_path, previous)? {
            Ok(read) => read,
            Err(error) => {
                self.warn_io(full_path(), "read it", &error);
                return Ok(None);
            }
        };
        match Stat::of_file(file) {
            Ok(after) if same_file_state(before, &after) && same_file_state(seen, &after) => {}
            Ok(after) => {
                // It may be a database since.
                if self.is_database(file, &after) {
                    return database();
                }
                if self.has_merely_grown((file, before, &after), spot, &content)? {
                    let message = "grew while it was read; saved as long as it was at the beginning";
                    self.tell(full_path(), message.into());
                } else {
                    self.warn(full_path(), "changed while it was read; saved as it was read".into());
                }
            }
            Err(error) => self.warn_io(full_path(), "look at it again", &error),
        }
        Ok(Some((Node::File { content, class, capture: None }, None)))
    }

    /// Returns whether a file, of which `content` was stored, has only got longer since, as logs do: what was there before is
    /// read once more and is the same.
    fn has_merely_grown(
        &self,
        (file, before, after): (&File, &Stat, &Stat),
        spot: Spot<'_>,
        content: &Content,
    ) -> Result<bool> {
        if before.size == 0 || after.size <= before.size || before.identity() != after.identity() {
            return Ok(false);
        }
        let again = self.file_content((file, None), before, || spot.full_path(), spot.previous)?;
        Ok(again.is_ok_and(|(again, _)| again == *content))
    }

    /// Stores a file's bytes, and gives back its lock as soon as they are read. The inner error is the file's, the outer the
    /// repository's.
    pub fn file_content(
        &self,
        (file, lock): (&File, Option<&SharedLock<'_>>),
        stat: &Stat,
        path: impl Fn() -> PathBuf,
        previous: Option<&Entry>,
    ) -> Result<io::Result<(Content, Class)>> {
        let mut scratch = None;
        let mut stream = Stream { bytes_expected: Some(stat.size), ..Stream::default() };
        // Of a file that fits into one chunk there is nothing to compare.
        if stat.size >= COMPARED_BYTES_MIN {
            let content = previous.and_then(|entry| entry.node.content()).cloned();
            let name = path().into_os_string().into_vec();
            // What its pages were yesterday they are today, whatever its length says.
            let was_encrypted =
                previous.is_some_and(|entry| matches!(entry.node, Node::File { class: Class::EncryptedPages, .. }));
            stream.may_be_encrypted = was_encrypted || may_be_encrypted(&name, stat.size);
            stream.last = Some((name, content));
        }
        let outcome = if stat.size == 0 {
            let mut source = ReadSource(UnsizedFile::new(file));
            let outcome = self.stream(&mut source, &mut stream, &mut scratch);
            if let Some(why) = source.0.stopped {
                self.warn(path(), format!("says that it is empty and is not; {why}; saved as far as it was read"));
            }
            outcome
        } else {
            match lock {
                // What is read at once needs nobody to look at the clock.
                Some(lock) if stat.size > READ_BYTES as u64 => {
                    lock.for_half_a_second(|| self.read_extents((file, Some(lock)), stat, &mut stream, &mut scratch))
                }
                _ => self.read_extents((file, lock), stat, &mut stream, &mut scratch),
            }
        };
        self.end_stream(stream, scratch, outcome)
    }

    /// Ends a stream that was read to its end, or to an error. The inner error is the source's, the outer the
    /// repository's.
    pub fn end_stream(
        &self,
        stream: Stream,
        mut scratch: Option<Scratch>,
        outcome: Result<(), StreamError>,
    ) -> Result<io::Result<(Content, Class)>> {
        let outcome = match outcome {
            Ok(()) => self.finish_stream(stream, &mut scratch).map_err(StreamError::Engine),
            Err(error) => self.abandon_stream(stream, &mut scratch).map_err(StreamError::Engine).and(Err(error)),
        };
        // What the worker has gathered is in the scratch, so it goes back whatever happened.
        self.release(&mut scratch);
        match outcome {
            Ok(read) => Ok(Ok(read)),
            Err(StreamError::Source(error)) => Ok(Err(error)),
            Err(StreamError::Engine(error)) => Err(error),
        }
    }

    fn read_extents(
        &self,
        (file, lock): (&File, Option<&SharedLock<'_>>),
        stat: &Stat,
        stream: &mut Stream,
        scratch: &mut Option<Scratch>,
    ) -> Result<(), StreamError> {
        if !may_be_sparse(stat) {
            self.stream(&mut FileSource { file, lock, at: 0, end: stat.size }, stream, scratch)?;
        } else {
            for extent in data_extents(file, stat.size).map_err(StreamError::Source)? {
                self.hole(extent.offset.saturating_sub(stream.bytes), stream, scratch)?;
                let end = extent.offset + extent.bytes;
                self.stream(
                    &mut FileSource { file, lock: lock.filter(|_| end == stat.size), at: extent.offset, end },
                    stream,
                    scratch,
                )?;
                if stream.bytes < end {
                    // Cut short meanwhile; what follows is gone.
                    return Ok(());
                }
            }
            self.hole(stat.size.saturating_sub(stream.bytes), stream, scratch)?;
        }
        Ok(())
    }

    /// Ends a stream.
    fn finish_stream(&self, stream: Stream, scratch: &mut Option<Scratch>) -> Result<(Content, Class)> {
        if let Some(resemblance) = stream.resemblance {
            self.finish_resemblance(resemblance, scratch, Sort::Data(stream.class))?;
        }
        Ok((stream.builder.finish(&self.writer, self.hold(scratch)?)?, stream.class))
    }

    /// Stores what waits of a stream that could not be read to its end: other files may refer to these chunks already,
    /// since whoever claims a chunk stores it.
    fn abandon_stream(&self, stream: Stream, scratch: &mut Option<Scratch>) -> Result<()> {
        match stream.resemblance {
            Some(mut resemblance) => self.store_waiting(&mut resemblance, scratch, Sort::Data(stream.class)),
            None => Ok(()),
        }
    }

    fn hole(&self, bytes: u64, stream: &mut Stream, scratch: &mut Option<Scratch>) -> Result<()> {
        if bytes > 0 {
            // A file that begins with a hole has no magic.
            stream.cutter.get_or_insert_with(|| self.repo.chunker.cutter(sniff(&[])));
            stream.builder.push(&self.writer, self.hold(scratch)?, Part::Hole { bytes })?;
            stream.bytes += bytes;
            self.send(&Event::Progress { files: 0, bytes });
        }
        Ok(())
    }

    /// Returns the scratch in `slot`, and borrows one first if there is none. Only what is done on this thread may be done
    /// with it, see [`Stock`](crate::base::Stock).
    pub fn hold<'s>(&self, slot: &'s mut Option<Scratch>) -> Result<&'s mut Scratch> {
        match slot {
            Some(scratch) => Ok(scratch),
            none => Ok(none.insert(self.writer.lend()?)),
        }
    }

    /// Gives a scratch back, if there is one.
    pub fn release(&self, slot: &mut Option<Scratch>) {
        if let Some(scratch) = slot.take() {
            self.writer.give_back(scratch);
        }
    }

    /// Stores all of `source` behind what is in `stream`.
    pub fn stream(
        &self,
        source: &mut dyn Source,
        stream: &mut Stream,
        scratch: &mut Option<Scratch>,
    ) -> Result<(), StreamError> {
        let mut buffer = std::mem::take(&mut self.hold(scratch)?.buffer);
        buffer.resize(READ_BYTES, 0);
        let outcome = self.stream_with(&mut buffer, source, stream, scratch);
        if let Some(scratch) = scratch {
            scratch.buffer = buffer;
        }
        outcome
    }

    fn stream_with(
        &self,
        buffer: &mut Vec<u8>,
        source: &mut dyn Source,
        stream: &mut Stream,
        scratch: &mut Option<Scratch>,
    ) -> Result<(), StreamError> {
        let mut filled = 0;
        loop {
            let wants_all_cores = match source.remaining() {
                Some(bytes) => bytes >= BATCH_BYTES_MIN,
                None => filled > 0,
            };
            if wants_all_cores
                && let Ok(mut batches) = self.batches.try_lock()
                && batches.take(&self.repo.budget)
            {
                batches.begin(&buffer[..filled]);
                self.hold(scratch)?.buffer = std::mem::take(buffer);
                self.release(scratch);
                return self.stream_batches(&mut batches, filled, source, stream);
            }
            // To be told that a file has no more bytes would cost a call each.
            let is_end = match source.remaining() {
                Some(left) if left <= (buffer.len() - filled) as u64 => {
                    filled += source.fill(&mut buffer[filled..filled + left as usize]).map_err(StreamError::Source)?;
                    true
                }
                _ => {
                    filled += source.fill(&mut buffer[filled..]).map_err(StreamError::Source)?;
                    filled < buffer.len()
                }
            };
            let cutter = self.cutter(stream, &buffer[..filled]);
            let mut at = 0;
            while at < filled {
                let rest = &buffer[at..filled];
                let len = self.repo.chunker.cut(&cutter, rest);
                if !is_end && len == rest.len() && len < cutter.max() {
                    break;
                }
                self.check_cancel()?;
                let sort = Sort::Data(stream.class);
                let bytes = len as u64;
                let part = match &mut stream.resemblance {
                    Some(resemblance) => {
                        let (outline, at) = (stream.builder.last(), stream.bytes);
                        let place = (resemblance.len(), at);
                        let seen = self.look((resemblance, outline), self.hold(scratch)?, sort, place, &rest[..len])?;
                        if self.note((resemblance, outline), (at, &rest[..len]), &seen) {
                            self.store_waiting(resemblance, scratch, sort)?;
                        }
                        seen.part
                    }
                    None => Part::Chunk { id: self.writer.put(self.hold(scratch)?, sort, &rest[..len])?.id, bytes },
                };
                stream.builder.push(&self.writer, self.hold(scratch)?, part)?;
                stream.bytes += bytes;
                self.send(&Event::Progress { files: 0, bytes });
                at += len;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
            if is_end {
                return Ok(());
            }
        }
    }

    /// Returns how a stream is cut, from its first bytes if it is not decided yet.
    pub fn cutter(&self, stream: &mut Stream, head: &[u8]) -> Cutter {
        *stream.cutter.get_or_insert_with(|| {
            let mut sniffed = sniff(&head[..head.len().min(SNIFF_BYTES)]);
            if stream.may_be_encrypted && sniffed.class == Class::General {
                sniffed = sniff_encrypted(head, looks_incompressible).unwrap_or(sniffed);
            }
            stream.class = sniffed.class;
            if let Some((name, content)) = stream.last.take()
                && let Some((resemblance, outline)) =
                    self.resemblance((name, stream.like.take()), content.as_ref(), stream.bytes_expected, sniffed.class)
            {
                stream.resemblance = Some(resemblance);
                stream.builder = ContentBuilder::after(outline);
            }
            self.repo.chunker.cutter(sniffed)
        })
    }
}
