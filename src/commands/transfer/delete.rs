//! Deletes photos of a daemon, many with one request.

use std::collections::HashSet;
use std::fmt::Write;

use serde::Deserialize;

use super::name::PhotoName;
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError};
use crate::http::head::Method;
use crate::http::photo_list::PHOTOS_MAX;

/// Photos of one volume that are deleted with one request: at most [`PHOTOS_MAX`], with different ids.
pub struct DeleteRequest {
    volume: VolumeId,
    photos: Vec<PhotoName>,
}

#[derive(Deserialize)]
struct Outcome {
    key: u64,
    alt: u32,
    status: u16,
}

/// Groups photos of one daemon into requests: volume by volume, in the order in which the names appear.
/// Repetitions are left out.
#[must_use]
pub fn group(photos: &[PhotoName]) -> Vec<DeleteRequest> {
    let mut requests = Vec::new();
    let mut volumes: Vec<VolumeId> = Vec::new();
    for photo in photos {
        if !volumes.contains(&photo.volume) {
            volumes.push(photo.volume);
        }
    }
    for volume in volumes {
        let (mut named, mut ids) = (HashSet::new(), HashSet::new());
        let mut current = DeleteRequest { volume, photos: Vec::new() };
        for photo in photos.iter().filter(|photo| photo.volume == volume) {
            let id = (photo.key, photo.alt);
            if !named.insert((id, photo.cookie)) {
                continue;
            }
            if current.photos.len() == PHOTOS_MAX || ids.contains(&id) {
                ids.clear();
                let next = DeleteRequest { volume, photos: Vec::new() };
                requests.push(std::mem::replace(&mut current, next));
            }
            ids.insert(id);
            current.photos.push(*photo);
        }
        requests.push(current);
    }
    requests
}

impl DeleteRequest {
    /// Returns the photos, in the order in which they were named.
    #[must_use]
    pub fn photos(&self) -> &[PhotoName] {
        &self.photos
    }

    /// Sends the request. Returns for each photo whether it existed and is deleted now.
    ///
    /// # Errors
    /// [`ClientError`]: none is deleted, unless the connection broke or the daemon says that a write failed.
    pub fn send(&self, client: &Client) -> Result<Vec<bool>, ClientError> {
        let mut body = String::new();
        for PhotoName { key, alt, cookie, .. } in &self.photos {
            writeln!(body, "{key}/{alt}/{cookie:016x}").expect("a string takes any text");
        }
        let path = format!("/{}/delete", self.volume);
        let headers = [("Content-Type", "text/plain")];
        let reply = client.request(Method::Post, &path, &headers, Body::Bytes(body.as_bytes()))?;
        let mut reply = reply.expect(&[200])?;
        let text = reply.text()?;
        let outcomes: Result<Vec<Outcome>, _> = serde_json::from_str(&text);
        let outcomes = outcomes.map_err(|error| reply.garbled(&error))?;
        let is_answer = |outcome: &Outcome, photo: &PhotoName| {
            (outcome.key, outcome.alt) == (photo.key, photo.alt)
                && matches!(outcome.status, 204 | 404)
        };
        let pairs = || outcomes.iter().zip(&self.photos);
        if outcomes.len() != self.photos.len()
            || !pairs().all(|(outcome, photo)| is_answer(outcome, photo))
        {
            return Err(reply.garbled(&"it is about other photos than the request"));
        }
        Ok(outcomes.iter().map(|outcome| outcome.status == 204).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(volume: u32, key: u64, cookie: u64) -> PhotoName {
        PhotoName { volume: VolumeId(volume), key, alt: 0, cookie }
    }

    fn grouped(photos: &[PhotoName]) -> Vec<(u32, Vec<u64>)> {
        let keys = |request: &DeleteRequest| request.photos.iter().map(|photo| photo.key).collect();
        group(photos).iter().map(|request| (request.volume.0, keys(request))).collect()
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
    fn a_request_has_at_most_as_many_photos_as_the_daemon_takes() {
        let photos: Vec<PhotoName> = (0..2500).map(|key| photo(1, key, 1)).collect();
        let lens: Vec<usize> = group(&photos).iter().map(|request| request.photos.len()).collect();
        assert_eq!(lens, [1000, 1000, 500]);
    }
}
