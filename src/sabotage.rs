//! Mistakes that a storage engine must not make, built in on purpose: whoever wants to know what the
//! tests are worth has them run against one (`cargo xtask sabotage`). A suite that stays green with one
//! of these would not notice the same mistake made by accident.
//!
//! Without the feature `sim`, which is for tests, there are none, and nothing is asked at run time.

/// Names one in the environment.
pub const VARIABLE: &str = "HAYLOFT_SABOTAGE";

macro_rules! sabotages {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sabotage { $($(#[doc = $doc])* $variant,)* }

        /// All of them, with their names.
        pub const ALL: &[(Sabotage, &str)] = &[$((Sabotage::$variant, $name),)*];
    };
}

sabotages! {
    /// Writers are told before the write that carries their needles.
    AckBeforeFlush = "ack-before-flush",
    /// Needles can be read before the write that carries them.
    PublishBeforeFlush = "publish-before-flush",
    /// Writes are not flushed.
    SkipFlush = "skip-flush",
    /// What is written last of a commit is not covered by its flush.
    FlushBeforeLastWrite = "flush-before-last-write",
    /// New and removed names are not made durable.
    SkipDirectorySync = "skip-directory-sync",
    /// What was found in a file is built upon without making it durable first.
    SkipSyncAtOpen = "skip-sync-at-open",
    /// After a failed write the file is flushed, and if that works, all is taken to be well.
    RetryFailedFlush = "retry-failed-flush",
    /// A write that fell short counts as whole.
    IgnoreShortWrite = "ignore-short-write",
    /// After a failed write, others follow.
    WriteAfterFailure = "write-after-failure",
    /// Data is served without looking at its checksum.
    SkipChecksum = "skip-checksum",
    /// The same for large bodies.
    SkipChunkChecksum = "skip-chunk-checksum",
    /// What cannot be read is answered as if it had never been there.
    NotFoundForUnreadable = "not-found-for-unreadable",
    /// Whoever guesses a key may read.
    IgnoreCookie = "ignore-cookie",
    /// The log ends where it is damaged, whatever stands behind.
    TruncateOnDamage = "truncate-on-damage",
    /// The log may end before what a tail hint witnesses.
    IgnoreHint = "ignore-hint",
    /// Of a torn multi-write, what is valid stays.
    KeepHalfABatch = "keep-half-a-batch",
    /// Checksums are not bound to the file and the place.
    UnboundChecksums = "unbound-checksums",
    /// Writes to one needle are not decided one after the other.
    NoLocks = "no-locks",
    /// A volume that is made read-only says so before what was admitted is written.
    ReadOnlyTooEarly = "read-only-too-early",
    /// Read-only is remembered in memory only.
    ForgetState = "forget-state",
    /// A tombstone is not written.
    ForgetTombstone = "forget-tombstone",
    /// A torn tail is built upon without sealing what was decided about it.
    SkipSeal = "skip-seal",
    /// Of a torn commit, needles stay whose data did not arrive.
    KeepTorn = "keep-torn",
    /// Commits do not say how far the log was durable.
    WrongDurableTail = "wrong-durable-tail",
    /// After a restart, the number of the last commit is used again.
    ReuseSequence = "reuse-sequence",
    /// A commit follows whatever stands before it.
    IgnoreChain = "ignore-chain",
    /// What was in memory stands between commits.
    DirtyPadding = "dirty-padding",
    /// Whoever guesses a key may overwrite.
    OverwriteWithoutCookie = "overwrite-without-cookie",
    /// A multi-write is acknowledged of which half was written.
    AckHalfABatch = "ack-half-a-batch",
    /// What is deleted counts as alive.
    DeletedIsAlive = "deleted-is-alive",
    /// A range of a large body has a byte too few.
    RangeOffByOne = "range-off-by-one",
    /// What the device would not read at a start counts as empty.
    UnreadIsEmpty = "unread-is-empty",
    /// After a failed write, those who wait for the next one are not told.
    ForgetWaiters = "forget-waiters",
    /// A checkpoint says that it covers what was written while it was made.
    CheckpointTailTooLate = "checkpoint-tail-too-late",
    /// A checkpoint is believed without looking at its checksums.
    SkipCheckpointChecksum = "skip-checkpoint-checksum",
    /// A checkpoint of another file is believed.
    IgnoreCheckpointFile = "ignore-checkpoint-file",
    /// What follows a checkpoint adds needles and leaves those that they replace.
    ReplayWithoutRemoval = "replay-without-removal",
    /// A checkpoint is believed whatever the log says.
    CheckpointBeforeLog = "checkpoint-before-log",
    /// The file of a volume that was created at run time is not monitored.
    UnmonitoredVolume = "unmonitored-volume",
    /// A volume is changed while another change to it is under way.
    InterleavedChanges = "interleaved-changes",
    /// A checkpoint is still being written while its volume's file is removed.
    CheckpointAfterRemoval = "checkpoint-after-removal",
    /// A drain waits for requests under way without a limit.
    EndlessDrain = "endless-drain",
    /// A drain does not wait for connections that are being refused.
    ForgetRefusals = "forget-refusals",
    /// The end of a thread is not noticed.
    IgnoreLostThread = "ignore-lost-thread",
    /// A reply may take any time, as long as a few bytes are taken in each timeout.
    NoReplyRate = "no-reply-rate",
    /// A queued transfer whose file was closed keeps the slot of its device.
    LeakDeviceSlot = "leak-device-slot",
    /// A commit may take the block at the very end that its seal would need.
    NoRoomForTheSeal = "no-room-for-the-seal",
    /// Who waits for what was admitted waits for the commit that is being written, not for the next one.
    SettleTooEarly = "settle-too-early",
    /// Room that was set aside stays so when what it was for is refused.
    KeepRoomWhenRefused = "keep-room-when-refused",
    /// While a volume is busy no hints are written.
    NoHintWhileBusy = "no-hint-while-busy",
    /// A checkpoint that failed leaves what it had written.
    LeaveUnfinishedCheckpoint = "leave-unfinished-checkpoint",
    /// The log may end before what a checkpoint witnesses.
    IgnoreReached = "ignore-reached",
    /// A volume that is made writable takes writes before that is written.
    WritableTooEarly = "writable-too-early",
    /// A volume with a torn tail is not opened.
    RefuseTornTail = "refuse-torn-tail",
    /// What was lent to a transfer of a large body stays lent.
    LeakLoan = "leak-loan",
    /// A connection that ends keeps its place.
    LeakConnection = "leak-connection",
    /// The file of a volume that is deleted stays open.
    LeakFile = "leak-file",
    /// A write that finds its precondition not met keeps the id to itself.
    LeakLock = "leak-lock",
    /// A needle that is replaced counts as alive.
    ReplacedIsAlive = "replaced-is-alive",
    /// A read-only volume that is made writable stays closed to writes.
    StayReadOnly = "stay-read-only",
}

/// Whether this mistake is to be made. What the environment names must be one of them.
#[cfg(feature = "sim")]
#[must_use]
pub fn chosen(sabotage: Sabotage) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Sabotage>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let known = ALL.iter().find(|(_, known)| *known == name);
        Some(known.unwrap_or_else(|| panic!("{VARIABLE}={name} is no sabotage")).0)
    });
    *chosen == Some(sabotage)
}

/// Names a thread in the environment.
#[cfg(feature = "sim")]
pub const THREAD_VARIABLE: &str = "HAYLOFT_SABOTAGE_THREAD";

/// Whether a thread is to panic at its start, so that a test sees what comes of it.
#[cfg(feature = "sim")]
#[must_use]
pub fn dies(thread: &str) -> bool {
    std::env::var(THREAD_VARIABLE).is_ok_and(|name| name == thread)
}

/// Whether a thread is to end at its start without unwinding: `exit:NAME` in the same variable.
#[cfg(feature = "sim")]
#[must_use]
pub fn exits(thread: &str) -> bool {
    std::env::var(THREAD_VARIABLE).is_ok_and(|name| name.strip_prefix("exit:") == Some(thread))
}

/// Never.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn exits(_thread: &str) -> bool {
    false
}

/// Never.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn dies(_thread: &str) -> bool {
    false
}

/// Never.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn chosen(_: Sabotage) -> bool {
    false
}

#[cfg(not(feature = "sim"))]
const _: () = assert!(!chosen(Sabotage::AckBeforeFlush), "no product makes mistakes on purpose");
