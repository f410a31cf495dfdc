//! What the control plane asks the daemon's main thread for.

use super::absence::AbsenceRequest;
use super::allocation::AllocationRequest;
use super::change::ChangeRequest;
use super::damage::DamageRequest;
use super::exchange::ExchangeRequest;
use super::fid_deletion::FidDeletionRequest;
use super::list::ListRequest;
use super::offer::OfferRequest;
use super::pause::PauseRequest;
use super::pull::PullRequest;
use super::undelete::UndeleteRequest;

/// A request of the control plane to the daemon's main thread.
#[derive(Debug)]
pub enum ControlRequest {
    /// A change to a volume.
    Change(ChangeRequest),
    /// Create a volume of the cluster.
    Allocate(AllocationRequest),
    /// Pause or resume background work.
    Pause(PauseRequest),
    /// List the damage of a volume.
    Damage(DamageRequest),
    /// Read a piece of a list of objects.
    List(ListRequest),
    /// Read a piece of the records of a volume.
    Exchange(ExchangeRequest),
    /// Delete photos that the cluster names by fid.
    DeleteFids(FidDeletionRequest),
    /// Offer a piece of the changes of a volume to one of its copies.
    Offer(OfferRequest),
    /// Say which objects are absent.
    Absence(AbsenceRequest),
    /// Make a step of a pull.
    Pull(PullRequest),
    /// Take a deleted photo back.
    Undelete(UndeleteRequest),
}
