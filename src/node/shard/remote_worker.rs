//! Performs the requests of other shards and of the main thread, and answers them.

use std::rc::Rc;

use super::order::{DeleteVolume, FenceVolume, LimitDevice, OpenVolume, SetReadOnly, SetRoute};
use super::remote::{AnyOutcome, AnyRequest, ReadInto, RemoteAnswer, RemoteRequest, ToVolume};
use super::shard::Shard;

impl Shard {
    /// Performs requests of other threads, one after the other, and answers them.
    pub(super) async fn serve_remote_requests(self: Rc<Self>) {
        loop {
            let RemoteRequest { from, number, request } = self.remote_requests.next().await;
            let outcome = self.perform_remote(request).await;
            self.answer(from, RemoteAnswer { number, outcome });
        }
    }

    /// Performs a request. The futures of long orders are boxed, so that a worker needs no more memory than
    /// a request to a needle takes.
    async fn perform_remote(&self, request: AnyRequest) -> AnyOutcome {
        let (volumes, handle) = (&self.volumes, &self.handle);
        match request {
            AnyRequest::Read(ToVolume { volume, request: ReadInto { read, buf } }) => {
                let mut buf = Some(buf);
                let alloc = |len: usize| buf.take().filter(|buf| buf.len() >= len);
                AnyOutcome::Read(volumes.read(volume, read, alloc).await)
            }
            AnyRequest::Put(ToVolume { volume, request }) => {
                AnyOutcome::Put(volumes.put(volume, request).await)
            }
            AnyRequest::Post(ToVolume { volume, request }) => {
                AnyOutcome::Post(volumes.post(volume, request).await)
            }
            AnyRequest::CheckPut(ToVolume { volume, request }) => {
                AnyOutcome::CheckPut(volumes.check_put(volume, request).await)
            }
            AnyRequest::Delete(ToVolume { volume, request }) => {
                AnyOutcome::Delete(volumes.delete_needle(volume, request).await)
            }
            AnyRequest::OpenVolume(OpenVolume(assignment)) => {
                AnyOutcome::OpenVolume(Box::pin(volumes.open_one(handle, assignment)).await)
            }
            AnyRequest::SetReadOnly(SetReadOnly { volume, read_only }) => {
                AnyOutcome::SetReadOnly(Box::pin(volumes.set_read_only(volume, read_only)).await)
            }
            AnyRequest::DeleteVolume(DeleteVolume { volume }) => {
                AnyOutcome::DeleteVolume(Box::pin(volumes.delete(handle, volume)).await)
            }
            AnyRequest::FenceVolume(FenceVolume { volume }) => {
                AnyOutcome::FenceVolume(volumes.fence(volume))
            }
            AnyRequest::SetRoute(SetRoute { volume, owner }) => {
                self.routes.set_owner(volume, owner);
                AnyOutcome::SetRoute(())
            }
            AnyRequest::LimitDevice(LimitDevice { operations }) => {
                self.device_limit.set(Some(operations));
                AnyOutcome::LimitDevice(())
            }
        }
    }
}
