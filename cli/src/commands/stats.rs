//! `stats`: shows what a repository holds.

use daykeep_engine::{Access, Result, Stats};
use serde::Serialize;

use super::{Context, Status};
use crate::place;
use crate::text;

pub fn run(context: &Context) -> Result<Status> {
    let stats = place::open(context, Access::Read)?.repository.stats()?;
    let out = &context.out;
    if out.is_json() {
        out.json(&JsonStats::of(&stats));
        return Ok(Status::Done);
    }
    let line = |what: &str, value: String| out.line(&format!("{what:<24} {value}"));
    line("Snapshots:", text::count(stats.snapshots));
    line("Their files together:", text::size(stats.snapshot_bytes));
    line("Distinct chunks:", format!("{}, {}", text::count(stats.chunks), text::size(stats.chunk_bytes)));
    line(
        "Stored, sealed:",
        format!(
            "{} in {} and {}",
            text::size(stats.bytes_stored),
            text::counted(stats.packs, "pack", "packs"),
            text::counted(stats.index_objects, "index object", "index objects")
        ),
    );
    let parity = if stats.parity_percent == 0 { "none".to_owned() } else { format!("{}%", stats.parity_percent) };
    line("Parity:", parity);
    Ok(Status::Done)
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonStats {
    snapshots: u64,
    snapshot_bytes: u64,
    chunks: u64,
    chunk_bytes: u64,
    packs: u64,
    index_objects: u64,
    bytes_stored: u64,
    parity_percent: u8,
}

impl JsonStats {
    fn of(stats: &Stats) -> Self {
        Self {
            snapshots: stats.snapshots,
            snapshot_bytes: stats.snapshot_bytes,
            chunks: stats.chunks,
            chunk_bytes: stats.chunk_bytes,
            packs: stats.packs,
            index_objects: stats.index_objects,
            bytes_stored: stats.bytes_stored,
            parity_percent: stats.parity_percent,
        }
    }
}
