use std::cell::RefCell;

use super::*;
use crate::base::limits::{HEAD_BUFFER, HEAD_BUFFERS};
use crate::runtime::Runtime;
use crate::runtime::buffer::{Pool, Region};
use crate::runtime::sim::World;
use crate::runtime::sim::disk::Image;

const POOL: usize = 8 << 20;
const EIGHTH: usize = POOL / 8;

/// Runs `test` with an unused pool of `len` bytes, on a virtual clock.
fn with_pool<F: Future<Output = ()> + 'static>(
    len: usize,
    test: impl FnOnce(Handle, Rc<Admission>) -> F,
) {
    let world = World::new(1, &Image::default());
    let mut driver = world.driver();
    let pool = Pool::new(&Region::map(1, len).unwrap(), 0);
    let mut runtime = Runtime::new(&driver, pool, || 7);
    let handle = runtime.handle().clone();
    let admission = Rc::new(Admission::new(&handle));
    runtime.block_on(&mut driver, test(handle, admission));
}

#[test]
fn reads_leave_buffers_for_all_heads_of_the_ring() {
    let capacity = 64 << 20;
    let limit = (0..capacity).step_by(PAGE).rev().find(|&used| leaves_heads(used, capacity));
    let left = capacity - limit.unwrap();
    assert!(left >= usize::from(HEAD_BUFFERS) * HEAD_BUFFER, "{left}");
    assert!(
        leaves_heads(NEEDLE_DATA_MAX as usize * 2, 8 << 20),
        "the smallest pool has room for the largest needle"
    );
}

#[test]
fn read_buffers_use_at_most_15_of_16_of_the_pool() {
    with_pool(POOL, async |handle, admission| {
        let _held = handle.pool().alloc(7 * EIGHTH).unwrap();
        assert!(admission.read_buffer(EIGHTH / 2 + PAGE).is_none());
        assert!(admission.read_buffer(EIGHTH / 2).is_some());
    });
}

#[test]
fn bodies_take_five_eighths_of_the_pool_and_no_byte_more() {
    with_pool(POOL, async |_, admission| {
        let admit = |bytes| admission.try_admit_body(bytes);
        let _first = admit(4 * EIGHTH).unwrap();
        assert!(admit(EIGHTH + 1).is_none());
        let second = admit(EIGHTH).unwrap();
        assert!(admit(1).is_none());
        drop(second);
        assert!(admit(1).is_some(), "a dropped permit is returned");
    });
}

#[test]
fn a_body_alone_takes_all_but_the_eighth_for_reads() {
    with_pool(POOL, async |handle, admission| {
        let admit = |bytes| admission.try_admit_body(bytes);
        assert!(admit(7 * EIGHTH).is_some());
        assert!(admit(7 * EIGHTH + 1).is_none());
        let _read = handle.pool().alloc(2 * EIGHTH).unwrap();
        assert!(admit(5 * EIGHTH + 1).is_none(), "buffers in use count");
        assert!(admit(5 * EIGHTH).is_some());
    });
}

#[test]
fn a_body_waits_until_another_ends_but_at_most_100_ms() {
    with_pool(POOL, async |handle, admission| {
        let held = admission.admit_body(5 * EIGHTH).await.unwrap();
        let began = handle.now();
        assert!(admission.admit_body(EIGHTH).await.is_none());
        let waited = handle.now() - began;
        assert!((BODY_WAIT_NS..BODY_WAIT_NS + BUFFER_PAUSE_NS).contains(&waited), "{waited}");
        let (own, end) = (handle.clone(), handle.now() + BODY_WAIT_NS / 2);
        handle.spawn(async move {
            own.sleep_until(end).await;
            drop(held);
        });
        let admitted = admission.admit_body(EIGHTH).await;
        assert!(admitted.is_some());
        assert!((end..end + 2 * BUFFER_PAUSE_NS).contains(&handle.now()));
        drop(admitted);
        admission.expect_nothing();
    });
}

#[test]
fn sixty_four_bodies_wait_and_the_next_one_is_refused_at_once() {
    with_pool(POOL, async |handle, admission| {
        let _held = admission.admit_body(5 * EIGHTH).await.unwrap();
        let refused = Rc::new(RefCell::new(Vec::new()));
        for _ in 0..BODIES_WAITING_MAX + 3 {
            let (own, admission) = (handle.clone(), Rc::clone(&admission));
            let (began, refused) = (handle.now(), Rc::clone(&refused));
            handle.spawn(async move {
                assert!(admission.admit_body(EIGHTH).await.is_none());
                refused.borrow_mut().push(own.now() - began < BUFFER_PAUSE_NS);
            });
        }
        handle.sleep_until(handle.now() + BUFFER_PAUSE_NS / 2).await;
        assert_eq!(*refused.borrow(), [true; 3]);
        handle.sleep_until(handle.now() + 2 * BODY_WAIT_NS).await;
        assert_eq!(refused.borrow().len() as u64, BODIES_WAITING_MAX + 3);
        assert!(admission.admit_body(1).await.is_none(), "others may wait again");
        assert_eq!(admission.waiting.held(), 0);
    });
}

#[test]
fn transfer_halves_its_request_down_to_a_chunk_within_5_s() {
    with_pool(POOL, async |handle, admission| {
        let began = handle.now();
        let mut asked = Vec::new();
        let none = admission.wait_for_buffer(13 * CHUNK + 1, |len| {
            asked.push(len);
            None::<()>
        });
        assert!(none.await.is_none());
        let waited = handle.now() - began;
        assert!((BUFFER_WAIT_NS..BUFFER_WAIT_NS + BUFFER_PAUSE_NS).contains(&waited), "{waited}");
        assert_eq!(asked[..5], [13 * CHUNK + 1, 6 * CHUNK, 3 * CHUNK, CHUNK, CHUNK]);
        assert!(asked[5..].iter().all(|len| *len == CHUNK));
        let fits = |len| (len <= 3 * CHUNK).then_some(len);
        assert_eq!(admission.wait_for_buffer(13 * CHUNK, fits).await, Some(3 * CHUNK));
        let small = |len| (len == 100).then_some(len);
        assert_eq!(admission.wait_for_buffer(100, small).await, Some(100));
    });
}

#[test]
fn large_transfers_are_as_many_as_their_quarter_holds_pieces() {
    with_pool(POOL, async |_, admission| {
        let fit = POOL as u64 / 4 / (CHUNK + OVERHEAD);
        let admit = || admission.admit_large_transfer();
        let mut admitted: Vec<_> = std::iter::from_fn(admit).take(1000).collect();
        assert_eq!(admitted.len() as u64, fit);
        admitted.pop();
        assert!(admission.admit_large_transfer().is_some());
        admitted.clear();
        admission.expect_nothing();
    });
}

/// A quarter of the pool can be lent, 32 chunks here, of which a grant gets an eighth of what is left.
#[test]
fn a_piece_gets_its_own_chunk_and_an_eighth_of_what_can_be_lent() {
    with_pool(POOL, async |_, admission| {
        let permit = admission.admit_large_transfer().unwrap();
        let small = permit.grant(1).unwrap();
        assert_eq!((small.len, admission.lent.held()), (CHUNK, 0));
        drop(small);
        let own = permit.grant(1 << 20).unwrap();
        assert_eq!((own.len, admission.lent.held()), (5 * CHUNK, 4 * CHUNK));
        let second = permit.grant(1 << 20).unwrap();
        assert_eq!(second.len, 3 * CHUNK, "an eighth of 28 chunks, in whole chunks");
        assert_eq!(admission.lent.held(), 7 * CHUNK + OVERHEAD);
        drop(second);
        assert_eq!(admission.lent.held(), 4 * CHUNK);
        let third = permit.grant(CHUNK + 1).unwrap();
        assert_eq!(third.len, 2 * CHUNK, "no more than wanted, and only lent: its own is in use");
        drop((own, third));
        assert_eq!(permit.grant(1 << 20).unwrap().len, 5 * CHUNK, "its own is free again");
        drop(permit);
        admission.expect_nothing();
    });
}

#[test]
fn each_transfer_keeps_its_own_chunk_without_loans() {
    with_pool(POOL, async |_, admission| {
        let permit = admission.admit_large_transfer().unwrap();
        let grants: Vec<Grant> = std::iter::from_fn(|| permit.grant(1 << 20)).take(1000).collect();
        let left = POOL as u64 / 4 - admission.lent.held();
        assert!(left < LENT_DIVISOR * CHUNK, "{left} bytes are left to be lent");
        let other = admission.admit_large_transfer().unwrap();
        assert_eq!(other.grant(1 << 20).map(|grant| grant.len), Some(CHUNK));
        drop(grants);
    });
}

#[test]
fn a_piece_is_no_longer_than_the_data_of_a_needle() {
    with_pool(64 << 20, async |_, admission| {
        let permit = admission.admit_large_transfer().unwrap();
        assert_eq!(permit.grant(8 << 20).unwrap().len, NEEDLE_DATA_MAX);
    });
}
