//! Data sets for measuring backups, made from a seed: the same bytes on every machine.

pub mod random;
