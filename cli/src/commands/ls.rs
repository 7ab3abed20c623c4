//! `ls`: lists the files of a snapshot.

use std::os::unix::ffi::OsStrExt;

use daykeep_engine::{Access, Error, ListedEntry, ListedKind, Result, SnapshotPath};
use serde::Serialize;

use super::{Context, JsonPath, Status};
use crate::args::LsArgs;
use crate::place;
use crate::text;

pub fn run(context: &Context, args: LsArgs) -> Result<Status> {
    let mut path = SnapshotPath::parse(args.snapshot.as_bytes())?;
    let repository = place::open(context, Access::Read)?.repository;
    args.latest.choose_of(&repository, [&mut path])?;
    let (out, cancel) = (&context.out, context.signals.cancel_token());
    let long = args.long || context.global.verbose;
    let (mut entries, mut bytes) = (0, 0);
    repository.list(&path, &mut |entry| {
        entries += 1;
        bytes += entry.bytes;
        if out.is_json() {
            out.json(&JsonEntry::of(entry));
        } else if long {
            out.line(&long_line(entry));
        } else {
            out.line(&text::name(&entry.path));
        }
        out.is_open() && !cancel.is_cancelled()
    })?;
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    if out.is_json() {
        out.json(&JsonSummary { entries, bytes });
    }
    Ok(Status::Done)
}

/// Returns a line as `ls -l` writes it.
fn long_line(entry: &ListedEntry) -> String {
    let owner = |name: &Option<String>, id: u32| match name {
        Some(name) => text::escape(name),
        None => id.to_string(),
    };
    let target = match &entry.kind {
        ListedKind::Symlink(target) => format!(" -> {}", text::name(target)),
        _ => String::new(),
    };
    format!(
        "{}  {:<8} {:<8} {:>12}  {}  {}{target}",
        permissions(&entry.kind, entry.mode),
        owner(&entry.user, entry.uid),
        owner(&entry.group, entry.gid),
        entry.bytes,
        text::local_time(entry.mtime),
        text::name(&entry.path),
    )
}

/// Returns kind and permissions in the ten letters of `ls -l`.
fn permissions(kind: &ListedKind, mode: u16) -> String {
    let mut letters = String::with_capacity(10);
    letters.push(match kind {
        ListedKind::File => '-',
        ListedKind::Directory => 'd',
        ListedKind::Symlink(_) => 'l',
        ListedKind::Fifo => 'p',
        ListedKind::CharDevice(_) => 'c',
        ListedKind::BlockDevice(_) => 'b',
        _ => '?',
    });
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => set.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "entry")]
struct JsonEntry<'a> {
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    bytes: u64,
    /// Permission bits, as a number.
    mode: u16,
    uid: u32,
    gid: u32,
    user: Option<&'a str>,
    group: Option<&'a str>,
    mtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<u64>,
}

impl<'a> JsonEntry<'a> {
    fn of(entry: &'a ListedEntry) -> Self {
        let (kind, target, device) = match &entry.kind {
            ListedKind::File => ("file", None, None),
            ListedKind::Directory => ("directory", None, None),
            ListedKind::Symlink(target) => ("symlink", Some(target), None),
            ListedKind::Fifo => ("fifo", None, None),
            ListedKind::CharDevice(device) => ("char_device", None, Some(*device)),
            ListedKind::BlockDevice(device) => ("block_device", None, Some(*device)),
            _ => ("other", None, None),
        };
        Self {
            path: JsonPath::of_bytes(&entry.path),
            kind,
            bytes: entry.bytes,
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            user: entry.user.as_deref(),
            group: entry.group.as_deref(),
            mtime: text::utc_time(entry.mtime),
            target: target.map(|target| String::from_utf8_lossy(target).into_owned()),
            target_bytes: target.filter(|target| str::from_utf8(target).is_err()).map(|target| text::hex(target)),
            device,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_look_as_in_ls() {
        assert_eq!(permissions(&ListedKind::File, 0o644), "-rw-r--r--");
        assert_eq!(permissions(&ListedKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(permissions(&ListedKind::File, 0o6711), "-rws--s--x");
        assert_eq!(permissions(&ListedKind::File, 0o7000), "---S--S--T");
    }
}
