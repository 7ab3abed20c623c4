//! Notices when index objects may have been lost since a snapshot was made.
//!
//! An unmodified file is taken over from the parent snapshot without a look at its chunks, which would take longer than all
//! the rest of an unchanged backup. That is right as long as the catalog has grown only: what the parent refers to was in
//! it. When it is begun anew, because an index object that it knew is gone, or it was lost or damaged itself, nothing
//! says that it has all again. Snapshots from before are then doubtful: a backup that has one as its parent asks for each
//! chunk, and reads the files again whose chunks are missing. The snapshot it makes is in no doubt.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::format::tree::Timestamp;
use crate::repo::clock::Clock;

/// Lies beside the catalog; its mtime is the time at which that was last begun anew.
const FILE_NAME: &str = "begun-anew";
const TEXT: &str = "When this file was written, the catalog beside it was built anew from the index objects.\n";

/// Returns the time before which snapshots are doubtful. `folder` is where the catalog is kept, if anywhere, and
/// `is_anew` tells whether it knew of no index object, or of one that is gone.
pub(super) fn doubtful_before(folder: Option<&Path>, is_anew: bool, clock: &Clock) -> Timestamp {
    let path = folder.map(|folder| folder.join(FILE_NAME));
    if is_anew {
        let now = clock.now();
        // If it cannot be written, neither can the catalog, which is then begun anew every time.
        let _ = path.map(|path| note(&path, now));
        return now;
    }
    let metadata = path.and_then(|path| path.metadata().ok());
    metadata.map_or(Timestamp::default(), |metadata| Timestamp {
        seconds: metadata.mtime(),
        nanos: metadata.mtime_nsec().clamp(0, 999_999_999) as u32,
    })
}

fn note(path: &Path, now: Timestamp) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(TEXT.as_bytes())?;
    let since = Duration::from_secs(now.seconds.max(0).cast_unsigned());
    let time = UNIX_EPOCH.checked_add(since + Duration::from_nanos(now.nanos.into()));
    time.map_or(Ok(()), |time| file.set_modified(time))
}
