//! Photos with known keys, lengths and content: batch puts, deletes and checks.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::http::Client;
use crate::process::Failed;

const COOKIE: &str = "0123456789abcdef";
/// Largest body of a batch (bytes): below the daemon's default `largest_batch`.
const BODY_MAX: usize = 6 << 20;
/// Status of a write for which there is no room.
const NO_ROOM: u16 = 507;
/// Interval at which such a write is repeated.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// Connections that delete.
const DELETERS: usize = 32;

/// Path of a photo.
#[must_use]
pub fn path(volume: u32, key: u64) -> String {
    format!("/{volume}/{key}/0/{COOKIE}")
}

/// Batch puts of photos whose content is one byte, which follows from the key.
pub struct Batches {
    /// The volume.
    pub volume: u32,
    /// Largest number of photos in a batch.
    pub each: usize,
    /// Length of a photo.
    pub len_of: fn(u64) -> usize,
}

impl Batches {
    /// Stores photos with these keys.
    ///
    /// # Errors
    /// When a batch is refused.
    pub fn put(&self, data: SocketAddr, keys: &[u64]) -> Result<(), Failed> {
        self.put_within(data, keys, Duration::ZERO).map(drop)
    }

    /// Like [`Self::put`]; repeats a batch for which there is no room (507) for as long as `patience`.
    /// Returns the time for which batches were refused.
    ///
    /// # Errors
    /// When a batch is refused for another reason, or for longer.
    pub fn put_within(
        &self,
        data: SocketAddr,
        keys: &[u64],
        patience: Duration,
    ) -> Result<Duration, Failed> {
        let client = Client::new(data);
        let batch = format!("/{}/batch", self.volume);
        let mut tar = Vec::new();
        let (mut photos, mut refused) = (0, Duration::ZERO);
        for (at, key) in keys.iter().enumerate() {
            add(&mut tar, *key, (self.len_of)(*key));
            photos += 1;
            if photos < self.each && tar.len() < BODY_MAX && at + 1 < keys.len() {
                continue;
            }
            tar.resize(tar.len() + 1024, 0);
            let began = Instant::now();
            let mut reply = client.send("POST", &batch, &tar)?;
            while reply.status == NO_ROOM && began.elapsed() < patience {
                thread::sleep(RETRY_INTERVAL);
                reply = client.send("POST", &batch, &tar)?;
                refused += RETRY_INTERVAL;
            }
            if reply.status != 201 {
                return Err(Failed(format!(
                    "a batch was refused ({}): {}",
                    reply.status,
                    reply.text()
                )));
            }
            tar.clear();
            photos = 0;
        }
        Ok(refused)
    }

    /// Checks that the photos with these keys are stored, byte for byte.
    ///
    /// # Errors
    /// When one is missing or wrong.
    pub fn check(&self, data: SocketAddr, keys: &[u64]) -> Result<(), Failed> {
        let client = Client::new(data);
        for key in keys {
            let reply = client.ask("GET", &path(self.volume, *key))?;
            let byte = content(*key);
            let is_right = reply.status == 200
                && reply.body.len() == (self.len_of)(*key)
                && reply.body.iter().all(|it| *it == byte);
            if !is_right {
                let what = format!("status {}, {} bytes", reply.status, reply.body.len());
                return Err(Failed(format!("LOST: photo {key} is not as it was stored: {what}")));
            }
        }
        Ok(())
    }
}

/// Checks that no photos with these keys are stored.
///
/// # Errors
/// When one is.
pub fn check_deleted(data: SocketAddr, volume: u32, keys: &[u64]) -> Result<(), Failed> {
    let client = Client::new(data);
    for key in keys {
        let reply = client.ask("GET", &path(volume, *key))?;
        if reply.status != 404 {
            return Err(Failed(format!("RETURNED: photo {key} was deleted: {}", reply.status)));
        }
    }
    Ok(())
}

/// Deletes photos, on several connections.
///
/// # Errors
/// When a deletion is refused.
pub fn delete(data: SocketAddr, volume: u32, keys: &[u64]) -> Result<(), Failed> {
    let part = keys.len().div_ceil(DELETERS).max(1);
    thread::scope(|scope| {
        let deleters: Vec<_> = keys
            .chunks(part)
            .map(|keys| {
                scope.spawn(move || {
                    let client = Client::new(data);
                    for key in keys {
                        let reply = client.ask("DELETE", &path(volume, *key))?;
                        if reply.status != 204 {
                            let why = reply.text();
                            let status = reply.status;
                            return Err(Failed(format!("DELETE of photo {key}: {status} {why}")));
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        deleters.into_iter().try_for_each(|it| it.join().expect("a deleter does not panic"))
    })
}

fn content(key: u64) -> u8 {
    key.to_le_bytes()[0]
}

/// Appends a photo to a tar.
fn add(tar: &mut Vec<u8>, key: u64, len: usize) {
    let mut head = [0_u8; 512];
    let name = format!("{key}/0/{COOKIE}");
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..107].copy_from_slice(b"0000644");
    head[124..135].copy_from_slice(format!("{len:011o}").as_bytes());
    head[136..147].copy_from_slice(b"00000000000");
    head[148..156].fill(b' ');
    head[156] = b'0';
    head[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.extend_from_slice(&head);
    let end = tar.len() + len.next_multiple_of(512);
    tar.extend(std::iter::repeat_n(content(key), len));
    tar.resize(end, 0);
}
