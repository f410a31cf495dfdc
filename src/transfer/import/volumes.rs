//! The volumes of the store: which one takes the next photo, which take none, creating those that are
//! missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::client::{Body, Client, ClientError};
use crate::http::head::Method;
use crate::size::{ByteSize, rounded};

/// Interval between two looks at a volume that is being created.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The first volume of a store.
const FIRST: u32 = 1;

/// A volume, as the admin API describes it.
#[derive(Clone, Debug, Deserialize)]
struct Described {
    id: u32,
    state: String,
    /// Bytes.
    size: u64,
    /// Bytes.
    used: u64,
    /// Photos in it, if the daemon says so.
    needles: Option<u64>,
    /// Why it could not be created.
    error: Option<String>,
}

impl Described {
    /// Bytes that are left in its file.
    fn free(&self) -> u64 {
        self.size.saturating_sub(self.used)
    }

    fn has_state(&self, states: &[&str]) -> bool {
        states.contains(&&*self.state)
    }
}

struct Room {
    id: u32,
    /// Bytes, as far as is known.
    free: u64,
    /// It refused a photo.
    given_up: bool,
}

/// A volume that photos cannot go to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The volume.
    pub id: u32,
    /// Why.
    pub reason: UnfitReason,
}

/// Why a volume takes no photos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfitReason {
    /// The store has no volume of this number.
    Absent,
    /// Its state, as the admin API names it: `read_only`, `poisoned`, `lost`, `failed`.
    State(String),
    /// Its file is used up.
    Full,
    /// It is empty or new, and smaller than what is to go there (both in bytes).
    TooSmall {
        /// What it can hold at most.
        room: u64,
        /// What is to go there at least.
        needed: u64,
    },
}

impl Unfit {
    /// The command that makes the volume take photos, or what else helps, if anything does. `at` is
    /// ` --admin ADDRESS`, or empty; nothing if only the command's own daemon runs.
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

/// Why a volume was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The daemon refused, or cannot be reached.
    #[error("volume {id} was not created: {error}")]
    Refused {
        /// The volume.
        id: u32,
        /// Why.
        error: ClientError,
    },
    /// It was begun, and went wrong.
    #[error("volume {id} was not created: {reason}")]
    Failed {
        /// The volume.
        id: u32,
        /// The daemon's sentence.
        reason: String,
    },
    /// The command was interrupted while it waited.
    #[error("interrupted while volume {0} was being created")]
    Interrupted(u32),
}

/// The volumes that photos may go to.
pub struct Volumes {
    /// Where the list comes from; nothing when it must not be asked.
    admin: Option<Client>,
    /// The user named the one volume that takes everything.
    fixed: bool,
    rooms: Mutex<Vec<Room>>,
}

impl Volumes {
    /// Only this one; `admin` is asked for its state, if there is one.
    #[must_use]
    pub fn only(volume: u32, admin: Option<Client>) -> Self {
        let room = Room { id: volume, free: u64::MAX, given_up: false };
        Self { admin, fixed: true, rooms: Mutex::new(vec![room]) }
    }

    /// All that take writes, as the admin API says; or, if none does yet, those that are being recovered.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask(admin: Client) -> Result<Self, ClientError> {
        let rooms = Mutex::new(rooms(&list(&admin)?));
        Ok(Self { admin: Some(admin), fixed: false, rooms })
    }

    /// Whether an admin API is there.
    #[must_use]
    pub fn answers(admin: &Client) -> bool {
        list(admin).is_ok()
    }

    /// Whether the user named the volume.
    #[must_use]
    pub fn fixed(&self) -> bool {
        self.fixed
    }

    /// All that can be asked for their photos, or can be in a while, by number, whether they take writes or
    /// not.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn readable(&self) -> Result<Vec<u32>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let unreadable = ["creating", "creation_failed", "failed"];
        let readable = described.iter().filter(|found| !found.has_state(&unreadable));
        Ok(readable.map(|found| found.id).collect())
    }

    /// Whether the admin API says that the store has no volumes.
    #[must_use]
    pub fn is_empty_store(&self) -> bool {
        let described = self.admin.as_ref().and_then(|admin| list(admin).ok());
        described.is_some_and(|described| described.is_empty())
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

    /// The same. A store without any volume gets volume 1 first, of `new` bytes, if that is given.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn pick_or_create(
        &self,
        size: u64,
        new: Option<ByteSize>,
        stop: &AtomicBool,
    ) -> Result<Option<u32>, CreateError> {
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
    pub fn give_up(&self, volume: u32) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        for room in rooms.iter_mut().filter(|room| room.id == volume) {
            room.given_up = true;
        }
    }

    /// Whether `volume` takes writes now, as far as anybody says.
    #[must_use]
    pub fn takes_writes(&self, volume: u32) -> bool {
        let Some(described) = self.admin.as_ref().and_then(|admin| list(admin).ok()) else {
            return true;
        };
        described
            .iter()
            .any(|found| found.id == volume && found.has_state(&["writable", "recovering"]))
    }

    /// Whether `volume` serves reads, or will in a while, as far as anybody says.
    #[must_use]
    pub fn serves_reads(&self, volume: u32) -> bool {
        let Some(described) = self.admin.as_ref().and_then(|admin| list(admin).ok()) else {
            return true;
        };
        described
            .iter()
            .any(|found| found.id == volume && !found.has_state(&["failed", "creation_failed"]))
    }

    /// Photos in those of `volumes` that exist; nothing if that cannot be known.
    #[must_use]
    pub fn photos_in(&self, volumes: &BTreeSet<u32>) -> Option<u64> {
        let described = list(self.admin.as_ref()?).ok()?;
        let those = described.iter().filter(|found| volumes.contains(&found.id));
        those.map(|found| found.needles).sum()
    }

    /// Those of `needed` that take no photos now, by number. One that is being recovered or created will
    /// take them in a while and is not among them. Nothing is known, and the answer empty, without an
    /// admin API.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn unfit(&self, needed: &BTreeSet<u32>) -> Result<Vec<Unfit>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let reason = |id: u32| match described.iter().find(|found| found.id == id) {
            None => Some(UnfitReason::Absent),
            Some(found) if found.state == "creation_failed" => Some(UnfitReason::Absent),
            Some(found) if found.state == "writable" && found.free() == 0 => {
                Some(UnfitReason::Full)
            }
            Some(found) if found.has_state(&["writable", "recovering", "creating"]) => None,
            Some(found) => Some(UnfitReason::State(found.state.clone())),
        };
        let unfit = |&id: &u32| reason(id).map(|reason| Unfit { id, reason });
        Ok(needed.iter().filter_map(unfit).collect())
    }

    /// Those of `needed` (bytes of photos, by volume) that are certainly too small: volumes without photos,
    /// and volumes that would be created with `new` bytes. In others some of the photos may be already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn too_small(
        &self,
        needed: &BTreeMap<u32, u64>,
        new: Option<ByteSize>,
    ) -> Result<Vec<Unfit>, ClientError> {
        let Some(admin) = &self.admin else { return Ok(Vec::new()) };
        let described = list(admin)?;
        let room = |id: u32| match described.iter().find(|found| found.id == id) {
            Some(found) if found.state == "writable" => {
                Some(found.free()).filter(|_| found.needles == Some(0))
            }
            Some(_) => None,
            None => new.map(ByteSize::bytes),
        };
        let unfit = |(&id, &needed): (&u32, &u64)| {
            let room = room(id).filter(|room| *room < needed)?;
            Some(Unfit { id, reason: UnfitReason::TooSmall { room, needed } })
        };
        Ok(needed.iter().filter_map(unfit).collect())
    }

    /// Creates those of `needed` that do not exist, each of `size`, and waits until they, and those that
    /// somebody else is creating, take photos. Returns the ones it created, by number. They can be picked
    /// from then on. Without an admin API nothing is created.
    ///
    /// # Errors
    /// [`CreateError`]; the volumes that were created before stay.
    pub fn create_missing(
        &self,
        needed: &BTreeSet<u32>,
        size: ByteSize,
        stop: &AtomicBool,
    ) -> Result<Vec<u32>, CreateError> {
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

/// Those that take writes; or, if none does yet, those that are being recovered.
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

fn create(admin: &Client, id: u32, size: ByteSize) -> Result<Described, ClientError> {
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
        let room = |(id, free): (u32, &u64)| Room { id, free: *free, given_up: false };
        let rooms = Mutex::new((1..).zip(free).map(room).collect());
        Volumes { admin: None, fixed: false, rooms }
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
        let volumes = Volumes::only(7, None);
        assert_eq!((volumes.pick(u64::MAX), volumes.pick(1)), (Some(7), Some(7)));
        volumes.give_up(7);
        assert_eq!(volumes.pick(1), None);
    }

    #[test]
    fn remedies_name_the_command_and_the_admin_api() {
        let unfit = |reason| Unfit { id: 2, reason };
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
