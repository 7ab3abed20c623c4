//! How a user names a snapshot, or a path in one.

use crate::base::shown;
use crate::error::{Error, Result};
use crate::format::tree::is_valid_name;

/// A snapshot, or a path in one: `ID` or `ID:PATH`, where ID may be `latest` or the first digits of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPath {
    /// The snapshot, as the user named it.
    pub snapshot: String,
    /// The path's components from the root; `None`: no path was given.
    pub path: Option<Vec<Vec<u8>>>,
}

impl SnapshotPath {
    /// Returns the path's components, none if no path was given.
    pub(crate) fn names(&self) -> Vec<&[u8]> {
        self.path.iter().flatten().map(Vec::as_slice).collect()
    }

    /// Reads what the user wrote.
    ///
    /// # Errors
    /// `InvalidOption` for a path with `..`.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let (id, path) = match text.iter().position(|&byte| byte == b':') {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let snapshot = String::from_utf8_lossy(id).into_owned();
        let mut names = Vec::new();
        for name in path.unwrap_or_default().split(|&byte| byte == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            if !is_valid_name(name) {
                let reason = format!("{}: write the path without `..`", shown(text));
                return Err(Error::InvalidOption { option: "SNAPSHOT:PATH", reason });
            }
            names.push(name.to_vec());
        }
        Ok(Self { snapshot, path: path.map(|_| names) })
    }
}
