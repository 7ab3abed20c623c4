//! `init`: makes a repository.

use daykeep_engine::Result;

use super::{Context, Status};
use crate::place;

pub fn run(context: &Context) -> Result<Status> {
    // What was made is told where it is made, since `backup` makes repositories too.
    place::create(context)?;
    Ok(Status::Done)
}
