//! `completions`: what a shell needs to complete the command line.

use clap::CommandFactory;
use daykeep_engine::Result;

use super::{Context, Status};
use crate::args::Args;

pub fn run(context: &Context, shell: clap_complete::Shell) -> Result<Status> {
    // Generated in memory, because writing it to a closed pipe directly would panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "daykeep", &mut script);
    context.out.raw(&script);
    Ok(Status::Done)
}
