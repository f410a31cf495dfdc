//! The engine acts before it logs: with a subscriber that panics on every event, a failed write still poisons
//! the volume. In a binary of its own, because tracing caches for the whole process whether an event is
//! enabled.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hayloft::base::types::NeedleId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use nix::libc::EIO;

use crate::common::{Process, pool};

/// Panics on every event.
struct PanickingSubscriber;

impl tracing::Subscriber for PanickingSubscriber {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        panic!("cannot log {event:?}");
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_failed_write_poisons_before_it_is_logged() {
    let mut process = Process::start(1, &Image::default(), &pool(64 << 20));
    process.create(64 << 20);
    let volume = process.open().unwrap();
    process.world.fail(0, Fault::Errno(EIO));
    let put = tracing::subscriber::with_default(PanickingSubscriber, || {
        catch_unwind(AssertUnwindSafe(|| process.put(&volume, NeedleId::new(1, 0), b"lost?")))
    });
    assert!(put.is_err(), "the failure was logged");
    assert!(volume.volume().poisoned());
    // Unwinding left the executor inconsistent, as in a shard whose thread panicked: it cannot be dropped.
    std::mem::forget((process, volume));
}
