//! Sends requests for photos, one after the other, and retries while the daemon is unavailable.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::run::Run;
use crate::commands::client::{Body, Client, ClientError, HeadAnswer, Reply, Source};
use crate::commands::transfer::get::{self, GetError};
use crate::commands::transfer::name::PhotoName;
use crate::http::head::Method;
use crate::http::{attributes, modified};

/// Maximum time that the daemon may be unavailable.
const AWAY_MAX: Duration = Duration::from_secs(60);
/// The first and the longest pause between retries; each is twice the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Interval between polls of the stop flag.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Number of incomplete or mismatching bodies of a photo after which it counts as damaged.
const VERIFY_ATTEMPTS: u32 = 3;

/// A photo to be sent.
pub struct Photo<'a> {
    pub name: PhotoName,
    pub content_type: Option<&'a str>,
    pub modified_ns: Option<u64>,
    pub expires_ns: Option<u64>,
    /// What a cluster stores with it.
    pub attributes: Option<&'a [u8]>,
    pub source: &'a dyn Source,
}

/// Result of a request.
pub enum Sent {
    /// The photo is durable; the XXH3-64 of the stored bytes.
    Stored(u64),
    /// The volume does not take the photo, or does not exist: the reason.
    Elsewhere(String),
    /// The photo cannot be stored; with `unknown`, it may have been stored.
    Failed { why: String, unknown: bool },
    /// The import ends early.
    Stopped,
}

/// One connection to the daemon.
pub struct Sender<'a> {
    client: Client,
    run: &'a Run<'a>,
}

impl<'a> Sender<'a> {
    pub fn new(run: &'a Run<'a>) -> Self {
        let client = Client::new(run.plan.server.clone(), "--server").without_retries();
        Self { client, run }
    }

    /// Stores a photo under its name; replaces an existing one.
    pub fn put(&self, photo: &Photo<'_>) -> Sent {
        let Photo { name, content_type, modified_ns, expires_ns, attributes: of_cluster, source } =
            photo;
        let modified = modified_ns.map(modified::format);
        let expires = expires_ns.map(modified::format);
        let of_cluster = of_cluster.map(attributes::encode);
        let mut headers = Vec::new();
        headers.extend(content_type.map(|value| ("Content-Type", value)));
        headers.extend(modified.as_deref().map(|value| (modified::HEADER, value)));
        headers.extend(expires.as_deref().map(|value| (modified::EXPIRES_HEADER, value)));
        headers.extend(of_cluster.as_deref().map(|value| (attributes::HEADER, value)));
        let path = name.to_string();
        let send = || self.client.request(Method::Put, &path, &headers, Body::Source(*source));
        let reply =
            match self.send_until_answered(send, || self.run.volumes.takes_writes(name.volume)) {
                Ok(reply) => reply,
                Err(sent) => return sent,
            };
        match (reply.status, reply.etag()) {
            (201 | 204, Some(etag)) => Sent::Stored(etag),
            (404 | 503 | 507, _) => Sent::Elsewhere(reason(reply.refused())),
            (status, _) => Sent::Failed {
                why: reason(reply.refused()),
                unknown: !(400..500).contains(&status),
            },
        }
    }

    /// Returns the XXH3-64 of the photo stored under a name, if there is one.
    pub fn head(&self, name: PhotoName) -> Result<Option<u64>, Sent> {
        match self.ask(name)? {
            HeadAnswer { status: 200, etag } => Ok(etag),
            HeadAnswer { status: 404, .. } => Ok(None),
            HeadAnswer { .. } => Err(self.refusal(name)),
        }
    }

    /// Sends a HEAD request. Returns an answer with status 200, 404 or 500: present, absent, or damaged.
    pub fn ask(&self, name: PhotoName) -> Result<HeadAnswer, Sent> {
        let path = name.to_string();
        let send = || self.client.request(Method::Head, &path, &[], Body::None);
        let reply =
            self.send_until_answered(send, || self.run.volumes.serves_reads(name.volume))?;
        match reply.status {
            200 | 404 | 500 => Ok(HeadAnswer { status: reply.status, etag: reply.etag() }),
            _ => Err(self.refusal(name)),
        }
    }

    /// Like [`Self::ask`], with a GET request whose whole body is compared with its checksum. A truncated or
    /// mismatching body counts as damage (500): the daemon closes the connection if it finds damage after it
    /// has sent a part of the body.
    pub fn verify(&self, name: PhotoName) -> Result<HeadAnswer, Sent> {
        let path = name.to_string();
        let send = || self.client.request(Method::Get, &path, &[], Body::None);
        let mut attempts = VERIFY_ATTEMPTS;
        loop {
            let reply =
                self.send_until_answered(send, || self.run.volumes.serves_reads(name.volume))?;
            let photo = match reply.status {
                200 => get::Photo::of(reply),
                status @ (404 | 500) => return Ok(HeadAnswer { status, etag: None }),
                _ => return Err(Sent::Failed { why: reason(reply.refused()), unknown: false }),
            };
            let failed = |error: GetError| Sent::Failed { why: error.to_string(), unknown: false };
            let photo = photo.map_err(failed)?;
            let etag = Some(photo.etag());
            attempts -= 1;
            match photo.copy(&mut io::sink(), Path::new(&path)) {
                Ok(()) => return Ok(HeadAnswer { status: 200, etag }),
                // The connection may have ended because the daemon was stopped.
                Err(GetError::Damaged(_)) if attempts > 0 => {}
                Err(GetError::Damaged(_)) => return Ok(HeadAnswer { status: 500, etag }),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Asks why a photo cannot be read: only the body of an answer to GET contains the reason.
    fn refusal(&self, name: PhotoName) -> Sent {
        let reply = self.client.request(Method::Get, &name.to_string(), &[], Body::None);
        let why = reply.map_or_else(|error| error.to_string(), |reply| reason(reply.refused()));
        Sent::Failed { why, unknown: false }
    }

    /// Deletes a photo. Succeeds if it is absent.
    pub fn delete(&self, name: PhotoName) -> Result<(), Sent> {
        let path = name.to_string();
        let send = || self.client.request(Method::Delete, &path, &[], Body::None);
        let reply =
            self.send_until_answered(send, || self.run.volumes.takes_writes(name.volume))?;
        match reply.status {
            204 | 404 => Ok(()),
            _ => Err(Sent::Failed { why: reason(reply.refused()), unknown: false }),
        }
    }

    /// Repeats a request until there is an answer other than 503, for at most a minute; then the import ends.
    /// A 503 is returned at once if `can_change` returns false: the volume takes no writes, or cannot be
    /// read.
    fn send_until_answered(
        &self,
        send: impl Fn() -> Result<Reply, ClientError>,
        can_change: impl Fn() -> bool,
    ) -> Result<Reply, Sent> {
        let mut pause = PAUSES.0;
        let mut since = None;
        loop {
            if self.run.stopped() {
                return Err(Sent::Stopped);
            }
            let why = match send() {
                Ok(reply) if reply.status != 503 => return Ok(reply),
                Ok(reply) => {
                    if !can_change() {
                        return Ok(reply);
                    }
                    reply.refused()
                }
                Err(ClientError::Source(error)) => {
                    let why = format!("it cannot be read: {error}");
                    return Err(Sent::Failed { why, unknown: false });
                }
                Err(error @ (ClientError::Unreachable { .. } | ClientError::Broken { .. })) => {
                    error
                }
                Err(error) => return Err(Sent::Failed { why: error.to_string(), unknown: true }),
            };
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= AWAY_MAX {
                self.run.stop(format!("the daemon did not come back within a minute: {why}"));
                return Err(Sent::Stopped);
            }
            self.pause(pause);
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn pause(&self, pause: Duration) {
        let end = Instant::now() + pause;
        while Instant::now() < end && !self.run.stopped() {
            std::thread::sleep(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now())));
        }
    }
}

/// Returns the reason of the daemon.
fn reason(error: ClientError) -> String {
    match error {
        ClientError::Refused { status, reason, .. } => format!("{reason} ({status})"),
        other => other.to_string(),
    }
}
