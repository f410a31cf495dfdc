//! The operator takes deleted photos back.

use hayloft::base::types::{Cookie, NeedleId, VolumeId};
use hayloft::node::shard::UndeleteNeedles;
use hayloft::runtime::sim::history::{Action, Answer, Event};
use hayloft::volume::{NotUndeleted, Refusal, UndeleteOrder};

use super::Operator;
use crate::node::SECOND;
use crate::node::causes::{RequestInfo, cost_of};
use crate::node::seen::Name;

/// Time between two questions for the progress (ns).
const LOOK_NS: u64 = 2_000_000;
/// Longest time until a photo is taken back, or not (ns).
const LONGEST_NS: u64 = 60 * SECOND;
/// Upper bound of the buffers that it needs (bytes).
const MEMORY: u64 = 4 << 20;
/// Ages up to which deletions are undone (ns).
const WITHIN_NS: [u64; 4] = [u64::MAX, u64::MAX, u64::MAX, SECOND / 10];

impl Operator {
    /// Takes a photo back that was deleted, or was not.
    pub(super) async fn undelete(&mut self, volume: VolumeId) {
        let drawn = self.draw(u64::MAX);
        let Some(name) = self.seen.borrow().some_deleted(volume, drawn) else { return };
        let within_ns = self.one_of(&WITHIN_NS);
        // Work that is paused keeps its buffers. The memory of these shards is small.
        self.resume().await;
        let called = self.handle.now();
        let unknown =
            Event { called, answered: u64::MAX, action: Action::Undelete, answer: Answer::Unknown };
        let at = self.seen.borrow_mut().record(name, unknown);
        let upload = self.causes.begin_upload(Some(volume), cost_of(1 << 20), MEMORY);
        let asked = RequestInfo {
            volume: Some(volume),
            name: Some(name),
            needs_header_only: false,
            expires: None,
            is_delete: false,
            called,
            memory: MEMORY,
            was_recovering: self.causes.is_recovering(Some(volume)),
        };
        let result = self.take_back(name, within_ns).await;
        self.causes.end_upload(upload);
        let Some(result) = result else {
            let refused = Event { answered: self.handle.now(), answer: Answer::Refused, ..unknown };
            self.seen.borrow_mut().update(name, at, refused);
            return;
        };
        let answer = match result {
            Ok(()) => {
                self.causes.note_write(volume, called);
                self.count("photos taken back");
                Answer::Restored
            }
            Err(why) => self.answer_of(&asked, name, within_ns, why),
        };
        if answer != Answer::Unknown {
            let done = Event { answered: self.handle.now(), answer, ..unknown };
            self.seen.borrow_mut().update(name, at, done);
        }
    }

    /// Asks for it, and waits for the result; `None` if the order was refused. If the volume is closed
    /// meanwhile, that is waited for as long as the node runs.
    async fn take_back(&mut self, name: Name, within_ns: u64) -> Option<Result<(), NotUndeleted>> {
        let (volume, key, cookie) = name;
        let owner = self.plan.owner_of(volume);
        let photos = vec![(NeedleId::new(key, 0), Cookie(cookie))];
        let order = UndeleteOrder { photos, within_ns };
        let begin = UndeleteNeedles { volume, begin: Some(order) };
        let begun = self.requester.ask(owner, begin).await.ok()??;
        let deadline = self.handle.now() + LONGEST_NS;
        loop {
            self.handle.sleep_until(self.handle.now() + LOOK_NS).await;
            let progress = self.requester.ask(owner, UndeleteNeedles { volume, begin: None }).await;
            match progress {
                Ok(Some(progress)) if progress.operation == begun.operation => {
                    if let Some(result) = progress.photos[0].result {
                        return Some(result);
                    }
                    let is_late = self.handle.now() > deadline;
                    assert!(!is_late, "{name:?} is neither taken back nor refused: {progress:?}");
                }
                // How it ended is not known.
                _ => return Some(Err(NotUndeleted::Stopped)),
            }
        }
    }

    /// The answer to record. Asserts that it has a cause.
    fn answer_of(
        &self,
        asked: &RequestInfo,
        name: Name,
        within_ns: u64,
        why: NotUndeleted,
    ) -> Answer {
        let (volume, now) = (name.0, self.handle.now());
        let is_compacted = self.causes.may_be_compacted(volume);
        let is_damaged = self.causes.may_be_damaged(volume);
        let is_within = within_ns == u64::MAX;
        let has_cause = match why {
            NotUndeleted::InUse => return Answer::Exists,
            NotUndeleted::NotFound if !is_compacted && !is_damaged && is_within => {
                return Answer::Missing;
            }
            NotUndeleted::NotFound => true,
            NotUndeleted::TooOld => !is_within,
            NotUndeleted::Compacted => is_compacted,
            NotUndeleted::Damaged => is_damaged,
            NotUndeleted::Expired => self.seen.borrow().expires_within(name, 0, now),
            NotUndeleted::Stopped => return Answer::Unknown,
            NotUndeleted::Refused(refusal) => return self.answer_of_refusal(asked, refusal),
        };
        assert!(has_cause, "no cause for {name:?} not being taken back: {why}");
        self.count("photos not taken back");
        Answer::Refused
    }

    fn answer_of_refusal(&self, asked: &RequestInfo, refusal: Refusal) -> Answer {
        let reason = match refusal {
            Refusal::Full => "the volume is full",
            Refusal::ReadOnly => "the volume is read-only",
            Refusal::Poisoned => {
                "the volume takes no writes until the daemon is restarted: one failed, or its file was lost"
            }
            Refusal::Suspect => "the volume takes no writes: reads of its disk failed too often",
            Refusal::Closing => "the daemon is shutting down",
            Refusal::NoBuffer => "no buffer is free; try again",
            Refusal::Unreadable(_) => "the photo is damaged on disk",
            Refusal::Failed(_) => "the write failed; whether the change took effect is not known",
            Refusal::Conflict | Refusal::Precondition | Refusal::NotFound => {
                panic!("{refusal} to a photo that is taken back")
            }
        };
        self.causes.explain(asked, 0, reason);
        self.count("photos not taken back");
        if matches!(refusal, Refusal::Failed(_)) { Answer::Unknown } else { Answer::Refused }
    }
}
