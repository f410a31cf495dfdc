use std::rc::Rc;

use super::search::search_back;
use super::sought::Sought;
use super::{NotUndeleted, UndeleteOrder};
use crate::runtime::background::{BackgroundRun, Pace};
use crate::runtime::sim::Fault;
use crate::volume::log::log_reader::LogReader;
use crate::volume::log::scan::WINDOW;
use crate::volume::scrub::needle::Examiner;
use crate::volume::scrub::steps::{Interrupted, Steps};
use crate::volume::tests::rig::{COOKIE, Rig, id, location, superblock};
use crate::volume::{Slot, Superblock};

fn undelete(rig: &mut Rig, slot: &Rc<Slot>, n: u64) -> Result<(), NotUndeleted> {
    let order = UndeleteOrder { photos: vec![(id(n), COOKIE)], within_ns: u64::MAX };
    assert!(slot.begin_undelete(order).is_some());
    let (slot, handle) = (Rc::clone(slot), rig.handle());
    rig.run(async move {
        loop {
            match slot.undelete_progress().and_then(|progress| progress.photos[0].result) {
                Some(result) => break result,
                None => handle.sleep_until(handle.now() + 1_000_000).await,
            }
        }
    })
}

#[test]
fn photo_comes_back_only_if_no_bit_of_it_is_wrong() {
    let (mut rig, slot) = Rig::with_volume();
    for n in 1..3 {
        rig.put_jpeg(&slot, n);
    }
    let at = location(&slot, 1);
    for n in 1..3 {
        rig.delete(&slot, n);
    }
    // In the attributes, and in the data.
    for byte in [134, 400] {
        rig.rot(at.offset + byte);
        assert_eq!(undelete(&mut rig, &slot, 1), Err(NotUndeleted::Damaged), "byte {byte}");
        rig.rot(at.offset + byte);
    }
    for n in 1..3 {
        assert_eq!(undelete(&mut rig, &slot, n), Ok(()));
    }
    slot.expect_rest();
}

#[test]
fn error_that_goes_away_is_no_damage() {
    // Reads of the search, of the header, and of the data behind it.
    for n in 0..4 {
        let (mut rig, slot) = Rig::with_volume();
        rig.put_len(&slot, 1, 100_000);
        rig.delete(&slot, 1);
        // A read returns what is elsewhere, once.
        rig.world.fail(n, Fault::Misdirected(9));
        assert_eq!(undelete(&mut rig, &slot, 1), Ok(()), "read {n}");
        let met = rig.world.met();
        assert!(met.len() == 1 && !met[0].is_write, "{met:?}");
    }
}

#[test]
fn search_for_a_commit_can_be_ended_at_any_time() {
    let (mut rig, slot) = Rig::with(Superblock { size: 96 << 20, ..superblock() });
    rig.put(&slot, 1);
    let handle = rig.handle();
    rig.run(async move {
        let volume = slot.volume();
        let run = BackgroundRun::new(&handle, None, Pace::UNLIMITED);
        let buf = run.buffer(None, usize::try_from(WINDOW).unwrap(), 0).await.unwrap();
        // As if no commit but the first one could be understood, and what is behind had been read.
        let end = 80 << 20;
        let mut examiner = Examiner::new(&volume, LogReader::new(&volume, buf, true), end);
        let mut steps =
            Steps { run, is_needed: &|| true, handle: &handle, read: 0, step_from: end };
        let mut sought = Sought::new([(id(1), COOKIE)].into_iter());
        let found = search_back(&mut examiner, &mut steps, &mut sought, 0, &|_| ()).await;
        assert_eq!(found, Err(Interrupted::Compacting));
        let read = examiner.reader.bytes_read;
        assert!(read < 4 << 20, "{read} bytes were read");
    });
}
