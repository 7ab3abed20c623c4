//! The test suite of the workspace, one binary.
//!
//! `DAYKEEP_LONG=1` runs more cases, `DAYKEEP_MAKE_GOLDEN=1` makes the golden repository anew.

mod chunking;
mod chunking_oracle;
mod damage;
mod formats;
mod hostile;
mod incremental;
mod meter;
mod readme;
mod roundtrip;
mod structure;
