//! A plain server on tokio-uring: one thread, keep-alive, one task per connection. A GET is one direct read
//! into an aligned buffer, verified like in the daemon, and one write of head and body.
//!
//! Parser, format and response head are the daemon's. The differences are what is measured: a general-purpose
//! runtime that polls through epoll, unregistered buffers and unregistered files. Only GET of whole objects
//! is supported.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use hayloft::base::limits::HEAD_BUFFER;
use hayloft::base::types::{Cookie, VolumeId};
use hayloft::http::date;
use hayloft::http::head::{Head, HeadLimits, HeadProgress, Method, parse};
use hayloft::http::reply::{MAX_HEAD_LEN, ReplyHead, write_error_body};
use hayloft::http::status::Status;
use hayloft::http::target::{self, Target};
use hayloft::runtime::buffer::PAGE;
use hayloft::volume::format::{NeedleHeader, decode_header, verify_data, verify_meta};
use tokio_uring::buf::BoundedBuf;
use tokio_uring::fs::File;
use tokio_uring::net::{TcpListener, TcpStream};

use crate::error::Error;
use crate::reply::object_head;
use crate::table::{self, Extent, OpenVolume};

/// Entries of the submission queue, as in the daemon.
const RING_ENTRIES: u32 = hayloft::base::limits::RING_ENTRIES;

/// A volume being served.
struct Volume {
    file: File,
    incarnation: u64,
    needles: HashMap<(u64, u32), Extent>,
}

/// State shared by all connections.
struct Served {
    volumes: HashMap<VolumeId, Volume>,
    /// `Date` field and the second (since 1970) that it was formatted for.
    date: Cell<(u64, [u8; date::LEN])>,
}

impl Served {
    fn date(&self) -> [u8; date::LEN] {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.date.get().0 != since.as_secs() {
            self.date.set((since.as_secs(), date::format(since.as_secs())));
        }
        self.date.get().1
    }
}

/// Serves the objects of `data` on `address`, until the process is killed.
///
/// # Errors
/// When the directory cannot be served or the address cannot be listened on.
pub fn run(data: &Path, address: SocketAddr) -> Result<(), Error> {
    let volumes = table::open(data)?;
    let needles: usize = volumes.values().map(|volume| volume.needles.len()).sum();
    eprintln!("{needles} objects served on {address}");
    let mut ring = tokio_uring::builder();
    ring.entries(RING_ENTRIES);
    ring.start(serve(volumes, address))
}

async fn serve(volumes: HashMap<VolumeId, OpenVolume>, address: SocketAddr) -> Result<(), Error> {
    let listener = TcpListener::bind(address).map_err(|error| Error::Listen { address, error })?;
    let open = |volume: OpenVolume| {
        let OpenVolume { file, incarnation, needles } = volume;
        Volume { file: File::from_std(file), incarnation, needles }
    };
    let volumes = volumes.into_iter().map(|(id, volume)| (id, open(volume))).collect();
    let served = Rc::new(Served { volumes, date: Cell::new((0, date::format(0))) });
    loop {
        let (stream, _) =
            listener.accept().await.map_err(|error| Error::Step("accept a connection", error))?;
        stream.set_nodelay(true).map_err(|error| Error::Step("set TCP_NODELAY", error))?;
        let served = Rc::clone(&served);
        tokio_uring::spawn(async move {
            // A connection error only ends this connection.
            let _ = connection(&stream, &served).await;
        });
    }
}

/// Memory for one response: space for the head, then the needle at an aligned address, as direct I/O
/// requires.
struct ResponseBuffer {
    bytes: Vec<u8>,
    /// Offset of the needle in `bytes`.
    start: usize,
}

impl ResponseBuffer {
    fn new(len: usize) -> Self {
        let bytes = vec![0; len + 3 * PAGE];
        // The needle begins at the second page boundary, so that at least one page is left for the head.
        let start = bytes.as_ptr().align_offset(PAGE) + PAGE;
        Self { bytes, start }
    }

    fn holds(&self, len: usize) -> bool {
        self.start + len <= self.bytes.len()
    }
}

/// Response in its buffer: `range` is the part to send.
struct Answer {
    space: ResponseBuffer,
    range: std::ops::Range<usize>,
}

async fn connection(stream: &TcpStream, served: &Served) -> io::Result<()> {
    let mut input = vec![0; HEAD_BUFFER];
    let mut filled = 0;
    let mut space = ResponseBuffer::new(0);
    loop {
        let mut progress = HeadProgress::default();
        let parsed = loop {
            match parse(&input[..filled], &HeadLimits::DEFAULT, &mut progress) {
                Ok(Some(head)) => break Ok(head),
                Err(reject) => break Err(reject.status),
                Ok(None) if filled == input.len() => break Err(Status::HEADER_FIELDS_TOO_LARGE),
                Ok(None) => {}
            }
            let (read, slice) = stream.read(input.slice(filled..)).await;
            input = slice.into_inner();
            match read? {
                0 => return Ok(()),
                got => filled += got,
            }
        };
        let keep_alive = parsed.as_ref().is_ok_and(|head| head.keep_alive);
        let answer = match parsed {
            Ok(head) => {
                let answer = answer(served, &head, &input, space).await;
                input.copy_within(head.len..filled, 0);
                filled -= head.len;
                answer
            }
            Err(status) => refusal(served, status, space),
        };
        let Answer { space: ResponseBuffer { bytes, start }, range } = answer;
        let (sent, slice) = stream.write_all(bytes.slice(range)).await;
        sent?;
        space = ResponseBuffer { bytes: slice.into_inner(), start };
        if !keep_alive {
            return Ok(());
        }
    }
}

async fn answer(served: &Served, head: &Head, input: &[u8], space: ResponseBuffer) -> Answer {
    let target = target::parse(head.target.of(input));
    let (volume, key, alt, cookie) = match target {
        Ok(Target::Object { volume, key, alt, cookie }) if head.method == Method::Get => {
            (volume, key, alt, cookie)
        }
        Ok(_) => return refusal(served, Status::METHOD_NOT_ALLOWED, space),
        Err(reject) => return refusal(served, reject.status, space),
    };
    let found = served.volumes.get(&volume);
    let found = found.and_then(|volume| Some((volume, *volume.needles.get(&(key, alt))?)));
    let Some((volume, extent)) = found else { return refusal(served, Status::NOT_FOUND, space) };
    let space = if space.holds(extent.len) { space } else { ResponseBuffer::new(extent.len) };
    let ResponseBuffer { bytes, start } = space;
    let (read, slice) =
        volume.file.read_at(bytes.slice(start..start + extent.len), extent.offset).await;
    let mut space = ResponseBuffer { bytes: slice.into_inner(), start };
    if !read.is_ok_and(|got| got == extent.len) {
        return refusal(served, Status::INTERNAL_SERVER_ERROR, space);
    }
    let needle = &space.bytes[start..start + extent.len];
    let Some(header) = verified(needle, volume.incarnation, extent) else {
        return refusal(served, Status::INTERNAL_SERVER_ERROR, space);
    };
    if (header.id.key.0, header.id.alt.0) != (key, alt) || !header.cookie.matches(Cookie(cookie)) {
        return refusal(served, Status::NOT_FOUND, space);
    }
    let data = header.layout().data_range();
    let (first, end) = (start + data.start, start + data.end);
    let modified = header.modified_ns / 1_000_000_000;
    let date = served.date();
    let reply = object_head(&date, data.len() as u64, header.data_checksum, modified);
    let begin = reply.write_before(&mut space.bytes, first);
    Answer { space, range: begin..end }
}

/// Decodes and verifies the header, metadata and data checksums of a needle; `None` if any of them fails.
fn verified(needle: &[u8], incarnation: u64, extent: Extent) -> Option<NeedleHeader> {
    let (header, _) = decode_header(needle, incarnation, extent.offset)?;
    let whole = header.layout().len == extent.len
        && verify_meta(needle, &header, incarnation).is_ok()
        && verify_data(needle, &header).is_ok();
    whole.then_some(header)
}

fn refusal(served: &Served, status: Status, mut space: ResponseBuffer) -> Answer {
    let date = served.date();
    let mut head = ReplyHead::error(status, status.reason(), &date);
    if status == Status::METHOD_NOT_ALLOWED {
        head.allow = Some("GET");
    }
    // A response buffer has at least two pages: more than any head and error body.
    let len = head.write(&mut space.bytes[..MAX_HEAD_LEN]);
    let body = write_error_body(status.reason(), &mut space.bytes[len..]);
    Answer { space, range: 0..len + body }
}
