//! Deltas as bytes: Zstandard with a prefix.

use std::io;

use zstd::zstd_safe::{self, CCtx, CParameter, DCtx, DParameter, FrameFormat};

fn failed(code: usize) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// Makes deltas against prefixes that live for `'b`; keeps its working memory from call to call.
pub struct DeltaEncoder<'b> {
    context: CCtx<'b>,
}

impl<'b> DeltaEncoder<'b> {
    /// Makes an encoder of a zstd level, 1 to 19.
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn new(level: i32) -> io::Result<Self> {
        let mut context = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        let parameters = [
            CParameter::CompressionLevel(level),
            CParameter::Format(FrameFormat::Magicless),
            // Lengths stand beside the delta, and the id of the rebuilt chunk is its checksum.
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            // Many deltas are compressed together afterwards, and then their literals have statistics worth the name.
            CParameter::LiteralCompressionMode(zstd_safe::ParamSwitch::Disable),
        ];
        for parameter in parameters {
            context.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Self { context })
    }

    /// Replaces the content of `out` by the delta that makes `target` from `prefix`.
    ///
    /// # Errors
    /// If zstd fails, which it does only for want of memory.
    pub fn encode(&mut self, prefix: &'b [u8], target: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        out.reserve(zstd_safe::compress_bound(target.len()));
        self.context.ref_prefix(prefix).map_err(failed)?;
        self.context.compress2(out, target).map_err(failed)?;
        Ok(())
    }
}

/// What zstd's own dictionaries begin with. A prefix that happens to begin so would be taken for one.
const DICTIONARY_MAGIC: [u8; 4] = 0xec30_a437u32.to_le_bytes();

/// Decodes deltas; keeps its working memory from call to call.
pub struct DeltaDecoder {
    context: DCtx<'static>,
}

impl DeltaDecoder {
    /// Makes a decoder.
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { context: magicless_context()? })
    }

    /// Fills `out`, whose length says how many bytes there must be, with what `delta` makes of `prefix`.
    ///
    /// # Errors
    /// If `delta` is no zstd frame or makes more or fewer bytes.
    pub fn decode(&mut self, prefix: &[u8], delta: &[u8], out: &mut [u8]) -> io::Result<()> {
        let wanted = out.len();
        let found = if prefix.starts_with(&DICTIONARY_MAGIC) {
            let mut context = magicless_context()?;
            context.ref_prefix(prefix).and_then(|_| context.decompress(out, delta))
        } else {
            self.context.decompress_using_dict(out, delta, prefix)
        };
        let found = found.map_err(failed)?;
        if found == wanted {
            Ok(())
        } else {
            let message = format!("makes {found} bytes instead of {wanted}");
            Err(io::Error::new(io::ErrorKind::InvalidData, message))
        }
    }
}

fn magicless_context<'p>() -> io::Result<DCtx<'p>> {
    let mut context = DCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
    context.set_parameter(DParameter::Format(FrameFormat::Magicless)).map_err(failed)?;
    Ok(context)
}
