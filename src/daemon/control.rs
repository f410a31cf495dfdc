//! The main thread's ring: creates volumes, sends orders to shards and wakes them.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::buffer::Pool;
use crate::op::Op;
use crate::ring::{Prepared, Ring, RingOptions};
use crate::runtime::{Handle, Replies, Runtime};
use crate::shard::{Message, Order, OrderError, Shared};
use crate::sys;

/// The ring and its tasks.
pub struct Control {
    ring: Ring,
    runtime: Runtime,
}

impl Control {
    /// Starts it on this thread.
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

    /// Its tasks' handle.
    pub fn handle(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Makes shards look around.
    pub fn wake(&mut self, shards: Vec<u16>) {
        let handle = self.runtime.handle().clone();
        self.block_on(async move {
            for shard in shards {
                handle.submit(Op::Wake { shard }).await;
            }
        });
    }

    /// Runs a future to its end.
    pub fn block_on<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        self.runtime.block_on(&mut self.ring, future)
    }

    /// One turn of the tasks, which lasts until something happens, at most so long.
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

/// The line to the shards: orders out, reports back.
pub struct Line {
    handle: Handle,
    shared: Arc<Shared>,
    reports: Replies<Result<(), OrderError>>,
}

impl Line {
    /// For the tasks of `control`.
    pub fn new(control: &Control, shared: &Arc<Shared>) -> Self {
        let handle = control.handle().clone();
        let reports = Replies::new(&handle);
        Self { handle, shared: Arc::clone(shared), reports }
    }

    /// The main thread's tasks.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has a shard do something. There must be room for the order: see
    /// [`ORDERS_MAX`](crate::limits::ORDERS_MAX).
    ///
    /// # Errors
    /// Why it was not done.
    pub async fn order(&self, shard: usize, order: Order) -> Result<(), OrderError> {
        let number = self.reports.expect();
        match self.shared.mailboxes[shard].send(Message::Order { number, order }) {
            Ok(false) => {}
            Ok(true) => {
                let shard = u16::try_from(shard).expect("few shards");
                drop(self.handle.submit(Op::Wake { shard }));
            }
            Err(_) => unreachable!("a mailbox has room for every order that may be under way"),
        }
        self.reports.wait(number).await
    }

    fn read_mailbox(&self) {
        while let Some(message) = self.shared.mailboxes[self.shared.main()].receive() {
            match message {
                Message::Report { number, result } => self.reports.fulfil(number, result),
                _ => unreachable!("the main thread gets reports only"),
            }
        }
    }
}
