//! The requests of SeaweedFS clients to a volume server: photos are named by a *fid*, bodies may be multipart
//! forms or chunked, and answers are JSON. Only a node of a cluster serves them.
//!
//! Like the rest of `http`, these are functions over slices, without sockets, volumes and clocks. Which of
//! the two grammars applies is decided from the path alone ([`is_fid_target`]), before any rule about bodies.
//!
//! | module | contents |
//! | --- | --- |
//! | `path` | parses paths: [`FidPath`], [`FidName`] |
//! | `query` | parses queries: [`FidQuery`] |
//! | `token` | checks tokens: [`TokenKey`] |
//! | `parameters` | parses the parameters of a value |
//! | `percent` | decodes percent-encoded text |
//! | `chunked` | decodes the chunked transfer coding: [`ChunkedDecoder`] |
//! | `boundary` | finds the parts of a multipart body: [`Boundary`] |
//! | `part_head` | parses the head of a part: [`PartHead`] |
//! | `disposition` | parses and writes `Content-Disposition` |
//! | `gzip` | unpacks bodies that a client packed: [`Unpacker`] |
//! | `pairs` | header fields that are stored with a photo and returned |
//! | `json` | serializes JSON as Go does |

mod boundary;
mod chunked;
mod disposition;
mod gzip;
mod json;
mod pairs;
mod parameters;
mod part_head;
mod path;
mod percent;
mod query;
mod token;

pub use boundary::{AfterDelimiter, Boundary};
pub use chunked::{ChunkEvent, ChunkedDecoder};
pub use disposition::{FileName, write_disposition, write_disposition_of_form};
pub use gzip::{NotUnpacked, Unpacker};
pub use json::to_json;
pub use pairs::{collect_pairs, write_pairs};
pub use part_head::{PART_HEAD_MAX, PartHead};
pub use path::{FidName, FidPath, is_fid_target};
pub use percent::percent_decoded;
pub use query::FidQuery;
pub use token::{BadToken, TokenKey};
