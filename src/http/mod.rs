//! HTTP/1.1: parsing of request heads and formatting of response heads (RFC 9110, RFC 9112).
//!
//! Apart from [`conn`], [`body_reader`] and [`form_reader`], everything is a pure function over slices: no
//! sockets, no clock (the time is a parameter), no volumes and no offsets; the caller looks up the object
//! that a target names. No parser here allocates, except those of bodies, [`photo_list`] and [`photo_tar`],
//! and those of [`fid`].
//!
//! | module | contents |
//! | --- | --- |
//! | [`head`] | parses a request head into a [`head::Head`]; [`scan`] is the grammar, [`fields`] the header fields |
//! | [`target`] | parses and writes request targets; [`authority`] compares hosts |
//! | [`photo_list`] | parses the lines of a multi-delete |
//! | [`upload`] | checks on requests that change data: origin, media type, content coding, expected digests |
//! | [`digest`] | parses digest fields and verifies a body against them; [`dictionary`] is their grammar |
//! | [`range`] | resolves a `Range` against the size of an object |
//! | [`conn`] | receives requests and sends replies, with deadlines; the only module here that does I/O |
//! | [`body_reader`] | receives bodies on it, without their framing; [`form_reader`] the file of a form |
//! | [`conditional`] | evaluates preconditions against the validators of an object |
//! | [`entity_tag`] | the two forms of entity tags |
//! | [`date`] | formats and parses HTTP-dates; [`modified`] does so for the times of photos |
//! | [`freshness`] | limits `Cache-Control` to the time that an object has left |
//! | [`reply`] | writes response heads |
//! | [`status`] | status codes and status lines; [`reject`] pairs a status with the reason of a refusal |
//! | [`fid`] | the requests of SeaweedFS clients, which a node of a cluster serves, too |
//! | [`digits`] | formats and parses decimal and hexadecimal numbers |

pub mod attributes;
pub mod authority;
pub mod body_reader;
pub mod conditional;
pub mod conn;
pub mod date;
pub mod dictionary;
pub mod digest;
pub mod digits;
pub mod entity_tag;
pub mod fid;
pub mod fields;
pub mod form_reader;
pub mod freshness;
pub mod head;
pub mod modified;
pub mod photo_list;
pub mod photo_tar;
pub mod range;
pub mod reject;
pub mod reply;
pub mod scan;
pub mod status;
pub mod target;
pub mod upload;
