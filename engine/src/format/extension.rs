//! Optional extensions of a record: a list of numbered values to which later versions may add.
//!
//! A reader that does not know an extension with an even code skips it, and keeps it where it writes the record again. One
//! with an odd code changes what the record means: a reader that does not know it refuses the record.

use crate::base::limits::{EXTENSION_BYTES_MAX, EXTENSIONS_MAX};
use crate::error::FormatError;
use crate::format::codec::{Reader, Writer};

/// An extension that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its code, which is even.
    pub code: u64,
    /// Its value.
    pub value: Vec<u8>,
}

/// Writes a list, sorted by code: those of this version in order, between them the `others`.
pub struct ListWriter<'a> {
    others: &'a [Extension],
    list: Writer,
    count: u64,
}

impl<'a> ListWriter<'a> {
    /// Begins a list.
    pub fn new(others: &'a [Extension]) -> Self {
        Self { others, list: Writer::default(), count: 0 }
    }

    /// Appends an extension with a code above all before it.
    pub fn put(&mut self, code: u64, write: impl FnOnce(&mut Writer)) {
        self.others_below(code);
        let mut value = Writer::default();
        write(&mut value);
        self.push(code, value.as_slice());
    }

    fn push(&mut self, code: u64, value: &[u8]) {
        self.list.varint(code);
        self.list.bytes(value);
        self.count += 1;
    }

    fn others_below(&mut self, code: u64) {
        while let Some((first, rest)) = self.others.split_first()
            && first.code < code
        {
            self.push(first.code, &first.value);
            self.others = rest;
        }
    }

    /// Appends the list to a record.
    pub fn finish(mut self, out: &mut Writer) {
        self.others_below(u64::MAX);
        out.varint(self.count);
        out.raw(self.list.as_slice());
    }
}

/// Takes a list. `take` reads the value of a code that it knows to its end, and returns `false` for another; those are
/// returned.
///
/// # Errors
/// A [`FormatError`] for a list beyond its limits or out of order, an unknown odd code, and what `take` returned.
pub fn read_list<'a>(
    input: &mut Reader<'a>,
    mut take: impl FnMut(u64, &mut Reader<'a>) -> Result<bool, FormatError>,
) -> Result<Vec<Extension>, FormatError> {
    let mut others = Vec::new();
    let mut last = None;
    for _ in 0..input.length(EXTENSIONS_MAX, "at most 32 extensions")? {
        let start = input.clone();
        let code = input.varint()?;
        if last.is_some_and(|last| last >= code) {
            return Err(start.error("extensions in ascending order", code));
        }
        last = Some(code);
        let bytes = input.bytes(EXTENSION_BYTES_MAX, "an extension of at most 64 KiB")?;
        let mut value = Reader::new(bytes);
        if take(code, &mut value).map_err(|error| start.error(error.expected, error.found))? {
            if value.remaining() > 0 {
                return Err(start.error("the end of the extension", format!("{} more bytes", value.remaining())));
            }
        } else if code % 2 == 1 {
            return Err(start.error("an extension that this version knows; a newer daykeep may read it", code));
        } else {
            others.push(Extension { code, value: bytes.to_vec() });
        }
    }
    Ok(others)
}

/// Checks extensions of a later version: as many and as long as a reader takes, none that `is_known`.
///
/// # Errors
/// What was expected.
pub fn check(others: &[Extension], is_known: impl Fn(u64) -> bool) -> Result<(), &'static str> {
    // A reader counts those of this version too, of which there are few.
    if others.len() > EXTENSIONS_MAX / 2 || others.iter().any(|other| other.value.len() > EXTENSION_BYTES_MAX) {
        return Err("at most 16 other extensions of at most 64 KiB");
    }
    if others.iter().any(|other| other.code % 2 == 1 || other.code == u64::MAX || is_known(other.code)) {
        return Err("other extensions with even codes");
    }
    if !others.is_sorted_by(|a, b| a.code < b.code) {
        return Err("extensions in ascending order");
    }
    Ok(())
}
