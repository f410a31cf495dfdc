//! Failed operations and damage.

use std::ops::Range;
use std::rc::Rc;

use hayloft::runtime::sim::Fault;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::split_mix;
use hayloft::volume::format::{
    Kind, NeedleHeader, NeedleLayout, Unreadable, encode_chunk_table, encode_data_needle,
};
use hayloft::volume::{Damage, GetError, Refusal};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    A, B, CHUNK, EIO, FILE, MIB, accounting, flipped, head, needles, overlap, pieces, random_range,
    restarted, started,
};
use crate::common::{COOKIE, bytes, superblock};

fn first_of_kind(image: &Image, kind: Kind) -> (usize, NeedleHeader) {
    needles(image)
        .into_iter()
        .find(|(_, header)| header.kind == kind)
        .expect("a needle of this kind")
}

#[test]
fn failed_write_of_an_upload_poisons_and_publishes_nothing() {
    for fault in [Fault::Errno(EIO), Fault::Short(512), Fault::Short(0)] {
        // The first commit of parts, a later one, the commit of the manifest.
        for operation in [0, 1, 2] {
            let (mut process, volume) = started();
            process.world.fail(operation, fault);
            let failed = process.put_large(&volume, A, &bytes(1, 400_000), &[100_000]);
            assert!(matches!(failed, Err(Refusal::Failed(_))), "{failed:?}");
            assert!(volume.volume().poisoned());
            assert_eq!(volume.upload(A, COOKIE, 1).err(), Some(Refusal::Poisoned));
            assert_eq!(process.get(&volume, A), Err(GetError::NotFound));
            assert_eq!(accounting(&volume).1, 0);
            let writes = volume.volume().stats().durable_writes.get();
            process.close(&volume);
            assert_eq!(volume.volume().stats().durable_writes.get(), writes);
            let (mut process, volume) = restarted(&process.image());
            assert_eq!(process.get(&volume, A), Err(GetError::NotFound));
            assert!(volume.volume().damage().is_empty());
            process.put_large(&volume, A, &bytes(2, 400_000), &[100_000]).unwrap();
            assert!(process.get(&volume, A).unwrap() == bytes(2, 400_000));
        }
    }
}

#[test]
fn upload_is_refused_after_another_write_failed() {
    let (mut process, volume) = started();
    let (writer, pool) = (Rc::clone(&volume), process.runtime.handle().pool().clone());
    let mut upload = volume.upload(A, COOKIE, 3 * CHUNK).unwrap();
    let part = upload.part(&pool, CHUNK).unwrap();
    let upload = process.run(async move {
        upload.add(part).await.unwrap();
        upload.settle().await.unwrap();
        upload
    });
    process.world.fail(0, Fault::Errno(EIO));
    assert!(process.put(&volume, B, b"lost?").is_err());
    let part = upload.part(&pool, CHUNK).unwrap();
    let (upload, added) = process.add(upload, part);
    assert_eq!(added, Err(Refusal::Poisoned));
    drop(upload);
    assert_eq!(process.get(&writer, A), Err(GetError::NotFound));
}

#[test]
fn damaged_chunk_fails_only_the_reads_that_overlap_it() {
    let lens = [200_000, CHUNK, 300_001];
    let len = 800_000;
    let body = bytes(9, len);
    let (mut process, volume) = started();
    process.put_large(&volume, A, &body, &lens).unwrap();
    process.close(&volume);
    let image = process.image();
    let (_, chunks) = pieces(len as u64, &lens);
    assert_eq!(chunks.len(), 4 + 1 + 5 + 4 + 1);
    let mut seed = 3;
    for (n, chunk) in chunks.iter().enumerate() {
        let wanted = &body[chunk.start as usize..chunk.start as usize + 32];
        let at = image.bytes(FILE).windows(32).position(|window| window == wanted).unwrap();
        let within = split_mix(&mut seed) % (chunk.end - chunk.start);
        let (mut process, volume) = restarted(&flipped(&image, at + within as usize));
        assert!(
            volume.volume().damage().is_empty(),
            "recovery does not read bodies below the tail hint"
        );
        let ranges: Vec<Range<u64>> = (0..40)
            .map(|_| random_range(&mut seed, len as u64))
            .chain(chunks.iter().cloned())
            .chain([0..len as u64, 0..chunk.start, chunk.end..len as u64])
            .collect();
        for range in ranges {
            for buffer in [CHUNK, MIB] {
                let got = process.get_large(&volume, A, range.clone(), buffer);
                if overlap(&range, chunk) {
                    let what = Damage::Checksum(Unreadable::Chunk(n));
                    assert_eq!(got, Err(GetError::Unreadable(A, what)), "{range:?} of {chunk:?}");
                } else {
                    let wanted = &body[range.start as usize..range.end as usize];
                    assert!(got.unwrap() == wanted, "{range:?} beside {chunk:?}");
                }
            }
        }
        assert!(volume.volume().stats().damaged_reads.get() > 0);
    }
}

#[test]
fn body_is_readable_with_damaged_part_header_or_footer() {
    let (mut process, volume) = started();
    let body = bytes(1, 300_000);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    process.close(&volume);
    let image = process.image();
    let (part, header) = first_of_kind(&image, Kind::Part);
    let footer = part + header.layout().len - 1;
    for (byte, reported) in [(part, 1), (footer, 0)] {
        let (mut process, volume) = restarted(&flipped(&image, byte));
        assert_eq!(volume.volume().damage().len(), reported);
        assert!(process.get(&volume, A).unwrap() == body);
    }
}

#[test]
fn damaged_manifest_is_unreadable_and_can_be_replaced() {
    let (mut process, volume) = started();
    let body = bytes(1, 300_000);
    process.put_large(&volume, A, &body, &[CHUNK]).unwrap();
    process.put(&volume, B, b"beside it").unwrap();
    process.close(&volume);
    let image = process.image();
    let (at, header) = first_of_kind(&image, Kind::Manifest);
    let layout: NeedleLayout = header.layout();
    let table = layout.data_start - 8;
    let front = [
        (at + 30, Unreadable::Header),
        (at + 84, Unreadable::Header),
        (at + 130, Unreadable::Meta),
        (at + table, Unreadable::Meta),
    ];
    let data = layout.data_range();
    let data = [at + data.start, at + data.end - 1].map(|byte| (byte, Unreadable::Chunk(0)));
    for (byte, what) in front.into_iter().chain(data) {
        let (mut process, volume) = restarted(&flipped(&image, byte));
        let unreadable = GetError::Unreadable(A, Damage::Checksum(what));
        assert_eq!(process.get(&volume, A), Err(unreadable));
        // A HEAD reads no data.
        let tag = (body.len() as u64, xxh3_64(&body));
        let expected = if matches!(what, Unreadable::Chunk(_)) { Ok(tag) } else { Err(unreadable) };
        assert_eq!(head(&mut process, &volume, A), expected);
        assert_eq!(process.get(&volume, B).unwrap(), b"beside it");

        assert!(process.put_large(&volume, A, b"healed", &[MIB]).unwrap().replaced);
        assert_eq!(process.get(&volume, A).unwrap(), b"healed");
        let before = accounting(&volume);
        let (mut process, volume) = restarted(&process.image());
        assert_eq!(accounting(&volume), before);
        assert_eq!(process.get(&volume, A).unwrap(), b"healed");
    }
}

#[test]
fn short_part_read_continues_and_failed_one_is_retried_once() {
    let (mut process, volume) = started();
    let body = bytes(1, 200_000);
    process.put_large(&volume, A, &body, &[MIB]).unwrap();
    // Operation 0 reads the manifest.
    for fault in [Fault::Short(700), Fault::Errno(EIO)] {
        process.world.fail(1, fault);
        assert!(process.get(&volume, A).unwrap() == body);
    }
    process.world.fail(1, Fault::Errno(EIO));
    process.world.fail(2, Fault::Errno(EIO));
    let failed = process.get(&volume, A);
    assert!(matches!(failed, Err(GetError::Unreadable(A, Damage::Io(_)))), "{failed:?}");
    assert!(process.get(&volume, A).unwrap() == body);
}

/// A manifest with valid checksums but impossible values is handled like a damaged one.
#[test]
fn manifest_with_impossible_values_is_unreadable() {
    let (mut process, volume) = started();
    process.put_large(&volume, A, &bytes(1, 300_000), &[CHUNK]).unwrap();
    process.put(&volume, B, b"beside it").unwrap();
    process.close(&volume);
    let image = process.image();
    let (at, header) = first_of_kind(&image, Kind::Manifest);
    let (layout, incarnation) = (header.layout(), superblock(0).incarnation);
    // Offset of the field in the manifest: 0 number of parts, 4 number of chunks, 8 offset and 16 length of
    // the first part.
    let forged: [(usize, u64); 8] = [
        (0, 0),
        (0, 1000),
        (4, 1000),
        (8, u64::MAX - 511),
        (8, 16 << 20),
        (8, 65_537),
        (16, 0),
        (16, CHUNK + 1),
    ];
    for (field, value) in forged {
        let mut image = image.clone();
        image.edit(FILE, |file| {
            let needle = &mut file[at..at + layout.len];
            let value = value.to_le_bytes();
            let field = layout.data_start + field..;
            let len = if field.start == layout.data_start + 8 { 8 } else { 4 };
            needle[field][..len].copy_from_slice(&value[..len]);
            encode_chunk_table(needle, &layout);
            encode_data_needle(&header, incarnation, at as u64, needle);
        });
        let (mut process, volume) = restarted(&image);
        let unreadable = Err(GetError::Unreadable(A, Damage::Checksum(Unreadable::Meta)));
        assert_eq!(process.get(&volume, A), unreadable, "{value} at {field}");
        assert_eq!(process.get_large(&volume, A, 0..1, CHUNK), unreadable, "{value} at {field}");
        assert_eq!(process.get(&volume, B).unwrap(), b"beside it");
        process.put(&volume, A, b"healed").unwrap();
    }
}
