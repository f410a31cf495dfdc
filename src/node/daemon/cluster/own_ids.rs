//! Ids of volumes that belong to no cluster, on a node that belongs to one.

use crate::base::types::VolumeId;

/// First id that such a volume gets unless one is named: the cluster counts its own from 1.
pub const FIRST_OWN_ID: u32 = 1 << 31;

/// Returns the id of a new volume that is named by nobody; `None` if the highest one is taken. `taken`: ids
/// in use.
pub fn next_own_id(taken: impl Iterator<Item = VolumeId>) -> Option<VolumeId> {
    let own = taken.map(|id| id.0).filter(|id| *id >= FIRST_OWN_ID);
    match own.max() {
        None => Some(VolumeId(FIRST_OWN_ID)),
        Some(highest) => highest.checked_add(1).map(VolumeId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_ids_are_above_those_of_the_cluster() {
        let next = |taken: &[u32]| next_own_id(taken.iter().copied().map(VolumeId));
        assert_eq!(next(&[]), Some(VolumeId(1 << 31)));
        assert_eq!(next(&[1, 700]), Some(VolumeId(1 << 31)));
        assert_eq!(next(&[1, FIRST_OWN_ID + 6]), Some(VolumeId(FIRST_OWN_ID + 7)));
        assert_eq!(next(&[u32::MAX]), None);
    }
}
