//! The control ring of the main thread: creates volumes, sends orders to shards and wakes them.

use std::os::fd::RawFd;
use std::time::Duration;

use super::error::StartError;
use super::random::random;
use crate::base::sys;
use crate::base::types::ShardId;
use crate::node::shard::{Requester, Shared};
use crate::ring::{Prepared, Ring, RingOptions};
use crate::runtime::buffer::Pool;
use crate::runtime::op::Op;
use crate::runtime::{Handle, Runtime};

/// Buffer memory of the control ring (bytes).
pub const BUFFERS: usize = 24 << 20;

/// The control ring and the tasks that run on it.
pub struct Control {
    ring: Ring,
    runtime: Runtime,
}

impl Control {
    /// Starts the ring on the calling thread. `buffered`: without direct I/O.
    ///
    /// # Errors
    /// [`StartError::Step`]: the kernel's error.
    pub fn start(
        prepared: Prepared,
        pool: Pool,
        peers: Vec<RawFd>,
        buffered: bool,
    ) -> Result<Self, StartError> {
        let options = RingOptions { device_in_flight: 8, buffered };
        let ring = Ring::start(prepared, pool.clone(), peers, options)
            .map_err(|error| StartError::Step("start a ring", error))?;
        let runtime = Runtime::new(&ring, pool, random);
        Ok(Self { ring, runtime })
    }

    /// Handle of the runtime, for its tasks.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Wakes the event loops of these shards.
    pub fn wake(&mut self, shards: Vec<ShardId>) {
        let handle = self.runtime.handle().clone();
        self.block_on(async move {
            for shard in shards {
                handle.submit(Op::Wake { peer: shard.index() }).await;
            }
        });
    }

    /// Runs a future to completion.
    pub fn block_on<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.ring, future)
    }

    /// Runs one event loop iteration: runs the tasks that are ready, passes on the answers of shards, and
    /// waits for a completion or an answer, at most `longest`. It does not wait if no task is left: the next
    /// request of the admin API comes another way.
    pub fn turn(&mut self, shared: &Shared, requester: &Requester, longest: Duration) {
        let mailbox = &shared.main_mailbox;
        self.runtime.run_ready();
        while let Some(answer) = mailbox.receive() {
            requester.fulfil(answer);
        }
        self.runtime.run_ready();
        let is_busy = self.runtime.handle().tasks() > 0;
        let sleep = is_busy && !self.runtime.has_ready() && mailbox.may_sleep();
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let until = if sleep { sys::monotonic_ns().saturating_add(longest) } else { 0 };
        self.runtime.exchange(&mut self.ring, until);
        mailbox.awake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::node::board::Board;
    use crate::node::metrics::{Metrics, NodeInfo};
    use crate::node::shard::RequestOrigin;
    use crate::ring::{Registration, prepare};
    use crate::runtime::buffer::Region;

    #[test]
    fn turn_waits_only_while_a_task_waits_for_something() {
        let region = Region::map(1, BUFFERS).unwrap();
        let ring = prepare(1, &region, Registration::None).unwrap().pop().unwrap();
        let mut control = Control::start(ring, Pool::new(&region, 0), Vec::new(), true).unwrap();
        let metrics = Metrics::new(NodeInfo::default(), Board::new(&[], Vec::new()));
        let shared = Arc::new(Shared::new(metrics, 1));
        let handle = control.handle().clone();
        let requester = Requester::new(RequestOrigin::Main, &handle, &shared);
        let mut took = |longest| {
            let began = Instant::now();
            control.turn(&shared, &requester, longest);
            began.elapsed()
        };
        let long = Duration::from_secs(3);
        assert!(took(long) < long / 2, "nothing is under way");
        let (own, later) = (handle.clone(), handle.now() + 60_000_000_000);
        handle.spawn(async move { own.sleep_until(later).await });
        let short = Duration::from_millis(20);
        assert!(took(short) >= short);
    }
}
