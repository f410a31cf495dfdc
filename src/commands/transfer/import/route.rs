//! Routing of the photos of a tar to volumes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::report::Stop;
use super::run::Run;
use super::sender::{Sender, Sent};
use crate::base::types::VolumeId;
use crate::commands::client::HeadAnswer;
use crate::commands::transfer::name::PhotoName;
use crate::http::photo_tar::Photo;

/// Why the import ends; `None` if it was interrupted or the reason was recorded before.
pub type Halt = Option<Stop>;

/// Volume, key and alternate key of a photo in the store.
type PhotoKey = (VolumeId, u64, u32);

/// Decides to which volume each photo goes, and refuses two photos with the same name.
pub struct Router<'a> {
    run: &'a Run<'a>,
    /// Volume of all photos for which the tar names none, once it is decided.
    unlabelled: Option<VolumeId>,
    /// Volumes that were checked and take photos.
    ready: BTreeSet<VolumeId>,
    /// Names that were given to photos, each with the origin of the photo, if the tar names it.
    taken: HashMap<PhotoKey, Option<VolumeId>>,
    /// Volumes that photos come from.
    origins: BTreeSet<VolumeId>,
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

    /// Forgets the photos that were routed, but not the volumes.
    pub fn rewind(&mut self) {
        self.taken = HashMap::new();
    }

    /// Returns the name under which a photo is stored.
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

    /// Checks after the last photo that every origin in `--volume-map` is one that photos come from.
    ///
    /// # Errors
    /// [`Stop::BadTar`] that names the others.
    pub fn finish(&self) -> Result<(), Stop> {
        let map = &self.run.plan.volume_map;
        let missing: Vec<VolumeId> =
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

    /// Checks that volumes take photos of these sizes (bytes), and creates volumes if the plan says so.
    /// Volumes that were checked before are not checked again.
    ///
    /// # Errors
    /// A sentence that names those that do not.
    pub fn prepare(&mut self, needed: &BTreeMap<VolumeId, u64>) -> Result<(), String> {
        let new = needed.iter().filter(|(volume, _)| !self.ready.contains(volume));
        let new: BTreeMap<VolumeId, u64> = new.map(|(volume, bytes)| (*volume, *bytes)).collect();
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

    /// Returns the volume for all photos for which the tar names none: the one that already has the first of
    /// them, intact or damaged, even if it takes no writes, or else the one with the most free space.
    ///
    /// # Errors
    /// [`Stop::BadTar`] if several volumes have the first photo.
    fn unlabelled(&mut self, first: &Photo) -> Result<VolumeId, Halt> {
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

/// Formats volume numbers for a sentence.
fn volumes<'a>(numbers: impl IntoIterator<Item = &'a VolumeId>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(VolumeId::to_string).collect();
    match &numbers[..] {
        [] => "no volume that it names".to_owned(),
        [one] => format!("volume {one}"),
        [most @ .., last] => format!("volumes {} and {last}", most.join(", ")),
    }
}

/// Describes that two photos of the tar would get the same name.
fn collision(photo: &Photo, other: Option<VolumeId>, volume: VolumeId) -> String {
    let name = photo.name();
    if other == photo.volume {
        return format!("entry {name:?} stands there twice");
    }
    let origin = |from: Option<VolumeId>| match from {
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
