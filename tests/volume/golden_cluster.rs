//! Pins what is particular to volumes of a cluster with an image, like `tests/volume/golden.rs`: the
//! properties in the superblock, and the attributes of needles.
//!
//! `HAYLOFT_BLESS=1 cargo test --test volume golden_cluster::` rewrites the image.

use std::rc::Rc;

use hayloft::base::cluster::{Collection, ReplicaPlacement, Ttl};
use hayloft::base::types::NeedleId;
use hayloft::runtime::sim::disk::Image;
use hayloft::volume::{
    ClusterAttributes, ClusterProperties, ClusterSettings, DraftAttributes, Expected, GetError,
    Superblock,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::common::{COOKIE, Process, expected, pool, superblock};
use crate::golden_support::{
    FILE, FIRST, INCARNATION, SECOND, SIZE, Table, Writer, assert_same_bytes, checksum_is_valid,
    content, golden, is_zero, seed,
};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1-cluster.vol");

const COLLECTION: &str = "photos";
const KEY_FLOOR: u64 = 1 << 40;
const NAME: &[u8] = b"p.jpg";
const PAIRS: &[u8] = b"{\"Owner\":\"bob\"}";
const TYPE: &[u8] = b"image/jpeg";
const LARGE: usize = 66_000;

fn cluster() -> ClusterProperties {
    ClusterProperties {
        settings: ClusterSettings {
            placement: ReplicaPlacement(110),
            is_read_only: false,
            takes_deletes: true,
        },
        ttl: Ttl::from_bytes([3, 6]),
        collection: Collection::new(COLLECTION).unwrap(),
        key_floor: KEY_FLOOR,
    }
}

fn all() -> ClusterAttributes<'static> {
    ClusterAttributes {
        name: Some(NAME),
        flags: Some(0x3e),
        ttl: Ttl::from_bytes([5, 6]),
        pairs: Some(PAIRS),
        appended_ns: Some(FIRST.wall - 9),
        origin_version: Some(FIRST.wall - 10),
    }
}

fn draft_attributes(cluster: ClusterAttributes<'static>) -> DraftAttributes<'static> {
    DraftAttributes { content_type: Some(TYPE), cluster, ..DraftAttributes::default() }
}

/// A needle with all attributes, one with none of its own, a body in parts, and a tombstone; then a clean
/// close.
fn build() -> Vec<u8> {
    let mut writer = Writer::start(FIRST, &Image::default());
    writer.create(Superblock { cluster: Some(cluster()), ..superblock(SIZE) });
    let volume = writer.open();
    let pool = writer.runtime.handle().pool().clone();
    let mut draft =
        hayloft::volume::Draft::with_attributes(&pool, draft_attributes(all()), 300).unwrap();
    draft.data_mut().copy_from_slice(&content(1, 0, 300));
    let storing = Rc::clone(&volume);
    let put = async move { storing.put(NeedleId::new(1, 0), COOKIE, draft, None).await };
    writer.run(put).unwrap();
    let put = writer.put(2, 0, None, 100);
    writer.run(put);
    let storing = Rc::clone(&volume);
    writer.run(async move {
        let id = NeedleId::new(3, 0);
        let mut upload = storing.upload(id, COOKIE, LARGE as u64).unwrap();
        for part in content(3, 0, LARGE).chunks(65_536) {
            let mut draft = upload.part(&pool, part.len() as u64).unwrap();
            draft.data_mut().copy_from_slice(part);
            upload.add(draft).await.unwrap();
        }
        let attributes = draft_attributes(ClusterAttributes::default());
        let manifest = upload.finish_with(&pool, attributes).await.unwrap();
        storing.put(id, COOKIE, manifest, None).await.unwrap();
    });
    let put = writer.put(4, 0, None, 10);
    writer.run(put);
    let deleting = Rc::clone(&volume);
    writer.run(async move { deleting.delete_without_cookie(NeedleId::new(4, 0)).await }).unwrap();
    writer.run(async move { volume.close().await });
    writer.world.look(|snapshot| snapshot.image()).bytes(FILE)
}

/// CRC32C, bit by bit.
fn castagnoli(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// The attributes of a needle: codes and values.
fn entries(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut entries = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let [code, len] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_le_bytes);
        let (value, behind) = rest.split_at(len.into());
        entries.push((code, value.to_vec()));
        bytes = behind;
    }
    entries
}

fn expiry(at: u64) -> Vec<u8> {
    let time = at.to_le_bytes();
    [time, xxh3_64(&time).to_le_bytes()].concat()
}

#[test]
fn rebuilt_image_has_the_same_bytes() {
    assert_same_bytes(PATH, &build());
}

#[test]
fn image_opens_and_has_what_the_cluster_stored() {
    let image = Image::of(FILE, &golden(PATH, build));
    let mut process = Process::start(2, &image, &pool(8 << 20));
    process.world.set_wall(SECOND.wall);
    let slot = process.open_as(Expected { hash_bits: None, ..expected() }).unwrap();
    assert_eq!(slot.volume().cluster(), Some(cluster()));
    assert_eq!(slot.volume().max_key(), Some(KEY_FLOOR));
    let none = ClusterAttributes::default();
    for (key, len, with) in [(1, 300, all()), (2, 100, none), (3, LARGE, none)] {
        let id = NeedleId::new(key, 0);
        let describing = Rc::clone(&slot);
        let found = process.run(async move { describing.describe(id, None).await }).unwrap();
        let has = found.attributes();
        assert_eq!(has.crc32c, Some(castagnoli(&content(key, 0, len))));
        assert_eq!((has.cluster, found.body_len), (with, len as u64));
        let body = content(key, 0, len);
        let read = match found.is_large {
            true => process.get_large(&slot, id, 0..len as u64, 1 << 20).unwrap(),
            false => {
                let (slot, pool) = (Rc::clone(&slot), process.runtime.handle().pool().clone());
                process.run(async move {
                    let needle = slot.get(id, COOKIE, |len| pool.alloc(len)).await.unwrap();
                    needle.buf[needle.data.clone()].to_vec()
                })
            }
        };
        assert!(read == body, "object {key}");
    }
    let describing = Rc::clone(&slot);
    let gone = process.run(async move { describing.describe(NeedleId::new(4, 0), None).await });
    assert_eq!(gone.map(drop), Err(GetError::NotFound));
}

#[test]
fn superblock_matches_the_documented_layout() {
    let image = golden(PATH, build);
    let table = Table::of("Superblock");
    table.assert_contiguous(512);
    for at in [0, 4096, image.len() - 4096] {
        let copy = &image[at..at + 512];
        table.check(
            copy,
            &[
                ("ro-compat", 8),
                ("source", 0),
                ("position", 0),
                ("replica flags", 0),
                ("placement", 110),
                ("ttl count", 3),
                ("ttl unit", 6),
                ("cluster flags", 2),
                ("collection length", COLLECTION.len() as u64),
                ("key floor", KEY_FLOOR),
            ],
        );
        let name = table.bytes(copy, "collection");
        assert_eq!(&name[..COLLECTION.len()], COLLECTION.as_bytes());
        assert!(is_zero(&name[COLLECTION.len()..]) && is_zero(&copy[424..504]));
        assert!(checksum_is_valid(copy, 0x4841_594c_4f46_5400));
    }
}

#[test]
fn attributes_match_the_documented_layout() {
    let image = golden(PATH, build);
    let header_table = Table::of("Needle header");
    let year = 365 * 24 * 3600 * 1_000_000_000;
    let crc = |key, len| (3, castagnoli(&content(key, 0, len)).to_le_bytes().to_vec());
    let content_type = (1, TYPE.to_vec());
    let of_volume = (2, expiry(FIRST.wall + 3 * year));
    let first = vec![
        (2, expiry(FIRST.wall - 9 + 5 * year)),
        crc(1, 300),
        (9, (FIRST.wall - 10).to_le_bytes().to_vec()),
        (8, (FIRST.wall - 9).to_le_bytes().to_vec()),
        (6, vec![5, 6]),
        (5, vec![0x3e]),
        content_type.clone(),
        (4, NAME.to_vec()),
        (7, PAIRS.to_vec()),
    ];
    let wanted = [
        (1, 1, first),
        (1, 2, vec![of_volume.clone(), crc(2, 100)]),
        (3, 3, vec![]),
        (4, 3, vec![of_volume.clone(), crc(3, LARGE), content_type]),
        (1, 4, vec![of_volume, crc(4, 10)]),
        (2, 4, vec![]),
    ];
    let mut seen = 0;
    for at in (65_536..image.len() - 4096).step_by(512) {
        let header = &image[at..at + 128];
        let is_first = header[..4] == *b"HNDL" && header[5] & 1 == 0;
        if !is_first || !checksum_is_valid(header, seed(at)) {
            continue;
        }
        let field = |name| header_table.number(header, name);
        let (kind, key, len) = (field("kind"), field("key"), field("attributes length"));
        let end = at + 128 + usize::try_from(len).unwrap();
        let found = wanted.iter().find(|one| (one.0, one.1) == (kind, key)).unwrap();
        assert_eq!(entries(&image[at + 128..end]), found.2, "kind {kind}, key {key}");
        if kind == 1 {
            let meta = &image[at + 128..end.next_multiple_of(8)];
            assert_eq!(field("meta checksum"), xxh3_64_with_seed(meta, INCARNATION));
        }
        seen += 1;
    }
    assert_eq!(seen, wanted.len() + 1, "the body has two parts");
}
