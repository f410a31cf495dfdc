//! What a line of the log reports is done before the line is logged: with the worst of all loggers, one that
//! panics, the engine still does what it must. A binary of its own: whether an event is wanted is remembered
//! for all threads of a process.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Process, pool};
use hayloft::base::types::NeedleId;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use nix::libc::EIO;

/// Panics with every event.
struct Deadly;

impl tracing::Subscriber for Deadly {
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
    let put = tracing::subscriber::with_default(Deadly, || {
        catch_unwind(AssertUnwindSafe(|| process.put(&volume, NeedleId::new(1, 0), b"lost?")))
    });
    assert!(put.is_err(), "it was logged");
    assert!(volume.poisoned());
    // The executor is not what it was, as in a shard whose thread ends.
    std::mem::forget((process, volume));
}
