//! The file names in a data directory. Parsing is strict: a name has exactly one spelling.

use crate::base::types::VolumeId;

/// The marker of a data directory: store id and format.
pub const MARKER: &str = "hayloft.toml";
/// The marker while it is being written.
pub(super) const MARKER_TEMPORARY: &str = "hayloft.toml.tmp";
/// The lock file: locked by the daemon that has the directory open; holds its process id.
pub const LOCK: &str = "LOCK";
/// File of the direct I/O probe of a start. It has this name only briefly, and only on file systems without
/// unnamed files (`O_TMPFILE`).
pub const PROBE: &str = "probe.tmp";
/// What is known of the health of the volumes in the directory.
pub(super) const HEALTH: &str = "health.json";
/// The same while it is being written.
pub(super) const HEALTH_TEMPORARY: &str = "health.json.tmp";
/// Up to when the copies of the volumes in the directory have everything.
pub(super) const COPIES: &str = "copies.json";
/// The same while it is being written.
pub(super) const COPIES_TEMPORARY: &str = "copies.json.tmp";
/// Created by mkfs in the root directory of ext file systems.
pub(super) const LOST_AND_FOUND: &str = "lost+found";

/// Kind of a file name in a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// `hayloft.toml`.
    Marker,
    /// Other expected names without photos: LOCK, lost+found, health.json, copies.json, an unfinished marker,
    /// a probe.
    Housekeeping,
    /// `{id}.{generation}.vol`.
    Volume { id: VolumeId, generation: u64 },
    /// `{id}.{generation}.vol.tmp`: a volume whose creation did not finish.
    VolumeTemporary,
    /// `{id}.{generation}.ckpt`.
    Checkpoint { id: VolumeId, generation: u64 },
    /// `{id}.{generation}.ckpt.new`: a checkpoint that was not finished.
    CheckpointTemporary,
    /// Anything else.
    Unknown,
}

impl FileName {
    pub(super) fn parse(name: &str) -> Self {
        match name {
            MARKER => return Self::Marker,
            MARKER_TEMPORARY | LOCK | PROBE | LOST_AND_FOUND | HEALTH | HEALTH_TEMPORARY
            | COPIES | COPIES_TEMPORARY => return Self::Housekeeping,
            _ => {}
        }
        let mut parts = name.splitn(3, '.');
        let (Some(id), Some(generation), Some(kind)) = (parts.next(), parts.next(), parts.next())
        else {
            return Self::Unknown;
        };
        let (Some(id), Some(generation)) = (decimal(id), decimal(generation)) else {
            return Self::Unknown;
        };
        let Ok(id) = u32::try_from(id).map(VolumeId) else {
            return Self::Unknown;
        };
        match kind {
            "vol" => Self::Volume { id, generation },
            "vol.tmp" => Self::VolumeTemporary,
            "ckpt" => Self::Checkpoint { id, generation },
            "ckpt.new" => Self::CheckpointTemporary,
            _ => Self::Unknown,
        }
    }
}

/// Parses decimal digits without sign and leading zeros.
fn decimal(text: &str) -> Option<u64> {
    let strict =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if strict { text.parse().ok() } else { None }
}

/// `{id}.{generation}.vol`.
pub(super) fn volume(id: VolumeId, generation: u64) -> String {
    format!("{id}.{generation}.vol")
}

/// `{id}.{generation}.vol.tmp`.
pub(super) fn volume_temporary(id: VolumeId, generation: u64) -> String {
    format!("{id}.{generation}.vol.tmp")
}

/// `{id}.{generation}.ckpt`.
pub(super) fn checkpoint(id: VolumeId, generation: u64) -> String {
    format!("{id}.{generation}.ckpt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_parse_to_their_kind() {
        for (id, generation) in [(0, 0), (1, 1), (u32::MAX, u64::MAX)] {
            let id = VolumeId(id);
            assert_eq!(
                FileName::parse(&volume(id, generation)),
                FileName::Volume { id, generation }
            );
            assert_eq!(
                FileName::parse(&volume_temporary(id, generation)),
                FileName::VolumeTemporary
            );
            let checkpoint = checkpoint(id, generation);
            let parsed = FileName::Checkpoint { id, generation };
            assert_eq!(FileName::parse(&checkpoint), parsed);
            assert_eq!(
                FileName::parse(&format!("{checkpoint}.new")),
                FileName::CheckpointTemporary
            );
        }
        assert_eq!(FileName::parse(MARKER), FileName::Marker);
        assert_eq!(FileName::parse(LOCK), FileName::Housekeeping);
        assert_eq!(FileName::parse("lost+found"), FileName::Housekeeping);
        assert_eq!(FileName::parse(HEALTH), FileName::Housekeeping);
        assert_eq!(FileName::parse(COPIES_TEMPORARY), FileName::Housekeeping);
        assert_eq!(FileName::parse(PROBE), FileName::Housekeeping);
    }

    #[test]
    fn other_spellings_are_unknown() {
        for name in [
            "",
            ".",
            "1",
            "1.1",
            "1.vol",
            "01.1.vol",
            "1.01.vol",
            "1.00.vol",
            "+1.1.vol",
            "-1.1.vol",
            "1.1.VOL",
            "1.1.vol ",
            " 1.1.vol",
            "1.1.vol~",
            "1.1.vol.bak",
            "1.1.vol.tmp.tmp",
            "01.1.vol.tmp",
            "1.1.tmp",
            "x.tmp",
            "1..vol",
            ".1.vol",
            "1.1.1.vol",
            "4294967296.1.vol",
            "1.18446744073709551616.vol",
            "lock",
            "hayloft.toml~",
        ] {
            assert_eq!(FileName::parse(name), FileName::Unknown, "{name:?}");
        }
    }
}
