//! Making a volume of one daemon a copy of one of another, or bringing such a copy up to date.

use std::cell::RefCell;
use std::io::BufReader;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::copy_status::CopyReplica;
use super::large_segment::LargeSegment;
use super::not_pulled::NotPulled;
use super::segment::{Segment, SegmentStart};
use super::volume_copy::VolumeCopy;
use crate::base::size::ByteSize;
use crate::commands::client::{Body, Client, ClientError, Reply};
use crate::commands::export::{LargeBody, NotRead, RecordReader};
use crate::http::head::Method;
use crate::volume::format::{BadExchange, ExchangeKind};

/// Number of times that a pull goes on although nothing was stored since the last time.
const RETRIES: u32 = 30;
/// Pause before that, and between looks at a volume that is being created.
const PAUSE: Duration = Duration::from_secs(1);
/// Length of the records that are stored with one request (bytes), except for large objects.
const SEGMENT: usize = 8 << 20;
/// Size of the buffer for what is received (bytes).
const RECEIVE: usize = 256 << 10;

/// How a volume is to be pulled.
#[derive(Clone, Copy, Debug, Default)]
pub struct PullWanted {
    /// Size of the file if it is created; by default as that of the source.
    pub size: Option<ByteSize>,
    /// Data directory in which it is created.
    pub disk: Option<u32>,
    /// Whether a volume with photos of its own becomes a copy.
    pub replace: bool,
}

/// What a pull has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullReport {
    /// Number of photos that were stored.
    pub photos: u64,
    /// Length of their bodies (bytes).
    pub bytes: u64,
    /// Number of photos that were there already.
    pub known: u64,
    /// Number of photos that were deleted.
    pub deletions: u64,
    /// Number of photos that the source cannot read.
    pub damaged: u64,
    /// Number of photos that only the copy has, and that the source may have but cannot read.
    pub kept: u64,
    /// Position of the source up to which everything is here.
    pub position: u64,
    /// Whether everything was compared, because deletions were not known any more.
    pub was_compared: bool,
}

/// The answer to a request to store records.
#[derive(Deserialize)]
struct StoredRecords {
    objects: u64,
    bytes: u64,
    known: u64,
    deletions: u64,
    damaged: u64,
}

/// Makes the volume `to` a copy of `from`, or brings it up to date: what is new is stored, and what was
/// deleted is deleted. Begins where an earlier pull has ended, however it ended. `progress` is called after
/// each request that stores something.
///
/// # Errors
/// See [`NotPulled`].
pub fn pull_volume(
    from: &VolumeCopy,
    to: &VolumeCopy,
    wanted: &PullWanted,
    progress: &mut dyn FnMut(&PullReport),
) -> Result<PullReport, NotPulled> {
    prepare(from, to, wanted)?;
    let report = PullReport::default();
    let mut pull = Pull { from, to, report, followed: 0, progress };
    let mut left = RETRIES;
    loop {
        let before = (pull.report.photos, pull.report.known, pull.report.deletions);
        match pull.round() {
            Ok(true) => return Ok(pull.report),
            Ok(false) => {}
            Err(error) if left > 0 && (error.may_pass() || pull.was_overtaken(&error)) => {
                let after = (pull.report.photos, pull.report.known, pull.report.deletions);
                left = if after == before { left - 1 } else { RETRIES };
                std::thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Creates the volume, or makes it a copy.
fn prepare(from: &VolumeCopy, to: &VolumeCopy, wanted: &PullWanted) -> Result<(), NotPulled> {
    let source = from.status()?.ok_or(NotPulled::NoSource(from.volume))?;
    let Some(status) = to.status()? else {
        let size =
            wanted.size.map_or(json!(source.size.to_string()), |size| json!(size.to_string()));
        let mut new = json!({"id": to.volume, "size": size, "replica": true});
        if let Some(disk) = wanted.disk {
            new["disk"] = json!(disk);
        }
        return create(to, &new);
    };
    if status.replica.is_some() {
        return Ok(());
    }
    if status.needles > 0 && !wanted.replace {
        return Err(NotPulled::HasPhotos(to.volume));
    }
    to.request(Method::Post, "/replica", Body::None)?.expect(&[200])?;
    Ok(())
}

fn create(to: &VolumeCopy, new: &Value) -> Result<(), NotPulled> {
    let body = new.to_string();
    post(&to.client, "/volumes", body.as_bytes())?;
    loop {
        let status = to.status()?.ok_or(NotPulled::NotCreated(format!(
            "volume {} was deleted while it was created",
            to.volume
        )))?;
        match (status.error, &status.state[..]) {
            (Some(error), _) => return Err(NotPulled::NotCreated(error)),
            (None, "creating" | "recovering") => std::thread::sleep(PAUSE),
            (None, _) => return Ok(()),
        }
    }
}

fn post(client: &Client, path: &str, body: &[u8]) -> Result<Reply, ClientError> {
    client.request(Method::Post, path, &[], Body::Bytes(body))?.expect(&[200, 201, 202])
}

/// A pull.
pub(super) struct Pull<'a> {
    pub(super) from: &'a VolumeCopy,
    pub(super) to: &'a VolumeCopy,
    pub(super) report: PullReport,
    /// Position that the last request to store records followed.
    followed: u64,
    progress: &'a mut dyn FnMut(&PullReport),
}

impl Pull<'_> {
    /// Stores what is new since the last round. Returns whether the copy is up to date.
    fn round(&mut self) -> Result<bool, NotPulled> {
        let replica = self.replica()?;
        let position = position_of(&replica);
        let mut records = self.open(position, replica.complete)?;
        let lineage = format!("{:016x}", records.start().lineage);
        if position > 0 && replica.source.is_some_and(|source| source != lineage) {
            // A copy of another volume so far: its positions mean nothing here.
            records = self.open(0, true)?;
        }
        self.forward(records)?;
        if self.replica()?.complete {
            return Ok(true);
        }
        self.report.was_compared = true;
        self.report.kept = self.remove_surplus()?;
        // If it is complete now, what has changed meanwhile is the next round.
        Ok(self.report.kept > 0)
    }

    /// Returns whether records were refused because the copy has gone on meanwhile: it was still storing what
    /// an earlier pull had sent when that was ended.
    fn was_overtaken(&self, error: &NotPulled) -> bool {
        let is_conflict =
            matches!(error, NotPulled::Client(ClientError::Refused { status: 409, .. }));
        let replica = if is_conflict { self.replica().ok() } else { None };
        replica.is_some_and(|replica| position_of(&replica) != self.followed)
    }

    /// Returns how far the copy is.
    pub(super) fn replica(&self) -> Result<CopyReplica, NotPulled> {
        let status = self.to.status()?;
        status.and_then(|status| status.replica).ok_or_else(|| {
            NotPulled::NotCreated(format!("volume {} is no copy any more", self.to.volume))
        })
    }

    /// Opens the stream of what the source has stored after `position`. Deletions are left out if they are
    /// not wanted, or if the source does not know all of them any more.
    fn open(
        &self,
        position: u64,
        deletions: bool,
    ) -> Result<RecordReader<impl std::io::Read + use<>>, NotPulled> {
        let ask = |deletions: bool| {
            let deleted = if deletions { "&deleted" } else { "" };
            let path = format!("/records?since={position}{deleted}");
            self.from.request(Method::Get, &path, Body::None)
        };
        let reply = match ask(deletions)? {
            reply if reply.status == 410 => ask(false)?,
            reply => reply,
        };
        let reply = reply.expect(&[200])?;
        let input = BufReader::with_capacity(RECEIVE, reply.into_reader());
        Ok(RecordReader::open(input)?)
    }

    /// Stores the records of a stream.
    fn forward(&mut self, mut records: RecordReader<impl std::io::Read>) -> Result<(), NotPulled> {
        let start = *records.start();
        let start =
            SegmentStart { lineage: start.lineage, since: start.since, deletions: start.deletions };
        let mut segment = Segment::new(self.from.volume, start);
        let mut large: Option<LargeBody> = None;
        loop {
            let record = records.read()?;
            match record.head.kind {
                ExchangeKind::Object | ExchangeKind::Deletion | ExchangeKind::Damaged => {
                    segment.push(&record.head, record.attributes, record.data);
                }
                ExchangeKind::LargeObject => {
                    large = Some(LargeBody::begin(record.head, record.attributes)?);
                }
                // If it was replaced, its successor follows; if it is damaged, that is said next.
                ExchangeKind::Withdrawn => large = None,
                ExchangeKind::Piece => {
                    let body = large.as_mut().ok_or(NotRead::Bad(BadExchange::Order))?;
                    body.push(record.data)?;
                    if record.is_complete {
                        let body = large.take().ok_or(NotRead::Bad(BadExchange::Order))?;
                        segment = self.store_large(segment, body)?;
                    }
                }
                ExchangeKind::End => {
                    let position = record.head.version;
                    self.store(segment, position, "")?;
                    self.report.position = position;
                    return Ok(());
                }
            }
            if segment.len() >= SEGMENT {
                segment = self.store(segment, 0, "")?;
            }
        }
    }

    /// Stores a large object after what comes before it. Returns the next segment.
    fn store_large(&mut self, segment: Segment, body: LargeBody) -> Result<Segment, NotPulled> {
        let finished = body.finish()?;
        let (head, attributes, file) = finished.ok_or(NotRead::Bad(BadExchange::Checksum))?;
        let volume = self.from.volume;
        let start = match segment.is_empty() {
            true => segment.next(),
            false => self.store(segment, 0, "")?.next(),
        };
        self.followed = start.since;
        let large = LargeSegment { volume, start, head, attributes, file: RefCell::new(file) };
        self.send(Body::Source(&large), "")?;
        let since = start.since.max(head.version);
        Ok(Segment::new(volume, SegmentStart { since, ..start }))
    }

    /// Stores a segment that ends at `position` at least. Returns the next one.
    pub(super) fn store(
        &mut self,
        segment: Segment,
        position: u64,
        query: &str,
    ) -> Result<Segment, NotPulled> {
        let next = segment.next();
        let next = SegmentStart { since: next.since.max(position), ..next };
        self.followed = segment.start().since;
        let bytes = segment.finish(position);
        self.send(Body::Bytes(&bytes), query)?;
        Ok(Segment::new(self.from.volume, next))
    }

    fn send(&mut self, body: Body<'_>, query: &str) -> Result<(), NotPulled> {
        let reply = self.to.request(Method::Post, &format!("/records{query}"), body)?;
        let stored: StoredRecords = reply.expect(&[200])?.json()?;
        let report = &mut self.report;
        report.photos += stored.objects;
        report.bytes += stored.bytes;
        report.known += stored.known;
        report.deletions += stored.deletions;
        report.damaged += stored.damaged;
        (self.progress)(report);
        Ok(())
    }
}

/// The position as a number. What a daemon cannot have said is the start.
pub(super) fn position_of(replica: &CopyReplica) -> u64 {
    replica.position.parse().unwrap_or(0)
}
