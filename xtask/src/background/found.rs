//! The part `found`: damage that is planted in a volume file is found by a scrub.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use serde_json::json;

use super::admin::Admin;
use super::outcome::{Figure, Outcome, Verdict};
use super::planted::{Needle, PART, needles};
use super::scene::Scene;
use crate::photos::{Batches, path};
use crate::process::Failed;
use crate::record::cannot;

/// Places that are damaged: a fourth of each kind.
const PLANTED: usize = 1000;
/// Photos in one needle, and photos with parts: their second part is damaged.
const PHOTOS: u64 = 20_000;
const LARGE: u64 = PLANTED as u64 / 4;
/// First key of the photos with parts.
const LARGE_KEY: u64 = 1 << 40;
/// Length of a photo with two parts (bytes), and of its second part.
const LARGE_LEN: usize = (1 << 20) + 9000;
/// Size of the volume (MiB).
const MIB: u64 = 1024;

fn len_of(key: u64) -> usize {
    usize::try_from(500 + key * 7919 % 30_000).expect("below 30,500")
}

/// Plants damage in a stopped volume, and has it found.
///
/// # Errors
/// When damage is not found, or found where none is.
pub fn found(scene: &Scene) -> Result<Outcome, Failed> {
    let mut outcome = Outcome::measured(format!(
        "{PHOTOS} photos of 500 to 30,500 bytes and {LARGE} with two parts. With the daemon stopped, \
         {PLANTED} places are damaged: one bit of a header, of the data or of a footer, and second parts of \
         large photos that are overwritten with zeros. After the start, which uses the checkpoint, \
         the volume is scrubbed once."
    ));
    let node = scene.new_node("0", MIB, &["--shard-ports", "off"])?;
    let keys: Vec<u64> = (0..PHOTOS).collect();
    Batches { volume: 1, each: 100, len_of }.put(node.data, &keys)?;
    put_large(&node)?;
    node.stop()?;
    let file = scene.dir().join("data/1.0.vol");
    let planted = plant(&file)?;
    let node = scene.node(&scene.dir(), "0", MIB, &["--shard-ports", "off"], "")?;
    let admin = Admin::of(&node);
    let began = Instant::now();
    admin.begin_scrub(1)?;
    admin.wait_for_scrub(1)?;
    let seconds = began.elapsed().as_secs_f64();
    let places = admin.damage(1)?;
    let seen: BTreeMap<u64, &str> =
        places.iter().map(|place| (place.offset, place.what.as_str())).collect();
    let right = planted.iter().filter(|(offset, what)| seen.get(offset) == Some(*what)).count();
    let wrong = seen.keys().filter(|offset| !planted.contains_key(offset)).count();
    let verdict = if right == PLANTED && wrong == 0 { Verdict::Met } else { Verdict::Missed };
    outcome.add(Figure {
        what: "planted places that were found, with the right name".to_owned(),
        goal: format!("{PLANTED} of {PLANTED}, no others"),
        value: format!("{right} of {}, {wrong} others", planted.len()),
        verdict,
    });
    for what in ["header", "data", "footer", "part"] {
        let of = planted.iter().filter(|(_, it)| **it == what);
        let found = of.clone().filter(|(offset, _)| seen.get(offset) == Some(&what)).count();
        outcome.rounds.push(json!({"what": what, "planted": of.count(), "found": found}));
    }
    let used = admin.volume(1)?.used as f64 / f64::from(1 << 20);
    let value = format!("{seconds:.1} s for {used:.0} MiB of log ({:.0} MiB/s)", used / seconds);
    outcome.show("the scrub, idle", value);
    match verdict {
        Verdict::Missed => Err(Failed(format!("{right} of {PLANTED} were found, {wrong} others"))),
        _ => Ok(outcome),
    }
}

fn put_large(node: &crate::node::Node) -> Result<(), Failed> {
    let client = crate::http::Client::new(node.data);
    for key in (LARGE_KEY..).take(usize::try_from(LARGE).expect("250")) {
        let body: Vec<u8> = (0..LARGE_LEN as u64).map(|at| (at * key % 251) as u8).collect();
        let reply = client.send("PUT", &path(1, key), &body)?;
        if reply.status != 201 {
            return Err(Failed(format!("PUT of photo {key}: {}", reply.status)));
        }
    }
    Ok(())
}

/// Damages the file. Returns the offset of each damaged needle, and what is damaged.
fn plant(path: &std::path::Path) -> Result<BTreeMap<u64, &'static str>, Failed> {
    let all = needles(path)?;
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(cannot("open", path))?;
    let (parts, photos): (Vec<Needle>, Vec<Needle>) =
        all.into_iter().partition(|it| it.kind == PART);
    let second = parts.into_iter().filter(|part| part.data_len < 1 << 20).take(PLANTED / 4);
    let small = photos.iter().filter(|it| it.key < PHOTOS);
    let step = usize::try_from(PHOTOS).expect("20,000") / (PLANTED / 4 * 3);
    let (mut planted, kinds) = (BTreeMap::new(), ["header", "data", "footer"]);
    for (number, needle) in small.step_by(step).take(PLANTED / 4 * 3).enumerate() {
        let what = kinds[number % kinds.len()];
        let at = match what {
            "header" => needle.offset + 33,
            "data" => needle.offset + 128 + u64::from(needle.data_len) / 2,
            _ => needle.offset + needle.len - 20,
        };
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).map_err(cannot("read", path))?;
        byte[0] ^= 1 << (number % 8);
        file.write_all_at(&byte, at).map_err(cannot("write", path))?;
        planted.insert(needle.offset, what);
    }
    for part in second {
        let zeros = vec![0; usize::try_from(part.len).expect("a needle fits into memory")];
        file.write_all_at(&zeros, part.offset).map_err(cannot("write", path))?;
        planted.insert(part.offset, "part");
    }
    file.sync_all().map_err(cannot("sync", path))?;
    Ok(planted)
}
