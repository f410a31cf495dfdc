//! A file that was uploaded, and the reply to its upload.

use serde::Serialize;

use super::fid_reply::FidReply;
use super::file_head::FileHead;
use crate::http::entity_tag::EntityTag;
use crate::http::status::Status;

/// A file that was uploaded.
pub struct StoredFile {
    /// Head of the file.
    pub head: FileHead,
    /// Length before it was packed (bytes).
    pub plain_len: u64,
    /// Length as it is stored (bytes).
    pub len: u64,
    /// CRC32C of what is stored.
    pub crc32c: u32,
    /// Whether the same bytes were stored already, so that nothing was written.
    pub is_unchanged: bool,
}

/// The answer as clients read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    size: u64,
    e_tag: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    mime: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    content_md5: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

impl StoredFile {
    /// The reply to the upload: 201, or 204 if nothing was written.
    pub fn reply(&self) -> FidReply {
        let FileHead { name, content_type, content_md5, .. } = &self.head;
        let text = |value: &Option<Box<[u8]>>| {
            value.as_ref().map(|it| String::from_utf8_lossy(it).into_owned()).unwrap_or_default()
        };
        let (mime, content_md5) = (text(content_type), text(content_md5));
        let mut reply = if self.is_unchanged {
            FidReply::empty(Status::NO_CONTENT)
        } else {
            let description = Description {
                name,
                size: self.plain_len,
                e_tag: format!("{:08x}", self.crc32c),
                mime: &mime,
                content_md5: &content_md5,
            };
            FidReply::json(Status::CREATED, &description)
        };
        reply.etag = Some(EntityTag::Crc32c(self.crc32c));
        // Empty if none was sent, as the stock server has it.
        reply.more = format!("Content-MD5: {content_md5}\r\n").into_bytes();
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_has_what_clients_read() {
        let head = FileHead {
            name: "p.jpg".into(),
            content_type: Some(b"image/jpeg"[..].into()),
            content_md5: Some(b"6Ha=="[..].into()),
            is_gzip: false,
        };
        let crc32c = 0x0ae5_10d2;
        let file = StoredFile { head, plain_len: 3000, len: 3000, crc32c, is_unchanged: false };
        let reply = file.reply();
        let expected = concat!(
            r#"{"name":"p.jpg","size":3000,"eTag":"0ae510d2","#,
            r#""mime":"image/jpeg","contentMd5":"6Ha=="}"#
        );
        assert_eq!(String::from_utf8(reply.body).unwrap(), expected);
        assert_eq!(
            (reply.status, reply.more),
            (Status::CREATED, b"Content-MD5: 6Ha==\r\n".to_vec())
        );
        let again = StoredFile { is_unchanged: true, ..file }.reply();
        assert_eq!((again.status, again.body.len()), (Status::NO_CONTENT, 0));
        assert_eq!(again.etag, Some(EntityTag::Crc32c(0x0ae5_10d2)));
        let head = FileHead::default();
        let empty = StoredFile { head, plain_len: 0, len: 0, crc32c: 0, is_unchanged: false };
        let reply = empty.reply();
        assert_eq!(&*reply.body, &br#"{"eTag":"00000000"}"#[..]);
        assert_eq!(reply.more, b"Content-MD5: \r\n");
    }
}
