//! A whole walk through the log.

use super::needle::Examiner;
use super::staged::SettledCommit;
use super::steps::{Interrupted, Steps};
use super::walk::{Depth, LogWalk};

/// Calls `take` for each commit from `from` to the end of what the examiner may read.
///
/// # Errors
/// [`Interrupted`].
pub(super) async fn walk_all(
    examiner: &mut Examiner<'_>,
    steps: &mut Steps<'_>,
    depth: Depth,
    from: u64,
    take: &mut dyn FnMut(SettledCommit, u64),
) -> Result<(), Interrupted> {
    steps.begin_walk(from);
    let mut walk = LogWalk::new(examiner, depth, from);
    while !walk.has_ended() {
        let settled = walk.step(steps).await?;
        if let Some(commit) = settled {
            take(commit, walk.at());
        }
        steps.reached(walk.at(), walk.bytes_read()).await?;
    }
    steps.end(walk.bytes_read()).await?;
    let to = walk.at();
    if let Some(commit) = walk.last() {
        take(commit, to);
    }
    Ok(())
}
