//! Compactions by order of the master.

use std::sync::Arc;
use std::time::Duration;

use hayloft_proto::volume_server_pb::VacuumVolumeCompactResponse;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::orders::Orders;
use super::refusal::refusal;
use crate::node::board::{CompactionOutcome, VolumeBoard};
use crate::node::control::{Compactions, VolumeChange, WantedCompaction};

/// Interval between two reports of the progress.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Part of the log of a volume that a compaction would free, 0 to 1.
pub(super) fn garbage_ratio(board: &VolumeBoard) -> f64 {
    let log = board.live_bytes.get().saturating_add(board.dead_bytes.get());
    if log == 0 {
        return 0.0;
    }
    (board.reclaimable_bytes() as f64 / log as f64).min(1.0)
}

/// Compacts a volume. The stream has the bytes that were read so far, and ends with the compaction.
///
/// # Errors
/// If the compaction cannot begin.
pub(super) async fn compact(
    orders: &Orders,
    board: Arc<VolumeBoard>,
) -> Result<BoxStream<VacuumVolumeCompactResponse>, Status> {
    let before = board.compaction.ended();
    let id = board.info.id;
    let change = VolumeChange::Compact { id, wanted: WantedCompaction::default() };
    orders.change(change).await.map_err(|refused| refusal(&refused))?;
    let (reports, stream) = mpsc::channel(1);
    tokio::spawn(report(board, before, orders.compactions(), reports));
    Ok(Box::pin(ReceiverStream::new(stream)))
}

/// Reports the progress of a compaction until it has ended, or nobody listens any more. `before`: number of
/// compactions of the volume that had ended before.
async fn report(
    board: Arc<VolumeBoard>,
    before: u64,
    compactions: Arc<Compactions>,
    reports: mpsc::Sender<Result<VacuumVolumeCompactResponse, Status>>,
) {
    let id = board.info.id;
    while compactions.job(id).is_some() {
        let read = board.compaction.read_bytes.get();
        let processed_bytes = i64::try_from(read).unwrap_or(i64::MAX);
        let report = VacuumVolumeCompactResponse { processed_bytes };
        if reports.send(Ok(report)).await.is_err() {
            return;
        }
        sleep(REPORT_EVERY).await;
    }
    let end = board.compaction.last_end().filter(|_| board.compaction.ended() > before);
    let failed = match end {
        Some(end) if end.outcome == CompactionOutcome::Done => return,
        Some(end) => end.reason,
        None => match compactions.not_begun(id) {
            (_, Some(not_begun)) => not_begun.reason,
            (_, None) => "The volume is gone.".to_owned(),
        },
    };
    // The master may have gone meanwhile.
    let _ = reports.send(Err(Status::aborted(format!("not compacted: {failed}")))).await;
}
