//! Rank 0: ids, limits, events, paths of walks and the cancel token. Everything else may import this module.

mod budget;
pub mod cancel;
mod dir_path;
pub mod events;
pub mod guard;
mod id_map;
pub mod ids;
pub mod large;
pub mod limits;
mod lock;
mod shown;

pub use budget::{Lease, MemoryBudget, Stock};
pub use cancel::CancelToken;
pub use dir_path::DirPath;
pub use events::{Event, FileState, Observer};
pub use id_map::IdHash;
pub use ids::{ChunkId, ObjectId, ObjectKind, ObjectName, RepositoryId, ShortId};
pub use lock::lock;
pub use shown::{shown, shown_path};
