//! Copies chunks from another repository, whose ids are drawn from another key: each is rebuilt to know its id here, and what
//! is a delta there becomes the same delta here.

use rayon::prelude::*;

use crate::base::limits::DELTA_CLOSURE_MAX;
use crate::base::{ChunkId, Lease, ShortId};
use crate::chunks::foresight::prefix;
use crate::chunks::graph::{Graph, Opened, Rebuilt};
use crate::chunks::reader::{CHUNKS_PER_REBUILD, ChunkReader, Crew};
use crate::chunks::writer::{ChunkWriter, Scratch, Sort};
use crate::error::Result;
use crate::format::index::{ChunkLocation, DeltaRecord, Reach};

/// So many chunks are looked up at a time: a group of large ones has fewer.
const CHUNKS_FORESEEN: usize = 4096;

/// Chunks of the other repository and all that they stand on.
struct Group<'a> {
    source: &'a ChunkReader,
    graph: Graph,
    opened: Opened,
    _lease: Lease,
    /// Of each chunk: what sort it is.
    sorts: Vec<Sort>,
    /// Its id here.
    ids: Vec<ChunkId>,
    /// Where it lies here, if it is in the catalog.
    here: Vec<Option<ChunkLocation>>,
    /// Which were asked for.
    wanted: Vec<(u32, Sort)>,
}

/// How a chunk is stored here.
enum Form {
    /// As it lies there, or rebuilt.
    Whole,
    /// As the same delta.
    Delta(Reach),
    /// As a delta, once what it stands on is in the catalog.
    Later,
}

/// Returns how many of `count` chunks are one task's: few if they are large, so that all cores have some.
fn per_task(count: usize) -> usize {
    (count / (4 * rayon::current_num_threads())).clamp(1, CHUNKS_PER_REBUILD)
}

impl ChunkWriter {
    /// Stores data chunks of another repository unless this one has them, and what they stand on there, on all cores. Calls
    /// `note` with the id of each there and here.
    ///
    /// Returns those that are left for a next writer, when this one is finished: a delta is stored only upon what is safely
    /// listed, since after a crash it must not be there alone. There are at most as many turns as levels of deltas.
    ///
    /// # Errors
    /// `Missing` or `Damaged` for what cannot be read there; as [`put`](Self::put); or what `note` returns.
    pub fn copy_from(
        &self,
        source: &ChunkReader,
        mut wanted: &[(ShortId, Sort)],
        note: &mut dyn FnMut(ShortId, ShortId) -> Result<()>,
    ) -> Result<Vec<(ShortId, Sort)>> {
        let mut later = Vec::new();
        while !wanted.is_empty() {
            let group = self.group(source, wanted)?;
            wanted = &wanted[group.wanted.len()..];
            let places: Vec<u32> = (0..group.ids.len() as u32).collect();
            let store = |places: &[u32]| -> Result<Vec<bool>> {
                let mut scratch = self.lend()?;
                let outcome = places.iter().map(|&place| self.put_copy(&mut scratch, &group, place)).collect();
                self.give_back(scratch);
                outcome
            };
            let is_here: Vec<Vec<bool>> =
                places.par_chunks(per_task(places.len())).map(store).collect::<Result<_>>()?;
            let is_here = is_here.concat();
            for (place, id) in (0u32..).zip(&group.ids).filter(|(place, _)| is_here[*place as usize]) {
                note(group.graph.id(place), id.short())?;
            }
            let left = group.wanted.iter().filter(|(place, _)| !is_here[*place as usize]);
            later.extend(left.map(|&(place, sort)| (group.graph.id(place), sort)));
        }
        Ok(later)
    }

    /// Reads as many of the chunks as fit into memory with what they stand on.
    fn group<'a>(&self, source: &'a ChunkReader, chunks: &[(ShortId, Sort)]) -> Result<Group<'a>> {
        let lease = source.lease_graph(source.graph_bytes);
        let (mut graph, mut sorts, mut wanted) = (Graph::default(), Vec::new(), Vec::new());
        'full: for chunks in chunks.chunks(CHUNKS_FORESEEN) {
            let foresight = source.foresee(Crew::AllCores, chunks.iter().map(|(id, _)| *id));
            for &(id, sort) in chunks {
                if !wanted.is_empty() && !graph.bytes_at_most(lease.bytes()) {
                    break 'full;
                }
                wanted.push((source.explore(&mut graph, &foresight, &id, sort.kind())?, sort));
                // What it stands on is of its sort.
                sorts.resize(graph.len(), sort);
            }
        }
        let all: Vec<u32> = (0..graph.len() as u32).collect();
        let opened = source.read_graph(Crew::AllCores, &graph, all.iter().copied())?;
        let rebuild = |places: &[u32]| -> Result<Vec<ChunkId>> {
            let mut rebuilt = Rebuilt::default();
            source.rebuild(&graph, &opened, places, &mut rebuilt)?;
            let id = |&place: &u32| self.id(sorts[place as usize], rebuilt.get(&graph, &opened, place));
            Ok(places.iter().map(id).collect())
        };
        let ids: Vec<Vec<ChunkId>> = all.par_chunks(per_task(all.len())).map(rebuild).collect::<Result<_>>()?;
        let ids = ids.concat();
        let here = ids.par_iter().map(|id| Ok(self.catalog.find(&id.short())?)).collect::<Result<Vec<_>>>()?;
        Ok(Group { source, graph, opened, _lease: lease, sorts, ids, here, wanted })
    }

    /// Stores a chunk unless it is here; returns whether it is then.
    fn put_copy(&self, scratch: &mut Scratch, group: &Group<'_>, place: u32) -> Result<bool> {
        let Group { source, graph, opened, .. } = group;
        let (at, location) = (place as usize, graph.location(place));
        let (sort, id) = (group.sorts[at], group.ids[at]);
        if group.here[at].is_some() {
            return Ok(true);
        }
        let form = self.form(group, place)?;
        if matches!(form, Form::Later) || !self.claim(id.short(), location.bytes as usize)? {
            return Ok(!matches!(form, Form::Later));
        }
        match form {
            Form::Delta(reach) => {
                let prefix = |&base: &u32| prefix(&group.ids[base as usize].short());
                let bases = graph.bases(place).iter().map(prefix).collect();
                let record = DeltaRecord { bytes: location.bytes, reach, bases };
                self.put_delta(scratch, sort, id, record, opened.get(graph, place))?;
            }
            _ if location.reach.depth == 0 => self.put_claimed(scratch, sort, id, opened.get(graph, place))?,
            _ => {
                let mut rebuilt = Rebuilt::default();
                source.rebuild(graph, opened, &[place], &mut rebuilt)?;
                self.put_claimed(scratch, sort, id, rebuilt.get(graph, opened, place))?;
            }
        }
        Ok(true)
    }

    /// Decides how a chunk is stored. What it stands on may be stored here in another way than there, so that it would need
    /// more than it may.
    fn form(&self, group: &Group<'_>, place: u32) -> Result<Form> {
        let bases = group.graph.bases(place);
        let (mut depth, mut needs) = (0, Vec::with_capacity(usize::from(DELTA_CLOSURE_MAX) + 1));
        for &base in bases {
            let Some(location) = group.here[base as usize] else { return Ok(Form::Later) };
            depth = depth.max(location.reach.depth.saturating_add(1));
            let id = group.ids[base as usize].short();
            if !needs.contains(&id) {
                needs.push(id);
            }
        }
        let mut at = 0;
        while at < needs.len() && needs.len() <= usize::from(DELTA_CLOSURE_MAX) {
            for base in self.catalog.bases(&needs[at])? {
                match self.catalog.find_base(&base)? {
                    Some((id, _)) if needs.contains(&id) => {}
                    Some((id, _)) => needs.push(id),
                    // Whatever stands on it could not be read.
                    None => return Ok(Form::Whole),
                }
            }
            at += 1;
        }
        // The depth of a base is what was recorded of it, though what it stands on may be less deep by now.
        let closure = needs.len().max(usize::from(depth));
        let fits = closure <= usize::from(DELTA_CLOSURE_MAX);
        Ok(if depth > 0 && fits { Form::Delta(Reach { depth, closure: closure as u8 }) } else { Form::Whole })
    }
}
