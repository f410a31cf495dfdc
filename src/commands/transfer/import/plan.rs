//! Parameters of an import, and which daemon and volumes it uses by them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::error::ImportError;
use super::status::DaemonStatus;
use super::unfit::{Unfit, UnfitReason};
use super::volumes::Volumes;
use crate::base::size::ByteSize;
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ServerAddress};
use crate::http::head::Method;

/// Header field by which the data API names the instance of its daemon.
const INSTANCE: &str = "X-Hayloft-Instance";
/// Number of times that both APIs are asked before they count as two daemons: one may be restarted in
/// between.
const ATTEMPTS: u32 = 2;

/// Parameters of an import.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The data API.
    pub server: ServerAddress,
    /// The admin API, which lists the volumes.
    pub admin: ServerAddress,
    /// Whether `admin` is known to belong to `server`: it is asked only then.
    pub paired: bool,
    /// Whether the command runs its own daemon, which no other command can reach.
    pub private: bool,
    /// Volume for all photos, if one is named.
    pub volume: Option<VolumeId>,
    /// For a tar: destination volumes by origin; other photos go to the volume of the same number.
    pub volume_map: BTreeMap<VolumeId, VolumeId>,
    /// Size of volumes that are created where photos need one that does not exist; `None`: none are created.
    pub create_volumes: Option<ByteSize>,
    /// The manifest of a directory, if not `NAME.manifest.tsv`.
    pub manifest: Option<PathBuf>,
    /// Number of photos in flight at once.
    pub parallel: usize,
    /// Whether to import files and directories whose names begin with a dot.
    pub hidden: bool,
    /// Whether to accept a store that has no photo of the manifest, but other photos in its volumes.
    pub restore: bool,
    /// Whether files are stored over photos that were replaced by other means, and such photos are pruned.
    pub overwrite: bool,
    /// Whether photos whose files are gone are deleted.
    pub prune: bool,
    /// Whether the bytes of every photo of the manifest are read from the store and verified.
    pub verify: bool,
    /// The time (nanoseconds since 1970): photos of a tar that have expired by then are left out.
    pub now_ns: u64,
}

impl Plan {
    /// Checks that the data API answers, and that the admin API belongs to the same daemon, as far as both
    /// name their instance. Returns the size of the largest photo that it takes (bytes), if known.
    pub(super) fn connect(&self) -> Result<Option<u64>, ImportError> {
        let client = Client::new(self.server.clone(), "--server");
        let admin = Client::new(self.admin.clone(), "--admin");
        let mut attempts = ATTEMPTS;
        loop {
            // Any answer is accepted.
            let mut reply = client.request(Method::Get, "/", &[], Body::None)?;
            let instance = reply.header(INSTANCE).map(str::to_owned);
            reply.drain().ok();
            // An admin API that does not answer is no error here: requests that need it report that.
            let Some(status) = DaemonStatus::ask(&admin).filter(|_| self.paired) else {
                return Ok(None);
            };
            if instance.is_none() || status.instance.is_none() || instance == status.instance {
                return Ok(status.limits.map(|limits| limits.largest_body));
            }
            attempts -= 1;
            if attempts == 0 {
                let (server, admin) = (self.server.clone(), self.admin.clone());
                return Err(ImportError::OtherDaemon { server, admin });
            }
        }
    }

    /// Returns the volumes of the store; there may be none.
    pub(super) fn ask_volumes(&self) -> Result<Volumes, ImportError> {
        let admin = || Client::new(self.admin.clone(), "--admin");
        if !self.paired && (self.volume.is_none() || self.create_volumes.is_some()) {
            return Err(ImportError::Unpaired(self.server.clone()));
        }
        let Some(volume) = self.volume else { return Ok(Volumes::ask(admin())?) };
        if self.create_volumes.is_some() {
            return Ok(Volumes::only(volume, Some(admin())));
        }
        let admin = Some(admin()).filter(|admin| self.paired && Volumes::answers(admin));
        Ok(Volumes::only(volume, admin))
    }

    /// Checks that each volume of `needed` takes photos, and creates those that do not exist if the plan says
    /// so. The error is a sentence without advice about flags that send photos to other volumes; nothing was
    /// stored then.
    pub(super) fn prepare(
        &self,
        volumes: &Volumes,
        needed: &BTreeSet<VolumeId>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let mut unfit = volumes.unfit(needed).map_err(|error| error.to_string())?;
        if self.create_volumes.is_some() {
            unfit.retain(|unfit| unfit.reason != UnfitReason::Absent);
        }
        if !unfit.is_empty() {
            return Err(self.describe(&unfit));
        }
        let Some(size) = self.create_volumes else { return Ok(()) };
        let created = volumes.create_missing(needed, size, stop);
        created.map(drop).map_err(|error| error.to_string())
    }

    /// Like [`Self::prepare`], and checks that each volume can hold the given number of bytes.
    pub(super) fn prepare_room(
        &self,
        volumes: &Volumes,
        needed: &BTreeMap<VolumeId, u64>,
        stop: &AtomicBool,
    ) -> Result<(), String> {
        let small = volumes.too_small(needed, self.create_volumes);
        let small = small.map_err(|error| error.to_string())?;
        if !small.is_empty() {
            return Err(self.describe(&small));
        }
        self.prepare(volumes, &needed.keys().copied().collect(), stop)
    }

    /// Describes that no volume takes a photo, and what to do.
    pub(super) fn no_volume(&self, volumes: &Volumes) -> String {
        if volumes.is_empty_store() {
            return "the store has no volume yet: --create-volumes SIZE creates volume 1"
                .to_owned();
        }
        let remedy = match self.private {
            true => "--volume N --create-volumes SIZE creates volume N for what is new",
            false => "create one with hayloft volume create",
        };
        format!("no volume with room takes writes any more: {remedy}")
    }

    /// Describes which volumes take no photos, why, and what to do about each.
    pub(super) fn describe(&self, unfit: &[Unfit]) -> String {
        let at = (!self.private).then(|| format!(" --admin {}", self.admin));
        let describe = |unfit: &Unfit| match unfit.remedy(at.as_deref()) {
            Some(remedy) => format!("{unfit} ({remedy})"),
            None => unfit.to_string(),
        };
        let mut text = unfit.iter().map(describe).collect::<Vec<_>>().join("; ");
        if unfit.iter().any(|unfit| unfit.reason == UnfitReason::Absent) {
            text += "; with --create-volumes SIZE this command creates what is missing";
        }
        text
    }
}
