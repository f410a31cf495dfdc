//! Section `[compaction]`: which volumes are compacted, when, and what is kept free for it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::error::ConfigError;
use super::or_word::{Any, Auto, Never, OrWord};
use super::ranges::value_in;
use super::share::Share;
use super::time_span::TimeSpan;
use crate::base::calendar::DayWindow;
use crate::base::size::ByteSize;

/// Whether the daemon begins compactions by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum CompactionPolicy {
    /// It compacts the volumes with the most garbage.
    #[default]
    Auto,
    /// Only operators begin compactions.
    Off,
}

/// The text is no value of `compaction.policy`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no policy; write auto (volumes with much garbage) or off (only on request)")]
pub struct ParsePolicyError(String);

impl TryFrom<String> for CompactionPolicy {
    type Error = ParsePolicyError;

    fn try_from(text: String) -> Result<Self, ParsePolicyError> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => Err(ParsePolicyError(text)),
        }
    }
}

/// Compaction of volumes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CompactionConfig {
    /// Whether the daemon begins compactions by itself.
    pub policy: CompactionPolicy,
    /// Garbage share of its log at which a volume is compacted, while at most half of its disk is in use.
    /// 0.05 to 0.95.
    pub garbage_share: Share,
    /// The same when 95 % of the disk are in use; linear in between. 0.05 to `garbage_share`.
    pub garbage_share_when_full: Share,
    /// Time of day (UTC) in which the daemon begins compactions by itself.
    pub hours: OrWord<DayWindow, Any>,
    /// Time after which the bytes of a deleted or replaced photo are no longer in any volume file. 1 h to
    /// 10 years.
    pub erase_within: OrWord<TimeSpan, Never>,
    /// Time within which a deleted photo can be taken back, if no compaction has dropped its bytes. 0 for
    /// never, at most `erase_within`.
    pub undelete_within: TimeSpan,
    /// Space of each disk that is kept free for compactions when volumes are created.
    pub reserve: OrWord<ByteSize, Auto>,
    /// Time for which compactions keep the records of deletions. 0 to 10 years.
    pub tombstone_keep: TimeSpan,
    /// Time for which compactions keep photos that have expired. 1 h to 10 years.
    pub expiry_grace: TimeSpan,
    /// Whether the new file is read back and verified before the old one is removed.
    pub verify: bool,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            policy: CompactionPolicy::Auto,
            garbage_share: Share::percent(50),
            garbage_share_when_full: Share::percent(25),
            hours: OrWord::default(),
            erase_within: OrWord::default(),
            undelete_within: TimeSpan::default(),
            reserve: OrWord::default(),
            tombstone_keep: TimeSpan::days(30),
            expiry_grace: TimeSpan::hours(24),
            verify: true,
        }
    }
}

impl CompactionConfig {
    /// Smallest and largest garbage share at which a volume may be compacted. Each byte that comes back costs
    /// (1 - share) / share copied bytes: 19 at the smallest share.
    const SHARE_MIN: Share = Share::percent(5);
    const SHARE_MAX: Share = Share::percent(95);
    const SPAN_MAX: TimeSpan = TimeSpan::days(3650);

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let share = self.garbage_share;
        let shares = Self::SHARE_MIN..=Self::SHARE_MAX;
        value_in("compaction.garbage_share", &share, &shares, "a share")?;
        let (key, shares) = ("compaction.garbage_share_when_full", Self::SHARE_MIN..=share);
        value_in(key, &self.garbage_share_when_full, &shares, "a share")?;
        if let Some(span) = self.erase_within.value() {
            let spans = TimeSpan::hours(1)..=Self::SPAN_MAX;
            value_in("compaction.erase_within", &span, &spans, "a span of time")?;
        }
        let spans = TimeSpan::default()..=Self::SPAN_MAX;
        value_in("compaction.undelete_within", &self.undelete_within, &spans, "a span of time")?;
        if let Some(erase_within) = self.erase_within.value()
            && self.undelete_within > erase_within
        {
            let problem = format!(
                "it is {}, but bytes of deleted photos are erased within {erase_within} \
                 (compaction.erase_within)",
                self.undelete_within
            );
            let fix = format!("write at most {erase_within}, or raise compaction.erase_within");
            return Err(ConfigError::setting("compaction.undelete_within", problem, fix));
        }
        value_in("compaction.tombstone_keep", &self.tombstone_keep, &spans, "a span of time")?;
        let spans = TimeSpan::hours(1)..=Self::SPAN_MAX;
        value_in("compaction.expiry_grace", &self.expiry_grace, &spans, "a span of time")
    }
}
