//! Export of a volume of a running daemon.

use std::io::{self, BufReader, Read, Write};
use std::time::Duration;

use tar::Builder;

use super::large_body::LargeBody;
use super::not_exported::NotExported;
use super::photo_entry::PhotoEntry;
use super::record_reader::{NotRead, Record, RecordReader};
use crate::base::types::{NeedleId, VolumeId};
use crate::commands::client::{Body, Client};
use crate::http::head::Method;
use crate::volume::format::{BadExchange, ExchangeKind, RecordHead, data_checksum};

/// Number of times that the stream is resumed although nothing has arrived since the last time.
const RETRIES: u32 = 5;
/// Pause before that.
const PAUSE: Duration = Duration::from_secs(1);
/// Size of the buffer for what is received (bytes).
const RECEIVE: usize = 256 << 10;

/// Result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Number of photos in the tar.
    pub photos: u64,
    /// Total size of their bodies (bytes).
    pub bytes: u64,
    /// Number of deletions, which a tar cannot have.
    pub deletions: u64,
    /// Number of photos that cannot be read.
    pub left_out: u64,
    /// Position at which an incremental export goes on.
    pub position: u64,
}

/// A photo that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Volume.
    pub volume: VolumeId,
    /// Id of the photo.
    pub id: NeedleId,
}

/// Appends the photos of a volume to a tar that were stored after the position `since`. Each is verified
/// before its first byte is written. What cannot be read is passed to `left_out`. After a broken connection
/// the export goes on behind the last photo that has arrived. `token` is the admin token, if it is needed.
///
/// # Errors
/// See [`NotExported`].
pub fn export_volume(
    (client, token): (&Client, Option<&str>),
    volume: VolumeId,
    since: u64,
    tar: &mut Builder<&mut dyn Write>,
    left_out: &mut dyn FnMut(LeftOut),
) -> Result<Exported, NotExported> {
    let exported = Exported { position: since, ..Exported::default() };
    let mut export = Export { volume, tar, left_out, exported, body: None };
    let mut attempts = RETRIES;
    loop {
        let before = export.exported.position;
        // Deletions matter to whoever has an earlier export.
        let deleted = if since > 0 { "&deleted" } else { "" };
        let path = format!("/volumes/{volume}/records?since={before}{deleted}");
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        let reply = client.request(Method::Get, &path, headers.as_slice(), Body::None)?;
        let reply = reply.expect(&[200])?;
        let input = BufReader::with_capacity(RECEIVE, reply.into_reader());
        let error = match export.read(input) {
            Ok(()) => return Ok(export.exported),
            Err(Failed::Read(error)) => error.to_string(),
            Err(Failed::Write(error)) => return Err(NotExported::Output(error)),
        };
        attempts = match export.exported.position == before {
            true => attempts.saturating_sub(1),
            false => RETRIES,
        };
        if attempts == 0 {
            return Err(NotExported::Broken { volume, error });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Why a stream was not read to its end.
enum Failed {
    /// It broke off.
    Read(NotRead),
    /// The tar, or a temporary file, could not be written.
    Write(io::Error),
}

impl From<NotRead> for Failed {
    fn from(error: NotRead) -> Self {
        Self::Read(error)
    }
}

/// An export of a volume.
struct Export<'a, 'b> {
    volume: VolumeId,
    tar: &'a mut Builder<&'b mut dyn Write>,
    left_out: &'a mut dyn FnMut(LeftOut),
    exported: Exported,
    /// The large body that is arriving.
    body: Option<LargeBody>,
}

impl Export<'_, '_> {
    /// Reads a stream to its end.
    fn read(&mut self, input: impl Read) -> Result<(), Failed> {
        self.body = None;
        let mut records = RecordReader::open(input)?;
        if records.start().volume != self.volume {
            return Err(NotRead::Bad(BadExchange::Order).into());
        }
        loop {
            let record = records.read()?;
            let is_end = record.is_end();
            let position = record.head.version;
            let is_complete = record.is_complete || is_end;
            self.take(&record)?;
            if is_complete {
                self.exported.position = self.exported.position.max(position);
            }
            if is_end {
                return Ok(());
            }
        }
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), Failed> {
        let Record { head, attributes, data, .. } = record;
        match head.kind {
            ExchangeKind::Object => {
                if data_checksum(data) != head.body_checksum {
                    return Err(NotRead::Bad(BadExchange::Checksum).into());
                }
                self.append(head, attributes, *data)
            }
            ExchangeKind::LargeObject => {
                self.body = Some(LargeBody::begin(*head, attributes).map_err(Failed::Write)?);
                Ok(())
            }
            ExchangeKind::Piece => {
                let body = self.body.as_mut().ok_or(NotRead::Bad(BadExchange::Order))?;
                body.push(data).map_err(Failed::Write)?;
                if record.is_complete { self.append_body() } else { Ok(()) }
            }
            ExchangeKind::Withdrawn => {
                // If it was replaced, its successor follows; if it is damaged, that is said next.
                self.body = None;
                Ok(())
            }
            ExchangeKind::Damaged => {
                self.leave_out(head.id);
                Ok(())
            }
            ExchangeKind::Deletion => {
                self.exported.deletions += 1;
                Ok(())
            }
            ExchangeKind::End => Ok(()),
        }
    }

    fn leave_out(&mut self, id: NeedleId) {
        self.exported.left_out += 1;
        (self.left_out)(LeftOut { volume: self.volume, id });
    }

    fn append_body(&mut self) -> Result<(), Failed> {
        let body = self.body.take().ok_or(NotRead::Bad(BadExchange::Order))?;
        let finished = body.finish().map_err(Failed::Write)?;
        let (head, attributes, file) = finished.ok_or(NotRead::Bad(BadExchange::Checksum))?;
        self.append(&head, &attributes, file)
    }

    fn append(&mut self, head: &RecordHead, stored: &[u8], body: impl Read) -> Result<(), Failed> {
        let entry = PhotoEntry {
            volume: self.volume,
            id: head.id,
            cookie: head.cookie,
            modified_ns: head.modified_ns,
            stored,
            size: head.body_len,
        };
        entry.append(self.tar, body).map_err(Failed::Write)?;
        self.exported.photos += 1;
        self.exported.bytes += head.body_len;
        Ok(())
    }
}
