use crate::base::limits::LOG_START;
use crate::volume::tests::rig::{Rig, location};

#[test]
fn deletion_of_a_version_that_is_lost_deletes_those_before_it() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put(&slot, 1);
    rig.put(&slot, 1);
    let lost = location(&slot, 1);
    rig.delete(&slot, 1);
    rig.put(&slot, 2);
    // Header and footer.
    rig.rot(lost.offset + 30);
    rig.rot(lost.offset + lost.len - 24);
    let mut rig = Rig::new(&rig.image());
    let slot = rig.open();
    let figures = slot.volume().figures();
    assert_eq!((figures.needles, figures.damaged), (1, 1));
    assert_eq!(slot.volume().contents.borrow().index().locations().count(), 1);
    location(&slot, 2);
}

#[test]
fn version_whose_header_is_damaged_supersedes_the_one_before_it() {
    let (mut rig, slot) = Rig::with_volume();
    rig.put(&slot, 1);
    rig.put(&slot, 1);
    let damaged = location(&slot, 1);
    rig.put(&slot, 2);
    rig.rot(damaged.offset + 30);
    let mut rig = Rig::new(&rig.image());
    let slot = rig.open();
    let figures = slot.volume().figures();
    assert_eq!((figures.needles, figures.damaged), (2, 1));
    let (read, log) = (figures.checkpoint.opened_read, slot.volume().log.tail() - LOG_START);
    assert!(figures.checkpoint.opened_from == LOG_START && read >= log, "{read} of {log} bytes");
    assert_eq!(location(&slot, 1), damaged);
    assert!(figures.oldest_dead_ns.is_some(), "the one before it is dead");
}
