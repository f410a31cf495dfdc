//! The bounds of the store, with their relations checked at compile time.
//!
//! Bounds of the disk format are marked "format". Settings of an operator are in `config`.

/// Alignment of needles (bytes, format): the direct-I/O alignment of reads.
pub const UNIT: u64 = 512;
/// Alignment of commits (bytes, format): aligned direct writes never take the inode lock exclusively.
pub const BLOCK: u64 = 4096;
/// Offset of the log (bytes, format). Before it: superblock copies, tail hints, reserved space.
pub const LOG_START: u64 = 64 * 1024;
/// Length of the area after the log: the last superblock copy (bytes, format).
pub const TRAILER: u64 = BLOCK;

/// Largest data of one needle, and the size of a part of a larger body (bytes).
pub const NEEDLE_DATA_MAX: u64 = 1 << 20;
/// Size of the chunks in which data is verified (bytes, superblock field).
pub const CHUNK: u64 = 64 * 1024;
/// Largest attributes of a needle (bytes, format).
pub const ATTRIBUTES_MAX: usize = 4096;
/// Largest stored content type (bytes).
pub const CONTENT_TYPE_MAX: usize = 255;
/// Largest file name that a needle of a cluster has (bytes).
pub const FILE_NAME_MAX: usize = 255;
/// Largest pairs of names and values that a needle of a cluster has (bytes, as JSON).
pub const PAIRS_MAX: usize = 3400;
/// Largest needle (bytes): data, header, attributes, checksums and footer.
pub const NEEDLE_LEN_MAX: u64 = NEEDLE_DATA_MAX + 8192;

/// Largest commit (bytes, format). Recovery searches this far beyond the end of the log for a commit that
/// proves damage rather than a torn tail.
pub const COMMIT_LEN_MAX: u64 = 32 << 20;
/// Length at which a forming commit takes no further needle (bytes): longer commits only add latency.
pub const COMMIT_LEN_TARGET: u64 = 2 << 20;
/// Largest number of needles in one commit. A gathered write has at most 1024 buffers (`IOV_MAX`), two of
/// which are the commit record and the padding. Also the largest number of needles that the record of a
/// sealed torn tail can name.
pub const COMMIT_NEEDLES_MAX: usize = 1000;

/// Largest batch that an operator may configure (bytes): its needles must fit into one commit.
pub const BATCH_MAX: u64 = 16 << 20;

/// Longest line of a multi-delete (bytes): key, alternate key, cookie, two slashes and the end of the line.
pub const DELETE_LINE_MAX: usize = 20 + 1 + 10 + 1 + 16 + 1;
/// Largest number of photos in a multi-delete: their tombstones must fit into one commit.
pub const DELETES_MAX: usize = COMMIT_NEEDLES_MAX;
/// Largest body of a multi-delete (bytes).
pub const DELETE_BODY_MAX: u64 = (DELETES_MAX * DELETE_LINE_MAX) as u64;

/// Space reserved in a volume for tombstones, so that a full volume still takes deletes (bytes), for volumes
/// of at least 16 MiB.
pub const TOMBSTONE_RESERVE: u64 = 1 << 20;
/// Shortest step in which the blocks of a file are reserved ahead of its log (bytes). Each step takes a
/// flush, and on XFS it waits for the transfers of the file in flight, while new ones wait for it. With steps
/// of this length that is as rare as a tail hint. At least half a step is reserved ahead, so that writers do
/// not wait.
pub const RESERVE_STEP_MIN: u64 = 64 << 20;
/// Largest number of steps of a file, and so about the number of its extents. Longer files have longer steps.
pub const RESERVE_STEPS_MAX: u64 = 64;
/// Pause after a step that failed (nanoseconds). It doubles with each failure, up to
/// [`RESERVE_RETRY_MAX_NS`].
pub const RESERVE_RETRY_NS: u64 = 1_000_000_000;
/// Longest pause after a step that failed (nanoseconds): after space was freed on the disk, the volume takes
/// uploads again within this time.
pub const RESERVE_RETRY_MAX_NS: u64 = 30_000_000_000;

/// Length of log after which a new tail hint is written (bytes).
pub const HINT_INTERVAL: u64 = 64 << 20;
/// Idle time after which a new tail hint is written (nanoseconds).
pub const HINT_IDLE_NS: u64 = 1_000_000_000;

/// Largest rate at which a serving volume writes its checkpoint (bytes per second).
pub const CHECKPOINT_RATE: u64 = 64 << 20;
/// Pause after a checkpoint that could not be written (nanoseconds). It doubles with each failure, up to
/// [`CHECKPOINT_RETRY_MAX_NS`].
pub const CHECKPOINT_RETRY_NS: u64 = 1_000_000_000;
/// Longest pause after a checkpoint that could not be written (nanoseconds).
pub const CHECKPOINT_RETRY_MAX_NS: u64 = 300_000_000_000;
/// Longest time that a checkpoint waits for a free buffer (nanoseconds).
pub const CHECKPOINT_BUFFER_WAIT_NS: u64 = 1_000_000_000;

/// Smallest volume an operator may create (bytes).
pub const VOLUME_SIZE_MIN: u64 = 16 << 20;
/// Largest volume (bytes).
pub const VOLUME_SIZE_MAX: u64 = 1 << 40;

/// Free space before a needle in its buffer, for a response head (bytes); the needle's own header adds 128
/// bytes to it.
pub const REPLY_HEADROOM: usize = 1024;
/// Largest `Cache-Control` value (bytes).
pub const CACHE_CONTROL_MAX: usize = 128;

/// Largest request head (bytes).
pub const REQUEST_HEAD_MAX: usize = 8 * 1024;
/// Largest number of header fields of a request.
pub const REQUEST_HEADERS_MAX: usize = 64;
/// Longest request target (bytes).
pub const REQUEST_TARGET_MAX: usize = 2 * 1024;
/// Size of the buffers for request heads (bytes).
pub const HEAD_BUFFER: usize = 8 * 1024;
/// Free space before the received data in such a buffer (bytes): bytes received earlier and kept elsewhere
/// meanwhile are copied there. So a connection that has sent less than this waits without a buffer.
pub const RECEIVE_HEADROOM: usize = 1024;
/// Number of head buffers that a shard provides to its ring.
pub const HEAD_BUFFERS: u16 = 256;
/// Largest piece in which a body is received (bytes). Each piece has its own deadline.
pub const BODY_PIECE: usize = 64 * 1024;
/// How long a connection lingers after an error reply (nanoseconds).
pub const LINGER_NS: u64 = 1_000_000_000;
/// Value of `Retry-After` in a 503 response (seconds).
pub const RETRY_AFTER_SECONDS: u32 = 1;

/// Largest number of shards: one for each core that an affinity mask has room for.
pub const SHARDS_MAX: usize = 1024;
/// Smallest interval between two updates of the metrics of the volumes (nanoseconds): with many volumes an
/// update is expensive.
pub const PUBLISH_NS: u64 = 10_000_000;
/// Largest number of connections per shard that are being refused with 503 at the same time; further ones are
/// closed without a response.
pub const REFUSALS_MAX: u64 = 256;
/// Longest wait of a shard's event loop iteration (nanoseconds), so that a hanging shard is noticed.
pub const TURN_MAX_NS: u64 = 500_000_000;
/// Backlog of the listening sockets: connections that wait to be accepted (listen(2)).
pub const LISTEN_BACKLOG: i32 = 4096;
/// Time within which a connection that was accepted just before the drain must send its first request
/// (nanoseconds).
pub const FRESH_GRACE_NS: u64 = 1_000_000_000;
/// Largest number of new connections in a shard's mailbox; further ones stay with the shard that accepted
/// them.
pub const HANDED_OVER_MAX: usize = 1024;
/// Largest number of messages of one shard in flight to other shards.
pub const MESSAGES_IN_FLIGHT: usize = 512;
/// Largest number of changes to volumes (creation, deletion, read-only, writable) under way.
pub const CHANGES_MAX: usize = 16;
/// Largest number of lists of objects that are sent at the same time. Each asks for one piece at a time.
pub const STREAMS_MAX: usize = 8;
/// Largest number of pieces of changes that are offered to the copies of volumes at the same time.
pub const OFFERS_MAX: usize = 4;
/// Largest number of orders to one shard under way: one for each change and one for the device limit, one for
/// each of as many requests to compact or cancel, one of the regular look, one about the health of its
/// volumes, one to pause, one for each list, and one for each offer.
pub const ORDERS_MAX: usize = 3 * CHANGES_MAX + 3 + STREAMS_MAX + OFFERS_MAX;
/// Number of places of a volume, or of its disk, at which reads failed and failed again, within ten minutes,
/// from which on it is suspect.
pub const SUSPECT_HARD: u64 = 3;
/// The same for reads that failed and succeeded at the second attempt.
pub const SUSPECT_SOFT: u64 = 10;
/// Capacity of the queue of the access trace (records); further requests are left out of the trace.
pub const ACCESS_RECORDS: usize = 1 << 16;
/// Capacity of the log queue (lines); further lines are dropped.
pub const LOG_LINES_MAX: usize = 1 << 13;
/// Capacity of the log queue (bytes); further lines are dropped.
pub const LOG_BYTES_MAX: usize = 2 << 20;
/// Longest log line (bytes); a longer one is cut. Suffices for the backtrace of a panic.
pub const LOG_LINE_MAX: usize = 16 << 10;
/// Submission queue entries of a shard's ring; further operations wait in user space.
pub const RING_ENTRIES: u32 = 1024;
/// Largest number of volume files that a shard can have open.
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
// A full volume takes a whole multi-delete: a tombstone is two units long, a commit at most a unit and a
// block longer than its needles.
const _: () = assert!(DELETES_MAX as u64 * 2 * UNIT + UNIT + BLOCK <= TOMBSTONE_RESERVE);
const _: () = assert!(HEAD_BUFFER >= REQUEST_HEAD_MAX && HEAD_BUFFER >= 2 * RECEIVE_HEADROOM);
const _: () = assert!(SHARDS_MAX <= 1 << u16::BITS);
// A volume is not full while its next step is due but not taken.
const _: () = assert!(RESERVE_STEP_MIN / 2 > NEEDLE_LEN_MAX + TOMBSTONE_RESERVE);
const _: () = assert!(VOLUME_SIZE_MIN > LOG_START + TRAILER + TOMBSTONE_RESERVE);
