//! Files of several names: each is read once, as far as there is memory to remember it.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex};

use crate::backup::capture;
use crate::backup::engine::Engine;
use crate::base::limits::MIB;
use crate::base::{Lease, MemoryBudget, lock};
use crate::format::content::Part;
use crate::format::tree::{Node, Timestamp};
use crate::source::{Stat, same_file_state};

/// Device, inode, and what tells that there is still the same in it: length, and the times of content and metadata.
/// And for a database, what lies beside this name: its log is found by the name.
type LinkedFile = (u64, u64, u64, Timestamp, Timestamp, [u8; 16]);

/// Memory is taken in steps of so many bytes …
const STEP_BYTES: usize = MIB;
/// … as long as all but one part in so many is left to others.
const PART_MAX: usize = 8;
/// What an inode takes in the map, of whose places some stay free; and beside it, for what is in it.
const BYTES_PER_LINK: usize = 2 * (size_of::<LinkedFile>() + size_of::<Node>()) + 32;

/// The content of inodes with more than one link. Further ones are read again and found known.
pub(super) struct Links {
    budget: Arc<MemoryBudget>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    nodes: HashMap<LinkedFile, Node>,
    bytes: usize,
    leases: Vec<Lease>,
}

impl Known {
    /// Returns whether there is memory for `bytes` bytes more.
    fn has_room(&mut self, bytes: usize, budget: &Arc<MemoryBudget>) -> bool {
        let bytes_max = budget.bytes() / PART_MAX;
        if self.bytes + bytes > self.leases.len() * STEP_BYTES && self.bytes + bytes <= bytes_max {
            self.leases.extend(budget.take(STEP_BYTES, budget.bytes() / 4));
        }
        self.bytes + bytes <= self.leases.len() * STEP_BYTES
    }
}

fn linked_file(stat: &Stat, beside: [u8; 16]) -> Option<LinkedFile> {
    let of = &stat.metadata;
    Some((of.link_device?, of.inode, stat.size, of.mtime, of.ctime, beside))
}

impl Links {
    /// Begins without any, to take the memory from `budget`.
    pub fn new(budget: &Arc<MemoryBudget>) -> Self {
        Self { budget: Arc::clone(budget), known: Mutex::default() }
    }
}

impl Engine<'_> {
    /// Returns what another link to the same inode is, if one was read.
    pub fn linked(&self, stat: &Stat, beside: [u8; 16]) -> Option<Node> {
        let file = linked_file(stat, beside)?;
        lock(&self.links.known).nodes.get(&file).cloned()
    }

    /// Remembers what an inode with more than one link is, unless it changed while it was read.
    pub fn remember_link(&self, stat: &Stat, beside: [u8; 16], node: &Node, file: &File) {
        if let Some(linked) = linked_file(stat, beside)
            && capture::is_of_any_name(node)
            && Stat::of_file(file).is_ok_and(|after| same_file_state(stat, &after))
        {
            let parts = node.content().map_or(0, |content| content.parts.len());
            let bytes = BYTES_PER_LINK + parts * size_of::<Part>();
            let mut known = lock(&self.links.known);
            if known.has_room(bytes, &self.links.budget) && known.nodes.insert(linked, node.clone()).is_none() {
                known.bytes += bytes;
            }
        }
    }
}
