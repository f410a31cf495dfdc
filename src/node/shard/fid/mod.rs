//! The dialect of SeaweedFS clients ([`crate::http::fid`]): requests to volumes of a cluster.
//!
//! A fid names the needle with its key, alternate key 0, and its 32-bit cookie as the low half of the cookie.
//! What is stored is the same needle as through Hayloft's own targets, with a CRC32C, which is the entity tag
//! of this dialect, and the metadata of its clients as attributes.
//!
//! - `fid_reply`: replies: JSON, or nothing; what errors turn into;
//! - `file_head`, `upload_body`: the head and the data of an uploaded file, in a form or by itself;
//! - `file_check`: the digest and the unpacked length of a file;
//! - `origin`: the place of another node's change among those of a photo;
//! - `upload_request`: what an upload asks for; `attributes`: what is stored of that; `stored_file`,
//!   `not_stored`: how it ends; `fill`, `put`: its steps; `store`, `store_large`: uploads;
//! - `read_options`, `find`, `fid_head`, `unpack`, `download`: GET and HEAD; `delete`: DELETE; `pages`:
//!   `/status` and such;
//! - `serve`: passes a request to its handler.

mod attributes;
mod delete;
mod download;
mod fid_head;
mod fid_reply;
mod file_check;
mod file_head;
mod fill;
mod find;
mod not_stored;
mod origin;
mod pages;
mod put;
mod read_options;
mod serve;
mod store;
mod store_large;
mod stored_file;
mod unpack;
mod upload_body;
mod upload_request;

pub use serve::answer;
