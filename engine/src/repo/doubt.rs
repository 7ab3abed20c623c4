//! Notices when index objects may have been lost since a snapshot was made.
//!
//! An unmodified file is taken over from the parent snapshot without a look at its chunks, which would take longer than all
//! the rest of an unchanged backup. That is right as long as the catalog has grown only: what the parent refers to was in
//! it. When it is begun anew, because an index object that it knew is gone, or it was lost or damaged itself, nothing
//! says that it has all again. Snapshots from before are then doubtful: a backup that has one as its parent asks for each
//! chunk, and reads the files again whose chunks are missing. The snapshot it makes is in no doubt.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::format::tree::Timestamp;
use crate::repo::now;

/// Lies beside the catalog; its mtime is the time at which that was last begun anew.
const FILE_NAME: &str = "begun-anew";
const TEXT: &str = "When this file was written, the catalog beside it was built anew from the index objects.\n";

/// Returns the time before which snapshots are doubtful. `folder` is where the catalog is kept, if anywhere, and
/// `is_anew` tells whether it knew of no index object, or of one that is gone.
pub(super) fn doubtful_before(folder: Option<&Path>, is_anew: bool) -> Timestamp {
    let path = folder.map(|folder| folder.join(FILE_NAME));
    if is_anew {
        // If it cannot be written, neither can the catalog, which is then begun anew every time.
        let _ = path.map(|path| std::fs::write(path, TEXT));
        return now();
    }
    let metadata = path.and_then(|path| path.metadata().ok());
    metadata.map_or(Timestamp::default(), |metadata| Timestamp {
        seconds: metadata.mtime(),
        nanos: metadata.mtime_nsec().clamp(0, 999_999_999) as u32,
    })
}
