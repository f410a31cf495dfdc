//! Which volume each photo of a tar goes to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::run::{Run, Stop};
use super::sender::{Sender, Sent};
use crate::client::HeadAnswer;
use crate::photo_tar::Photo;
use crate::transfer::name::PhotoName;

/// Why the import ends; nothing when that is known elsewhere.
pub type Halt = Option<Stop>;

/// Volume, key and alternate key of what is stored.
type Place = (u32, u64, u32);

/// Decides where photos go, and sees to it that no two go to the same place.
pub struct Router<'a> {
    run: &'a Run<'a>,
    /// The volume of all photos of which the tar does not say one, once it is decided.
    unlabelled: Option<u32>,
    /// Volumes that take photos.
    ready: BTreeSet<u32>,
    /// The volume that each came from, if the tar said it.
    taken: HashMap<Place, Option<u32>>,
    /// The volumes that photos came from.
    origins: BTreeSet<u32>,
}

impl<'a> Router<'a> {
    pub fn new(run: &'a Run<'a>) -> Self {
        Self {
            run,
            unlabelled: None,
            ready: BTreeSet::new(),
            taken: HashMap::new(),
            origins: BTreeSet::new(),
        }
    }

    /// Forgets the photos that were routed, and keeps what is known of volumes.
    pub fn rewind(&mut self) {
        self.taken = HashMap::new();
    }

    /// The name that a photo is stored under.
    ///
    /// # Errors
    /// [`Halt`].
    pub fn route(&mut self, photo: &Photo) -> Result<PhotoName, Halt> {
        let &Photo { key, alt, cookie, volume: from, .. } = photo;
        let plan = self.run.plan;
        self.origins.extend(from);
        let volume = match (plan.volume, from) {
            (Some(volume), _) => volume,
            (None, Some(from)) => plan.volume_map.get(&from).copied().unwrap_or(from),
            (None, None) if !plan.volume_map.is_empty() => {
                return Err(Some(Stop::BadTar(format!(
                    "entry {:?} does not say which volume it comes from (the pax record HAYLOFT.volume), so \
                     that --volume-map cannot send it anywhere; name one for all with --volume N",
                    photo.name()
                ))));
            }
            (None, None) => self.unlabelled(photo)?,
        };
        match self.taken.insert((volume, key, alt), from) {
            None => Ok(PhotoName { volume, key, alt, cookie }),
            Some(other) => Err(Some(Stop::BadTar(collision(photo, other, volume)))),
        }
    }

    /// After the last photo: every volume of `--volume-map` must have been one that photos come from.
    ///
    /// # Errors
    /// [`Stop::BadTar`] that names the others.
    pub fn finish(&self) -> Result<(), Stop> {
        let map = &self.run.plan.volume_map;
        let missing: Vec<u32> =
            map.keys().copied().filter(|from| !self.origins.contains(from)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Stop::BadTar(format!(
            "--volume-map: no photo of the tar comes from {}; its photos come from {}",
            volumes(&missing),
            volumes(&self.origins),
        )))
    }

    /// Makes sure that volumes take photos of these sizes (bytes): asks for those not asked for yet, and
    /// creates them if the plan says so.
    ///
    /// # Errors
    /// A sentence that names those that do not.
    pub fn prepare(&mut self, needed: &BTreeMap<u32, u64>) -> Result<(), String> {
        let new = needed.iter().filter(|(volume, _)| !self.ready.contains(volume));
        let new: BTreeMap<u32, u64> = new.map(|(volume, bytes)| (*volume, *bytes)).collect();
        if !new.is_empty() {
            let Run { plan, volumes, progress, .. } = self.run;
            let prepared = plan.prepare_room(volumes, &new, &progress.stop);
            prepared.map_err(|why| match plan.volume {
                Some(_) => format!("{why}; --volume names another"),
                None => format!("{why}; --volume-map FROM=TO or --volume N sends photos elsewhere"),
            })?;
            self.ready.extend(new.into_keys());
        }
        Ok(())
    }

    /// One volume for all photos that come without: the one that has the first of them already, whole or
    /// damaged, also if it takes no writes, or the one with most room. If several have it, nobody knows which
    /// is meant.
    fn unlabelled(&mut self, first: &Photo) -> Result<u32, Halt> {
        if let Some(volume) = self.unlabelled {
            return Ok(volume);
        }
        let all = self.run.volumes.readable();
        let all = all.map_err(|error| Stop::Pause(error.to_string()))?;
        let mut found = Vec::new();
        if all.len() > 1 {
            let sender = Sender::new(self.run);
            for &volume in &all {
                let &Photo { key, alt, cookie, .. } = first;
                match sender.ask(PhotoName { volume, key, alt, cookie }) {
                    Ok(HeadAnswer { status: 404, .. }) => {}
                    Ok(_) => found.push(volume),
                    Err(Sent::Failed { why, .. }) => return Err(Some(Stop::Pause(why))),
                    Err(_) => return Err(None),
                }
            }
        }
        if found.len() > 1 {
            let &Photo { key, alt, .. } = first;
            return Err(Some(Stop::BadTar(format!(
                "the tar does not say which volume its photos come from (the pax record HAYLOFT.volume), and \
                 key {key}, alternate key {alt} is in {}; name the one that is meant with --volume N",
                volumes(&found)
            ))));
        }
        let Run { plan, volumes, progress, .. } = self.run;
        let picked = match found.pop() {
            Some(volume) => Ok(Some(volume)),
            None => volumes.pick_or_create(0, plan.create_volumes, &progress.stop),
        };
        let volume = picked
            .map_err(|error| Stop::Pause(error.to_string()))?
            .ok_or_else(|| Stop::Pause(plan.no_volume(volumes)))?;
        self.unlabelled = Some(volume);
        Ok(volume)
    }
}

/// Volumes by number, for a sentence.
fn volumes<'a>(numbers: impl IntoIterator<Item = &'a u32>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(u32::to_string).collect();
    match &numbers[..] {
        [] => "no volume that it names".to_owned(),
        [one] => format!("volume {one}"),
        [most @ .., last] => format!("volumes {} and {last}", most.join(", ")),
    }
}

fn collision(photo: &Photo, other: Option<u32>, volume: u32) -> String {
    let name = photo.name();
    if other == photo.volume {
        return format!("entry {name:?} stands there twice");
    }
    let origin = |from: Option<u32>| match from {
        Some(from) => format!("volume {from}"),
        None => "an entry without a volume".to_owned(),
    };
    format!(
        "key {}, alternate key {} comes twice: from {} and from {}, and both would go to volume {volume} \
         (entry {name:?}); send them to different volumes with --volume-map FROM=TO",
        photo.key,
        photo.alt,
        origin(other),
        origin(photo.volume),
    )
}
