//! The control ring of the main thread: creates volumes, sends orders to shards and wakes them.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::base::sys;
use crate::node::shard::{Message, Order, OrderError, Shared};
use crate::ring::{Prepared, Ring, RingOptions};
use crate::runtime::buffer::Pool;
use crate::runtime::op::Op;
use crate::runtime::{Handle, Replies, Runtime};

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
        let runtime = Runtime::new(&ring, pool, super::random);
        Ok(Self { ring, runtime })
    }

    /// Handle of the runtime, for its tasks.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Wakes the event loops of these shards.
    pub fn wake(&mut self, shards: Vec<u16>) {
        let handle = self.runtime.handle().clone();
        self.block_on(async move {
            for shard in shards {
                handle.submit(Op::Wake { shard }).await;
            }
        });
    }

    /// Runs a future to completion.
    pub fn block_on<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.ring, future)
    }

    /// Runs one event loop iteration: waits for a completion or a message, at most `longest`, and runs the
    /// tasks that are ready.
    pub fn turn(&mut self, line: &Line, longest: Duration) {
        self.runtime.run_ready();
        line.read_mailbox();
        self.runtime.run_ready();
        let mailbox = &line.shared.mailboxes[line.shared.main()];
        let sleep = !self.runtime.has_ready() && mailbox.may_sleep();
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let until = if sleep { sys::monotonic_ns().saturating_add(longest) } else { 0 };
        self.runtime.exchange(&mut self.ring, until);
        mailbox.awake();
    }
}

/// Sends orders to the shards and receives their reports.
pub struct Line {
    handle: Handle,
    shared: Arc<Shared>,
    reports: Replies<Result<(), OrderError>>,
}

impl Line {
    /// Creates the sender for the tasks of `control`.
    pub fn new(control: &Control, shared: &Arc<Shared>) -> Self {
        let handle = control.handle().clone();
        let reports = Replies::new(&handle);
        Self { handle, shared: Arc::clone(shared), reports }
    }

    /// Handle of the main thread's runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends an order to a shard and waits for its report. The caller must not have more orders under way
    /// than the mailbox has room for: see [`ORDERS_MAX`](crate::base::limits::ORDERS_MAX).
    ///
    /// # Errors
    /// The shard's reason for not executing the order.
    pub async fn order(&self, shard: usize, order: Order) -> Result<(), OrderError> {
        let number = self.reports.expect();
        match self.shared.mailboxes[shard].send(Message::Order { number, order }) {
            Ok(false) => {}
            Ok(true) => {
                let shard = u16::try_from(shard).expect("at most 1024 shards");
                drop(self.handle.submit(Op::Wake { shard }));
            }
            Err(_) => unreachable!("a mailbox has room for ORDERS_MAX orders"),
        }
        self.reports.wait(number).await
    }

    fn read_mailbox(&self) {
        while let Some(message) = self.shared.mailboxes[self.shared.main()].receive() {
            match message {
                Message::Report { number, result } => self.reports.fulfil(number, result),
                _ => unreachable!("the main thread's mailbox receives only reports"),
            }
        }
    }
}
