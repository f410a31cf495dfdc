//! The attributes of a needle that an upload asks for.

use super::file_head::FileHead;
use super::upload_request::UploadRequest;
use crate::base::cluster::record_flags::{CHUNK_MANIFEST, GZIP, MIME, NAME, PAIRS, TIME, TTL};
use crate::node::shard::copies::CopiedFile;
use crate::volume::{ClusterAttributes, DraftAttributes, Foreseen};

/// Whether flags say that the data is packed with gzip.
pub fn is_gzip(flags: Option<u8>) -> bool {
    flags.is_some_and(|flags| flags & GZIP != 0)
}

/// Whether flags say that the data is a list of chunks.
pub fn is_chunk_manifest(flags: Option<u8>) -> bool {
    flags.is_some_and(|flags| flags & CHUNK_MANIFEST != 0)
}

/// The attributes of a file with this head that an upload asks for.
pub fn attributes<'a>(request: &'a UploadRequest, file: &'a FileHead) -> DraftAttributes<'a> {
    let name = Some(file.name.as_bytes()).filter(|name| !name.is_empty());
    let (content_type, pairs) = (file.content_type.as_deref(), request.pairs.as_deref());
    let flags = [
        (GZIP, file.is_gzip),
        // The stock server sets these always.
        (NAME, true),
        (MIME, true),
        (TIME, true),
        (TTL, request.ttl.is_some()),
        (PAIRS, pairs.is_some()),
        (CHUNK_MANIFEST, request.is_chunk_manifest),
    ];
    let flags = flags.iter().filter(|(_, is_set)| *is_set).map(|(bit, _)| bit).sum();
    let cluster = ClusterAttributes {
        name,
        flags: Some(flags),
        ttl: request.ttl,
        pairs,
        origin_version: request.origin,
        ..ClusterAttributes::default()
    };
    let foreseen = Foreseen { crc32c: true, expiry: request.ttl.is_some() };
    DraftAttributes { content_type, expires_ns: None, cluster, foreseen }
}

/// Attributes of an uploaded file with this head, as they are sent to other nodes.
pub fn copied_file<'a>(request: &'a UploadRequest, file: &'a FileHead) -> CopiedFile<'a> {
    let DraftAttributes { content_type, cluster, .. } = attributes(request, file);
    let (object, modified_ns) = (request.object, request.modified_ns);
    CopiedFile { object, content_type, attributes: cluster, modified_ns }
}
