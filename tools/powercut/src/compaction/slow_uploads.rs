//! Multipart objects that are sent for longer than a compaction takes: it must carry over their parts.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use faultdisk::random::split_mix;
use hayloft::commands::client::{Body, ClientError, Source};
use hayloft::http::head::Method;

use crate::history::{Version, WriteGroup, content, large_version};
use crate::http::client;
use crate::load::{Clock, path};

/// Objects of a volume that are uploaded slowly.
const OBJECTS: u64 = 3;
/// First key of these objects, which no other load uses.
const FIRST_KEY: u64 = 2_000_000;
/// Length of the pieces of a body (bytes), and the pause after each: more than a second for each object.
const PIECE: usize = 128 << 10;
const PAUSE: Duration = Duration::from_millis(80);

/// Running uploads, one at a time for each volume.
pub struct SlowUploads {
    threads: Vec<JoinHandle<Vec<WriteGroup>>>,
    stop: Arc<AtomicBool>,
}

impl SlowUploads {
    /// Starts them.
    pub fn start(data: SocketAddr, volumes: &[u32], seed: u64, clock: &Clock) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut seed = seed;
        let threads = volumes.iter().map(|&volume| {
            let (stop, clock, seed) = (Arc::clone(&stop), Arc::clone(clock), split_mix(&mut seed));
            std::thread::spawn(move || upload(data, volume, seed, &clock, &stop))
        });
        Self { threads: threads.collect(), stop }
    }

    /// Stops after the present uploads; returns what was sent.
    pub fn finish(self) -> Vec<WriteGroup> {
        self.stop.store(true, Ordering::Relaxed);
        let groups =
            |thread: JoinHandle<Vec<WriteGroup>>| thread.join().expect("an upload panicked");
        self.threads.into_iter().flat_map(groups).collect()
    }
}

fn upload(
    data: SocketAddr,
    volume: u32,
    mut seed: u64,
    clock: &Clock,
    stop: &AtomicBool,
) -> Vec<WriteGroup> {
    let objects = FIRST_KEY..FIRST_KEY + OBJECTS;
    let mut groups: Vec<WriteGroup> = objects
        .map(|key| WriteGroup { paths: vec![path(volume, key)], versions: Vec::new() })
        .collect();
    while !stop.load(Ordering::Relaxed) {
        let group = &mut groups[(split_mix(&mut seed) % OBJECTS) as usize];
        let version = large_version(&mut seed);
        group.versions.push(Version { seed: Some(version), sent: clock(), acknowledged: None });
        let body = SlowBody(content(version, 0));
        match client(data).request(Method::Put, &group.paths[0], &[], Body::Source(&body)) {
            Ok(reply) if matches!(reply.status, 201 | 204) => {
                let last = group.versions.last_mut().expect("it was pushed above");
                last.acknowledged = Some(clock());
            }
            // After a refusal the connection ends, whereas without a daemon there is no connection.
            Err(ClientError::Unreachable { .. }) => break,
            _ => {}
        }
    }
    groups
}

/// A body that is sent slowly, piece by piece.
struct SlowBody(Vec<u8>);

impl Source for SlowBody {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(SlowPieces { rest: &self.0, piece: PIECE }))
    }
}

/// What is left of such a body, and of the piece that is being sent (bytes).
struct SlowPieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for SlowPieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece == 0 {
            std::thread::sleep(PAUSE);
            self.piece = PIECE;
        }
        let len = out.len().min(self.piece);
        let len = self.rest.read(&mut out[..len])?;
        self.piece -= len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_body_is_sent_whole_with_a_pause_after_each_piece() {
        let body = SlowBody((0..PIECE + 1000).map(|n| n as u8).collect());
        let (began, mut sent) = (std::time::Instant::now(), Vec::new());
        let len = body.open().unwrap().read_to_end(&mut sent).unwrap();
        assert!(began.elapsed() >= PAUSE);
        assert_eq!((len as u64, &sent), (body.len(), &body.0));
    }
}
