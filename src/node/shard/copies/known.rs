//! Finds the copies to which a change is to be sent.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::types::VolumeId;
use crate::http::status::Status;
use crate::node::board::{VolumeCopies, VolumeCopy};
use crate::node::shard::plain_reply::PlainReply;
use crate::node::shard::shard::Shard;

/// Time for which a write waits until the copies of a new volume are known (nanoseconds).
const WAIT_NS: u64 = 1_000_000_000;
/// Interval in which it looks (nanoseconds).
const LOOK_NS: u64 = 10_000_000;
/// Number of times that the master must have been asked since: the first answer may be from before.
const LOOKUPS: u64 = 2;

/// Returns the copies of a volume, which must be `needed` at least, all of them writable.
///
/// # Errors
/// 500: there are fewer, or one of the nodes does not answer. Nothing is to be written then.
pub async fn known_copies(
    shard: &Shard,
    volume: VolumeId,
    needed: usize,
) -> Result<Vec<Arc<VolumeCopy>>, PlainReply> {
    let board = &shard.shared.board.copies;
    let (deadline, lookups) = (shard.handle.now() + WAIT_NS, board.lookups());
    loop {
        let known = board.of(volume);
        let problem = match known.as_deref() {
            Some(copies) => problem(copies, needed),
            None => Some("it is not known yet where the copies of the volume are".to_owned()),
        };
        let Some(problem) = problem else {
            return Ok(known.map(|copies| copies.list.clone()).unwrap_or_default());
        };
        board.want(volume);
        if board.lookups() >= lookups + LOOKUPS || shard.handle.now() >= deadline {
            let plain = PlainReply::error(Status::INTERNAL_SERVER_ERROR, "");
            return Err(PlainReply { reason: problem.into(), ..plain });
        }
        shard.handle.sleep_until(shard.handle.now() + LOOK_NS).await;
    }
}

/// Says why the copies are not enough.
fn problem(copies: &VolumeCopies, needed: usize) -> Option<String> {
    if let Some(silent) = copies.list.iter().find(|copy| !copy.peer.answers.load(Relaxed)) {
        return Some(format!(
            "{}, which has a copy of the volume, does not answer",
            silent.peer.name
        ));
    }
    let writable = copies.writable.min(copies.list.len());
    (writable < needed).then(|| {
        format!("the volume has {writable} writable copies on other nodes, and needs {needed}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::board::Peer;

    #[test]
    fn too_few_and_silent_copies_are_a_problem() {
        let copy = |port: u16| {
            let peer = Peer::new(format!("10.0.0.1:{port}"), ([10, 0, 0, 1], port).into());
            Arc::new(VolumeCopy::new(Arc::new(peer)))
        };
        let list = vec![copy(1), copy(2)];
        let copies = VolumeCopies { list: list.clone(), writable: 2 };
        assert_eq!(problem(&copies, 2), None);
        let text = |problem: Option<String>| problem.unwrap();
        assert!(text(problem(&copies, 3)).contains("2 writable copies"));
        let closed = VolumeCopies { list: list.clone(), writable: 1 };
        assert!(text(problem(&closed, 2)).contains("1 writable"));
        list[1].peer.answers.store(false, Relaxed);
        assert!(text(problem(&copies, 1)).contains("10.0.0.1:2"));
    }
}
