//! Which snapshots `latest` is chosen from.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use daykeep_engine::{Error, Repository, Result, SnapshotPath, SnapshotRecord, source_path};

#[derive(ClapArgs, Debug, Default)]
pub struct LatestArgs {
    /// Choose `latest` among the snapshots of this machine.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Choose `latest` among the snapshots with this tag (can be repeated; then with all of them).
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<String>,
    /// Choose `latest` among the snapshots of this path (can be repeated; then of all of them).
    #[arg(long, value_name = "PATH")]
    pub path: Vec<PathBuf>,
}

impl LatestArgs {
    fn is_given(&self) -> bool {
        self.host.is_some() || !self.tag.is_empty() || !self.path.is_empty()
    }

    /// Returns whether a snapshot is one to choose from.
    pub fn matches(&self, record: &SnapshotRecord) -> bool {
        let has_path = |path: &PathBuf| {
            let source = source_path(path).unwrap_or_else(|_| path.clone());
            // The names of streams are not absolute.
            record
                .paths
                .iter()
                .any(|saved| [&source, path].iter().any(|path| saved == path.as_os_str().as_encoded_bytes()))
        };
        self.tag.iter().all(|tag| record.tags.contains(tag))
            && self.host.as_ref().is_none_or(|host| *host == record.host)
            && self.path.iter().all(has_path)
    }

    /// Puts the id of the latest snapshot among those to choose from in the place of each `latest`.
    ///
    /// # Errors
    /// `InvalidOption` if there is none to be replaced; `SnapshotNotFound`; that of a snapshot that cannot be read, since an
    /// older one must not pass for it.
    pub fn choose<'n>(&self, repository: &Repository, named: impl IntoIterator<Item = &'n mut String>) -> Result<()> {
        if !self.is_given() {
            return Ok(());
        }
        let mut latest = named.into_iter().filter(|name| *name == "latest").peekable();
        if latest.peek().is_none() {
            let reason = "--host, --tag and --path choose which snapshot `latest` is; name `latest`, or leave them out";
            return Err(Error::InvalidOption { option: "latest", reason: reason.into() });
        }
        let (snapshots, mut errors) = repository.snapshots()?;
        if let Some(error) = errors.pop() {
            return Err(error);
        }
        let chosen = snapshots.iter().rev().find(|snapshot| self.matches(&snapshot.record));
        let wanted = "latest with this --host, --tag and --path";
        let chosen = chosen.ok_or_else(|| Error::SnapshotNotFound { wanted: wanted.into() })?;
        latest.for_each(|name| *name = chosen.id.to_string());
        Ok(())
    }

    /// As [`choose`](Self::choose), for snapshots with paths in them.
    ///
    /// # Errors
    /// As [`choose`](Self::choose).
    pub fn choose_of<'p>(
        &self,
        repository: &Repository,
        paths: impl IntoIterator<Item = &'p mut SnapshotPath>,
    ) -> Result<()> {
        self.choose(repository, paths.into_iter().map(|path| &mut path.snapshot))
    }
}
