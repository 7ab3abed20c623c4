//! Reads chunks that lie here and there in frames, each frame once, and hands them out in the order of the frames.

use rayon::prelude::*;

use crate::base::limits::KIB;
use crate::base::{Lease, ShortId, large};
use crate::chunks::graph::{Graph, Opened, Rebuilt};
use crate::chunks::reader::{CHUNKS_PER_REBUILD, ChunkReader, Crew};
use crate::error::Result;
use crate::format::index::{ChunkKind, ChunkLocation};

/// A batch has at most so many chunks …
const CHUNKS_PER_BATCH: usize = 24 * 1024;
/// … and is not added to once it has so many with what they stand on.
const GRAPH_CHUNKS_MAX: usize = 64 * 1024;
/// So few frames are opened one after the other.
const SERIAL_FRAMES: usize = 8;
/// A task rebuilds chunks of so many bytes at a time.
const BYTES_PER_REBUILD: usize = 256 * KIB;
/// What a chunk takes while it is looked up, with what it stands on …
const BYTES_PER_CHUNK: usize = KIB;
/// … of which there is so much in any case.
const LOOK_UP_BYTES_MIN: usize = 256 * KIB;

/// A chunk of a content.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Its id.
    pub id: ShortId,
    /// How many bytes it must have.
    pub bytes: u64,
    /// Where it lies in the content.
    pub at: u64,
}

/// Returns where a chunk lies, as something to sort by.
fn order(location: &ChunkLocation) -> ([u8; 32], u32, u32) {
    (*location.frame.pack.as_bytes(), location.frame.offset, location.offset)
}

/// Takes bytes of a content and where they begin.
pub type Sink<'s> = dyn Fn(u64, &[u8]) -> Result<()> + Sync + 's;

/// What is taken from a frame.
#[derive(Clone, Copy)]
struct Piece {
    location: ChunkLocation,
    use_: Use,
}

#[derive(Clone, Copy)]
enum Use {
    /// It is a chunk that is wanted.
    Hand(Wanted),
    /// It is a delta, or something that deltas stand on: what the graph has at this place.
    Keep(u32),
}

/// Chunks that were looked up, with what they stand on.
#[derive(Default)]
struct Batch {
    count: usize,
    whole: Vec<Piece>,
    /// Places in the graph, and where the chunks lie in the content.
    deltas: Vec<(u32, u64)>,
    graph: Graph,
}

impl ChunkReader {
    /// Reads chunks and calls `sink` with their bytes, from many threads and in any order; what lies one after the other
    /// both in a frame and in the content is handed out together. Every id is recomputed.
    ///
    /// # Errors
    /// As [`read`](Self::read), and whatever `sink` returns.
    pub fn scatter(&self, chunks: &[Wanted], kind: ChunkKind, sink: &Sink<'_>) -> Result<()> {
        let wanted = chunks.len().min(CHUNKS_PER_BATCH) * BYTES_PER_CHUNK;
        let lease = self.budget.take_some(LOOK_UP_BYTES_MIN.min(wanted), wanted);
        let crew = Crew::AllCores.with(lease.bytes(), wanted);
        let mut rest = chunks;
        let mut batch = self.gather((crew, &lease), rest, kind)?;
        loop {
            rest = &rest[batch.count..];
            if rest.is_empty() {
                return self.hand_out(crew, batch, sink);
            }
            batch = match crew {
                // Looking up is one core's work for the most part.
                Crew::AllCores => {
                    let gather = || self.gather((crew, &lease), rest, kind);
                    let (handed, next) = rayon::join(|| self.hand_out(crew, batch, sink), gather);
                    handed?;
                    next?
                }
                Crew::Alone => {
                    self.hand_out(crew, batch, sink)?;
                    self.gather((crew, &lease), rest, kind)?
                }
            };
        }
    }

    /// Looks up the first of `chunks` and what they stand on: as many as a batch may have.
    fn gather(&self, (crew, lease): (Crew, &Lease), chunks: &[Wanted], kind: ChunkKind) -> Result<Batch> {
        let chunks = &chunks[..chunks.len().min((lease.bytes() / BYTES_PER_CHUNK).max(1))];
        let foresight = self.foresee(crew, chunks.iter().map(|wanted| wanted.id));
        let mut batch = Batch::default();
        for wanted in chunks {
            if batch.graph.len() > GRAPH_CHUNKS_MAX {
                break;
            }
            batch.count += 1;
            let location = self.locate_exactly(&foresight, (&wanted.id, wanted.bytes), kind)?;
            if location.reach.depth == 0 {
                batch.whole.push(Piece { location, use_: Use::Hand(*wanted) });
            } else {
                let place = self.explore(&mut batch.graph, &foresight, &wanted.id, kind)?;
                batch.deltas.push((place, wanted.at));
            }
        }
        Ok(batch)
    }

    /// Hands out the chunks of a batch in the order of the frames in which they, or the whole chunks at their bottom, lie: as
    /// much at a time as deltas and what they stand on fit into memory, so that most frames are opened once.
    fn hand_out(&self, crew: Crew, batch: Batch, sink: &Sink<'_>) -> Result<()> {
        let wanted = (2 * self.graph_bytes).min(batch.graph.bytes());
        let lease = self.lease_graph(wanted);
        let (graph_bytes, crew) = (lease.bytes(), crew.with(lease.bytes(), wanted));
        let Batch { graph, mut whole, mut deltas, .. } = batch;
        whole.sort_unstable_by_key(|piece| order(&piece.location));
        let bottom = |place| order(graph.location(graph.bottom(place)));
        deltas.sort_by_cached_key(|&(place, _)| bottom(place));
        let (mut whole, mut deltas) = (whole.as_slice(), deltas.as_slice());
        let mut needs = graph.needs();
        while !whole.is_empty() || !deltas.is_empty() {
            let fit = deltas.iter().take_while(|(place, _)| needs.add(*place) <= graph_bytes).count();
            let now;
            (now, deltas) = deltas.split_at(fit.clamp(deltas.len().min(1), deltas.len()));
            let until = deltas.first().map(|&(place, _)| bottom(place));
            let before = whole.partition_point(|piece| until.is_none_or(|until| order(&piece.location) < until));
            let handed;
            (handed, whole) = whole.split_at(before);
            let kept = needs.take();
            let mut pieces = Vec::with_capacity(handed.len() + kept.len());
            pieces.extend_from_slice(handed);
            let keep = |place: u32| Piece { location: *graph.location(place), use_: Use::Keep(place) };
            pieces.extend(kept.into_iter().map(keep));
            let opened = self.open_pieces(crew, &graph, pieces, sink)?;
            now.par_chunks(CHUNKS_PER_REBUILD).with_min_len(crew.min_len()).try_for_each(|deltas| {
                let (mut rebuilt, mut rest) = (Rebuilt::default(), deltas);
                while !rest.is_empty() {
                    let mut bytes = 0;
                    let fit = rest.iter().take_while(|(place, _)| {
                        bytes += graph.location(*place).bytes as usize;
                        bytes <= BYTES_PER_REBUILD
                    });
                    let (now, after) = rest.split_at(fit.count().max(1));
                    let places: Vec<u32> = now.iter().map(|&(place, _)| place).collect();
                    self.rebuild(&graph, &opened, &places, &mut rebuilt)?;
                    now.iter().try_for_each(|&(place, at)| sink(at, rebuilt.get(&graph, &opened, place)))?;
                    rest = after;
                }
                Ok::<(), crate::error::Error>(())
            })?;
        }
        Ok(())
    }

    /// Reads the chunks at `wanted` and what they stand on, each frame once.
    ///
    /// # Errors
    /// `Damaged`, or the store's own.
    pub fn read_graph(&self, crew: Crew, graph: &Graph, wanted: impl IntoIterator<Item = u32>) -> Result<Opened> {
        let keep = |place| Piece { location: *graph.location(place), use_: Use::Keep(place) };
        self.open_pieces(crew, graph, graph.needed(wanted).map(keep).collect(), &|_, _| Ok(()))
    }

    /// Opens the frames of all pieces, each once. Few go through the cache of frames: who wants little often wants more of
    /// the same soon.
    fn open_pieces(&self, crew: Crew, graph: &Graph, mut pieces: Vec<Piece>, sink: &Sink<'_>) -> Result<Opened> {
        pieces.sort_unstable_by_key(|piece| order(&piece.location));
        let mut starts = vec![0; graph.len()];
        let mut total = 0;
        for piece in &pieces {
            if let Use::Keep(place) = piece.use_ {
                starts[place as usize] = total;
                total += piece.location.stored_bytes as usize;
            }
        }
        let mut bytes = large::zeros(total);
        let mut tasks = Vec::new();
        let mut rest = bytes.as_mut_slice();
        for run in pieces.chunk_by(|a, b| a.location.frame == b.location.frame) {
            let kept = run.iter().map(Piece::kept_bytes).sum();
            let (out, after) = rest.split_at_mut(kept);
            rest = after;
            tasks.push((run, out));
        }
        if tasks.len() <= SERIAL_FRAMES {
            return tasks
                .into_iter()
                .try_for_each(|(run, mut out)| {
                    self.take_pieces(run, &self.plain(&run[0].location.frame)?, &mut out, sink)
                })
                .map(|()| Opened { bytes, starts });
        }
        let plain_bytes: usize = tasks.iter().map(|(run, _)| run[0].location.frame.plain_bytes as usize).sum();
        tasks.into_par_iter().with_min_len(crew.min_len()).try_for_each(|(run, mut out)| {
            let frame = &run[0].location.frame;
            if plain_bytes <= self.cache_bytes {
                return self.take_pieces(run, &self.plain(frame)?, &mut out, sink);
            }
            self.with_plain(frame, &mut |plain| self.take_pieces(run, plain, &mut out, sink))
        })?;
        Ok(Opened { bytes, starts })
    }

    /// Takes what is wanted of one frame: some goes to `out`, some to `sink`.
    fn take_pieces(&self, run: &[Piece], plain: &[u8], out: &mut &mut [u8], sink: &Sink<'_>) -> Result<()> {
        // What waits to be handed out: where it begins in the content, and its range in the frame.
        let mut waiting = (0, 0..0);
        let hand = |(at, range): &(u64, std::ops::Range<usize>)| match range.is_empty() {
            true => Ok(()),
            false => sink(*at, &plain[range.clone()]),
        };
        for Piece { location, use_ } in run {
            let bytes = self.stored(location, plain)?;
            match use_ {
                Use::Keep(_) => {
                    let (here, after) = std::mem::take(out).split_at_mut(bytes.len());
                    here.copy_from_slice(bytes);
                    *out = after;
                }
                Use::Hand(wanted) => {
                    self.check_id(&wanted.id, location, bytes)?;
                    let start = location.offset as usize;
                    if waiting.1.end == start && waiting.0 + waiting.1.len() as u64 == wanted.at {
                        waiting.1.end += bytes.len();
                    } else {
                        hand(&waiting)?;
                        waiting = (wanted.at, start..start + bytes.len());
                    }
                }
            }
        }
        hand(&waiting)
    }
}

impl Piece {
    fn kept_bytes(&self) -> usize {
        match self.use_ {
            Use::Keep(_) => self.location.stored_bytes as usize,
            Use::Hand(_) => 0,
        }
    }
}
