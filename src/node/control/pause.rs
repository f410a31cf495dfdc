//! A request to pause or resume background work.

use tokio::sync::oneshot;

/// A request to pause or resume the compactions of all shards, sent to the main thread. Dropping it
/// unanswered means that the daemon stops.
#[derive(Debug)]
pub struct PauseRequest {
    /// True to pause, false to resume.
    pub paused: bool,
    reply: oneshot::Sender<()>,
}

impl PauseRequest {
    /// Creates a request, and the receiver of its answer.
    pub(in crate::node::control) fn new(paused: bool) -> (Self, oneshot::Receiver<()>) {
        let (reply, answer) = oneshot::channel();
        (Self { paused, reply }, answer)
    }

    /// Answers that all shards have carried it out.
    pub fn answer(self) {
        if self.reply.send(()).is_err() {
            tracing::debug!("the client that paused or resumed background work has gone");
        }
    }
}
