//! Cache directories, by the convention of <https://bford.info/cachedir/>.

use std::ffi::CStr;
use std::os::unix::fs::FileExt;

use crate::source::dir::Dir;

/// The name of the file that marks a cache directory. Look for it among the directory's [names](crate::source::Names)
/// first, which costs no call.
pub const CACHE_DIR_TAG: &CStr = c"CACHEDIR.TAG";

/// How that file begins.
const SIGNATURE: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Returns whether `dir` says of itself that what it holds can be made again. A tag that cannot be read counts as none,
/// since leaving out too little does less harm than leaving out too much.
pub fn is_cache_dir(dir: &Dir) -> bool {
    let Ok((file, _)) = dir.open_file(CACHE_DIR_TAG) else { return false };
    let mut start = [0; SIGNATURE.len()];
    file.read_exact_at(&mut start, 0).is_ok() && start == *SIGNATURE
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::fs;

    use super::*;

    #[test]
    fn only_the_signature_in_a_regular_file_counts() {
        let temp = tempfile::tempdir().unwrap();
        let tag = temp.path().join("CACHEDIR.TAG");
        let dir = Dir::open(temp.path()).unwrap();
        assert!(!is_cache_dir(&dir));
        fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc5").unwrap();
        assert!(!is_cache_dir(&dir), "too short");
        fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc56\n").unwrap();
        assert!(!is_cache_dir(&dir), "another signature");
        fs::write(&tag, "Signature: 8a477f597d28d172789f06886806bc55\n# Made by a test.\n").unwrap();
        assert!(is_cache_dir(&dir));
        fs::rename(&tag, temp.path().join("tag")).unwrap();
        std::os::unix::fs::symlink("tag", &tag).unwrap();
        assert!(!is_cache_dir(&dir), "the convention asks for a regular file");
    }
}
