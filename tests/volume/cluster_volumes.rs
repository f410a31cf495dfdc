//! Volumes of a cluster: their properties, and what their needles carry, through restarts and compactions.

use std::rc::Rc;

use hayloft::base::cluster::{Collection, ReplicaPlacement, Ttl};
use hayloft::base::types::Cookie;
use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::format::{
    PAYLOAD_AT, PieceKind, chain, decode_piece, finish_piece, piece_len,
};
use hayloft::volume::{
    ClusterAttributes, ClusterProperties, ClusterSettings, Draft, DraftAttributes, Expected,
    Foreseen, GetError, NeedleDescription, NewNeedle, ReadOnlyReason, Refusal, Slot, StateError,
    Stored, Superblock, WriteState,
};

use crate::common::{self, COOKIE, Process, bytes, expected, pool, superblock};
use crate::compaction_support::{self, compact, compact_as, expected_of, id, order, reopened};

const SIZE: u64 = compaction_support::SIZE;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const START: u64 = 1_800_000_000 * SECOND;
const CLOSED: ClusterSettings =
    ClusterSettings { placement: ReplicaPlacement(1), is_read_only: true, takes_deletes: false };

fn properties() -> ClusterProperties {
    ClusterProperties {
        settings: ClusterSettings { placement: ReplicaPlacement(1), ..ClusterSettings::default() },
        ttl: None,
        collection: Collection::new("photos").unwrap(),
        key_floor: 0,
    }
}

fn started_as(cluster: Option<ClusterProperties>) -> (Process, Rc<Slot>) {
    let mut process = Process::start(1, &Image::default(), &pool(32 << 20));
    process.create_as(Superblock { cluster, ..superblock(SIZE) });
    let slot = process.open_as(expected_of(0)).unwrap();
    process.set_wall(START);
    (process, slot)
}

fn started() -> (Process, Rc<Slot>) {
    started_as(Some(properties()))
}

/// CRC32C, bit by bit.
fn castagnoli(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// Everything that a cluster stores with a needle.
fn stored_with() -> ClusterAttributes<'static> {
    ClusterAttributes {
        name: Some(b"p.jpg"),
        flags: Some(0x2e),
        ttl: None,
        pairs: Some(b"{\"Owner\":\"bob\"}"),
        appended_ns: Some(START - 5),
        origin_version: Some(START - 6),
    }
}

fn attributes(cluster: ClusterAttributes<'static>) -> DraftAttributes<'static> {
    let content_type = Some(&b"image/jpeg"[..]);
    DraftAttributes { content_type, cluster, ..DraftAttributes::default() }
}

impl Process {
    fn put_with(
        &mut self,
        slot: &Rc<Slot>,
        key: u64,
        data: &[u8],
        attributes: DraftAttributes<'_>,
    ) -> Result<Stored, Refusal> {
        let pool = self.runtime.handle().pool();
        let mut draft = Draft::with_attributes(pool, attributes, data.len() as u64).unwrap();
        draft.data_mut().copy_from_slice(data);
        let slot = Rc::clone(slot);
        self.run(async move { slot.put(id(key), COOKIE, draft, None).await })
    }

    fn put_large_with(
        &mut self,
        slot: &Rc<Slot>,
        key: u64,
        data: &[u8],
        attributes: DraftAttributes<'static>,
    ) -> Stored {
        let (slot, data) = (Rc::clone(slot), data.to_vec());
        let pool = self.runtime.handle().pool().clone();
        self.run(async move {
            let mut upload = slot.upload(id(key), COOKIE, data.len() as u64).unwrap();
            for part in data.chunks(300_000) {
                let mut draft = upload.part(&pool, part.len() as u64).unwrap();
                draft.data_mut().copy_from_slice(part);
                // Some chunks arrive early.
                if part.len() > 65_536 {
                    upload.absorb(&part[..65_536]);
                }
                upload.add(draft).await.unwrap();
                upload.settle().await.unwrap();
            }
            let manifest = upload.finish_with(&pool, attributes).await.unwrap();
            slot.put(id(key), COOKIE, manifest, None).await.unwrap()
        })
    }

    fn describe(
        &mut self,
        slot: &Rc<Slot>,
        key: u64,
        cookie: Option<Cookie>,
    ) -> Result<NeedleDescription, GetError> {
        let slot = Rc::clone(slot);
        self.run(async move { slot.describe(id(key), cookie).await })
    }

    fn set_cluster(
        &mut self,
        slot: &Rc<Slot>,
        settings: ClusterSettings,
    ) -> Result<(), StateError> {
        let slot = Rc::clone(slot);
        self.run(async move { slot.set_cluster_properties(settings).await })
    }

    fn delete_any(&mut self, slot: &Rc<Slot>, key: u64) -> Result<(), Refusal> {
        let slot = Rc::clone(slot);
        self.run(async move { slot.delete_without_cookie(id(key)).await })
    }

    /// Checks that a needle has this body, its CRC32C, and these attributes.
    fn assert_has(
        &mut self,
        slot: &Rc<Slot>,
        key: u64,
        data: &[u8],
        cluster: ClusterAttributes<'_>,
    ) {
        assert!(self.get(slot, id(key)).as_deref() == Ok(data), "object {key}");
        let found = self.describe(slot, key, Some(COOKIE)).unwrap();
        let (has, crc) = (found.attributes(), castagnoli(data));
        assert_eq!((has.cluster, has.crc32c), (cluster, Some(crc)), "object {key}");
        assert_eq!(has.content_type, Some(&b"image/jpeg"[..]));
        assert_eq!(found.body_len, data.len() as u64);
    }
}

fn closed(process: &mut Process, slot: &Rc<Slot>, generation: u64) -> (Process, Rc<Slot>) {
    process.close(slot);
    reopened(&process.image(), generation)
}

#[test]
fn every_needle_has_its_crc_and_keeps_its_attributes() {
    let (mut process, slot) = started();
    let (small, large) = (bytes(1, 70_000), bytes(2, 1_500_000));
    let nothing = ClusterAttributes::default();
    // As a draft of any client, and as one that was made for the volume.
    process.put_with(&slot, 1, &small, attributes(stored_with())).unwrap();
    let foreseen = Foreseen { crc32c: true, expiry: false };
    let made_for = DraftAttributes { foreseen, ..attributes(stored_with()) };
    process.put_with(&slot, 2, &small, made_for).unwrap();
    process.put(&slot, id(3), b"").unwrap();
    // A draft of which more was foreseen than the volume asks for.
    let foreseen = Foreseen { crc32c: true, expiry: true };
    process.put_with(&slot, 4, b"four", DraftAttributes { foreseen, ..made_for }).unwrap();
    process.put_large_with(&slot, 5, &large, attributes(stored_with()));
    process.put_large_with(&slot, 6, &large, made_for);
    let check = |process: &mut Process, slot: &Rc<Slot>| {
        process.assert_has(slot, 1, &small, stored_with());
        process.assert_has(slot, 2, &small, stored_with());
        process.assert_has(slot, 3, b"", nothing);
        process.assert_has(slot, 4, b"four", stored_with());
        process.assert_has(slot, 5, &large, stored_with());
        process.assert_has(slot, 6, &large, stored_with());
    };
    check(&mut process, &slot);
    let (mut process, slot) = closed(&mut process, &slot, 0);
    check(&mut process, &slot);
    compact(&mut process, &slot).unwrap();
    check(&mut process, &slot);
    let (mut process, slot) = closed(&mut process, &slot, 1);
    check(&mut process, &slot);
}

#[test]
fn volume_of_no_cluster_has_no_crc_whatever_was_foreseen() {
    let (mut process, slot) = started_as(None);
    let foreseen = Foreseen { crc32c: true, expiry: true };
    process
        .put_with(&slot, 1, b"one", DraftAttributes { foreseen, ..attributes(stored_with()) })
        .unwrap();
    process.put_large_with(&slot, 2, &bytes(1, 1_200_000), attributes(stored_with()));
    for key in [1, 2] {
        let found = process.describe(&slot, key, None).unwrap();
        let has = found.attributes();
        assert_eq!((has.crc32c, has.expires_ns, has.cluster), (None, None, stored_with()));
    }
    let volume = slot.volume();
    assert_eq!((volume.cluster(), volume.max_key()), (None, None));
    assert_eq!(process.set_cluster(&slot, CLOSED), Err(StateError::NotOfCluster));
}

#[test]
fn properties_stay_through_changes_restarts_and_compactions() {
    let ttl = Ttl::from_bytes([7, 3]);
    let (mut process, slot) = started_as(Some(ClusterProperties { ttl, ..properties() }));
    let placement = ReplicaPlacement(110);
    let settings = ClusterSettings { placement, ..ClusterSettings::default() };
    process.set_cluster(&slot, settings).unwrap();
    let wanted = ClusterProperties { settings, ttl, ..properties() };
    // After a kill, not only after a clean close.
    let (mut process, slot) = reopened(&process.image(), 0);
    assert_eq!(slot.volume().cluster(), Some(wanted.clone()));
    compact(&mut process, &slot).unwrap();
    assert_eq!(slot.volume().cluster(), Some(wanted.clone()));
    let (_process, slot) = reopened(&process.image(), 1);
    assert_eq!(slot.volume().cluster(), Some(wanted));
}

#[test]
fn highest_key_outlives_what_had_it() {
    let (mut process, slot) = started();
    let max_key = |slot: &Rc<Slot>| slot.volume().max_key();
    assert_eq!(max_key(&slot), Some(0));
    for key in [3, 900, 5] {
        process.put(&slot, id(key), b"data").unwrap();
    }
    process.delete(&slot, id(900)).unwrap();
    assert_eq!(max_key(&slot), Some(900));
    // From the checkpoint of a clean close, and from the log.
    let (mut process, slot) = closed(&mut process, &slot, 0);
    assert!(slot.volume().figures().checkpoint.opened_from > 65_536);
    assert_eq!(max_key(&slot), Some(900));
    // The tombstone is left out, and with it the last record of the key.
    compact(&mut process, &slot).unwrap();
    assert_eq!((max_key(&slot), slot.volume().figures().key_max), (Some(900), 5));
    let (mut process, slot) = closed(&mut process, &slot, 1);
    assert_eq!(max_key(&slot), Some(900));
    compact_as(&mut process, &slot, order()).unwrap();
    let (mut process, slot) = closed(&mut process, &slot, 2);
    assert_eq!(max_key(&slot), Some(900));
    process.put(&slot, id(901), b"data").unwrap();
    assert_eq!(max_key(&slot), Some(901));
}

#[test]
fn highest_key_is_found_in_the_log_without_a_checkpoint() {
    let (mut process, slot) = started();
    process.put(&slot, id(77), b"data").unwrap();
    process.delete(&slot, id(77)).unwrap();
    let mut restarted = Process::start(2, &process.image(), &pool(32 << 20));
    let slot = restarted.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    assert_eq!(slot.volume().max_key(), Some(77));
}

/// Turns the highest key in a checkpoint into a property of an unknown type.
fn forget_key_max(bytes: &mut [u8]) {
    let incarnation = superblock(0).incarnation;
    let (mut at, mut sums) = (0, 0_u64);
    for number in 0.. {
        let len = piece_len(&bytes[at..]).unwrap();
        let piece = decode_piece(&bytes[at..], number, incarnation, true).unwrap();
        let (kind, count, payload) = (piece.kind, piece.count, piece.payload.len());
        let piece = &mut bytes[at..at + len];
        let content = &mut piece[PAYLOAD_AT..PAYLOAD_AT + payload];
        match kind {
            PieceKind::Properties => {
                let mut entry = 0;
                for _ in 0..count {
                    let len = u16::from_le_bytes([content[entry + 2], content[entry + 3]]);
                    if content[entry..entry + 2] == [2, 0] {
                        content[entry] = 99;
                    }
                    entry += 4 + usize::from(len);
                }
            }
            PieceKind::Footer => content[96..104].copy_from_slice(&sums.to_le_bytes()),
            _ => {}
        }
        let (_, sum) = finish_piece(kind, number, count, payload, incarnation, piece);
        if kind == PieceKind::Footer {
            return;
        }
        (at, sums) = (at + len, chain(sums, sum));
    }
}

#[test]
fn checkpoint_without_the_highest_key_is_not_used_for_a_volume_of_a_cluster() {
    for (cluster, discarded) in [(Some(properties()), 1), (None, 0)] {
        let (mut process, slot) = started_as(cluster);
        process.put(&slot, id(77), b"data").unwrap();
        process.close(&slot);
        let mut image = process.image();
        image.edit("1.0.ckpt", |bytes| forget_key_max(bytes));
        let (_process, slot) = reopened(&image, 0);
        let figures = slot.volume().figures();
        assert_eq!(figures.checkpoint.discarded, discarded);
        assert_eq!(figures.key_max, 77 * discarded);
    }
}

#[test]
fn volume_that_its_cluster_has_closed_takes_deletes_only_if_allowed() {
    let (mut process, slot) = started();
    for key in 1..6 {
        process.put(&slot, id(key), b"data").unwrap();
    }
    let upload = slot.upload(id(9), COOKIE, 2_000_000).unwrap();
    process.set_cluster(&slot, CLOSED).unwrap();
    let state = |slot: &Rc<Slot>| slot.volume().write_state();
    assert_eq!(state(&slot), WriteState::ReadOnly(ReadOnlyReason::Cluster));
    let refused = Err(Refusal::ReadOnly);
    assert_eq!(process.put(&slot, id(6), b"data").map(drop), refused);
    assert_eq!(process.delete(&slot, id(1)), refused);
    assert_eq!(process.delete_any(&slot, 1), refused);
    assert_eq!(process.delete_many(&slot, &[1]).map(drop), refused);
    let part = upload.part(process.runtime.handle().pool(), 100_000).unwrap();
    let (upload, added) = process.add(upload, part);
    assert_eq!(added, refused, "an upload that began before");
    drop(upload);
    let (mut process, slot) = reopened(&process.image(), 0);
    assert_eq!(state(&slot), WriteState::ReadOnly(ReadOnlyReason::Cluster), "after a kill");
    process.set_cluster(&slot, ClusterSettings { takes_deletes: true, ..CLOSED }).unwrap();
    assert_eq!(process.put(&slot, id(6), b"data").map(drop), refused);
    process.delete(&slot, id(1)).unwrap();
    process.delete_any(&slot, 2).unwrap();
    assert_eq!(process.delete_many(&slot, &[3, 30]), Ok(vec![true, false]));
    compact(&mut process, &slot).unwrap();
    assert_eq!(process.put(&slot, id(6), b"data").map(drop), refused, "after a compaction");
    process.set_cluster(&slot, ClusterSettings { is_read_only: false, ..CLOSED }).unwrap();
    assert_eq!(state(&slot), WriteState::Writable);
    process.put(&slot, id(6), b"data").unwrap();
    let (process, slot) = reopened(&process.image(), 1);
    assert_eq!(state(&slot), WriteState::Writable);
    drop(process);
}

#[test]
fn volume_is_closed_only_when_what_was_admitted_is_durable() {
    let (mut process, slot) = started();
    process.world.fail(0, Fault::Stall(5 * SECOND));
    let handle = process.runtime.handle().clone();
    let (writer, draft) = (Rc::clone(&slot), common::draft(handle.pool(), b"slow"));
    handle.spawn(async move {
        writer.put(id(1), COOKIE, draft, None).await.unwrap();
    });
    let needles = process.run(async move {
        handle.sleep_until(handle.now() + 10_000_000).await;
        slot.set_cluster_properties(CLOSED).await.unwrap();
        slot.volume().figures().needles
    });
    assert_eq!((needles, process.world.count("stall")), (1, 1));
}

#[test]
fn failed_change_of_the_properties_ends_the_writes() {
    let (mut process, slot) = started();
    process.put(&slot, id(1), b"data").unwrap();
    for open in [false, true] {
        process.world.fail(0, Fault::Errno(5));
        let settings = ClusterSettings { is_read_only: open, ..CLOSED };
        assert!(process.set_cluster(&slot, settings).is_err());
        assert!(slot.volume().poisoned());
    }
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"data");
    let suspect = {
        let (mut process, slot) = reopened(&process.image(), 0);
        slot.volume().suspect();
        process.set_cluster(&slot, CLOSED)
    };
    assert_eq!(suspect, Err(StateError::Suspect));
}

#[test]
fn needles_expire_after_their_own_time_to_live_else_that_of_the_volume() {
    let minutes = |n| Ttl::from_bytes([n, 1]);
    let (mut process, slot) =
        started_as(Some(ClusterProperties { ttl: minutes(5), ..properties() }));
    let with = |ttl, appended_ns| {
        attributes(ClusterAttributes { ttl, appended_ns, ..ClusterAttributes::default() })
    };
    let foreseen = Foreseen { crc32c: true, expiry: true };
    process.put_with(&slot, 1, b"volume's", with(None, None)).unwrap();
    process
        .put_with(&slot, 2, b"foreseen", DraftAttributes { foreseen, ..with(None, None) })
        .unwrap();
    process.put_with(&slot, 3, b"own", with(minutes(9), None)).unwrap();
    process.put_with(&slot, 4, b"old", with(minutes(9), Some(START - 3 * MINUTE))).unwrap();
    let explicit = DraftAttributes { expires_ns: Some(START + MINUTE), ..with(None, None) };
    process.put_with(&slot, 5, b"explicit", explicit).unwrap();
    process.put_large_with(&slot, 6, &bytes(6, 1_200_000), with(None, None));
    let ends = [(1, 5), (2, 5), (3, 9), (4, 6), (5, 1), (6, 5)];
    for (key, minutes) in ends {
        let found = process.describe(&slot, key, None).unwrap();
        let expires_ns = found.attributes().expires_ns.unwrap();
        // The clock of the world goes on a little with each operation.
        let late = expires_ns - (START + minutes * MINUTE);
        assert!(late < SECOND, "object {key}: {late} ns late");
    }
    let (mut process, slot) = reopened(&process.image(), 0);
    for minute in [2, 5, 6, 7, 9, 10] {
        process.set_wall(START + minute * MINUTE + 2 * SECOND);
        for (key, minutes) in ends {
            let found = process.describe(&slot, key, None);
            assert_eq!(found.is_ok(), minute < minutes, "object {key} after {minute} minutes");
        }
    }
    // The name is free, for any cookie, and the tombstone of nobody is needed.
    assert_eq!(process.delete_any(&slot, 1), Err(Refusal::NotFound));
}

#[test]
fn needles_are_found_and_deleted_without_a_cookie() {
    let (mut process, slot) = started();
    process.put_with(&slot, 1, b"data", attributes(stored_with())).unwrap();
    assert_eq!(process.describe(&slot, 1, None).unwrap().cookie.0, COOKIE.0);
    let wrong = Some(Cookie(COOKIE.0 ^ 1));
    assert_eq!(process.describe(&slot, 1, wrong).map(drop), Err(GetError::NotFound));
    assert_eq!(process.describe(&slot, 2, None).map(drop), Err(GetError::NotFound));
    assert_eq!(process.delete_any(&slot, 2), Err(Refusal::NotFound));
    process.delete_any(&slot, 1).unwrap();
    assert_eq!(process.describe(&slot, 1, None).map(drop), Err(GetError::NotFound));
    assert_eq!(process.delete_any(&slot, 1), Err(Refusal::NotFound));
    // The tombstone has the cookie of what it deletes, so that it comes back with it.
    let (mut process, slot) = reopened(&process.image(), 0);
    assert_eq!(process.get(&slot, id(1)), Err(GetError::NotFound));
}

#[test]
fn older_write_from_elsewhere_does_not_take_the_place_of_a_newer_one() {
    let (mut process, slot) = started();
    let from = |origin_version| {
        let origin_version = Some(origin_version);
        attributes(ClusterAttributes { origin_version, ..ClusterAttributes::default() })
    };
    process.put_with(&slot, 1, b"first", from(50)).unwrap();
    let told = process.put_with(&slot, 1, b"older", from(49)).unwrap();
    assert_eq!((told.is_outdated, told.replaced), (true, true));
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"first");
    // The same version again, and a higher one.
    for (version, data) in [(50, &b"again"[..]), (51, b"newer")] {
        let told = process.put_with(&slot, 1, data, from(version)).unwrap();
        assert_eq!((told.is_outdated, told.replaced), (false, true));
        assert_eq!(process.get(&slot, id(1)).unwrap(), data);
    }
    // What was written here has its own version as origin version; and who says nothing always writes.
    process.put(&slot, id(1), b"here").unwrap();
    let own = process.describe(&slot, 1, None).unwrap().version;
    assert!(process.put_with(&slot, 1, b"older", from(own - 1)).unwrap().is_outdated);
    assert!(!process.put_with(&slot, 1, b"newer", from(own + 1)).unwrap().is_outdated);
    // Parts of an object that is not stored are dead, like those of an abandoned upload.
    let large = bytes(1, 1_200_000);
    assert!(process.put_large_with(&slot, 1, &large, from(own)).is_outdated);
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"newer");
    // A deleted needle is not known any more.
    process.delete(&slot, id(1)).unwrap();
    assert!(!process.put_with(&slot, 1, b"back", from(7)).unwrap().is_outdated);
    let (mut process, slot) = closed(&mut process, &slot, 0);
    assert_eq!(process.get(&slot, id(1)).unwrap(), b"back");
    slot.expect_rest();
}

#[test]
fn batch_leaves_out_what_is_older() {
    let (mut process, slot) = started();
    let from = |origin_version| {
        let origin_version = Some(origin_version);
        attributes(ClusterAttributes { origin_version, ..ClusterAttributes::default() })
    };
    process.put_with(&slot, 2, b"newer", from(50)).unwrap();
    let pool = process.runtime.handle().pool().clone();
    let needle = |key: u64, version| {
        let mut draft = Draft::with_attributes(&pool, from(version), 5).unwrap();
        draft.data_mut().copy_from_slice(b"batch");
        NewNeedle { id: id(key), cookie: COOKIE, draft }
    };
    let needles = vec![needle(1, 40), needle(2, 40), needle(3, 40)];
    let volume = Rc::clone(&slot);
    let stored = process.run(async move { volume.put_batch(needles, None).await }).unwrap();
    assert_eq!(stored.iter().map(|one| one.is_outdated).collect::<Vec<_>>(), [false, true, false]);
    assert!(stored.iter().all(|one| one.etag == stored[0].etag));
    let needles = vec![needle(2, 41)];
    let volume = Rc::clone(&slot);
    assert!(
        process.run(async move { volume.put_batch(needles, None).await }).unwrap()[0].is_outdated
    );
    let (mut process, slot) = closed(&mut process, &slot, 0);
    for (key, data) in [(1, b"batch"), (2, b"newer"), (3, b"batch")] {
        assert_eq!(process.get(&slot, id(key)).unwrap(), data);
    }
}
