use std::rc::Rc;

use super::{NotUndeleted, UndeleteOrder};
use crate::volume::Slot;
use crate::volume::tests::rig::{COOKIE, Rig, id, location};

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
