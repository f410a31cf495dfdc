//! A whole walk through the log, in steps.

use super::needle::Examiner;
use super::staged::SettledCommit;
use super::steps::{Interrupted, Steps};
use super::walk::{Depth, LogWalk};

/// Bytes of the log after which a step ends.
const STEP: u64 = 1 << 20;

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
    let (mut walk, mut step_from) = (LogWalk::new(examiner, depth, from), from);
    while !walk.has_ended() {
        let settled = walk.step().await;
        if let Some(commit) = settled {
            take(commit, walk.at());
        }
        if walk.at() - step_from >= STEP {
            steps.end(walk.bytes_read()).await?;
            step_from = walk.at();
        }
    }
    steps.end(walk.bytes_read()).await?;
    let to = walk.at();
    if let Some(commit) = walk.last() {
        take(commit, to);
    }
    Ok(())
}
