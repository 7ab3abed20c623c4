//! Rank 4: packs of frames. `docs/format.md` has the layout.

mod builder;
mod reader;

pub use builder::{Frame, PackBuilder, SealedPack, pack_bytes};
pub use reader::{open_footer, place_footer, read_footer, verify};
