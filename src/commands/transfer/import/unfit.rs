//! Volumes that photos cannot go to, why, and what to do about it.

use std::fmt;

use crate::base::size::rounded;
use crate::base::types::VolumeId;

/// A volume that photos cannot go to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Number of the volume.
    pub id: VolumeId,
    /// Reason.
    pub reason: UnfitReason,
}

/// Why a volume takes no photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfitReason {
    /// The store has no volume of this number.
    Absent,
    /// Its state, as the admin API names it: `read_only`, `poisoned`, `lost`, `failed`.
    State(String),
    /// Its file has no free space.
    Full,
    /// It is empty or new, and too small for its photos.
    TooSmall {
        /// Maximum that it can hold (bytes).
        room: u64,
        /// Total size of the photos for it (bytes).
        needed: u64,
    },
}

impl Unfit {
    /// Returns the command that makes the volume take photos, or other advice, if there is any. `at` is
    /// ` --admin ADDRESS`, or empty; `None` if only the command's own daemon runs.
    #[must_use]
    pub fn remedy(&self, at: Option<&str>) -> Option<String> {
        let (id, with) = (self.id, at.unwrap_or_default());
        Some(match &self.reason {
            UnfitReason::Absent => format!("hayloft volume create {id}{} creates it", at?),
            UnfitReason::State(state) if state == "read_only" => {
                format!("hayloft volume writable {id}{with} lets it take writes again")
            }
            UnfitReason::State(state) if state == "poisoned" && at.is_some() => {
                "a restart of the daemon recovers it".to_owned()
            }
            UnfitReason::State(_) => "the log of the daemon says why".to_owned(),
            UnfitReason::Full | UnfitReason::TooSmall { .. } => return None,
        })
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id;
        match &self.reason {
            UnfitReason::Absent => write!(f, "volume {id} does not exist"),
            UnfitReason::State(state) => {
                write!(f, "volume {id} takes no writes: it is {}", state.replace('_', "-"))
            }
            UnfitReason::Full => write!(f, "volume {id} is full"),
            UnfitReason::TooSmall { room, needed } => write!(
                f,
                "volume {id} has room for {} at most, and the photos for it have {}",
                rounded(*room),
                rounded(*needed)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_name_the_command_and_the_admin_api() {
        let unfit = |reason| Unfit { id: VolumeId(2), reason };
        let absent = unfit(UnfitReason::Absent);
        let remedy = absent.remedy(Some(" --admin http://10.0.0.2:8081"));
        let wanted = "hayloft volume create 2 --admin http://10.0.0.2:8081 creates it";
        assert_eq!(remedy.as_deref(), Some(wanted));
        assert_eq!(absent.remedy(None), None, "no daemon runs that could create it");
        let read_only = unfit(UnfitReason::State("read_only".to_owned()));
        assert_eq!(read_only.to_string(), "volume 2 takes no writes: it is read-only");
        assert!(read_only.remedy(Some("")).unwrap().starts_with("hayloft volume writable 2 lets"));
    }
}
