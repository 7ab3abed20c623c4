//! Rank 5: writes chunks (known? into which frame, which pack?) and reads them by id.

mod cache;
mod claims;
mod commit;
mod copy;
mod deltas;
mod foresight;
mod frames;
mod graph;
mod healer;
mod reader;
mod scatter;
mod writer;

pub use commit::{CommitCounts, Committer, entries_of, load_index, seal_index, shorten, verify_pack};
pub use deltas::{Taken, Workers};
pub use frames::FrameBuffer;
pub use healer::Healer;
pub use reader::{ChunkReader, Crew};
pub use scatter::Wanted;
pub use writer::{ChunkWriter, Scratch, Sort, WriterOptions};
