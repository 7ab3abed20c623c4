//! The two primitives of every object: a writer and a checked reader of little-endian integers, varints (LEB128, as in
//! the DWARF standard) and length-prefixed bytes.

use crate::error::FormatError;

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Begins with an empty buffer that has room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends two bytes, low first.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends four bytes, low first.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends an unsigned varint: 1 to 10 bytes.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// Appends a signed varint, zigzag-coded.
    pub fn varint_signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a varint length and the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    /// Returns what is in the buffer.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Removes the first `count` bytes.
    pub fn remove_front(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    /// Returns the buffer.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Takes values from a slice and never reads beyond it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns how many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Makes an error for the place just before the next byte.
    pub fn error(&self, expected: &'static str, found: impl ToString) -> FormatError {
        FormatError { offset: self.at as u64, expected, found: found.to_string() }
    }

    /// Takes `len` bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len {
            return Err(self.error("more bytes", format!("{} of {len}", rest.len())));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    /// Takes exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    /// Takes one byte.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    /// Takes two bytes, low first.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Takes four bytes, low first.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Takes an unsigned varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64, FormatError> {
        let start = self.clone();
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    break;
                }
                return Ok(value);
            }
        }
        Err(start.error("a varint in its shortest form", "another"))
    }

    /// Takes a varint of at most `max`.
    pub fn varint_max(&mut self, max: u64, expected: &'static str) -> Result<u64, FormatError> {
        let start = self.clone();
        let value = self.varint()?;
        if value > max { Err(start.error(expected, value)) } else { Ok(value) }
    }

    /// Takes a varint of at most `max` as a length in memory.
    pub fn length(&mut self, max: usize, expected: &'static str) -> Result<usize, FormatError> {
        // The value is at most `max`, which is a usize, so the cast loses nothing.
        Ok(self.varint_max(max as u64, expected)? as usize)
    }

    /// Takes a varint of at most `max` as a `u32`.
    pub fn varint_u32(&mut self, max: u32, expected: &'static str) -> Result<u32, FormatError> {
        Ok(self.varint_max(u64::from(max), expected)? as u32)
    }

    /// Takes a signed varint.
    pub fn varint_signed(&mut self) -> Result<i64, FormatError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Takes a varint length of at most `max` and that many bytes.
    pub fn bytes(&mut self, max: usize, expected: &'static str) -> Result<&'a [u8], FormatError> {
        let len = self.length(max, expected)?;
        self.raw(len)
    }

    /// Takes a length-prefixed UTF-8 string of at most `max` bytes.
    pub fn string(&mut self, max: usize, expected: &'static str) -> Result<String, FormatError> {
        let start = self.clone();
        let bytes = self.bytes(max, expected)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| start.error(expected, "bytes that are not UTF-8"))
    }

    /// Checks that the `next` of some names comes after the `last` one, if there was one: so none comes twice.
    pub fn ascending(
        &self,
        last: Option<impl AsRef<[u8]>>,
        next: impl AsRef<[u8]>,
        expected: &'static str,
    ) -> Result<(), FormatError> {
        match last {
            Some(last) if last.as_ref() >= next.as_ref() => {
                Err(self.error(expected, String::from_utf8_lossy(next.as_ref())))
            }
            _ => Ok(()),
        }
    }

    /// Ends: there must be nothing left.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(self.error("the end", format!("{} more bytes", self.remaining())))
        }
    }
}
