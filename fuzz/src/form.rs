//! Multipart forms: the file of a form is what a second parser takes for it, however the body is framed, in
//! whatever pieces it arrives, and however long the buffers are that it goes to. What follows the body is the
//! next request.
//!
//! Input: how the form is sent (see [`Sent`]), the length of the boundary, the boundary, the form.

use std::cell::RefCell;
use std::rc::Rc;

use hayloft::http::body_reader::{BodyReader, NotReceived};
use hayloft::http::conn::{Conn, Deadlines, Next, PeerError, Waiting};
use hayloft::http::fid::{Boundary, FileName, PartHead};
use hayloft::http::form_reader::{Filled, FormReader};
use hayloft::http::head::Dialects;
use hayloft::runtime::buffer::{Pool, Region};
use hayloft::runtime::op::Sock;
use hayloft::runtime::{Handle, Runtime};

use crate::http_oracle::form::{self, File};
use crate::input::Input;
use crate::wire::{Wire, WireDriver};

const SECOND: u64 = 1_000_000_000;
const DEADLINES: Deadlines = Deadlines {
    head: SECOND,
    idle: SECOND,
    body: SECOND,
    send: SECOND,
    rate: 1000,
    linger: SECOND,
};
/// Longest form: one with more fields than are allowed.
const FORM_MAX: usize = 150_000;
/// Longer files are not sent to buffers of a single byte.
const SHORT: usize = 3000;
/// What follows the form.
const NEXT: &[u8] = b"DELETE /1/1/0/0123456789abcdef HTTP/1.1\r\nHost: a\r\n\r\n";

thread_local! {
    static POOL: Pool = Pool::new(&Region::map(1, 1 << 20).expect("1 MiB of memory"), 0);
}

/// How a form is sent and received.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// Lengths of chunks, in turn; none: with a length.
    pub chunks: Vec<u16>,
    /// Where its pieces end, modulo its length.
    pub cuts: Vec<u16>,
    /// Length of the buffers that the file goes to, but at least one byte.
    pub buffer: u16,
}

/// Runs the target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (chunks, cuts, buffer) = (input.u8() % 4, input.u8() % 8, input.u16());
    let chunks = (0..chunks).map(|_| input.u16()).collect();
    let cuts = (0..cuts).map(|_| input.u16()).collect();
    let boundary = input.u8() % 71;
    let boundary = input.take(usize::from(boundary));
    compare(boundary, input.take(FORM_MAX), &Sent { chunks, cuts, buffer });
}

/// Compares both parsers on a form. Returns whether they accept it.
///
/// # Panics
/// If they do not agree.
pub fn compare(boundary: &[u8], body: &[u8], sent: &Sent) -> bool {
    let content_type = [b"multipart/form-data; boundary=\"", boundary, b"\""].concat();
    if compare_type(&content_type) != Some(true) {
        return false;
    }
    let of_form =
        Boundary::of_form(&content_type).expect("it is a form").expect("a valid boundary");
    let boundary = form::boundary(&content_type).expect("it is a form").expect("a valid boundary");
    let expected = form::file(body, &boundary);
    let got = receive(&of_form, body, sent);
    let Ok(expected) = expected else {
        assert!(got.is_err(), "{got:?}");
        return false;
    };
    let (head, data) = got.expect("a valid form");
    let name = match head.file_name {
        FileName::Named(name) => Some(String::from(name)),
        FileName::Absent => None,
        FileName::Malformed => panic!("a malformed name was accepted"),
    };
    let content_md5 = head.content_md5.map(Vec::from);
    let content_type = head.content_type.map(Vec::from);
    let file = File { name, content_type, is_gzip: head.is_gzip, content_md5, data };
    assert_eq!(file, expected);
    true
}

/// Compares what both parsers take for the boundary in a `Content-Type`. Returns whether it is valid;
/// `None` if it is that of no form.
///
/// # Panics
/// If they do not agree.
pub fn compare_type(content_type: &[u8]) -> Option<bool> {
    let expected = form::boundary(content_type);
    let got = Boundary::of_form(content_type);
    let shown = content_type.escape_ascii();
    assert_eq!(got.as_ref().map(Result::is_ok), expected.as_ref().map(Result::is_ok), "{shown}");
    if let (Some(Ok(got)), Some(Ok(expected))) = (&got, &expected) {
        let first = [b"--", &expected[..], b"\r\n"].concat();
        assert_eq!(got.opening(&first), Ok(Some(first.len())), "{shown}");
    }
    got.map(|got| got.is_ok())
}

/// The whole request with a form.
fn request(body: &[u8], chunks: &[u16]) -> Vec<u8> {
    let mut out = b"POST /1,0123456789 HTTP/1.1\r\nHost: a\r\n".to_vec();
    if chunks.is_empty() {
        out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        out.extend_from_slice(body);
        return out;
    }
    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
    let (mut rest, mut lens) = (body, chunks.iter().cycle());
    while !rest.is_empty() {
        let len = lens.next().map_or(1, |len| usize::from(*len).clamp(1, rest.len()));
        out.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        out.extend_from_slice(&rest[..len]);
        out.extend_from_slice(b"\r\n");
        rest = &rest[len..];
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// Receives a form; `Err` if it is refused.
fn receive(boundary: &Boundary, body: &[u8], sent: &Sent) -> Result<(PartHead, Vec<u8>), ()> {
    let stream = [&request(body, &sent.chunks), NEXT].concat();
    let cuts: Vec<usize> = sent.cuts.iter().map(|cut| usize::from(*cut) % stream.len()).collect();
    let buffer = match usize::from(sent.buffer) {
        len if body.len() < SHORT => len.max(1),
        len => len.max(SHORT),
    };
    POOL.with(|pool| {
        let wire = Rc::new(RefCell::new(Wire::new(pool, &stream, &cuts, usize::MAX)));
        let mut driver = WireDriver(Rc::clone(&wire));
        let mut runtime = Runtime::new(&driver, pool.clone(), || 4);
        let handle = runtime.handle().clone();
        runtime.block_on(&mut driver, serve(handle, boundary.clone(), buffer))
    })
}

async fn serve(
    handle: Handle,
    boundary: Boundary,
    buffer: usize,
) -> Result<(PartHead, Vec<u8>), ()> {
    let waiting = Rc::new(Waiting::default());
    let mut conn = Conn::new(&handle, Sock(3), DEADLINES, &waiting).serving(Dialects::WithFids);
    let Next::Request(head) = conn.next_request().await else { panic!("a valid head") };
    let result = match file(&handle, &mut conn, BodyReader::new(&head), boundary, buffer).await {
        Ok(file) => Ok(file),
        Err(NotReceived::Malformed(_)) => Err(()),
        Err(NotReceived::Peer(error)) => {
            assert_eq!(error, PeerError::Closed, "late, although time stands still");
            panic!("bytes were asked for behind the end of the body");
        }
    };
    if result.is_ok() {
        let next = conn.next_request().await;
        assert!(matches!(next, Next::Request(_)), "what follows is no request");
        let bytes = conn.head_bytes();
        assert!(bytes.starts_with(NEXT), "{}", bytes.escape_ascii());
    }
    conn.close().await;
    result
}

async fn file(
    handle: &Handle,
    conn: &mut Conn,
    body: BodyReader,
    boundary: Boundary,
    buffer: usize,
) -> Result<(PartHead, Vec<u8>), NotReceived> {
    let (mut form, head) = FormReader::begin(conn, body, boundary).await?;
    let expected = form.expected_len();
    let mut data = Vec::new();
    loop {
        form.await_data(conn).await?;
        let buf = handle.pool().alloc(buffer).expect("one connection needs few");
        let (buf, filled) = form.fill(conn, buf, 0, buffer).await;
        let Filled { len, is_end } = filled?;
        assert!(is_end || len == buffer, "a part of the buffer was filled");
        data.extend_from_slice(&buf[..len]);
        if is_end || form.ends_here(conn).await? {
            break;
        }
    }
    form.finish(conn).await?;
    assert!(expected.is_none_or(|most| data.len() as u64 <= most + 2), "longer than expected");
    Ok((head, data))
}
