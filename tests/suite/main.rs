//! The test suite of the workspace, one binary.
//!
//! `DAYKEEP_LONG=1` runs more cases, `DAYKEEP_MAKE_GOLDEN=1` makes the golden repository anew.

mod bad_repositories;
mod cancelling;
mod chats;
mod check;
mod check_index;
mod chunking;
mod chunking_oracle;
mod copying;
mod damage;
mod databases;
mod deltas;
mod diff;
mod faults;
mod file_faults;
mod find;
mod forget;
mod formats;
mod golden;
mod hostile;
mod incremental;
mod killing;
mod meter;
mod moving_sources;
mod parity;
mod power_loss;
mod prune;
mod prune_decision;
mod prune_faults;
mod prune_hostile;
mod prune_killing;
mod readme;
mod repair;
mod repair_killing;
mod rescue;
mod restore_killing;
mod restore_test;
mod restoring;
mod rewrite;
mod rollback;
mod roundtrip;
mod small_trees;
mod structure;
mod tag;
mod whatsapp;
