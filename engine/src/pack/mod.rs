//! Rank 4: packs of frames. `docs/format.md` has the layout.

mod builder;
mod reader;

pub use builder::{Frame, PackBuilder, SealedPack};
pub use reader::{open_footer, read_footer, verify};
