//! `daykeep-datasets`: writes the data sets that backups are measured on.

fn main() {}
