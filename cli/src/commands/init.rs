//! `init`: makes a repository.

use daykeep_engine::{Access, Result};

use super::{Context, Status};
use crate::args::InitArgs;
use crate::place::{self, New};

pub fn run(context: &Context, args: InitArgs) -> Result<Status> {
    let chunking = match &args.copy_chunking_from {
        Some(named) => {
            let options = place::open_options(context);
            Some(place::open_other(context, named, &args.other, Access::Read, &options)?.chunking())
        }
        None => None,
    };
    // What was made is told where it is made, since `backup` makes repositories too.
    place::create(context, &New { chunking, parity_percent: args.parity, is_asked_for: true })?;
    Ok(Status::Done)
}
