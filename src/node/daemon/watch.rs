//! The main thread of a running daemon: changes to volumes, and the reasons to stop.

use std::time::Duration;

use super::ended::Reason;
use super::readiness::Notifier;
use super::running::Running;
use super::signals::Signals;
use crate::base::sabotage::{self, Sabotage, chosen};
use crate::base::threads::name;
use crate::node::board::VolumeState;

/// Interval between two checks of shards, threads and signals by the main thread.
const WATCH: Duration = Duration::from_millis(100);

impl Running {
    /// Serves changes to volumes and watches shards, threads and signals, until there is a reason to stop.
    pub fn watch(&mut self, signals: &mut Signals) -> Reason {
        let mut notifier = Notifier::from_environment(self.started_ns);
        assert!(!sabotage::dies(name::MAIN), "ended on purpose");
        loop {
            self.manager.work(WATCH);
            notifier.look(&self.board);
            if let Some(signal) = signals.stop() {
                return Reason::Signal(signal);
            }
            if let Some(thread) = self.threads.ended()
                && !chosen(Sabotage::IgnoreLostThread)
            {
                return Reason::ThreadEnded(thread);
            }
            let states: Vec<_> = self.board.volumes().iter().map(|v| v.state.get()).collect();
            let beyond = (states.len() as u64).saturating_sub(self.files.volumes);
            self.manager.state.shared.set_volumes_beyond(beyond);
            match reason_of(&states) {
                Some(Reason::Poisoned) if !self.manager.state.ends_for_poison() => {}
                Some(reason) => return reason,
                None => {}
            }
        }
    }
}

/// The reason to stop that the states of all volumes are, if they are one.
fn reason_of(states: &[VolumeState]) -> Option<Reason> {
    if !states.is_empty() && states.iter().all(|state| *state == VolumeState::Failed) {
        return Some(Reason::NothingToServe);
    }
    let poisoned = states.contains(&VolumeState::Poisoned);
    // A volume whose file is gone can be read and copied only while this process runs.
    let needed = [VolumeState::Writable, VolumeState::Recovering, VolumeState::Lost];
    (poisoned && !states.iter().any(|state| needed.contains(state))).then_some(Reason::Poisoned)
}

#[cfg(test)]
mod tests {
    use super::VolumeState::{Failed, Lost, Poisoned, ReadOnly, Recovering, Writable};
    use super::*;

    #[test]
    fn daemon_stops_when_no_volume_can_be_served() {
        for states in [&[][..], &[ReadOnly], &[Failed, ReadOnly], &[Failed, Recovering], &[Lost]] {
            assert!(reason_of(states).is_none(), "{states:?}");
        }
        for needed in [Writable, Recovering, Lost] {
            assert!(reason_of(&[Poisoned, needed]).is_none(), "{needed:?}");
        }
        assert!(matches!(reason_of(&[Failed, Failed]), Some(Reason::NothingToServe)));
        for states in [&[Poisoned][..], &[ReadOnly, Poisoned], &[Poisoned, Failed]] {
            assert!(matches!(reason_of(states), Some(Reason::Poisoned)), "{states:?}");
        }
    }
}
