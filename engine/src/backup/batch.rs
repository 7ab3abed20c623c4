//! A large stream on all cores: while one batch is hashed, compressed and sealed, the next is read and cut, and the one before
//! goes into the content.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use crate::backup::engine::Engine;
use crate::backup::file::{Source, Stream, StreamError};
use crate::backup::resemble::{Resemblance, Seen};
use crate::base::limits::MIB;
use crate::base::{Event, Lease, MemoryBudget, large};
use crate::chunk::cut_all;
use crate::chunks::{Sort, Workers};
use crate::error::Result;
use crate::format::content::Part;
use crate::tree::{ContentBuilder, Outline};

/// The bytes that one task takes: large chunks are a task each, pages go in neighbourly runs.
const RUN_BYTES: usize = 256 * 1024;

/// The least that the two batches take: two of the longest chunks each.
const BATCHES_BYTES_MIN: usize = 8 * MIB;

/// The memory of the one stream at a time that has all cores.
#[derive(Default)]
pub(super) struct Batches {
    buffers: [Vec<u8>; 2],
    lease: Option<Lease>,
}

impl Batches {
    /// Takes memory for two batches unless they have it, and returns whether they do.
    pub fn take(&mut self, budget: &Arc<MemoryBudget>) -> bool {
        if self.lease.is_none() {
            self.lease = budget.take_some_or_none(BATCHES_BYTES_MIN, budget.bytes() / 16 * 3);
            let bytes = self.lease.as_ref().map_or(0, |lease| lease.bytes() / 2);
            self.buffers = [large::zeros(bytes), large::zeros(bytes)];
        }
        self.lease.is_some()
    }

    /// Puts the first bytes of a stream into the first batch.
    pub fn begin(&mut self, head: &[u8]) {
        self.buffers[0][..head.len()].copy_from_slice(head);
    }

    /// Gives the memory back until the next stream comes.
    pub fn free(&mut self) {
        *self = Self::default();
    }
}

/// What became of a chunk of a batch.
enum Looked {
    Stored(Part),
    Compared(Seen),
}

impl Looked {
    const fn part(&self) -> Part {
        match self {
            Self::Stored(part) => *part,
            Self::Compared(seen) => seen.part,
        }
    }
}

impl Engine<'_> {
    /// Stores the `head` bytes that the first batch begins with, and all of `source`, behind what is in `stream`. The caller
    /// holds no scratch.
    pub fn stream_batches(
        &self,
        batches: &mut Batches,
        head: usize,
        source: &mut dyn Source,
        stream: &mut Stream,
    ) -> Result<(), StreamError> {
        let [mut current, mut next] = batches.buffers.each_mut();
        let bytes = current.len();
        let mut filled = head + source.fill_parallel(&mut current[head..]).map_err(StreamError::Source)?;
        let cutter = self.cutter(stream, &current[..filled]);
        let cut = |batch: &[u8]| {
            let is_end = batch.len() < bytes;
            cut_all(&self.repo.chunker, &cutter, batch, is_end, 2 * rayon::current_num_threads())
        };
        let mut ends = cut(&current[..filled]);
        let outline = Arc::clone(stream.builder.last());
        // What the batch before consists of: it goes into the content while this one is looked at.
        let mut parts: Vec<Part> = Vec::new();
        loop {
            self.check_cancel()?;
            let is_end = filled < bytes;
            let taken = ends.last().copied().unwrap_or(0);
            let carried = filled - taken;
            next[..carried].copy_from_slice(&current[taken..filled]);
            let (sort, at) = (Sort::Data(stream.class), stream.bytes);
            let Stream { builder, resemblance, .. } = &mut *stream;
            let compared = resemblance.as_deref().map(|resemblance| (resemblance, &*outline));
            let put = || self.put_all(&current[..filled], &ends, sort, at, compared);
            let read = || -> io::Result<_> {
                if is_end {
                    return Ok((0, Vec::new()));
                }
                let filled = carried + source.fill_parallel(&mut next[carried..])?;
                Ok((filled, cut(&next[..filled])))
            };
            let mut push = || self.push_all(builder, parts.drain(..));
            let (pushed, (looked, read)) = rayon::join(&mut push, || rayon::join(put, read));
            pushed?;
            let mut start = 0;
            for (looked, end) in looked?.into_iter().flatten().zip(&ends) {
                if let (Looked::Compared(seen), Some(resemblance)) = (&looked, resemblance.as_deref_mut()) {
                    let place = (at + start as u64, &current[start..*end]);
                    if self.note((resemblance, &outline), place, seen) {
                        self.store_changed(resemblance, Workers::AllCores, sort)?;
                    }
                }
                start = *end;
                parts.push(looked.part());
            }
            stream.bytes += taken as u64;
            if is_end {
                return Ok(self.push_all(&mut stream.builder, parts.into_iter())?);
            }
            (filled, ends) = read.map_err(StreamError::Source)?;
            std::mem::swap(&mut current, &mut next);
        }
    }

    /// Puts the parts of a batch into the content.
    fn push_all(&self, builder: &mut ContentBuilder, mut parts: impl Iterator<Item = Part>) -> Result<()> {
        let mut scratch = self.writer.lend()?;
        let pushed = parts.try_for_each(|part| builder.push(&self.writer, &mut scratch, part));
        self.writer.give_back(scratch);
        pushed
    }

    /// Stores the chunks of a batch, or compares them with the last version, and returns their parts in order.
    fn put_all(
        &self,
        batch: &[u8],
        ends: &[usize],
        sort: Sort,
        at: u64,
        compared: Option<(&Resemblance, &Outline)>,
    ) -> Result<Vec<Vec<Looked>>> {
        let Some(&taken) = ends.last() else {
            return Ok(Vec::new());
        };
        let per_run = (RUN_BYTES / (taken / ends.len()).max(1)).max(1);
        ends.par_chunks(per_run)
            .enumerate()
            .map(|(index, ends_of_run)| {
                self.check_cancel()?;
                let mut start = if index == 0 { 0 } else { ends[index * per_run - 1] };
                let run_start = start;
                let mut scratch = self.writer.lend()?;
                let first = compared.map_or(0, |(resemblance, _)| resemblance.len()) + index * per_run;
                let mut put = |(index, &end): (usize, &usize)| {
                    let chunk = &batch[start..end];
                    let looked = match compared {
                        Some(compared) => {
                            let place = (first + index, at + start as u64);
                            Looked::Compared(self.look(compared, &mut scratch, sort, place, chunk)?)
                        }
                        None => {
                            let id = self.writer.put(&mut scratch, sort, chunk)?.id;
                            Looked::Stored(Part::Chunk { id, bytes: chunk.len() as u64 })
                        }
                    };
                    start = end;
                    Ok(looked)
                };
                let parts: Result<Vec<Looked>> = ends_of_run.iter().enumerate().map(&mut put).collect();
                self.writer.give_back(scratch);
                self.send(&Event::Progress { files: 0, bytes: (start - run_start) as u64 });
                parts
            })
            .collect()
    }
}
