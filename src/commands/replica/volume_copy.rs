//! A copy of a volume in the store of a running daemon.

use std::io;

use super::bucket_digests::BucketDigests;
use super::not_compared::{NotCompared, list_reason_of, reason_of};
use crate::base::types::VolumeId;
use crate::commands::client::{Body, Client, ClientError, Reply};
use crate::commands::transfer::listing::{
    Arrived, ListedObject, Wanted, WantedDigests, list_volume,
};
use crate::http::head::Method;

/// A copy of a volume.
#[derive(Debug)]
pub struct VolumeCopy {
    /// The admin API of its daemon.
    pub client: Client,
    /// The admin token, if it is needed.
    pub token: Option<String>,
    /// Volume.
    pub volume: VolumeId,
}

impl VolumeCopy {
    /// Sends a request about the volume: `path` follows its number.
    ///
    /// # Errors
    /// [`ClientError`]; no status is an error.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        body: Body<'_>,
    ) -> Result<Reply, ClientError> {
        let path = format!("/volumes/{}{path}", self.volume);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        self.client.request(method, &path, headers.as_slice(), body)
    }

    /// Asks for the digests of `buckets` buckets. Returns the answer as soon as it begins.
    pub(super) fn ask(&self, buckets: u32) -> Result<Reply, NotCompared> {
        let path = format!("/digest?buckets={buckets}");
        let reply = self.request(Method::Get, &path, Body::None);
        let reply = reply.and_then(|reply| reply.expect(&[200]));
        reply.map_err(|error| self.unread(reason_of(error)))
    }

    /// Reads the digests of `buckets` buckets to their end.
    pub(super) fn read(&self, reply: Reply, buckets: u32) -> Result<BucketDigests, NotCompared> {
        let digests: BucketDigests = reply.json().map_err(|error| match error {
            ClientError::Garbled { what, .. } => {
                self.unread(format!("the digest is not whole ({what}); start again"))
            }
            error => self.unread(reason_of(error)),
        })?;
        let is_whole = digests.end && digests.buckets.len() as u64 == u64::from(buckets);
        match is_whole {
            true => Ok(digests),
            false => Err(self.unread("the digest has another number of buckets".to_owned())),
        }
    }

    /// Lists the objects of the buckets `named` of `buckets`, with their digests; all if none is named.
    pub(super) fn list(
        &self,
        buckets: u32,
        named: &[u32],
        sink: &mut dyn FnMut(ListedObject, u64) -> io::Result<()>,
    ) -> Result<(), NotCompared> {
        let digests = WantedDigests { token: self.token.as_deref(), buckets, named };
        let wanted = Wanted { digests: Some(digests), ..Wanted::default() };
        let mut without = false;
        let listed = list_volume(&self.client, self.volume, wanted, &mut |arrived| {
            let Arrived::Object(object) = arrived else { return Ok(()) };
            let digest = object.digest.as_ref().and_then(|text| u64::from_str_radix(text, 16).ok());
            match digest {
                Some(digest) => sink(object, digest),
                None => {
                    without = true;
                    Ok(())
                }
            }
        });
        match listed {
            Ok(_) if without => Err(self.unread("an object is listed without a digest".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => match list_reason_of(error) {
                Ok(reason) => Err(self.unread(reason)),
                Err(error) => Err(NotCompared::Temporary(error)),
            },
        }
    }

    fn unread(&self, reason: String) -> NotCompared {
        NotCompared::Unread { volume: self.volume, server: self.client.address().clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const JSON: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";

    /// A copy in a daemon that gives one answer, and closes the connection.
    fn answered(chunks: &[&str], is_whole: bool) -> VolumeCopy {
        let chunks = chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        let body = chunks.collect::<String>() + if is_whole { "0\r\n\r\n" } else { "" };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(&stream).lines().map(|line| line.unwrap());
            assert!(request.take_while(|line| !line.is_empty()).count() > 0);
            stream.write_all(format!("{JSON}{body}").as_bytes()).unwrap();
        });
        let client = Client::new(address.into(), "--with").without_retries();
        VolumeCopy { client, token: None, volume: VolumeId(7) }
    }

    fn digest(chunks: &[&str], is_whole: bool) -> Result<BucketDigests, String> {
        let copy = answered(chunks, is_whole);
        let read = copy.ask(2).and_then(|reply| copy.read(reply, 2));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn digest_that_is_not_whole_is_an_error() {
        let one = r#"{"objects":1,"sum":"0000000000000001"}"#;
        let start = r#"{"position":"5","objects":2,"damaged":0,"buckets":["#;
        let whole = format!(r#"{start}{one},{one}],"end":true}}"#);
        let digests = digest(&["\n", "\n", &whole], true).unwrap();
        assert_eq!((digests.objects, &digests.position[..]), (2, "5"));
        for (chunks, is_whole) in [
            (vec!["\n", "\n"], false),
            (vec!["\n", "\n"], true),
            (vec!["\n", &whole], false),
            (vec![&whole[..whole.len() - 1]], true),
        ] {
            let error = digest(&chunks, is_whole).unwrap_err();
            assert!(error.starts_with("volume 7 of http://127.0.0.1:"), "{error}");
            assert!(error.contains("not whole") && error.ends_with("start again"), "{error}");
        }
        let other = format!(r#"{start}{one}],"end":true}}"#);
        let error = digest(&[&other], true).unwrap_err();
        assert!(error.contains("another number of buckets"), "{error}");
    }

    #[test]
    fn list_without_digests_is_an_error() {
        let object = concat!(
            r#"{"key":7,"alt":2,"state":"live","size":10,"content_type":null,"modified":5,"#,
            r#""version":41,"large":false}"#
        );
        let list = format!("{object}\n{{\"position\":\"41\",\"end\":true}}\n");
        let mut sink = |_, _| panic!("it has no digest");
        let error = answered(&[&list], true).list(2, &[1], &mut sink).unwrap_err();
        assert!(error.to_string().contains("without a digest"), "{error}");
        let list =
            list.replace("\"large\":false", "\"large\":false,\"digest\":\"00000000000000ff\"");
        let mut found = Vec::new();
        let mut sink = |object: ListedObject, digest| {
            found.push((object.key, digest));
            Ok(())
        };
        answered(&[&list], true).list(2, &[], &mut sink).unwrap();
        assert_eq!(found, [(7, 255)]);
        let mut sink = |_, _| Err(io::ErrorKind::StorageFull.into());
        let error = answered(&[&list], true).list(2, &[], &mut sink).unwrap_err();
        assert!(matches!(error, NotCompared::Temporary(_)), "{error}");
    }
}
