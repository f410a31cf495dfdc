//! Deliberate mistakes of a storage engine, as negative controls of the tests: `cargo xtask sabotage` enables
//! one at a time and checks that a test fails. A suite that passes with one of them would not detect the
//! same mistake made by accident.
//!
//! They exist only with the feature `sim`, which is for tests. Without it the checks are constant `false`.

/// Environment variable that names the enabled mistake.
pub const VARIABLE: &str = "HAYLOFT_SABOTAGE";

macro_rules! sabotages {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal,)*) => {
        /// A deliberate mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Sabotage { $($(#[doc = $doc])* $variant,)* }

        /// All mistakes, with their names.
        pub const ALL: &[(Sabotage, &str)] = &[$((Sabotage::$variant, $name),)*];
    };
}

sabotages! {
    /// A write is acknowledged before the write of its commit has completed.
    AckBeforeFlush = "ack-before-flush",
    /// Needles can be read before the write of their commit has completed.
    PublishBeforeFlush = "publish-before-flush",
    /// Writes are not flushed.
    SkipFlush = "skip-flush",
    /// The last part of a commit is written after the flush of the commit.
    FlushBeforeLastWrite = "flush-before-last-write",
    /// Directories are not synced after files are created or removed.
    SkipDirectorySync = "skip-directory-sync",
    /// New commits follow data of an opened file that was not made durable first.
    SkipSyncAtOpen = "skip-sync-at-open",
    /// After a failed write the file is flushed, and success counts as recovery.
    RetryFailedFlush = "retry-failed-flush",
    /// A short write counts as complete.
    IgnoreShortWrite = "ignore-short-write",
    /// The volume takes further writes after a failed write.
    WriteAfterFailure = "write-after-failure",
    /// Data is served without verification of its checksum.
    SkipChecksum = "skip-checksum",
    /// Data of multipart objects is served without verification of its checksum.
    SkipChunkChecksum = "skip-chunk-checksum",
    /// An unreadable needle is answered as not found.
    NotFoundForUnreadable = "not-found-for-unreadable",
    /// A photo that has expired is served.
    ServeExpired = "serve-expired",
    /// A photo that has expired keeps its name: it can be deleted, and a write needs its cookie.
    ExpiredKeepsName = "expired-keeps-name",
    /// A compaction leaves out what has expired at once.
    DropWithoutGrace = "drop-without-grace",
    /// A compaction leaves out what has expired although the clock is far ahead of the newest commit.
    TrustAnyClock = "trust-any-clock",
    /// A volume of a cluster takes writes of other clients.
    WriteBesideCluster = "write-beside-cluster",
    /// A volume that is to be deleted only if it is empty is deleted without a look.
    DeleteUnseen = "delete-unseen",
    /// A volume that is a copy takes writes of clients.
    WriteToReplica = "write-to-replica",
    /// A pulled record counts as stored before its commit is durable.
    PullBeforeSettled = "pull-before-settled",
    /// A copy that was made without deletions counts as complete.
    PullForgetsSurplus = "pull-forgets-surplus",
    /// A compaction turns a copy into an ordinary volume.
    CompactionForgetsReplica = "compaction-forgets-replica",
    /// A compaction makes a volume of a cluster one that belongs to none.
    CompactionDropsCluster = "compaction-drops-cluster",
    /// A compaction forgets the highest key, if it leaves out what has it.
    CompactionForgetsKeyFloor = "compaction-forgets-key-floor",
    /// A volume that its cluster makes read-only is answered as such while writes are under way.
    ClusterReadOnlyTooEarly = "cluster-read-only-too-early",
    /// Needles do not expire after the time to live of their volume.
    IgnoreTtlOfVolume = "ignore-ttl-of-volume",
    /// A write that is older than what has its name takes its place.
    OlderOriginWins = "older-origin-wins",
    /// A write that is older than the deletion of its photo brings the photo back.
    ForgetDeletions = "forget-deletions",
    /// A write is acknowledged although a node with a copy did not confirm it.
    AckWithoutCopies = "ack-without-copies",
    /// Bytes that have expired do not count as garbage.
    NothingIsExpired = "nothing-is-expired",
    /// A checkpoint does not restore the sums of bytes that expire.
    ForgetExpirySums = "forget-expiry-sums",
    /// The parts of a multipart object are dead once it expires at another time.
    RenewalLosesParts = "renewal-loses-parts",
    /// Bytes of a deleted photo come back although they do not verify.
    UndeleteUnverified = "undelete-unverified",
    /// The parts of a deleted multipart object that comes back stay dead.
    UndeleteLosesParts = "undelete-loses-parts",
    /// A deleted photo comes back beside the photo that has its name.
    UndeleteOverObject = "undelete-over-object",
    /// A deleted photo comes back although it was stored and deleted again during the search.
    UndeleteWithoutCatchUp = "undelete-without-catch-up",
    /// A deleted photo is taken from its place in a file that a compaction has replaced.
    UndeleteAtOldPlace = "undelete-at-old-place",
    /// Reads do not check the cookie.
    IgnoreCookie = "ignore-cookie",
    /// Recovery ends the log at damage, even if valid commits follow.
    TruncateOnDamage = "truncate-on-damage",
    /// Recovery may end the log before the durable tail of a tail hint.
    IgnoreHint = "ignore-hint",
    /// Recovery keeps the valid needles of a torn batch put.
    KeepHalfABatch = "keep-half-a-batch",
    /// Checksums are not seeded with the file and the offset.
    UnboundChecksums = "unbound-checksums",
    /// Writes to one needle are not serialised.
    NoLocks = "no-locks",
    /// A volume becomes read-only before the admitted writes have completed.
    ReadOnlyTooEarly = "read-only-too-early",
    /// The read-only state is kept in memory only.
    ForgetState = "forget-state",
    /// No tombstone is written for a delete.
    ForgetTombstone = "forget-tombstone",
    /// Commits follow a torn tail without a seal that records the decision about it.
    SkipSeal = "skip-seal",
    /// Recovery keeps needles of a torn commit whose data is incomplete.
    KeepTorn = "keep-torn",
    /// Commit records do not hold the durable tail.
    WrongDurableTail = "wrong-durable-tail",
    /// After a restart the sequence number of the last commit is reused.
    ReuseSequence = "reuse-sequence",
    /// Recovery accepts a commit whatever commit precedes it.
    IgnoreChain = "ignore-chain",
    /// The padding of commits holds data left in memory.
    DirtyPadding = "dirty-padding",
    /// Overwrites do not check the cookie.
    OverwriteWithoutCookie = "overwrite-without-cookie",
    /// A batch put is acknowledged of which only half was written.
    AckHalfABatch = "ack-half-a-batch",
    /// The tombstones of a multi-delete are as independent of each other as those of single deletes.
    TombstonesOneByOne = "tombstones-one-by-one",
    /// The tombstones of a multi-delete are written in two commits.
    SplitMultiDelete = "split-multi-delete",
    /// Deleted needles count as live.
    DeletedIsAlive = "deleted-is-alive",
    /// A range of a multipart object is one byte too short.
    RangeOffByOne = "range-off-by-one",
    /// A block that cannot be read during recovery counts as empty.
    UnreadIsEmpty = "unread-is-empty",
    /// After a failed write, writers that wait for the next commit get no result.
    ForgetWaiters = "forget-waiters",
    /// A checkpoint claims to cover commits written while it was made.
    CheckpointTailTooLate = "checkpoint-tail-too-late",
    /// A checkpoint is used without verification of its checksums.
    SkipCheckpointChecksum = "skip-checkpoint-checksum",
    /// A checkpoint of another volume file is used.
    IgnoreCheckpointFile = "ignore-checkpoint-file",
    /// Replay after a checkpoint adds needles without removing those that they supersede.
    ReplayWithoutRemoval = "replay-without-removal",
    /// A checkpoint is used even if the log contradicts it.
    CheckpointBeforeLog = "checkpoint-before-log",
    /// The file of a volume is not monitored.
    UnmonitoredVolume = "unmonitored-volume",
    /// A volume is changed while another change to it is under way.
    InterleavedChanges = "interleaved-changes",
    /// A volume is deleted without ending its compaction first.
    DeleteWhileCompacting = "delete-while-compacting",
    /// Two compactions use a data directory at the same time.
    CompactTwiceInADirectory = "compact-twice-in-a-directory",
    /// New volumes take the space that compactions need.
    IgnoreReserve = "ignore-reserve",
    /// A volume is created although its number is taken, by a volume or by a file.
    CreateOverFiles = "create-over-files",
    /// A volume is compacted although the file of an older generation is there.
    CompactBesideOldFile = "compact-beside-old-file",
    /// A checkpoint is still being written while the file of its volume is removed.
    CheckpointAfterRemoval = "checkpoint-after-removal",
    /// A drain waits for requests under way without a time limit.
    EndlessDrain = "endless-drain",
    /// A drain does not wait for connections that are being refused.
    ForgetRefusals = "forget-refusals",
    /// The end of a thread is not noticed.
    IgnoreLostThread = "ignore-lost-thread",
    /// A response may take any time, as long as a few bytes are sent in each timeout.
    NoReplyRate = "no-reply-rate",
    /// A queued transfer whose file was closed keeps its slot of the device.
    LeakDeviceSlot = "leak-device-slot",
    /// A commit may use the last block of the log, which its seal would need.
    NoRoomForTheSeal = "no-room-for-the-seal",
    /// A wait for the admitted writes waits for the commit being written, not for the next one.
    SettleTooEarly = "settle-too-early",
    /// A reservation is kept when the write that it was made for is refused.
    KeepRoomWhenRefused = "keep-room-when-refused",
    /// No tail hints are written while a volume is busy.
    NoHintWhileBusy = "no-hint-while-busy",
    /// A failed checkpoint leaves its unfinished file.
    LeaveUnfinishedCheckpoint = "leave-unfinished-checkpoint",
    /// Recovery may end the log before the tail recorded in a checkpoint.
    IgnoreReached = "ignore-reached",
    /// A volume takes writes before its change to writable is durable.
    WritableTooEarly = "writable-too-early",
    /// A volume with a torn tail is not opened.
    RefuseTornTail = "refuse-torn-tail",
    /// Buffers lent to a transfer of a multipart object are not returned.
    LeakLoan = "leak-loan",
    /// A connection that ends keeps its place in the limit of connections.
    LeakConnection = "leak-connection",
    /// The file of a deleted volume stays open.
    LeakFile = "leak-file",
    /// A write whose precondition fails keeps the lock of its id.
    LeakLock = "leak-lock",
    /// Superseded needles count as live.
    ReplacedIsAlive = "replaced-is-alive",
    /// Needles are admitted up to the end of the log, whether its blocks are reserved or not.
    AdmitWithoutBlocks = "admit-without-blocks",
    /// A partial file counts as whole before its last step is taken.
    WholeTooEarly = "whole-too-early",
    /// Needles are admitted into blocks whose reservation is not durable.
    SkipStepSync = "skip-step-sync",
    /// A step that failed is not tried again.
    GiveUpReserving = "give-up-reserving",
    /// Two changes of a superblock are written at the same time.
    InterleavedSuperblocks = "interleaved-superblocks",
    /// Nothing records when needles are superseded or deleted.
    DeadWithoutTime = "dead-without-time",
    /// The parts of an abandoned upload do not count as dead.
    AbandonedIsAlive = "abandoned-is-alive",
    /// The time of the oldest dead byte is not restored from a checkpoint.
    ForgetOldestDead = "forget-oldest-dead",
    /// The highest key is not restored from a checkpoint.
    ForgetKeyMax = "forget-key-max",
    /// The parts of uploads in progress are not restored from a checkpoint.
    ForgetUnnamedParts = "forget-unnamed-parts",
    /// The properties in a checkpoint are from after its covered position.
    PropertiesTooLate = "properties-too-late",
    /// A read-only volume that is made writable still refuses writes.
    StayReadOnly = "stay-read-only",
    /// A needle whose attributes or chunk checksums are damaged counts as intact once it is sealed anew.
    ResealRepairsMeta = "reseal-repairs-meta",
    /// An object that a compaction could not carry over is answered as not found.
    NotFoundForLost = "not-found-for-lost",
    /// Recovery does not index records of lost objects.
    ForgetLosses = "forget-losses",
    /// The id of a lost object that is not known is taken to be another than the requested one.
    UnknownIdIsOther = "unknown-id-is-other",
    /// Opening does not report the damaged ranges of earlier generations.
    ForgetEarlierDamage = "forget-earlier-damage",
    /// A checkpoint holds no losses.
    CheckpointWithoutLosses = "checkpoint-without-losses",
    /// A newer generation counts although it was not made from the older one.
    IgnoreParent = "ignore-parent",
    /// The older generation is removed before the newer one has opened.
    RemoveBeforeOpen = "remove-before-open",
    /// A generation that was not finished is served.
    ServeBuilding = "serve-building",
    /// A file is removed as not finished if the newest valid copy of its superblock says so.
    TrustOneUnfinishedCopy = "trust-one-unfinished-copy",
    /// It makes no difference that a data directory is not in use.
    IgnoreMissingDirectory = "ignore-missing-directory",
    /// A newer generation in another data directory counts although the older one was served since.
    IgnoreDivergence = "ignore-divergence",
    /// The newest generation of a deleted volume is removed first.
    RemoveHighestFirst = "remove-highest-first",
    /// A volume is fenced whichever of its files was lost.
    FenceById = "fence-by-id",
    /// A new generation does not say which file it was made from.
    ForgetParent = "forget-parent",
    /// A new generation counts from its creation on.
    NeverBuilding = "never-building",
    /// The name of a new generation is not durable before it counts.
    NamelessGeneration = "nameless-generation",
    /// A new generation counts before its log is durable.
    LiveBeforeSync = "live-before-sync",
    /// A new generation counts before it has a tail hint.
    HintAfterLive = "hint-after-live",
    /// The tail hint of a new generation lacks the highest version of the old one.
    ForgetHighestVersion = "forget-highest-version",
    /// The old file is removed before the new generation counts.
    RemoveOldFirst = "remove-old-first",
    /// A new generation counts although its name does not lead to its file.
    IgnoreName = "ignore-name",
    /// The exchange of a generation keeps the gate closed for a minute.
    LongClosedGate = "long-closed-gate",
    /// A generation is exchanged before the admitted writes have completed.
    SwapBeforeSettled = "swap-before-settled",
    /// Writes go on before the new generation has taken the place of the old one.
    OpenGateBeforeLive = "open-gate-before-live",
    /// A write looks up what it supersedes before it enters the gate.
    GateAfterLookUp = "gate-after-look-up",
    /// A write that waited at the gate goes to the old generation.
    WriteToOldGeneration = "write-to-old-generation",
    /// A manifest is encoded before its write enters the gate.
    ManifestBeforeGate = "manifest-before-gate",
    /// The old generation takes writes although a restart may find the new one.
    WriteWhileUndecided = "write-while-undecided",
    /// A volume takes writes although its new file is not monitored.
    ServeUnwatched = "serve-unwatched",
    /// A download reads at the offsets of the old generation in the file of the new one.
    OldOffsetsInNewFile = "old-offsets-in-new-file",
    /// A volume that was made read-only is writable after its compaction.
    StateOfTheBegin = "state-of-the-begin",
    /// Compaction copies deleted and superseded needles.
    CopyTheDead = "copy-the-dead",
    /// Compaction reads what is dead in the old log.
    ReadTheGaps = "read-the-gaps",
    /// Compaction flushes the new file once, at its end.
    OneLongFlush = "one-long-flush",
    /// Compaction begins to write a commit while the one before is being written.
    WritesAtOnce = "writes-at-once",
    /// The index of a generation that was superseded is freed at once.
    FreeIndexAtOnce = "free-index-at-once",
    /// Compaction keeps needles part of the batch put that stored them.
    KeepBatchFields = "keep-batch-fields",
    /// Compaction changes the versions of needles.
    RenewVersions = "renew-versions",
    /// Copied needles supersede at offsets of the old file.
    KeepPrevious = "keep-previous",
    /// What was written during a compaction supersedes nothing of what was copied.
    CatchUpWithoutRemoval = "catch-up-without-removal",
    /// Copied manifests name offsets of the old file.
    KeepPartOffsets = "keep-part-offsets",
    /// Uploads in progress keep the offsets of their parts in the old file.
    KeepUploadOffsets = "keep-upload-offsets",
    /// A generation is exchanged although uploads in progress do not fit into the new one.
    SwapWithoutRoom = "swap-without-room",
    /// Compaction drops tombstones, however young.
    DropTombstones = "drop-tombstones",
    /// A generation without all tombstones says that its history is complete.
    CompleteHistory = "complete-history",
    /// Compaction begins without memory for a second index.
    IgnoreIndexMemory = "ignore-index-memory",
    /// Compaction begins although what lives does not fit into the new size.
    IgnoreRoom = "ignore-room",
    /// Compaction gives the new file the size of the old one.
    IgnoreSize = "ignore-size",
    /// A volume moves to another data directory without a mark in its old file.
    MoveWithoutMark = "move-without-mark",
    /// Volumes that failed or are fenced are compacted.
    CompactAnyState = "compact-any-state",
    /// Compaction gives up unreadable bytes without permission.
    ZerosForUnreadable = "zeros-for-unreadable",
    /// Compaction drops needles that do not match their checksums.
    DropDamaged = "drop-damaged",
    /// Compaction drops objects whose header is damaged without a record.
    LoseWithoutRecord = "lose-without-record",
    /// Compaction drops the records of damaged ranges.
    DropDamagedRanges = "drop-damaged-ranges",
    /// The old file is removed before the new one was read back.
    SkipReadBack = "skip-read-back",
    /// A large object that is replaced while its generation is exchanged is answered as not found.
    ChangedIsMissing = "changed-is-missing",
    /// A full volume is open again as soon as one more photo fits.
    OpenFullAtOnce = "open-full-at-once",
    /// Compactions wait for one buffer while they hold another.
    BuffersOneByOne = "buffers-one-by-one",
    /// A compaction assembles needles beyond the end of the new log.
    CopyBeyondTheEnd = "copy-beyond-the-end",
    /// The file of a generation that was superseded keeps its space until the compaction has ended.
    KeepOldFileOpen = "keep-old-file-open",
    /// The pace of a compaction is kept although writes arrive faster than they are copied.
    KeepPace = "keep-pace",
    /// Writes are not slowed when they arrive faster than they are copied.
    NeverSlowWriters = "never-slow-writers",
    /// Compaction does not end although writes arrive faster than they are copied.
    NeverGiveUp = "never-give-up",
    /// The policy does not prefer cold volumes.
    HotFirst = "hot-first",
    /// The policy ignores how long bytes have been dead.
    IgnoreEraseWithin = "ignore-erase-within",
    /// The policy compacts a volume again at once after a failure.
    RetryAtOnce = "retry-at-once",
    /// A scrub verifies headers, and no data.
    ScrubHeadersOnly = "scrub-headers-only",
    /// A scrub does not read the footers of needles.
    SkipFooters = "skip-footers",
    /// A scrub does not compare parts with their manifests.
    SkipParts = "skip-parts",
    /// A scrub does not compare the index with the log.
    SkipIndex = "skip-index",
    /// A scrub takes the leftovers of torn commits for damage.
    LeftoversAreDamage = "leftovers-are-damage",
    /// A torn commit all of whose needles can be read gets no seal, whatever else of it is missing.
    LeaveTornUnsealed = "leave-torn-unsealed",
    /// An error is reported without reading the place again.
    ReadOnce = "read-once",
    /// The index is saved although it differs from the log.
    TrustCheckpoint = "trust-checkpoint",
    /// What is near to an error is not read.
    SkipNeighbourhood = "skip-neighbourhood",
    /// A stream of records goes on at its old place in a file that a compaction has replaced.
    StreamOldPlace = "stream-old-place",
    /// A piece of a stream that was read while a compaction replaced the file counts.
    StreamSupersededFile = "stream-superseded-file",
    /// A stream that is behind the horizon of deletions goes on.
    StreamBelowHorizon = "stream-below-horizon",
    /// A stream of records has objects that were deleted or replaced.
    StreamTheDead = "stream-the-dead",
    /// A piece of a stream that begins inside a torn commit takes it for a whole one.
    StreamForgetsSeal = "stream-forgets-seal",
    /// Scrubs go on while their volume is compacted.
    ScrubWhileCompacting = "scrub-while-compacting",
    /// A scrub that found damage is recorded as one that found none.
    RecordDamagedScrub = "record-damaged-scrub",
    /// An error at a place that is known counts again.
    CountErrorsTwice = "count-errors-twice",
    /// A GET that reads wrong bytes does not read them again.
    GetReadsOnce = "get-reads-once",
    /// A probe counts errors of the device only.
    ProbeWithoutVerifying = "probe-without-verifying",
    /// An error does not lead to a burst of reads.
    NoBurst = "no-burst",
    /// A suspect volume takes writes.
    WriteToSuspect = "write-to-suspect",
    /// A volume that was suspect is not so after a restart.
    ForgetSuspicion = "forget-suspicion",
}

/// Whether this mistake is enabled by the environment variable [`VARIABLE`].
///
/// # Panics
/// If the variable names no mistake.
#[cfg(feature = "sim")]
#[must_use]
pub fn chosen(sabotage: Sabotage) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<Sabotage>> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        let name = std::env::var(VARIABLE).ok()?;
        let known = ALL.iter().find(|(_, known)| *known == name);
        Some(known.unwrap_or_else(|| panic!("{VARIABLE}={name} names no known mistake")).0)
    });
    *chosen == Some(sabotage)
}

/// Environment variable that names the thread to end at its start.
#[cfg(feature = "sim")]
pub const THREAD_VARIABLE: &str = "HAYLOFT_SABOTAGE_THREAD";

/// Whether the thread named `thread` must panic at its start, by [`THREAD_VARIABLE`].
#[cfg(feature = "sim")]
#[must_use]
pub fn dies(thread: &str) -> bool {
    std::env::var(THREAD_VARIABLE).is_ok_and(|name| name == thread)
}

/// Whether the thread named `thread` must end at its start without unwinding: `exit:NAME` in
/// [`THREAD_VARIABLE`].
#[cfg(feature = "sim")]
#[must_use]
pub fn exits(thread: &str) -> bool {
    std::env::var(THREAD_VARIABLE).is_ok_and(|name| name.strip_prefix("exit:") == Some(thread))
}

/// Always false without the feature `sim`.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn exits(_thread: &str) -> bool {
    false
}

/// Always false without the feature `sim`.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn dies(_thread: &str) -> bool {
    false
}

/// Always false without the feature `sim`.
#[cfg(not(feature = "sim"))]
#[must_use]
pub const fn chosen(_: Sabotage) -> bool {
    false
}

#[cfg(not(feature = "sim"))]
const _: () = assert!(!chosen(Sabotage::AckBeforeFlush), "no mistakes without the feature sim");
