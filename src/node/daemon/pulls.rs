//! Steps of pulls, and what their clients ask for, for the admin API.

use std::rc::Rc;

use super::manager::{ManagerState, refused};
use crate::base::types::VolumeId;
use crate::node::control::{AbsenceRequest, PullRequest, PulledFigures, PulledStep, Refused};
use crate::node::shard::{FindAbsent, PullOrder, PullOutcome, PullStep};
use crate::volume::Pulled;

impl ManagerState {
    /// Answers a request for a step of a pull.
    pub(super) async fn pull(self: Rc<Self>, request: PullRequest) {
        let (id, step, reply) = request.into_parts();
        let step = match step {
            PulledStep::Begin { is_complete } => PullStep::Begin { is_complete },
            PulledStep::Bytes { pull, bytes } => PullStep::Bytes { pull, bytes },
            PulledStep::Finish { pull } => PullStep::Finish { pull },
            PulledStep::Abandon { pull } => PullStep::Abandon { pull },
        };
        let outcome = self.pull_step(id, step, "written").await;
        reply.answer(outcome.map(figures));
    }

    /// Answers which objects are absent.
    pub(super) async fn absent(self: Rc<Self>, mut request: AbsenceRequest) {
        let (id, ids) = (request.id, std::mem::take(&mut request.ids));
        let absent = match self.shard_of(id) {
            None => Err(Refused::NoSuchVolume(id)),
            Some(shard) => {
                let absent = self.ask(shard, FindAbsent { volume: id, ids }).await;
                absent.map_err(|error| refused(id, "read", error))
            }
        };
        request.answer(absent);
    }

    /// Makes a volume a copy of another one.
    pub(super) async fn make_replica(self: &Rc<Self>, id: VolumeId) -> Result<(), Refused> {
        let _changing = self.begin(id)?;
        self.pull_step(id, PullStep::Become, "made a copy").await?;
        tracing::info!(
            volume = id.0,
            "takes no writes but those of the volume that it is a copy of"
        );
        Ok(())
    }

    async fn pull_step(
        &self,
        id: VolumeId,
        step: PullStep,
        what: &str,
    ) -> Result<PullOutcome, Refused> {
        let shard = self.shard_of(id).ok_or(Refused::NoSuchVolume(id))?;
        let outcome = self.ask(shard, PullOrder { volume: id, step }).await;
        outcome.map_err(|error| refused(id, what, error))
    }
}

fn figures(outcome: PullOutcome) -> PulledFigures {
    let PullOutcome { pull, pulled } = outcome;
    let Pulled { objects, bytes, known, deletions, damaged } = pulled;
    PulledFigures { pull, objects, bytes, known, deletions, damaged }
}
