//! Background work on a volume that is begun again and again.

use super::admin::Admin;
use crate::process::Failed;

/// Kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// The volume is compacted.
    Compaction,
    /// The volume is scrubbed.
    Scrub,
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether some is under way, and what it has done; `None` if it waits.
    pub running: Option<Option<u64>>,
    /// Number of pieces of work that have ended.
    pub ended: u64,
}

impl Work {
    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compaction => "compaction",
            Self::Scrub => "scrub",
        }
    }

    /// Begins the work on a volume.
    ///
    /// # Errors
    /// When that is refused.
    pub fn begin(self, admin: Admin, volume: u32) -> Result<(), Failed> {
        match self {
            Self::Compaction => admin.begin(volume),
            Self::Scrub => admin.begin_scrub(volume),
        }
    }

    /// Returns how far it is (bytes).
    ///
    /// # Errors
    /// When the last piece of work failed.
    pub fn look(self, admin: Admin, volume: u32) -> Result<Look, Failed> {
        let volume = admin.volume(volume)?;
        match self {
            Self::Compaction => {
                let runs = |phase: &str| phase != "waiting";
                let running = volume.compaction.map(|it| runs(&it.phase).then_some(it.read));
                if running.is_none() && volume.compactions > 0 {
                    super::admin::done(volume.last_compaction)?;
                }
                Ok(Look { running, ended: volume.compactions })
            }
            Self::Scrub => {
                let running = volume.scrub.map(|it| (it.phase == "running").then_some(it.done));
                if volume.found_damage > 0 {
                    return Err(Failed(format!("{} places are damaged", volume.found_damage)));
                }
                Ok(Look { running, ended: volume.scrubs })
            }
        }
    }

    /// Ends the work on a volume.
    ///
    /// # Errors
    /// When it does not end.
    pub fn end(self, admin: Admin, volume: u32) -> Result<(), Failed> {
        match self {
            Self::Compaction => admin.cancel(volume),
            Self::Scrub => admin.wait_for_scrub(volume),
        }
    }
}
