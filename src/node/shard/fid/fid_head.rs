//! The head of a response with a fid.

use super::attributes::is_gzip;
use super::read_options::ReadOptions;
use crate::http::conditional::Validators;
use crate::http::entity_tag::EntityTag;
use crate::http::fid::{write_disposition, write_pairs};
use crate::http::reply::{
    ContentRange, DEFAULT_CONTENT_TYPE, MAX_HEAD_LEN, ReplyHead, valid_content_type,
};
use crate::http::status::Status;
use crate::node::shard::object_reply::{ObjectHead, ReadContext, SelectedPart};
use crate::volume::Needle;

/// How a needle is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// As it is stored, and it is not packed.
    Plain,
    /// As it is stored: packed with gzip.
    Packed,
    /// Unpacked.
    Unpacked,
}

impl Coding {
    /// How a needle is sent to a client with these options.
    pub fn of(needle: &Needle, options: &ReadOptions) -> Self {
        match (is_gzip(needle.attributes().cluster.flags), options.accepts_gzip) {
            (false, _) => Self::Plain,
            (true, true) => Self::Packed,
            (true, false) => Self::Unpacked,
        }
    }
}

/// The validators of a needle: the entity tag is the CRC32C of what is stored.
pub fn validators(needle: &Needle) -> Validators {
    let etag = needle.attributes().crc32c.map_or(EntityTag::Xxh3(needle.etag), EntityTag::Crc32c);
    Validators { etag, modified_seconds: needle.modified_ns / 1_000_000_000 }
}

/// Writes the head of the response with `needle`.
pub fn fid_head(
    needle: &Needle,
    coding: Coding,
    selected: &SelectedPart,
    options: &ReadOptions,
    context: &ReadContext<'_>,
) -> ObjectHead {
    let attributes = needle.attributes();
    let there = selected.status != Status::NOT_MODIFIED;
    let Validators { etag, modified_seconds } = validators(needle);
    let range = selected.range();
    let content_type = attributes.content_type.filter(|value| valid_content_type(value));
    let overridden = |field: &str| {
        let found = options.overrides.iter().find(|(name, _)| *name == field);
        found.map(|(_, value)| &**value)
    };
    let chosen_type = overridden("Content-Type").filter(|value| valid_content_type(value));
    let content_type = chosen_type.or(content_type).unwrap_or(DEFAULT_CONTENT_TYPE);
    let mut more = Vec::new();
    let mut line = |name: &str, value: &[u8]| {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            more.extend_from_slice(part);
        }
    };
    if there && coding == Coding::Packed && overridden("Content-Encoding").is_none() {
        line("Content-Encoding", b"gzip");
    }
    if coding != Coding::Plain {
        line("Vary", b"Accept-Encoding");
    }
    if options.has_origin {
        line("Access-Control-Allow-Origin", b"*");
    }
    let name = attributes.cluster.name.and_then(|name| std::str::from_utf8(name).ok());
    match (overridden("Content-Disposition"), name) {
        (None, Some(name)) if there => {
            let mut value = Vec::new();
            write_disposition(name, options.is_download, &mut value);
            line("Content-Disposition", &value);
        }
        _ => {}
    }
    if there {
        for (name, value) in options.overrides.iter().filter(|(name, _)| *name != "Content-Type") {
            line(name, value);
        }
    }
    if let Some(json) = attributes.cluster.pairs {
        write_pairs(json, "", &mut more);
    }
    let part =
        selected.part.map(|(first, last)| ContentRange::Part { first, last, size: selected.size });
    let reply = ReplyHead {
        content_length: range.end - range.start,
        content_type: there.then_some(content_type),
        etag: Some(etag),
        last_modified: Some(modified_seconds),
        accept_ranges: there,
        nosniff: true,
        content_range: part,
        connection: context.connection,
        more: &more,
        ..ReplyHead::new(selected.status, context.date)
    };
    let mut bytes = vec![0; MAX_HEAD_LEN + more.len()];
    let len = reply.write(&mut bytes);
    bytes.truncate(len);
    ObjectHead::Long(bytes.into())
}
