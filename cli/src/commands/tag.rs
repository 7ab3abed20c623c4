//! `tag`: changes the tags of snapshots.

use daykeep_engine::{Access, Result, TagOptions, Tagged};
use serde::Serialize;

use super::{Context, Status};
use crate::args::TagArgs;
use crate::place;
use crate::text::{self, Table};

pub fn run(context: &Context, args: TagArgs) -> Result<Status> {
    let mut options = TagOptions::default();
    // An empty one says that there shall be none.
    options.set = (!args.set.is_empty()).then(|| args.set.into_iter().filter(|tag| !tag.is_empty()).collect());
    options.add = args.add;
    options.remove = args.remove;
    let repository = place::open(context, Access::Write)?.repository;
    let mut snapshots = args.snapshots;
    args.latest.choose(&repository, &mut snapshots)?;
    let done = repository.tag(&snapshots, &options)?;
    let out = &context.out;
    if out.is_json() {
        done.iter().for_each(|tagged| out.json(&JsonTagged::of(tagged)));
        let changed = done.iter().filter(|tagged| tagged.id_before != tagged.snapshot.id).count();
        out.json(&JsonSummary { changed, unchanged: done.len() - changed });
    } else if !context.global.quiet {
        let mut table = Table::new(&["ID BEFORE", "ID", "TAGS"]);
        for Tagged { id_before, snapshot, .. } in &done {
            let tags = text::escape(&snapshot.record.tags.join(","));
            table.row(vec![text::short_id(id_before), text::short_id(&snapshot.id), tags]);
        }
        table.lines().for_each(|line| out.line(&line));
    }
    Ok(Status::Done)
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "tagged")]
struct JsonTagged<'a> {
    id_before: String,
    id: String,
    tags: &'a [String],
}

impl<'a> JsonTagged<'a> {
    fn of(tagged: &'a Tagged) -> Self {
        Self {
            id_before: tagged.id_before.to_string(),
            id: tagged.snapshot.id.to_string(),
            tags: &tagged.snapshot.record.tags,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    changed: usize,
    unchanged: usize,
}
