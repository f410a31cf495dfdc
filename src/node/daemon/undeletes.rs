//! Taking deleted photos back, for the admin API.

use std::rc::Rc;

use super::manager::{ManagerState, refused};
use crate::base::types::{NeedleId, VolumeId};
use crate::node::control::{
    Refused, UndeleteAnswer, UndeleteRequest, UndeleteResult, UndeleteStatus,
};
use crate::node::shard::UndeleteNeedles;
use crate::volume::{NotUndeleted, Refusal, UndeleteOrder, UndeleteProgress, UndeletedPhoto};

impl ManagerState {
    /// Answers a request to take photos back, or for the state of the last order.
    pub(super) async fn undelete(self: Rc<Self>, request: UndeleteRequest) {
        let answer = self.undelete_answer(&request).await;
        request.answer(answer);
    }

    async fn undelete_answer(&self, request: &UndeleteRequest) -> UndeleteAnswer {
        let volume = request.id;
        let shard = self.shard_of(volume).ok_or(Refused::NoSuchVolume(volume))?;
        let within_ns = self.config.compaction.undelete_within.nanos();
        if request.photos.is_some() && within_ns == 0 {
            let sentence = "Deleted photos are not taken back: set compaction.undelete_within and restart \
                            the daemon.";
            return Err(Refused::Conflict(sentence.to_owned()));
        }
        let begin = request.photos.clone().map(|photos| UndeleteOrder { photos, within_ns });
        let is_order = begin.is_some();
        let progress = self.ask(shard, UndeleteNeedles { volume, begin }).await;
        match progress.map_err(|error| refused(volume, "searched", error))? {
            Some(progress) => Ok(status_of(volume, progress)),
            None if is_order => Err(Refused::Unavailable(format!(
                "Photos of volume {volume} are being taken back already, or the volume is being closed; try \
                 again."
            ))),
            None => Err(Refused::NotThere(format!(
                "No photo of volume {volume} was taken back since the daemon started."
            ))),
        }
    }
}

fn status_of(volume: VolumeId, progress: UndeleteProgress) -> UndeleteStatus {
    let UndeleteProgress { operation, photos, done, total } = progress;
    let shown = |UndeletedPhoto { id, result }| (id, result.map(|it| result_of(volume, id, it)));
    UndeleteStatus { operation, photos: photos.into_iter().map(shown).collect(), done, total }
}

fn result_of(volume: VolumeId, id: NeedleId, result: Result<(), NotUndeleted>) -> UndeleteResult {
    match result {
        Ok(()) => UndeleteResult {
            status: 201,
            sentence: format!("Photo {id} of volume {volume} is back."),
        },
        Err(why) => UndeleteResult {
            status: status_code(why),
            sentence: format!("Photo {id} of volume {volume} was not taken back: {why}."),
        },
    }
}

/// HTTP status that says why a photo was not taken back; a refusal of the volume as in the data API.
fn status_code(why: NotUndeleted) -> u16 {
    match why {
        NotUndeleted::NotFound | NotUndeleted::TooOld | NotUndeleted::Expired => 404,
        NotUndeleted::InUse => 409,
        NotUndeleted::Compacted => 410,
        NotUndeleted::Damaged => 500,
        NotUndeleted::Stopped => 503,
        NotUndeleted::Refused(refusal) => match refusal {
            Refusal::NotFound => 404,
            Refusal::Conflict => 409,
            Refusal::Precondition => 412,
            Refusal::Unreadable(_) | Refusal::Failed(_) => 500,
            Refusal::ReadOnly
            | Refusal::Poisoned
            | Refusal::Suspect
            | Refusal::Closing
            | Refusal::NoBuffer => 503,
            Refusal::Full => 507,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_a_status_and_a_sentence() {
        for (result, status, part) in [
            (Ok(()), 201, "is back"),
            (Err(NotUndeleted::NotFound), 404, "no such photo"),
            (Err(NotUndeleted::TooOld), 404, "longer ago"),
            (Err(NotUndeleted::Expired), 404, "expired"),
            (Err(NotUndeleted::InUse), 409, "in use"),
            (Err(NotUndeleted::Compacted), 410, "compaction"),
            (Err(NotUndeleted::Damaged), 500, "damaged"),
            (Err(NotUndeleted::Stopped), 503, "closed"),
            (Err(Refusal::Full.into()), 507, "full"),
            (Err(Refusal::ReadOnly.into()), 503, "read-only"),
            (Err(Refusal::Unreadable(NeedleId::new(42, 1)).into()), 500, "unreadable"),
        ] {
            let (photo, other) = (NeedleId::new(42, 1), NeedleId::new(43, 1));
            let photos = [(other, None), (photo, Some(result))];
            let photos = photos.map(|(id, result)| UndeletedPhoto { id, result }).into();
            let progress = UndeleteProgress { operation: 7, photos, done: 1, total: 2 };
            let shown = status_of(VolumeId(3), progress).photos;
            assert_eq!(shown[0], (other, None));
            let shown = shown[1].1.clone().unwrap();
            assert_eq!(shown.status, status, "{result:?}");
            assert!(shown.sentence.contains(part), "{}", shown.sentence);
        }
    }
}
