//! Sizes and limits. Every length that is read is checked against one of these before memory is set aside for it.

/// 1 KiB in bytes.
pub const KIB: usize = 1024;
/// 1 MiB in bytes.
pub const MIB: usize = 1024 * KIB;
/// What a disk loses at once.
pub const SECTOR_BYTES: usize = 4 * KIB;

/// The longest chunk, in every store.
pub const CHUNK_BYTES_MAX: usize = MIB;
/// The longest plaintext of a frame: one chunk of the greatest length, or many small ones.
pub const FRAME_BYTES_MAX: usize = CHUNK_BYTES_MAX;
/// Small compressible chunks are gathered until their frame has this many bytes, then compressed together.
pub const FRAME_BYTES_TARGET: usize = 256 * KIB;
/// The same for trees and chunk lists: a version of a tree stands on many others, each in the frame of another day.
pub const TREE_FRAME_BYTES_TARGET: usize = 64 * KIB;
/// The same for pages of databases, whose rows repeat far away: larger frames save more than they cost to open.
pub const PAGE_FRAME_BYTES_TARGET: usize = MIB;
/// The most chunks in one frame.
pub const FRAME_CHUNKS_MAX: usize = 4096;
/// The most bases of one delta chunk.
pub const BASES_MAX: usize = 4;
/// The most other chunks that one chunk may need to be rebuilt, and so the most deltas on the way down to whole ones.
pub const DELTA_CLOSURE_MAX: u8 = 31;

/// The longest pack that is ever read.
pub const PACK_BYTES_MAX: usize = 64 * MIB;
/// The longest pack that is written, whatever a store would like: its footer and its index object stay within their limits.
pub const WRITTEN_PACK_BYTES_MAX: usize = 8 * MIB;
/// The shortest pack that a store may ask for: room for one chunk and its footer.
pub const PACK_BYTES_MIN: usize = 2 * MIB;
/// The longest footer of a pack, sealed.
pub const FOOTER_BYTES_MAX: usize = 16 * MIB;
/// The longest config or key slot.
pub const SMALL_OBJECT_BYTES_MAX: usize = MIB;
/// The longest index object, sealed.
pub const INDEX_BYTES_MAX: usize = 64 * MIB;
/// The longest index object once decompressed.
pub const INDEX_PLAIN_BYTES_MAX: usize = 128 * MIB;

/// Maximum chunks in an index object.
pub const INDEX_CHUNKS_MAX: usize = 2_097_152;

/// A pending index is written when the packs it lists hold this many bytes …
pub const INDEX_FLUSH_BYTES: u64 = 1 << 30;
/// … or this many chunks …
pub const INDEX_FLUSH_CHUNKS: usize = 64 * 1024;
/// … or when this many seconds have passed since the last.
pub const INDEX_FLUSH_SECONDS: u64 = 60;

/// The longest name of a tree entry; Linux allows 255 bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// The longest target of a symbolic link; Linux allows 4,095 bytes.
pub const SYMLINK_BYTES_MAX: usize = 64 * KIB;
/// The longest value of an extended attribute; Linux allows 64 KiB.
pub const XATTR_VALUE_BYTES_MAX: usize = 256 * KIB;
/// Maximum extended attributes of one entry. Linux lists at most 64 KiB of names, of at least 7 bytes each.
pub const XATTRS_MAX: usize = 16_384;
/// Maximum bytes of all attributes of one entry, names and values.
pub const XATTRS_BYTES_MAX: usize = MIB;
/// Maximum bytes of the clear beginning of one of WhatsApp's encrypted files; some 200 are usual.
pub const CRYPT_HEADER_BYTES_MAX: usize = 4 * KIB;
/// Maximum optional extensions of one record.
pub const EXTENSIONS_MAX: usize = 32;
/// Maximum bytes of one optional extension.
pub const EXTENSION_BYTES_MAX: usize = 64 * KIB;
/// How deep directories may nest.
pub const TREE_DEPTH_MAX: usize = 2048;
/// The longest encoded tree: some ten million entries in one directory.
pub const TREE_BYTES_MAX: usize = 1024 * MIB;
/// The most levels of chunk lists above the chunks of one file; four reach far beyond 2^64 bytes.
pub const LIST_LEVELS_MAX: u8 = 6;
/// The most entries of one piece of a chunk list.
pub const LIST_ENTRIES_MAX: usize = 4096;
/// The most references that stand in a tree entry itself; more go into chunk lists.
pub const INLINE_REFS_MAX: usize = 16;

/// The most objects of the small kinds (keys, snapshots) that are read.
pub const KEY_SLOTS_MAX: usize = 256;
/// The most memory that a key slot may ask Argon2 for, in KiB.
pub const ARGON2_KIB_MAX: u32 = 1024 * 1024;
/// The most KiB times passes that a key slot may ask Argon2 for, which is what the time grows with: 16 times as much as a
/// new slot uses, a few seconds.
pub const ARGON2_WORK_MAX: u64 = 16 * 64 * 1024 * 3;
/// The most passes that a key slot may ask Argon2 for.
pub const ARGON2_PASSES_MAX: u32 = 64;
/// The most lanes that a key slot may ask Argon2 for.
pub const ARGON2_LANES_MAX: u32 = 64;

/// The memory budget if the caller names none.
pub const MEMORY_BYTES_DEFAULT: usize = 128 * MIB;
/// The smallest memory budget that is accepted.
pub const MEMORY_BYTES_MIN: usize = 64 * MIB;

/// The largest memory budget that is accepted; more brings nothing, and the allocation of its parts may end the process.
pub const MEMORY_BYTES_MAX: usize = 64 * 1024 * MIB;
/// Maximum worker threads of one operation.
pub const THREADS_MAX: usize = 512;

const _: () = assert!(CHUNK_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_TARGET <= FRAME_BYTES_MAX && PAGE_FRAME_BYTES_TARGET <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX + FRAME_BYTES_MAX / 8 < PACK_BYTES_MIN);
const _: () = assert!(PACK_BYTES_MIN < PACK_BYTES_MAX);
const _: () = assert!(MEMORY_BYTES_MIN <= MEMORY_BYTES_DEFAULT);
