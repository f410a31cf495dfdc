//! Scrubs and lists of damage that operators ask for. Each shard scrubs its volumes by itself when that is
//! due.

use std::rc::Rc;

use super::manager::{ManagerState, refused};
use crate::base::types::VolumeId;
use crate::node::control::{DamageRequest, DamagedPlace, Refused};
use crate::node::shard::{ListDamage, ScrubVolume};
use crate::volume::FoundDamage;

impl ManagerState {
    /// Asks for a scrub of a volume.
    ///
    /// # Errors
    /// [`Refused`]: there is no such volume, or it is not open.
    pub(super) async fn scrub(&self, id: VolumeId) -> Result<(), Refused> {
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let asked = self.ask(shard, ScrubVolume { volume: id }).await;
        asked.map_err(|error| refused(id, "scrubbed", error))
    }

    /// Answers a request for the damage of a volume.
    pub(super) async fn list_damage(self: Rc<Self>, request: DamageRequest) {
        let damage = self.damage_of(request.id).await;
        request.answer(damage);
    }

    async fn damage_of(&self, id: VolumeId) -> Result<Vec<DamagedPlace>, Refused> {
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let listed = self.ask(shard, ListDamage { volume: id }).await;
        let damage = listed.map_err(|error| refused(id, "inspected", error))?;
        Ok(damage.iter().map(place_of).collect())
    }
}

fn place_of(FoundDamage { finding, found_ns, seen_ns, .. }: &FoundDamage) -> DamagedPlace {
    DamagedPlace {
        offset: finding.at.offset,
        len: finding.at.len,
        id: finding.id,
        what: finding.flaw.name(),
        reason: finding.flaw.to_string(),
        is_unreadable: finding.is_io,
        found_ns: *found_ns,
        seen_ns: *seen_ns,
    }
}
