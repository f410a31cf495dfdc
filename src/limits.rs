//! Every bound of the store in one place, tied together at compile time.
//!
//! What an operator can change has its default here and its setting in `config`; what the format
//! fixes is marked so.

/// Needles start on multiples of this (bytes, format): the direct-I/O alignment of reads.
pub const UNIT: u64 = 512;
/// Commits start on multiples of this (bytes, format): the alignment of direct writes that never
/// take the inode lock exclusively.
pub const BLOCK: u64 = 4096;
/// Bytes before the log: superblock copies, tail hints, room for later (format).
pub const LOG_START: u64 = 64 * 1024;
/// Bytes behind the log: the last superblock copy (format).
pub const TRAILER: u64 = BLOCK;

/// Largest data of one needle, and the size of a part of a larger body (bytes).
pub const NEEDLE_DATA_MAX: u64 = 1 << 20;
/// Data is verified in chunks of this size (bytes, superblock field).
pub const CHUNK: u64 = 64 * 1024;
/// Largest attributes of a needle (bytes, format).
pub const ATTRIBUTES_MAX: usize = 4096;
/// Largest stored content type (bytes).
pub const CONTENT_TYPE_MAX: usize = 255;
/// No needle is longer than this (bytes): data, header, attributes, checksums and footer.
pub const NEEDLE_LEN_MAX: u64 = NEEDLE_DATA_MAX + 8192;

/// A commit is never longer than this (bytes, format). Recovery looks this far beyond the end of
/// the log for a commit that proves damage rather than a torn tail.
pub const COMMIT_LEN_MAX: u64 = 32 << 20;
/// A forming commit takes no further needle once it is this long (bytes): longer ones gain nothing
/// and make everybody wait.
pub const COMMIT_LEN_TARGET: u64 = 2 << 20;
/// Needles in one commit; the kernel gathers at most 1024 pieces (`IOV_MAX`), two of which are the
/// commit record and the padding. Also what the record of a sealed torn tail can name.
pub const COMMIT_NEEDLES_MAX: usize = 1000;

/// Largest batch that an operator may allow (bytes): as needles it must fit into one commit.
pub const BATCH_MAX: u64 = 16 << 20;

/// Kept back in a volume so that deletes always find room (bytes), for volumes of at least 16 MiB.
pub const TOMBSTONE_RESERVE: u64 = 1 << 20;
/// A new tail hint is written after this much log (bytes).
pub const HINT_INTERVAL: u64 = 64 << 20;
/// ... and when nothing was written for this long (nanoseconds).
pub const HINT_IDLE_NS: u64 = 1_000_000_000;

/// Written of checkpoints in a second at most, for each volume that serves (bytes).
pub const CHECKPOINT_RATE: u64 = 64 << 20;
/// Pause after a checkpoint that could not be written (nanoseconds), which doubles with each,
pub const CHECKPOINT_RETRY_NS: u64 = 1_000_000_000;
/// and at most this.
pub const CHECKPOINT_RETRY_MAX_NS: u64 = 300_000_000_000;
/// A checkpoint waits for a buffer to spare for so long (nanoseconds).
pub const CHECKPOINT_BUFFER_WAIT_NS: u64 = 1_000_000_000;

/// Smallest volume an operator may create (bytes).
pub const VOLUME_SIZE_MIN: u64 = 16 << 20;
/// Largest volume (bytes).
pub const VOLUME_SIZE_MAX: u64 = 1 << 40;

/// Room in front of a needle in its buffer for a response head (bytes); the needle's own header
/// adds 128 bytes to it.
pub const REPLY_HEADROOM: usize = 1024;
/// Largest `Cache-Control` value (bytes).
pub const CACHE_CONTROL_MAX: usize = 128;

/// Largest request head (bytes).
pub const REQUEST_HEAD_MAX: usize = 8 * 1024;
/// Most header fields of a request.
pub const REQUEST_HEADERS_MAX: usize = 64;
/// Longest request target (bytes).
pub const REQUEST_TARGET_MAX: usize = 2 * 1024;
/// Size of the buffers that request heads arrive in (bytes).
pub const HEAD_BUFFER: usize = 8 * 1024;
/// Free bytes in front of what is received into such a buffer: what had come before and was kept
/// elsewhere meanwhile is put there. So a connection that sent less than this waits without a buffer.
pub const RECEIVE_HEADROOM: usize = 1024;
/// Head buffers that a shard's ring keeps ready.
pub const HEAD_BUFFERS: u16 = 256;
/// A body is received in pieces of at most this size (bytes), each with its own deadline.
pub const BODY_PIECE: usize = 64 * 1024;
/// How long a connection lingers after an error reply (nanoseconds).
pub const LINGER_NS: u64 = 1_000_000_000;
/// What clients are told to wait after a 503 (seconds).
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Figures of volumes are made known at most this often (nanoseconds): with many volumes that costs.
pub const PUBLISH_NS: u64 = 10_000_000;
/// Connections that a shard tells at once that there are too many, at most; more are just closed.
pub const REFUSALS_MAX: u64 = 256;
/// A shard looks around at least this often (nanoseconds), so that one that hangs is noticed.
pub const TURN_MAX_NS: u64 = 500_000_000;
/// Listeners' queue of connections that wait to be accepted.
pub const LISTEN_BACKLOG: i32 = 4096;
/// How long a connection that was accepted just before the daemon began to drain may take to send its
/// first request (nanoseconds).
pub const FRESH_GRACE_NS: u64 = 1_000_000_000;
/// Fresh connections that may wait in a shard's mailbox; others stay where they were accepted.
pub const HANDED_OVER_MAX: usize = 1024;
/// Messages a shard may have under way to other shards.
pub const MESSAGES_IN_FLIGHT: usize = 512;
/// Changes to volumes (creation, deletion, read-only, writable) that may be under way at once.
pub const CHANGES_MAX: usize = 16;
/// Orders to one shard that may be under way: one for each change, and the device's limit.
pub const ORDERS_MAX: usize = 2 * CHANGES_MAX;
/// Requests that may wait to be written to the access trace; more are left out of it.
pub const ACCESS_RECORDS: usize = 1 << 16;
/// Log lines that may wait to be written; more are dropped.
pub const LOG_LINES_MAX: usize = 1 << 13;
/// Bytes of log lines that may wait to be written; more are dropped.
pub const LOG_BYTES_MAX: usize = 2 << 20;
/// Longest log line (bytes); a longer one is cut. Holds the backtrace of a panic.
pub const LOG_LINE_MAX: usize = 16 << 10;
/// Operations a shard hands to its ring at once; more wait in user space.
pub const RING_ENTRIES: u32 = 1024;
/// Volume files a shard can have open.
pub const FILES_PER_SHARD: u32 = 1024;

const _: () = assert!(BLOCK.is_multiple_of(UNIT));
const _: () = assert!(LOG_START.is_multiple_of(BLOCK));
const _: () = assert!(NEEDLE_LEN_MAX < COMMIT_LEN_TARGET && COMMIT_LEN_TARGET < COMMIT_LEN_MAX);
// The index keeps a length in 12 bits of units.
const _: () = assert!(NEEDLE_LEN_MAX / UNIT < 4096);
const _: () = assert!(COMMIT_NEEDLES_MAX + 2 <= 1024);
const _: () = assert!(
    BATCH_MAX + COMMIT_NEEDLES_MAX as u64 * (ATTRIBUTES_MAX as u64 + 4 * UNIT) < COMMIT_LEN_MAX
);
const _: () = assert!(HEAD_BUFFER >= REQUEST_HEAD_MAX && HEAD_BUFFER >= 2 * RECEIVE_HEADROOM);
const _: () = assert!(VOLUME_SIZE_MIN > LOG_START + TRAILER + TOMBSTONE_RESERVE);
