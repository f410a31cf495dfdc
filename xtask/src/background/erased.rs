//! The part `erased`: nothing of a deleted photo is in the data directory after a compaction.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::admin::Admin;
use super::outcome::{Figure, Outcome, Verdict};
use super::scene::Scene;
use crate::http::Client;
use crate::photos::{Batches, check_deleted, path};
use crate::process::Failed;
use crate::record::cannot;

/// Bytes that a deleted photo consists of, again and again. At no other place in the system is this text.
const DEAD: &[u8] = b"<7f3a of a photo that was deleted 91c4>";
/// The same for a photo that was replaced by another one.
const REPLACED: &[u8] = b"<2e8d of a photo that was replaced 60b5>";
/// The same for a photo that stays.
const LIVE: &[u8] = b"<c05e of a photo that stays here 4a7d>";
/// Number of other photos around those.
const OTHERS: u64 = 2000;
/// Lengths of the photos: within a sector, of some blocks, and of several parts.
const LENGTHS: [usize; 3] = [300, 40_000, 3_500_000];
/// First key of the photos that are deleted, that are replaced, that stay.
const KEYS: [u64; 3] = [1 << 40, 2 << 40, 3 << 40];
/// Length of a piece that is searched (bytes).
const PIECE: usize = 4 << 20;

fn other(_key: u64) -> usize {
    20_000
}

fn put(data: SocketAddr, first: u64, pattern: &[u8]) -> Result<(), Failed> {
    let client = Client::new(data);
    for (key, len) in (first..).zip(LENGTHS) {
        let body: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
        let reply = client.send("PUT", &path(1, key), &body)?;
        if !matches!(reply.status, 201 | 204) {
            return Err(Failed(format!("PUT of photo {key}: {} {}", reply.status, reply.text())));
        }
    }
    Ok(())
}

/// Searches all files of a data directory; returns how often each pattern is found, and the bytes searched.
fn search(dir: &Path, patterns: [&[u8]; 3]) -> Result<([u64; 3], u64), Failed> {
    let (mut found, mut searched) = ([0; 3], 0);
    for path in files(dir)? {
        let mut file = File::open(&path).map_err(cannot("open", &path))?;
        let (mut piece, mut kept) = (vec![0; PIECE], 0);
        loop {
            let got = file.read(&mut piece[kept..]).map_err(cannot("read", &path))?;
            if got == 0 {
                break;
            }
            searched += got as u64;
            let end = kept + got;
            for (count, pattern) in found.iter_mut().zip(patterns) {
                *count += occurrences(&piece[..end], pattern);
            }
            // A pattern may begin in this piece and end in the next one.
            let longest = patterns.map(<[u8]>::len).into_iter().max().unwrap_or(1) - 1;
            let from = end.saturating_sub(longest);
            piece.copy_within(from..end, 0);
            kept = end - from;
        }
    }
    Ok((found, searched))
}

fn occurrences(piece: &[u8], pattern: &[u8]) -> u64 {
    let mut count = 0;
    let mut from = 0;
    while let Some(at) = piece[from..].iter().position(|byte| *byte == pattern[0]) {
        let at = from + at;
        count += u64::from(piece[at..].starts_with(pattern));
        from = at + 1;
    }
    count
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Failed> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(cannot("read", dir))? {
        let path = entry.map_err(cannot("read", dir))?.path();
        match path.is_dir() {
            true => all.extend(files(&path)?),
            false => all.push(path),
        }
    }
    Ok(all)
}

/// Searches the data directory for photos that were deleted and replaced, before and after a compaction.
///
/// # Errors
/// When remains are found, or a photo that stays is not found.
pub fn erased(scene: &Scene) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(format!(
        "Photos of {LENGTHS:?} bytes that consist of patterns, among {OTHERS} others: some are deleted, some \
         replaced, some stay. Every byte of every file below the data directory is searched: before the \
         compaction, when all patterns must be found, and after it."
    ));
    let node = scene.new_node("0", 256, &["--shard-ports", "off"])?;
    let (admin, data) = (Admin::of(&node), scene.dir().join("data"));
    let others = Batches { volume: 1, each: 100, len_of: other };
    let keys: Vec<u64> = (0..OTHERS).collect();
    let (first, second) = keys.split_at(keys.len() / 2);
    let patterns = [DEAD, REPLACED, LIVE];
    others.put(node.data, first)?;
    for (first, pattern) in KEYS.into_iter().zip(patterns) {
        put(node.data, first, pattern)?;
    }
    others.put(node.data, second)?;
    put(node.data, KEYS[1], b"another")?;
    let deleted: Vec<u64> = (KEYS[0]..).take(LENGTHS.len()).collect();
    crate::photos::delete(node.data, 1, &deleted)?;
    let (before, _) = search(&data, patterns)?;
    if before.contains(&0) {
        return Err(Failed(format!(
            "the search is blind: before the compaction it finds {before:?}"
        )));
    }
    admin.compact(1)?;
    let (after, searched) = search(&data, patterns)?;
    check_deleted(node.data, 1, &deleted)?;
    others.check(node.data, &keys)?;
    let names = ["deleted", "replaced", "live"];
    for (number, name) in names.into_iter().enumerate() {
        let is_right =
            if name == "live" { after[number] == before[number] } else { after[number] == 0 };
        outcome.add(Figure {
            what: format!("pattern of {name} photos: found"),
            goal: if name == "live" { before[number].to_string() } else { "0".to_owned() },
            value: format!("{} ({} before the compaction)", after[number], before[number]),
            verdict: if is_right { Verdict::Met } else { Verdict::Missed },
        });
        outcome
            .rounds
            .push(json!({"photos": name, "before": before[number], "after": after[number]}));
    }
    outcome.show("bytes searched", format!("{searched}"));
    // With the daemon stopped: what it writes at its end is searched, too.
    node.stop()?;
    let (stopped, _) = search(&data, patterns)?;
    if after != stopped || outcome.figures.iter().any(|it| it.verdict == Verdict::Missed) {
        return Err(Failed(format!(
            "REMAINS: the patterns of {names:?} photos are found {after:?} times, {stopped:?} after a stop, \
             {before:?} before the compaction"
        )));
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_across_pieces() {
        let dir = std::env::temp_dir().join(format!("xtask-erased-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("below")).unwrap();
        let mut bytes = vec![0; PIECE - 3];
        bytes.extend_from_slice(DEAD);
        bytes.resize(3 * PIECE - 10, b'<');
        bytes.extend_from_slice(LIVE);
        bytes.extend_from_slice(LIVE);
        std::fs::write(dir.join("below/1.0.vol"), &bytes).unwrap();
        let found = search(&dir, [DEAD, REPLACED, LIVE]).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found, ([1, 0, 2], bytes.len() as u64));
    }
}
