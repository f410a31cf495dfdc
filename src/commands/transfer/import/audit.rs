//! Audit of the manifest, before anything is stored: asks the store whether it has every photo, or, with
//! `--verify`, reads all of their bytes.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::ledger::Ledger;
use super::progress::locked;
use super::row::{Found, Stored};
use super::run::Run;
use super::sender::{Sender, Sent};
use crate::commands::client::{HeadAnswer, HeadPipeline};
use crate::commands::transfer::name::PhotoName;

/// Number of requests that are pipelined on each connection.
const DEPTH: usize = 64;

/// Asks for every photo that the ledger names as stored, on as many connections as there are workers at most,
/// and notes the answers in the ledger. Stops the run if an answer says nothing about its photo.
pub fn audit(run: &Run<'_>, ledger: &Mutex<Ledger>) {
    let total = locked(ledger).rows().filter(|(_, row)| row.stored.is_some()).count();
    run.progress.to_ask.store(total as u64, Ordering::Relaxed);
    let cursor = Mutex::new(Vec::new());
    let share = if run.plan.verify { 1 } else { DEPTH };
    let connections = run.plan.parallel.max(1).min(total.div_ceil(share));
    std::thread::scope(|scope| {
        for _ in 0..connections {
            scope.spawn(|| Auditor::new(run, ledger).ask_all(&cursor));
        }
    });
}

struct Auditor<'a> {
    run: &'a Run<'a>,
    ledger: &'a Mutex<Ledger>,
    pipeline: HeadPipeline,
    sender: Sender<'a>,
}

impl<'a> Auditor<'a> {
    fn new(run: &'a Run<'a>, ledger: &'a Mutex<Ledger>) -> Self {
        let pipeline = HeadPipeline::new(run.plan.server.clone());
        Self { run, ledger, pipeline, sender: Sender::new(run) }
    }

    /// Processes chunks of the manifest until none is left, or the run ends.
    fn ask_all(mut self, cursor: &Mutex<Vec<u8>>) {
        while !self.run.stopped() {
            // The cursor stays locked: each chunk is taken once.
            let mut cursor = locked(cursor);
            let count = if self.run.plan.verify { 1 } else { DEPTH };
            let chunk = locked(self.ledger).next_stored(&mut cursor, count);
            drop(cursor);
            if chunk.is_empty() {
                return;
            }
            let Some(found) = self.ask(&chunk) else { return };
            let mut ledger = locked(self.ledger);
            for ((path, ..), found) in chunk.iter().zip(found) {
                ledger.note(path, found);
            }
        }
    }

    /// Returns what the store has of a chunk; `None` if the run ends.
    fn ask(&mut self, chunk: &[(Vec<u8>, PhotoName, Stored)]) -> Option<Vec<Found>> {
        let mut found = Vec::with_capacity(chunk.len());
        while found.len() < chunk.len() {
            let before = found.len();
            if !self.run.plan.verify {
                let rest = &chunk[before..];
                let names: Vec<PhotoName> = rest.iter().map(|(_, name, _)| *name).collect();
                let answers = self.pipeline.ask(&names);
                let known = rest.iter().zip(&answers);
                found.extend(known.map_while(|(row, answer)| found_of(row, *answer)));
            }
            // The first photo without an answer is requested by itself, with retries.
            if let Some(row) = chunk.get(found.len()) {
                found.push(self.ask_single(row)?);
            }
            self.run.progress.asked.fetch_add((found.len() - before) as u64, Ordering::Relaxed);
        }
        Some(found)
    }

    /// Asks for one photo, with retries. Stops the run if the answer says nothing about it. Returns `None` if
    /// the run ends.
    fn ask_single(&self, row: &(Vec<u8>, PhotoName, Stored)) -> Option<Found> {
        let (_, name, _) = row;
        let verify = self.run.plan.verify;
        let answer = if verify { self.sender.verify(*name) } else { self.sender.ask(*name) };
        let why = match answer {
            Ok(answer) => match found_of(row, answer) {
                Some(found) => return Some(found),
                None => "the answer has no checksum as ETag".to_owned(),
            },
            Err(Sent::Failed { why, .. }) => why,
            Err(_) => return None,
        };
        let volume = name.volume;
        self.run.stop(format!(
            "volume {volume} cannot be asked for its photos: {why}; nothing was stored"
        ));
        None
    }
}

/// Returns what an answer says about the photo of a row, if it says anything.
fn found_of((_, _, stored): &(Vec<u8>, PhotoName, Stored), answer: HeadAnswer) -> Option<Found> {
    match (answer.status, answer.etag) {
        (200, Some(etag)) if etag == stored.etag => Some(Found::Same),
        // A photo that was stored by other means is kept, damaged or not.
        (200 | 500, Some(etag)) if etag != stored.etag => Some(Found::Other(etag)),
        (404, _) => Some(Found::Nothing),
        (500, _) => Some(Found::Damaged),
        _ => None,
    }
}
