//! Volumes of the store: picks one for the next photo, finds those that take none, and creates missing ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use super::unfit::{Unfit, UnfitReason};
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError};
use crate::http::head::Method;

/// Interval between polls of a volume that is being created.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Number of the first volume of a store.
const FIRST: VolumeId = VolumeId(1);

/// A volume, as the admin API describes it.
#[derive(Clone, Debug, Deserialize)]
struct Described {
    id: VolumeId,
    state: String,
    /// Size of its file (bytes).
    size: u64,
    /// Used part of its file (bytes).
    used: u64,
    /// Number of photos in it, if the daemon reports it.
    needles: Option<u64>,
    /// Why it could not be created, if creation failed.
    error: Option<String>,
}

impl Described {
    /// Returns the free part of its file (bytes).
    fn free(&self) -> u64 {
        self.size.saturating_sub(self.used)
    }

    fn has_state(&self, states: &[&str]) -> bool {
        states.contains(&&*self.state)
    }
}

/// A volume that photos may go to, with its free space.
struct Room {
    id: VolumeId,
    /// Estimated free space (bytes).
    free: u64,
    /// Whether it refused a photo.
    given_up: bool,
}

/// Why a volume was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The daemon refused, or cannot be reached.
    #[error("volume {id} was not created: {error}")]
    Refused {
        /// Number of the volume.
        id: VolumeId,
        /// Cause.
        error: ClientError,
    },
    /// The daemon started to create it, and failed.
    #[error("volume {id} was not created: {reason}")]
    Failed {
        /// Number of the volume.
        id: VolumeId,
        /// Reason that the daemon gives.
        reason: String,
    },
    /// The command was interrupted while it waited.
    #[error("interrupted while volume {0} was being created")]
    Interrupted(VolumeId),
}

/// The volumes that photos may go to.
pub struct Volumes {
    /// Admin API that lists the volumes; `None` if it must not be asked.
    admin: Option<Client>,
    /// Whether the user named one volume for all photos.
    fixed: bool,
    rooms: Mutex<Vec<Room>>,
}

impl Volumes {
    /// Returns the one volume that the user named; `admin`, if given, is asked for its state.
    #[must_use]
    pub fn only(volume: VolumeId, admin: Option<Client>) -> Self {
        let room = Room { id: volume, free: u64::MAX, given_up: false };
        Self { admin, fixed: true, rooms: Mutex::new(vec![room]) }
    }

    /// Asks the admin API for all volumes that take writes; if there are none, those that are being
    /// recovered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(admin: Client) -> Result<Self, ClientError> {
        let rooms = Mutex::new(rooms(&list(&admin)?));
        Ok(Self { admin: Some(admin), fixed: false, rooms })
    }

    /// Returns whether an admin API answers.
    #[must_use]
    pub fn answers(admin: &Client) -> bool {
        list(admin).is_ok()
    }

    /// Returns whether the user named one volume for all photos.
    #[must_use]
    pub fn fixed(&self) -> bool {
        self.fixed
    }

    /// Asks for the numbers of all volumes that serve reads now or later, also of those that take no writes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn readable(&self) -> Result<Vec<VolumeId>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let unreadable = ["creating", "creation_failed", "failed"];
        let readable = described.iter().filter(|found| !found.has_state(&unreadable));
        Ok(readable.map(|found| found.id).collect())
    }

    /// Returns whether the admin API reports that the store has no volumes.
    #[must_use]
    pub fn is_empty_store(&self) -> bool {
        let described = self.admin.as_ref().and_then(|admin| list(admin).ok());
        described.is_some_and(|described| described.is_empty())
    }

    /// Picks the volume with the most free space, and subtracts `size` (bytes) from that; `None` if all are
    /// given up.
    #[must_use]
    pub fn pick(&self, size: u64) -> Option<VolumeId> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let open = rooms.iter_mut().filter(|room| !room.given_up);
        let room = open.max_by_key(|room| room.free)?;
        room.free = room.free.saturating_sub(size);
        Some(room.id)
    }

    /// Like [`Self::pick`], but first creates volume 1 with `new` bytes, if given, in a store without
    /// volumes.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn pick_or_create(
        &self,
        size: u64,
        new: Option<ByteSize>,
        stop: &AtomicBool,
    ) -> Result<Option<VolumeId>, CreateError> {
        let picked = self.pick(size);
        if let (None, Some(new), Some(admin)) = (picked, new, &self.admin) {
            let refused = |error| CreateError::Refused { id: FIRST, error };
            if list(admin).map_err(refused)?.is_empty() {
                self.create_missing(&BTreeSet::from([FIRST]), new, stop)?;
                return Ok(self.pick(size));
            }
        }
        Ok(picked)
    }

    /// Sends no more photos to `volume`.
    pub fn give_up(&self, volume: VolumeId) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for room in rooms.iter_mut().filter(|room| room.id == volume) {
            room.given_up = true;
        }
    }

    /// Returns whether `volume` takes writes, or will after its recovery; true if the admin API does not
    /// answer or is not known.
    #[must_use]
    pub fn takes_writes(&self, volume: VolumeId) -> bool {
        let Some(described) = self.admin.as_ref().and_then(|admin| list(admin).ok()) else {
            return true;
        };
        described
            .iter()
            .any(|found| found.id == volume && found.has_state(&["writable", "recovering"]))
    }

    /// Returns whether `volume` serves reads now or later; true if the admin API does not answer or is not
    /// known.
    #[must_use]
    pub fn serves_reads(&self, volume: VolumeId) -> bool {
        let Some(described) = self.admin.as_ref().and_then(|admin| list(admin).ok()) else {
            return true;
        };
        described
            .iter()
            .any(|found| found.id == volume && !found.has_state(&["failed", "creation_failed"]))
    }

    /// Returns the number of photos in those of `volumes` that exist; `None` if it is not known.
    #[must_use]
    pub fn photos_in(&self, volumes: &BTreeSet<VolumeId>) -> Option<u64> {
        let described = list(self.admin.as_ref()?).ok()?;
        let those = described.iter().filter(|found| volumes.contains(&found.id));
        those.map(|found| found.needles).sum()
    }

    /// Returns those of `needed` that take no photos, by number. Volumes that are being recovered or created
    /// will take them, and are not included. Without an admin API the result is empty.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn unfit(&self, needed: &BTreeSet<VolumeId>) -> Result<Vec<Unfit>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let reason = |id: VolumeId| match described.iter().find(|found| found.id == id) {
            None => Some(UnfitReason::Absent),
            Some(found) if found.state == "creation_failed" => Some(UnfitReason::Absent),
            Some(found) if found.state == "writable" && found.free() == 0 => {
                Some(UnfitReason::Full)
            }
            Some(found) if found.has_state(&["writable", "recovering", "creating"]) => None,
            Some(found) => Some(UnfitReason::State(found.state.clone())),
        };
        let unfit = |&id: &VolumeId| reason(id).map(|reason| Unfit { id, reason });
        Ok(needed.iter().filter_map(unfit).collect())
    }

    /// Returns those of `needed` (bytes of photos, by volume) that are certainly too small. Checks volumes
    /// without photos, and volumes that would be created with `new` bytes: other volumes may already have
    /// some of the photos.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn too_small(
        &self,
        needed: &BTreeMap<VolumeId, u64>,
        new: Option<ByteSize>,
    ) -> Result<Vec<Unfit>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let room = |id: VolumeId| match described.iter().find(|found| found.id == id) {
            Some(found) if found.state == "writable" => {
                Some(found.free()).filter(|_| found.needles == Some(0))
            }
            Some(_) => None,
            None => new.map(ByteSize::bytes),
        };
        let unfit = |(&id, &needed): (&VolumeId, &u64)| {
            let room = room(id).filter(|room| *room < needed)?;
            Some(Unfit { id, reason: UnfitReason::TooSmall { room, needed } })
        };
        Ok(needed.iter().filter_map(unfit).collect())
    }

    /// Creates those of `needed` that do not exist, each of `size`, and waits until they, and those that
    /// others are creating, take photos. Returns the numbers of the created volumes. They can be picked from
    /// then on. Without an admin API nothing is created.
    ///
    /// # Errors
    /// [`CreateError`]; volumes that were created before the error are kept.
    pub fn create_missing(
        &self,
        needed: &BTreeSet<VolumeId>,
        size: ByteSize,
        stop: &AtomicBool,
    ) -> Result<Vec<VolumeId>, CreateError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let mut created = Vec::new();
        for &id in needed {
            let refused = |error| CreateError::Refused { id, error };
            let described = list(admin).map_err(refused)?;
            let mut found = described.into_iter().find(|found| found.id == id);
            if found.as_ref().is_none_or(|found| found.state == "creation_failed") {
                found = Some(create(admin, id, size).map_err(refused)?);
                created.push(id);
            }
            let Some(found) = found else { continue };
            await_created(admin, found, stop)?;
        }
        if !created.is_empty() && !self.fixed {
            let id = created[0];
            let described = list(admin).map_err(|error| CreateError::Refused { id, error })?;
            let added = rooms(&described).into_iter().filter(|room| created.contains(&room.id));
            self.rooms.lock().unwrap_or_else(PoisonError::into_inner).extend(added);
        }
        Ok(created)
    }
}

/// Returns the volumes that take writes; if there are none, those that are being recovered.
fn rooms(described: &[Described]) -> Vec<Room> {
    let of = |state: &str| {
        let of = described.iter().filter(|found| found.state == state);
        of.map(|found| Room { id: found.id, free: found.free(), given_up: false })
            .collect::<Vec<_>>()
    };
    let writable = of("writable");
    if writable.is_empty() { of("recovering") } else { writable }
}

fn list(admin: &Client) -> Result<Vec<Described>, ClientError> {
    admin.request(Method::Get, "/volumes", &[], Body::None)?.expect(&[200])?.json()
}

fn create(admin: &Client, id: VolumeId, size: ByteSize) -> Result<Described, ClientError> {
    let body = serde_json::json!({"id": id, "size": size.to_string()}).to_string();
    let body = Body::Bytes(body.as_bytes());
    admin.request(Method::Post, "/volumes", &[], body)?.expect(&[201, 202])?.json()
}

/// Waits while a volume is being created.
fn await_created(
    admin: &Client,
    mut found: Described,
    stop: &AtomicBool,
) -> Result<(), CreateError> {
    let id = found.id;
    while found.state == "creating" {
        if stop.load(Ordering::Relaxed) {
            return Err(CreateError::Interrupted(id));
        }
        std::thread::sleep(POLL_INTERVAL);
        let path = format!("/volumes/{id}");
        let reply = admin.request(Method::Get, &path, &[], Body::None);
        let reply = reply.and_then(|reply| reply.expect(&[200])).and_then(|reply| reply.json());
        found = reply.map_err(|error| CreateError::Refused { id, error })?;
    }
    match found.error {
        Some(reason) => Err(CreateError::Failed { id, reason }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(free: &[u64]) -> Volumes {
        let room =
            |(id, free): (u32, &u64)| Room { id: VolumeId(id), free: *free, given_up: false };
        let rooms = Mutex::new((1..).zip(free).map(room).collect());
        Volumes { admin: None, fixed: false, rooms }
    }

    #[test]
    fn volume_with_the_most_free_space_is_picked() {
        let volumes = volumes(&[10, 30, 25]);
        let picked: Vec<_> = (0..4).map(|_| volumes.pick(10).unwrap().0).collect();
        assert_eq!(picked, [2, 3, 2, 3]);
        volumes.give_up(VolumeId(3));
        volumes.give_up(VolumeId(1));
        assert_eq!(
            volumes.pick(1000),
            Some(VolumeId(2)),
            "one with too little space by the estimate is still picked"
        );
        volumes.give_up(VolumeId(2));
        assert_eq!(volumes.pick(1), None);
    }

    #[test]
    fn named_volume_is_the_only_one_picked() {
        let volumes = Volumes::only(VolumeId(7), None);
        assert_eq!(
            (volumes.pick(u64::MAX), volumes.pick(1)),
            (Some(VolumeId(7)), Some(VolumeId(7)))
        );
        volumes.give_up(VolumeId(7));
        assert_eq!(volumes.pick(1), None);
    }
}
