//! HTTP/1.1 as pure functions over slices: bytes to a request, a reply to bytes (RFC 9110, 9112).
//!
//! Nothing here knows a socket, a clock, a volume on disk or an offset in one: time is handed in,
//! and what a target names is looked up by the caller. Nothing here allocates.
//!
//! | module | turns |
//! | --- | --- |
//! | [`head`] | the bytes of a request head into a [`head::Head`]; [`scan`] is its grammar, [`fields`] its header fields |
//! | [`target`] | a request target into what it names, and back; [`authority`] compares hosts |
//! | [`upload`] | what a request says of its body into what the body must be |
//! | [`digest`] | checksums in a head, and a body, into whether they agree; [`dictionary`] is their grammar |
//! | [`range`] | `Range` and a size into the bytes asked for |
//! | [`conn`] | a socket into requests, with deadlines: the one part that knows operations |
//! | [`conditional`] | preconditions and validators into a decision |
//! | [`date`] | seconds into an HTTP-date and back |
//! | [`reply`] | a status and its fields into a response head |
//! | [`status`] | a status into its code, phrase and status line; [`reject`] pairs it with what was wrong |
//! | [`digits`] | numbers into digits and back, for all of the above |

pub mod authority;
pub mod conditional;
pub mod conn;
pub mod date;
pub mod dictionary;
pub mod digest;
pub mod digits;
pub mod fields;
pub mod head;
pub mod modified;
pub mod range;
pub mod reject;
pub mod reply;
pub mod scan;
pub mod status;
pub mod target;
pub mod upload;
