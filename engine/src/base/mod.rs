//! Rank 0: ids, limits, events and the cancel token. Everything else may import this module.

pub mod cancel;
pub mod events;
pub mod guard;
pub mod ids;
pub mod limits;
mod lock;

pub use cancel::CancelToken;
pub use events::{Event, FileState, Observer};
pub use ids::{ChunkId, ObjectId, ObjectKind, ObjectName, RepositoryId, ShortId};
pub use lock::lock;
