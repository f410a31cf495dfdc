use super::*;
use crate::runtime::background::{BackgroundRun, Pace};
use crate::volume::log::scan::WINDOW;
use crate::volume::tests::rig::{Rig, location};

async fn examiner_of(volume: &Rc<Volume>) -> Examiner<'_> {
    let run = BackgroundRun::new(&volume.handle, None, Pace::UNLIMITED);
    let buf = run.buffer(None, usize::try_from(WINDOW).unwrap(), 0).await;
    let Ok(buf) = buf else { panic!("a buffer is free") };
    Examiner::new(volume, LogReader::new(volume, buf, true), volume.log.tail())
}

async fn found(examiner: &mut Examiner<'_>, at: Location) -> FoundNeedle {
    let (all, range) =
        (ScanFilter { sequences: 0..=u64::MAX, epoch: None }, (at.offset, examiner.to));
    examiner.recognise(at.offset, range, &all).await.unwrap().0
}

#[test]
fn copies_of_a_walk_are_a_mebibyte_long_at_most() {
    let (mut rig, slot) = Rig::with_volume();
    let fits = COPIES_MAX - 1000 - HEADER_LEN;
    for (n, len) in [(1, fits), (2, 1000), (3, fits + 1)] {
        rig.put_len(&slot, n, len);
    }
    let [whole, first, longer] = [1, 2, 3].map(|n| location(&slot, n));
    rig.run(async move {
        let volume = slot.volume();
        for (at, is_kept) in [(whole, true), (longer, false)] {
            let mut examiner = examiner_of(&volume).await;
            let end = (first.offset + first.len).max(at.offset + at.len);
            let from = first.offset.min(at.offset);
            examiner.fill(from, end - from).await;
            let (one, next) = (found(&mut examiner, first).await, found(&mut examiner, at).await);
            assert!(examiner.keep_copy(&one, true).await);
            assert_eq!(examiner.copies.len, 1000 + HEADER_LEN);
            assert_eq!(examiner.keep_copy(&next, true).await, is_kept);
            assert_eq!(examiner.copies.kept.contains_key(&at.offset), is_kept);
            assert_eq!(examiner.copies.stopped_at, (!is_kept).then_some(at.offset));
        }
    });
}

#[test]
fn what_is_wrong_is_read_again_before_a_copy_counts_as_damaged() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put_jpeg(&slot, 1);
    let (at, world) = (location(&slot, 1), rig.world.clone());
    let attribute = HEADER_LEN as u64 + 6;
    rig.run(async move {
        let volume = slot.volume();
        for (with_data, is_damaged) in [(false, false), (true, false), (false, true), (true, true)]
        {
            if is_damaged {
                world.rot("1.0.vol", usize::try_from(at.offset + attribute).unwrap(), 1);
            }
            let mut examiner = examiner_of(&volume).await;
            let needle = found(&mut examiner, at).await;
            // As if another place had been read.
            examiner.reader.bytes(at.offset + attribute, 1)[0] ^= 4;
            assert!(examiner.keep_copy(&needle, with_data).await);
            let copy = examiner.copies.kept.remove(&at.offset).unwrap().into_bytes();
            let has_type = |copy: &Vec<u8>| copy.windows(10).any(|bytes| bytes == b"image/jpeg");
            assert_eq!(copy.as_ref().map(has_type), (!is_damaged).then_some(true));
            if is_damaged {
                world.rot("1.0.vol", usize::try_from(at.offset + attribute).unwrap(), 1);
            }
        }
    });
}

/// The window may end in the attributes.
#[test]
fn what_the_window_does_not_hold_is_read_for_a_copy() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put_jpeg(&slot, 1);
    let at = location(&slot, 1);
    rig.run(async move {
        let volume = slot.volume();
        for with_data in [false, true] {
            let mut examiner = examiner_of(&volume).await;
            let needle = found(&mut examiner, at).await;
            examiner.reader.clear();
            assert!(examiner.keep_copy(&needle, with_data).await);
            assert!(matches!(examiner.copies.kept[&at.offset], Copied::Whole(_)));
        }
    });
}
