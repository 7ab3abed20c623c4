//! A database whose every page is encrypted by itself, as SQLCipher does it (Signal's databases, among others).

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use crate::error::Error;

const PAGE: usize = 4096;
const SALT: usize = 16;

/// Writes to `target` what stands for the database `plain` under SQLCipher: as many pages of 4096 bytes, the first of
/// which begins with a salt that never changes. The pages are random bytes that depend on `seed`, the number of the page
/// and its content, so an unchanged page keeps its bytes and a changed one is all new. SQLCipher takes a new
/// initialization vector for each page it writes; the bytes here do not decrypt to anything.
///
/// # Errors
/// `plain` cannot be read or is not made of whole pages, or `target` cannot be written.
pub fn encrypt(plain: &Path, target: &Path, seed: u64) -> Result<(), Error> {
    let key = blake3::derive_key("daykeep-datasets 2024 pages of an encrypted database", &seed.to_le_bytes());
    let mut input = BufReader::with_capacity(1 << 18, File::open(plain).map_err(Error::io(plain))?);
    let mut out = BufWriter::with_capacity(1 << 18, File::create(target).map_err(Error::io(target))?);
    let mut page = [0; PAGE];
    for number in 0_u64.. {
        match read_page(&mut input, &mut page) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(Error::refused(plain, "ends within a page of 4096 bytes; make the database anew"));
            }
            Err(error) => return Err(Error::io(plain)(error)),
        }
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&number.to_le_bytes()).update(&page);
        hasher.finalize_xof().fill(&mut page);
        if number == 0 {
            page[..SALT].copy_from_slice(&blake3::keyed_hash(&key, b"salt").as_bytes()[..SALT]);
        }
        out.write_all(&page).map_err(Error::io(target))?;
    }
    out.flush().map_err(Error::io(target))
}

/// Fills `page` and returns true, or returns false at the end of `input`.
fn read_page(input: &mut impl Read, page: &mut [u8; PAGE]) -> std::io::Result<bool> {
    let (first, rest) = page.split_at_mut(1);
    match input.read(first)? {
        0 => Ok(false),
        _ => input.read_exact(rest).map(|()| true),
    }
}
