//! Names of the files of a volume in its data directory.

use std::ffi::CString;

use crate::base::types::VolumeId;

/// Returns the name of a volume file.
#[must_use]
pub fn file_name(volume: VolumeId, generation: u64) -> String {
    format!("{volume}.{generation}.vol")
}

/// Returns the name of a volume file, for an operation.
pub(super) fn volume_name(volume: VolumeId, generation: u64) -> CString {
    c_string(file_name(volume, generation))
}

/// Returns the name of a volume file while it is being created.
pub(super) fn unfinished_volume_name(volume: VolumeId, generation: u64) -> CString {
    c_string(file_name(volume, generation) + ".tmp")
}

/// Returns the name of a volume's checkpoint.
pub(super) fn checkpoint_name(volume: VolumeId, generation: u64) -> CString {
    c_string(format!("{volume}.{generation}.ckpt"))
}

/// Returns the name of a checkpoint while it is being written.
pub(super) fn unfinished_checkpoint_name(volume: VolumeId, generation: u64) -> CString {
    c_string(format!("{volume}.{generation}.ckpt.new"))
}

fn c_string(name: String) -> CString {
    CString::new(name).expect("digits, dots and letters")
}
