//! The list of the objects of a volume, as a running daemon sends it: an object a line, resumed where the
//! connection breaks.

use std::io::{self, BufRead, BufReader, Read};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError};
use crate::http::head::Method;

/// Longest line that is read (bytes). A content type has at most 4096 bytes, each with at most 6 characters.
const LINE_MAX: u64 = 64 << 10;
/// Number of times that the list is resumed although nothing was listed since the last time.
const RETRIES: u32 = 5;
/// Pause before that.
const PAUSE: Duration = Duration::from_secs(1);

/// An object of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// Photo id.
    pub key: u64,
    /// Size variant.
    pub alt: u32,
    /// `live`, `damaged` or `deleted`.
    pub state: String,
    /// Length of the body (bytes).
    pub size: Option<u64>,
    /// Content type.
    pub content_type: Option<String>,
    /// Time of modification, or of the deletion (seconds since 1970).
    pub modified: Option<u64>,
    /// Time at which it expires (seconds since 1970); `None` for never.
    pub expires: Option<u64>,
    /// Version.
    pub version: Option<u64>,
    /// Whether the body is stored in parts.
    pub large: bool,
    /// Digest, as 16 hexadecimal digits, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// The end of a list, or of a page of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListEnd {
    /// Position at which the list goes on.
    pub position: String,
    /// Whether nothing more is in the volume.
    pub end: bool,
}

/// Digests that are listed with the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedDigests<'a> {
    /// The admin token, if it is needed.
    pub token: Option<&'a str>,
    /// Number of buckets into which objects are divided.
    pub buckets: u32,
    /// Buckets of which objects are listed, at most 64; all if there is none.
    pub named: &'a [u32],
}

/// What is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Position after which the list begins; 0 for the start.
    pub since: u64,
    /// Number of objects at most.
    pub limit: Option<u64>,
    /// Whether deletions are listed, too.
    pub deleted: bool,
    /// Whether digests are listed, and of which objects.
    pub digests: Option<WantedDigests<'a>>,
}

impl WantedDigests<'_> {
    /// Returns their part of the query.
    fn query(&self) -> String {
        let named = self.named.iter().map(|bucket| format!("&bucket={bucket}"));
        let buckets = match self.named.is_empty() {
            true => String::new(),
            false => format!("&buckets={}", self.buckets),
        };
        named.fold(format!("&digest{buckets}"), |query, bucket| query + &bucket)
    }
}

/// Why a list has ended early.
#[derive(Debug, thiserror::Error)]
pub enum NotListed {
    /// The daemon could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The list broke off, again and again.
    #[error(
        "the list of volume {volume} broke off: {error}; go on with --volume {volume} --since {position}"
    )]
    Broken {
        /// Volume.
        volume: VolumeId,
        /// Cause.
        error: String,
        /// Position up to which everything was listed.
        position: String,
    },
    /// What was listed could not be written.
    #[error(transparent)]
    Output(io::Error),
}

/// A line of a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Position { position: String, end: Option<bool> },
    Object(ListedObject),
}

/// The result of reading one answer.
enum Answered {
    /// The end of the list.
    End(ListEnd),
    /// It broke off.
    Broken(String),
}

/// What is passed on of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// An object.
    Object(ListedObject),
    /// Nothing more for now: the daemon looks for the next objects.
    Pause,
}

/// Lists a volume. Passes each object to `sink` as soon as it arrives. After a broken connection the list
/// goes on behind the last piece that arrived as a whole, so that objects may be passed twice.
///
/// # Errors
/// See [`NotListed`].
pub fn list_volume(
    client: &Client,
    volume: VolumeId,
    wanted: Wanted<'_>,
    sink: &mut dyn FnMut(Arrived) -> io::Result<()>,
) -> Result<ListEnd, NotListed> {
    let (mut position, mut left) = (wanted.since.to_string(), wanted.limit);
    let mut attempts = RETRIES;
    let digests = wanted.digests.map(|digests| digests.query()).unwrap_or_default();
    let bearer =
        wanted.digests.and_then(|digests| digests.token).map(|token| format!("Bearer {token}"));
    let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
    loop {
        let limit = left.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let deleted = if wanted.deleted { "&deleted" } else { "" };
        let path = format!("/volumes/{volume}/objects?since={position}{limit}{deleted}{digests}");
        let reply = client.request(Method::Get, &path, headers.as_slice(), Body::None)?;
        let mut lines = BufReader::new(reply.expect(&[200])?.into_reader());
        let before = position.clone();
        let error = match read_answer(&mut lines, &mut position, &mut left, sink)? {
            Answered::End(end) => return Ok(end),
            Answered::Broken(error) => error,
        };
        attempts = if position == before { attempts.saturating_sub(1) } else { RETRIES };
        if attempts == 0 {
            return Err(NotListed::Broken { volume, error, position });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads the lines of an answer. Moves `position` behind each piece that has arrived, and takes its objects
/// off from what is `left`.
fn read_answer(
    lines: &mut impl BufRead,
    position: &mut String,
    left: &mut Option<u64>,
    sink: &mut dyn FnMut(Arrived) -> io::Result<()>,
) -> Result<Answered, NotListed> {
    let (mut text, mut objects) = (String::new(), 0);
    loop {
        text.clear();
        let read = lines.take(LINE_MAX).read_line(&mut text);
        let line = match read {
            Err(error) => return Ok(Answered::Broken(error.to_string())),
            Ok(_) if !text.ends_with('\n') => {
                return Ok(Answered::Broken("it ended within a line".to_owned()));
            }
            Ok(_) => serde_json::from_str(&text),
        };
        match line {
            Err(error) => return Ok(Answered::Broken(format!("a line is no object: {error}"))),
            Ok(Line::Object(object)) => {
                objects += 1;
                sink(Arrived::Object(object)).map_err(NotListed::Output)?;
            }
            Ok(Line::Position { position: reached, end: Some(end) }) => {
                return Ok(Answered::End(ListEnd { position: reached, end }));
            }
            Ok(Line::Position { position: reached, end: None }) => {
                *position = reached;
                *left = left.map(|left| left.saturating_sub(objects));
                objects = 0;
                sink(Arrived::Pause).map_err(NotListed::Output)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_names_buckets_if_not_all_are_wanted() {
        let query = |named: &[u32]| WantedDigests { token: None, buckets: 8, named }.query();
        assert_eq!(query(&[]), "&digest");
        assert_eq!(query(&[3, 7]), "&digest&buckets=8&bucket=3&bucket=7");
    }

    const OBJECT: &str = concat!(
        r#"{"key":7,"alt":2,"state":"live","size":10,"content_type":null,"modified":5,"#,
        r#""version":41,"large":false}"#
    );

    fn read(text: &str) -> (Answered, String, Option<u64>, u64) {
        let (mut position, mut left, mut count) = ("0".to_owned(), Some(5), 0);
        let mut sink = |arrived: Arrived| {
            let Arrived::Object(object) = arrived else { return Ok(()) };
            assert_eq!((object.key, object.version), (7, Some(41)));
            count += 1;
            Ok(())
        };
        let answered = read_answer(&mut text.as_bytes(), &mut position, &mut left, &mut sink);
        (answered.unwrap(), position, left, count)
    }

    #[test]
    fn position_moves_behind_pieces_that_arrived() {
        let piece = format!("{OBJECT}\n{OBJECT}\n{{\"position\":\"41\"}}\n");
        let end = r#"{"position":"77","end":true}"#;
        let (answered, position, left, count) = read(&format!("{piece}{OBJECT}\n{end}\n"));
        let Answered::End(end) = answered else { panic!("it has ended") };
        assert_eq!(end, ListEnd { position: "77".to_owned(), end: true });
        assert_eq!((&position[..], left, count), ("41", Some(3), 3));
        for rest in ["", OBJECT, "{\"position\":\"77\",\"end\":true}", "{}\n", "\n", "[1]\n"] {
            let (answered, position, left, count) = read(&format!("{piece}{OBJECT}\n{rest}"));
            assert!(matches!(answered, Answered::Broken(_)), "{rest}");
            assert_eq!((&position[..], left, count), ("41", Some(3), 3), "{rest}");
        }
        let (answered, ..) = read(&"x".repeat(100_000));
        assert!(matches!(answered, Answered::Broken(_)), "an endless line");
    }

    #[test]
    fn error_of_the_output_ends_the_list() {
        let full = &mut |_| Err(io::ErrorKind::StorageFull.into());
        let (mut position, mut left) = (String::new(), None);
        let text = format!("{OBJECT}\n");
        let read = read_answer(&mut text.as_bytes(), &mut position, &mut left, full);
        assert!(matches!(read, Err(NotListed::Output(_))));
    }
}
