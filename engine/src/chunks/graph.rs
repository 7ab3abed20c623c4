//! Reads many chunks at once with all that they stand on: each frame is opened once, each chunk rebuilt once.

use std::collections::{BinaryHeap, HashMap};

use crate::base::limits::DELTA_CLOSURE_MAX;
use crate::base::{IdHash, ShortId};
use crate::chunks::foresight::Foresight;
use crate::chunks::reader::ChunkReader;
use crate::delta::DeltaDecoder;
use crate::error::{Error, Result};
use crate::format::index::{ChunkKind, ChunkLocation};

/// A chunk, and what it stands on.
struct Node {
    id: ShortId,
    location: ChunkLocation,
    /// Places in the graph, before this one.
    bases: Vec<u32>,
    /// How many deltas lie on the longest way down.
    depth: u8,
}

/// Chunks and the bases that they stand on, bases before what stands on them.
#[derive(Default)]
pub struct Graph {
    places: HashMap<ShortId, u32, IdHash>,
    nodes: Vec<Node>,
    bytes: usize,
}

impl Graph {
    /// Returns whether what lies in frames of everything in it is at most `bytes` bytes.
    pub const fn bytes_at_most(&self, bytes: usize) -> bool {
        self.bytes <= bytes
    }

    /// Returns what lies in frames of everything in it.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the chunk's depth.
    pub fn depth(&self, place: u32) -> u8 {
        self.nodes[place as usize].depth
    }

    /// Returns the chunk's id.
    pub fn id(&self, place: u32) -> ShortId {
        self.nodes[place as usize].id
    }

    /// Returns what the chunk stands on, the nearest last.
    pub fn bases(&self, place: u32) -> &[u32] {
        &self.nodes[place as usize].bases
    }

    /// Returns the whole chunk at the bottom of the way down from `place` over last bases, which are the nearest.
    pub fn bottom(&self, mut place: u32) -> u32 {
        while let Some(&base) = self.bases(place).last() {
            place = base;
        }
        place
    }

    /// Returns the deltas among the chunks at `wanted` and what these stand on, bases first.
    fn deltas_below(&self, wanted: &[u32]) -> Vec<u32> {
        let mut open: BinaryHeap<u32> = wanted.iter().copied().collect();
        let mut deltas = Vec::new();
        // Whatever stands on a chunk comes after it, so once the greatest is taken, it does not come again.
        while let Some(place) = open.pop() {
            let node = &self.nodes[place as usize];
            if node.depth > 0 && deltas.last() != Some(&place) {
                deltas.push(place);
                open.extend(&node.bases);
            }
        }
        deltas.reverse();
        deltas
    }

    /// Returns how many chunks there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns where the chunk lies.
    pub fn location(&self, place: u32) -> &ChunkLocation {
        &self.nodes[place as usize].location
    }

    /// Returns the places `wanted` and all that they stand on.
    pub fn needed(&self, wanted: impl IntoIterator<Item = u32>) -> impl Iterator<Item = u32> {
        let mut is_needed = vec![false; self.nodes.len()];
        wanted.into_iter().for_each(|place| is_needed[place as usize] = true);
        for (place, node) in self.nodes.iter().enumerate().rev() {
            if is_needed[place] {
                node.bases.iter().for_each(|&base| is_needed[base as usize] = true);
            }
        }
        (0u32..).zip(is_needed).filter_map(|(place, is_needed)| is_needed.then_some(place))
    }

    /// Returns what gathers chunks with all that they stand on.
    pub fn needs(&self) -> Needs<'_> {
        Needs { graph: self, is_in: vec![false; self.nodes.len()], places: Vec::new(), bytes: 0 }
    }

    /// Adds the chunk at `place` and all that it stands on to `needs`, each once, and returns whether these are then
    /// at most `count_max`; if not, `needs` is as it was.
    pub fn add_needs(&self, place: u32, needs: &mut Vec<u32>, count_max: usize) -> bool {
        let before = needs.len();
        let mut at = before;
        if !needs.contains(&place) {
            needs.push(place);
        }
        while at < needs.len() {
            for base in &self.nodes[needs[at] as usize].bases {
                if !needs.contains(base) {
                    needs.push(*base);
                }
            }
            if needs.len() > count_max {
                needs.truncate(before);
                return false;
            }
            at += 1;
        }
        true
    }
}

/// Chunks of a graph and all that they stand on, each once.
pub struct Needs<'g> {
    graph: &'g Graph,
    is_in: Vec<bool>,
    places: Vec<u32>,
    bytes: usize,
}

impl Needs<'_> {
    /// Adds the chunk at `place`, and returns what lies in frames of all that was added.
    pub fn add(&mut self, place: u32) -> usize {
        let mut at = self.places.len();
        self.add_one(place);
        while at < self.places.len() {
            let node = &self.graph.nodes[self.places[at] as usize];
            node.bases.iter().for_each(|&base| self.add_one(base));
            at += 1;
        }
        self.bytes
    }

    fn add_one(&mut self, place: u32) {
        if !std::mem::replace(&mut self.is_in[place as usize], true) {
            self.places.push(place);
            self.bytes += self.graph.nodes[place as usize].location.stored_bytes as usize;
        }
    }

    /// Takes out all that was added.
    pub fn take(&mut self) -> Vec<u32> {
        self.places.iter().for_each(|&place| self.is_in[place as usize] = false);
        self.bytes = 0;
        std::mem::take(&mut self.places)
    }
}

/// What lies in the frames of chunks of a graph: their bytes, or their deltas.
pub struct Opened {
    /// All of them, in the order of the frames.
    pub(super) bytes: Vec<u8>,
    /// Where each chunk's begin; of those that were not read it says nothing.
    pub(super) starts: Vec<usize>,
}

/// Chunks of one graph, rebuilt by one thread.
#[derive(Default)]
pub struct Rebuilt {
    /// Made when the first delta comes.
    decoder: Option<DeltaDecoder>,
    /// What deltas made.
    made: Vec<u8>,
    /// Where in it each chunk is that was a delta, in the order of their places.
    spans: Vec<(u32, usize)>,
}

impl ChunkReader {
    /// Adds a chunk and what it stands on to `graph` and returns its place. What is not in `foresight` is looked up.
    ///
    /// # Errors
    /// `Missing` or `Damaged`; the graph is as good as before.
    pub fn explore(&self, graph: &mut Graph, foresight: &Foresight, id: &ShortId, kind: ChunkKind) -> Result<u32> {
        if let Some(&place) = graph.places.get(id) {
            return Ok(place);
        }
        let location = self.locate_by(foresight, id, kind)?;
        let first = graph.nodes.len();
        let outcome = self.explore_at(graph, foresight, (id, &location), (first, 0)).and_then(|place| {
            if needs_within(graph, place) { Ok(place) } else { Err(self.needs_too_much(id, &location)) }
        });
        if outcome.is_err() {
            for node in graph.nodes.drain(first..) {
                graph.places.remove(&node.id);
                graph.bytes -= node.location.stored_bytes as usize;
            }
        }
        outcome
    }

    fn needs_too_much(&self, id: &ShortId, location: &ChunkLocation) -> Error {
        self.damaged(&location.frame, &format!("chunk {id} needs more than 31 other chunks, or itself"))
    }

    /// `first` is the place of the first chunk that was added with the one on top, and `above` how many deltas lie between.
    fn explore_at(
        &self,
        graph: &mut Graph,
        foresight: &Foresight,
        (id, location): (&ShortId, &ChunkLocation),
        (first, above): (usize, u8),
    ) -> Result<u32> {
        if let Some(&place) = graph.places.get(id) {
            return Ok(place);
        }
        let (mut bases, mut depth) = (Vec::new(), 0);
        if location.reach.depth > 0 {
            if above == DELTA_CLOSURE_MAX {
                return Err(self.needs_too_much(id, location));
            }
            for (base_id, base) in self.bases_of(foresight, id, location)? {
                let place = self.explore_at(graph, foresight, (&base_id, &base), (first, above + 1))?;
                depth = depth.max(graph.depth(place).saturating_add(1));
                bases.push(place);
            }
        }
        // All that is added belongs to what the one on top needs.
        if graph.nodes.len() - first > usize::from(DELTA_CLOSURE_MAX) {
            return Err(self.needs_too_much(id, location));
        }
        // What is recorded of it counts where that is more: no delta may be recorded as less deep than its bases are.
        depth = depth.max(location.reach.depth);
        let place = graph.nodes.len() as u32;
        graph.nodes.push(Node { id: *id, location: *location, bases, depth });
        graph.places.insert(*id, place);
        graph.bytes += location.stored_bytes as usize;
        Ok(place)
    }

    /// Rebuilds the chunks at `wanted`, in the memory of `rebuilt`. Only their ids are recomputed, not those of what they
    /// stand on.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn rebuild(&self, graph: &Graph, opened: &Opened, wanted: &[u32], rebuilt: &mut Rebuilt) -> Result<()> {
        rebuilt.made.clear();
        rebuilt.spans.clear();
        let mut prefix = Vec::new();
        for place in graph.deltas_below(wanted) {
            let Node { id, location, bases, .. } = &graph.nodes[place as usize];
            prefix.clear();
            bases.iter().for_each(|&base| prefix.extend_from_slice(rebuilt.get(graph, opened, base)));
            let start = rebuilt.made.len();
            rebuilt.made.resize(start + location.bytes as usize, 0);
            rebuilt
                .decode(&prefix, opened.get(graph, place), start)
                .map_err(|error| self.damaged(&location.frame, &format!("the delta of chunk {id} {error}")))?;
            rebuilt.spans.push((place, start));
        }
        wanted.iter().try_for_each(|&place| {
            let Node { id, location, .. } = &graph.nodes[place as usize];
            self.check_id(id, location, rebuilt.get(graph, opened, place))
        })
    }
}

/// Returns whether the chunk at `place` needs no more than it may.
fn needs_within(graph: &Graph, place: u32) -> bool {
    let mut needs = Vec::new();
    graph.nodes[place as usize]
        .bases
        .iter()
        .all(|&base| graph.add_needs(base, &mut needs, usize::from(DELTA_CLOSURE_MAX)))
}

impl Opened {
    /// Returns what lies in the chunk's frame: its bytes, or its delta.
    pub fn get(&self, graph: &Graph, place: u32) -> &[u8] {
        let start = self.starts[place as usize];
        &self.bytes[start..start + graph.nodes[place as usize].location.stored_bytes as usize]
    }
}

impl Rebuilt {
    fn decode(&mut self, prefix: &[u8], delta: &[u8], start: usize) -> std::io::Result<()> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(DeltaDecoder::new()?),
        };
        decoder.decode(prefix, delta, &mut self.made[start..])
    }

    /// Returns the bytes of a chunk that was rebuilt, or of a whole one.
    pub fn get<'b>(&'b self, graph: &Graph, opened: &'b Opened, place: u32) -> &'b [u8] {
        match self.spans.binary_search_by_key(&place, |&(place, _)| place) {
            Ok(at) => {
                let start = self.spans[at].1;
                &self.made[start..start + graph.nodes[place as usize].location.bytes as usize]
            }
            Err(_) => opened.get(graph, place),
        }
    }
}
