//! Which volume takes the next photo.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use crate::client::{Body, Client, ClientError};
use crate::http::head::Method;

/// A volume, as the admin API tells it.
#[derive(Clone, Debug, Deserialize)]
struct Told {
    id: u32,
    state: String,
    size: u64,
    used: u64,
}

struct Room {
    id: u32,
    /// Bytes, as far as is known.
    free: u64,
    /// It refused a photo.
    given_up: bool,
}

/// The volumes that photos may go to.
pub struct Volumes {
    /// Where the list comes from; nothing when the user named the volume.
    admin: Option<Client>,
    rooms: Mutex<Vec<Room>>,
}

impl Volumes {
    /// Only this one.
    #[must_use]
    pub fn only(volume: u32) -> Self {
        let room = Room { id: volume, free: u64::MAX, given_up: false };
        Self { admin: None, rooms: Mutex::new(vec![room]) }
    }

    /// All that take writes, as the admin API tells; or, if none does yet, those that are being recovered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(admin: Client) -> Result<Self, ClientError> {
        let told = list(&admin)?;
        let rooms = |state| {
            let told = told.iter().filter(move |volume| volume.state == state);
            let room = |volume: &Told| Room {
                id: volume.id,
                free: volume.size.saturating_sub(volume.used),
                given_up: false,
            };
            told.map(room).collect::<Vec<_>>()
        };
        let writable = rooms("writable");
        let rooms = if writable.is_empty() { rooms("recovering") } else { writable };
        let rooms = Mutex::new(rooms);
        Ok(Self { admin: Some(admin), rooms })
    }

    /// Whether the user named the volume.
    #[must_use]
    pub fn fixed(&self) -> bool {
        self.admin.is_none()
    }

    /// Those that are not given up, by number.
    #[must_use]
    pub fn all(&self) -> Vec<u32> {
        let rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.iter().filter(|room| !room.given_up).map(|room| room.id).collect()
    }

    /// The one with most room, from which `size` (bytes) is taken; nothing when all are given up.
    #[must_use]
    pub fn pick(&self, size: u64) -> Option<u32> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let open = rooms.iter_mut().filter(|room| !room.given_up);
        let room = open.max_by_key(|room| room.free)?;
        room.free = room.free.saturating_sub(size);
        Some(room.id)
    }

    /// Sends no more photos to `volume`.
    pub fn give_up(&self, volume: u32) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for room in rooms.iter_mut().filter(|room| room.id == volume) {
            room.given_up = true;
        }
    }

    /// Whether `volume` takes writes now, as far as anybody says.
    #[must_use]
    pub fn takes_writes(&self, volume: u32) -> bool {
        let Some(told) = self.admin.as_ref().and_then(|admin| list(admin).ok()) else {
            return true;
        };
        told.iter()
            .any(|told| told.id == volume && ["writable", "recovering"].contains(&&*told.state))
    }
}

fn list(admin: &Client) -> Result<Vec<Told>, ClientError> {
    admin.request(Method::Get, "/volumes", &[], Body::None)?.expect(&[200])?.json()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volumes(free: &[u64]) -> Volumes {
        let room = |(id, free): (u32, &u64)| Room { id, free: *free, given_up: false };
        Volumes { admin: None, rooms: Mutex::new((1..).zip(free).map(room).collect()) }
    }

    #[test]
    fn the_one_with_most_room_takes_the_next() {
        let volumes = volumes(&[10, 30, 25]);
        let picked: Vec<_> = (0..4).map(|_| volumes.pick(10).unwrap()).collect();
        assert_eq!(picked, [2, 3, 2, 3]);
        volumes.give_up(3);
        volumes.give_up(1);
        assert_eq!(volumes.pick(1000), Some(2), "it may know better");
        volumes.give_up(2);
        assert_eq!(volumes.pick(1), None);
    }

    #[test]
    fn a_named_one_is_the_only_one() {
        let volumes = Volumes::only(7);
        assert_eq!(
            (volumes.pick(u64::MAX), volumes.pick(1), volumes.all()),
            (Some(7), Some(7), vec![7])
        );
        volumes.give_up(7);
        assert_eq!(volumes.pick(1), None);
    }
}
