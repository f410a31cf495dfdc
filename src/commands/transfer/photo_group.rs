//! Photos of one volume that a request names, one a line.

use std::collections::HashSet;
use std::fmt::Write;

use super::name::PhotoName;
use crate::base::types::VolumeId;
use crate::http::photo_list::PHOTOS_MAX;

/// Photos of one volume that one request can name: at most [`PHOTOS_MAX`], with different ids.
#[derive(Debug)]
pub struct PhotoGroup {
    volume: VolumeId,
    photos: Vec<PhotoName>,
}

impl PhotoGroup {
    /// The volume.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        self.volume
    }

    /// Returns the photos, in the order in which they were named.
    #[must_use]
    pub fn photos(&self) -> &[PhotoName] {
        &self.photos
    }

    /// Returns the body of a request that names them.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = String::new();
        for PhotoName { key, alt, cookie, .. } in &self.photos {
            writeln!(body, "{key}/{alt}/{cookie:016x}").expect("a string takes any text");
        }
        body
    }

    /// Whether these ids are those of the photos, in the same order.
    #[must_use]
    pub fn are_ids(&self, ids: impl ExactSizeIterator<Item = (u64, u32)>) -> bool {
        ids.len() == self.photos.len() && ids.eq(self.photos.iter().map(|it| (it.key, it.alt)))
    }
}

/// Groups photos of one daemon volume by volume, in the order in which the names appear.
/// Repetitions are left out.
#[must_use]
pub fn group(photos: &[PhotoName]) -> Vec<PhotoGroup> {
    let mut groups = Vec::new();
    let mut volumes: Vec<VolumeId> = Vec::new();
    for photo in photos {
        if !volumes.contains(&photo.volume) {
            volumes.push(photo.volume);
        }
    }
    for volume in volumes {
        let (mut named, mut ids) = (HashSet::new(), HashSet::new());
        let mut current = PhotoGroup { volume, photos: Vec::new() };
        for photo in photos.iter().filter(|photo| photo.volume == volume) {
            let id = (photo.key, photo.alt);
            if !named.insert((id, photo.cookie)) {
                continue;
            }
            if current.photos.len() == PHOTOS_MAX || ids.contains(&id) {
                ids.clear();
                let next = PhotoGroup { volume, photos: Vec::new() };
                groups.push(std::mem::replace(&mut current, next));
            }
            ids.insert(id);
            current.photos.push(*photo);
        }
        groups.push(current);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(volume: u32, key: u64, cookie: u64) -> PhotoName {
        PhotoName { volume: VolumeId(volume), key, alt: 0, cookie }
    }

    fn grouped(photos: &[PhotoName]) -> Vec<(u32, Vec<u64>)> {
        let keys = |group: &PhotoGroup| group.photos.iter().map(|photo| photo.key).collect();
        group(photos).iter().map(|group| (group.volume.0, keys(group))).collect()
    }

    #[test]
    fn photos_are_grouped_by_volume_in_their_order() {
        assert_eq!(grouped(&[]), []);
        let photos = [photo(2, 9, 1), photo(1, 7, 1), photo(2, 3, 1), photo(1, 8, 1)];
        assert_eq!(grouped(&photos), [(2, vec![9, 3]), (1, vec![7, 8])]);
    }

    #[test]
    fn repeated_photo_is_left_out_and_another_cookie_is_asked_about_separately() {
        let photos =
            [photo(1, 7, 1), photo(1, 8, 1), photo(1, 7, 1), photo(1, 7, 2), photo(1, 9, 1)];
        assert_eq!(grouped(&photos), [(1, vec![7, 8]), (1, vec![7, 9])]);
    }

    #[test]
    fn a_group_has_at_most_as_many_photos_as_the_daemon_takes() {
        let photos: Vec<PhotoName> = (0..2500).map(|key| photo(1, key, 1)).collect();
        let lens: Vec<usize> = group(&photos).iter().map(|group| group.photos.len()).collect();
        assert_eq!(lens, [1000, 1000, 500]);
    }
}
