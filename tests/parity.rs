//! Parity of the simulated disk and io_uring: the same scripts of operations run on both, and lengths, errnos
//! and bytes are equal.

mod common;
mod daemon_harness;

use std::ffi::CString;
use std::path::PathBuf;

use common::{bytes, pool};
use daemon_harness::data_dir;
use hayloft::ring::{Registration, Ring, RingOptions, prepare};
use hayloft::runtime::buffer::Region;
use hayloft::runtime::op::{DirId, Driver, FileId, Op, Piece, Returned};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::{Handle, Runtime, split_mix};

const SCRIPTS: u64 = 500;
const STEPS: usize = 40;
const NAMES: [&str; 3] = ["a.vol", "b.vol", "c.vol"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Open(usize, bool),
    Allocate(usize, u64, u64),
    SetLen(usize, u64),
    Len(usize),
    /// Whether a file has a name.
    IsNameOf(usize, usize),
    Write {
        file: usize,
        offset: u64,
        lens: Vec<u32>,
        seed: u64,
        durable: bool,
    },
    Read {
        file: usize,
        offset: u64,
        len: u32,
    },
    Sync(usize),
    SyncDir,
    Rename(usize, usize, bool),
    Unlink(usize),
    Close(usize),
}

fn script(seed: u64) -> Vec<Step> {
    let mut state = seed;
    let mut draw = move |below: u64| split_mix(&mut state) % below;
    let mut steps = vec![Step::Create(0), Step::Allocate(0, 0, 1 << 20)];
    for _ in 0..STEPS {
        let (file, name) = (draw(4) as usize, draw(3) as usize);
        steps.push(match draw(17) {
            0 => Step::Create(name),
            1 => Step::Open(name, draw(3) > 0),
            2 if draw(2) == 0 => Step::SetLen(file, draw(400) * 4096),
            2 => Step::Allocate(file, draw(4) << 18, draw(5) << 18),
            3 => Step::Len(file),
            4..=7 => Step::Write {
                file,
                offset: draw(300) * 4096,
                lens: (0..=draw(3)).map(|_| (1 + draw(40) as u32) * 512).collect(),
                seed: draw(u64::MAX),
                durable: draw(2) == 0,
            },
            8..=11 => {
                Step::Read { file, offset: draw(2500) * 512, len: (1 + draw(100) as u32) * 512 }
            }
            12 => Step::Sync(file),
            13 => [Step::SyncDir, Step::Close(file)][draw(2) as usize].clone(),
            14 => Step::Rename(name, draw(3) as usize, draw(2) == 0),
            15 => Step::IsNameOf(file, name),
            _ => Step::Unlink(name),
        });
    }
    steps
}

/// Step, result of its operation, and for a read the checksum of the bytes.
type Outcome = (String, i64, Option<u64>);

fn name(n: usize) -> CString {
    CString::new(NAMES[n]).unwrap()
}

/// Appends padding to a multiple of 4 KiB: gathered writes consist of whole blocks, as commits do.
fn padded(lens: &[u32]) -> Vec<u32> {
    let sum: u32 = lens.iter().sum();
    let pad = sum.next_multiple_of(4096) - sum;
    lens.iter().copied().chain((pad > 0).then_some(pad)).collect()
}

async fn play(handle: Handle, dir: PathBuf, steps: Vec<Step>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut open: Vec<Option<FileId>> = Vec::new();
    let opened = handle.submit(Op::OpenDir { path: dir }).await.result;
    let dir = DirId(u32::try_from(opened).unwrap());
    for step in steps {
        let file = |n: usize| open.get(n).copied().flatten();
        let (op, opens) = match &step {
            Step::Create(n) => (Op::Create { dir, name: name(*n) }, true),
            Step::Open(n, write) => (Op::Open { dir, name: name(*n), write: *write }, true),
            Step::SyncDir => (Op::SyncDir { dir }, false),
            Step::Rename(from, to, replace) => {
                (Op::Rename { dir, from: name(*from), to: name(*to), replace: *replace }, false)
            }
            Step::Unlink(n) => (Op::Unlink { dir, name: name(*n) }, false),
            Step::IsNameOf(n, named) => {
                let Some(file) = file(*n) else { continue };
                (Op::IsNameOf { dir, name: name(*named), file }, false)
            }
            Step::Allocate(n, ..)
            | Step::SetLen(n, _)
            | Step::Len(n)
            | Step::Sync(n)
            | Step::Close(n)
            | Step::Write { file: n, .. }
            | Step::Read { file: n, .. } => {
                let Some(id) = file(*n) else { continue };
                (on_file(&handle, id, &step), false)
            }
        };
        let read_len = if let Op::Read { len, .. } = &op { Some(*len as usize) } else { None };
        let completion = handle.submit(op).await;
        let mut result = completion.result;
        let mut content = None;
        if let (Some(_), Returned::One(buf), Ok(got)) =
            (read_len, &completion.returned, usize::try_from(result))
        {
            content = Some(xxhash_rust::xxh3::xxh3_64(&buf[..got]));
        }
        if opens && result >= 0 {
            open.push(Some(FileId(u32::try_from(result).unwrap())));
            // File ids are chosen by the driver and may differ.
            result = 0;
        }
        if let Step::Close(n) = step {
            open[n] = None;
        }
        outcomes.push((format!("{step:?}"), result, content));
    }
    for file in open.into_iter().flatten() {
        handle.submit(Op::CloseFile { file }).await;
    }
    outcomes
}

fn on_file(handle: &Handle, file: FileId, step: &Step) -> Op {
    match step {
        Step::Allocate(_, offset, len) => Op::Allocate { file, offset: *offset, len: *len },
        Step::SetLen(_, len) => Op::SetLen { file, len: *len },
        Step::Len(_) => Op::FileLen { file },
        Step::Sync(_) => Op::Sync { file },
        Step::Close(_) => Op::CloseFile { file },
        Step::Read { offset, len, .. } => {
            let buf = handle.pool().alloc(*len as usize).unwrap();
            Op::Read { file, buf, start: 0, len: *len, offset: *offset }
        }
        Step::Write { offset, lens, seed, durable, .. } => {
            let (mut bufs, mut pieces) = (Vec::new(), Vec::new());
            for (n, len) in padded(lens).into_iter().enumerate() {
                let mut buf = handle.pool().alloc(len as usize).unwrap();
                buf[..len as usize].copy_from_slice(&bytes(seed ^ n as u64, len as usize));
                bufs.push(buf);
                pieces.push(Piece { buf: u16::try_from(n).unwrap(), start: 0, len });
            }
            Op::Write { file, bufs, pieces, offset: *offset, durable: *durable }
        }
        _ => unreachable!("not on a file"),
    }
}

fn run<D: Driver>(
    driver: &mut D,
    pool: &hayloft::runtime::buffer::Pool,
    dir: PathBuf,
    seed: u64,
) -> Vec<Outcome> {
    let mut state = seed;
    let mut runtime = Runtime::new(driver, pool.clone(), move || split_mix(&mut state));
    let handle = runtime.handle().clone();
    runtime.block_on(driver, play(handle, dir, script(seed)))
}

#[test]
fn simulated_disk_and_ring_return_the_same_results() {
    let (mut differences, mut steps) = (0, 0);
    let mut seen = std::collections::BTreeSet::new();
    let mut names = std::collections::BTreeSet::new();
    for seed in 1..=SCRIPTS {
        let sim_pool = pool(16 << 20);
        let world = World::new(seed, &Image::default());
        let simulated = run(&mut world.driver(), &sim_pool, "data".into(), seed);

        let dir = data_dir();
        let region = Region::map(1, 16 << 20).unwrap();
        let ring = prepare(1, &region, Registration::Wanted).unwrap().pop().unwrap();
        let ring_pool = hayloft::runtime::buffer::Pool::new(&region, 0);
        let options = RingOptions { device_in_flight: 2, buffered: false };
        let mut ring = Ring::start(ring, ring_pool.clone(), Vec::new(), options).unwrap();
        let real = run(&mut ring, &ring_pool, dir.path().to_path_buf(), seed);

        seen.extend(real.iter().map(|(_, result, _)| *result));
        let asked = real.iter().filter(|(step, ..)| step.starts_with("IsNameOf"));
        names.extend(asked.map(|(_, result, _)| *result));
        for (n, (simulated, real)) in simulated.iter().zip(&real).enumerate() {
            if simulated != real {
                differences += 1;
                println!("seed {seed} step {n}: {simulated:?} != {real:?}");
            }
        }
        steps += real.len();
        assert_eq!(simulated.len(), real.len());
        assert_eq!(ring.in_flight(), 0);
    }
    println!("{SCRIPTS} scripts, {steps} steps, {differences} differences");
    assert_eq!(differences, 0);
    assert!(names.contains(&0) && names.contains(&1), "answers about names: {names:?}");
    for errno in [2, 9, 17, 22] {
        assert!(
            seen.contains(&-errno),
            "no step returned errno {errno}: the scripts do not cover it"
        );
    }
}
