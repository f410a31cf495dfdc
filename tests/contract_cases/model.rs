//! Random pipelined requests, compared with a model of the store.

use std::collections::BTreeMap;
use std::io::Write;

use hayloft::runtime::split_mix;

use super::{both_with, etag_of, tar_of};
use crate::daemon_harness::{RawConnection, bytes, path};

const NAMES: u64 = 6;
const REQUESTS: usize = 120;
const SIZES: [usize; 9] =
    [0, 1, 700, 65_536, 70_000, 1 << 20, (1 << 20) + 1, (1 << 20) + 65_537, 2_300_000];

/// A request and its expected reply.
struct Exchange {
    request: Vec<u8>,
    is_head: bool,
    status: u16,
    body: Option<Vec<u8>>,
}

#[derive(Default)]
struct Model {
    photos: BTreeMap<u64, Vec<u8>>,
    seed: u64,
}

impl Model {
    fn below(&mut self, bound: u64) -> u64 {
        split_mix(&mut self.seed) % bound
    }

    /// A condition for this photo (or none), and whether it holds for a write.
    fn condition(&mut self, key: u64) -> (String, bool) {
        let old = self.photos.get(&key).map(|photo| etag_of(photo));
        let tag = old.clone().unwrap_or_else(|| etag_of(b"other"));
        match self.below(8) {
            0 => ("If-None-Match: *\r\n".to_owned(), old.is_none()),
            1 => ("If-Match: *\r\n".to_owned(), old.is_some()),
            2 => (format!("If-Match: \"x\", {tag}\r\n"), old.is_some()),
            3 => (format!("If-None-Match: {tag}\r\n"), old.is_none()),
            _ => (String::new(), true),
        }
    }

    fn next(&mut self) -> Exchange {
        let (key, kind) = (self.below(NAMES), self.below(10));
        let name = path(key);
        let (condition, holds) = self.condition(key);
        let there = self.photos.get(&key).cloned();
        let size = SIZES[usize::try_from(self.below(SIZES.len() as u64)).unwrap()];
        let new = bytes(self.below(u64::MAX), size);
        let head = |method: &str, target: &str, more: &str| {
            format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{more}\r\n").into_bytes()
        };
        let with_body = |method: &str, target: &str, more: &str, body: &[u8]| {
            let more = format!("{more}Content-Length: {}\r\n", body.len());
            [head(method, target, &more), body.to_vec()].concat()
        };
        let exchange = |request, status, body| Exchange { request, is_head: false, status, body };
        match kind {
            0..=2 => {
                // A multipart body would be refused before it arrives, and the connection closed.
                let len = if holds { new.len() } else { new.len().min(1 << 20) };
                let request = with_body("PUT", &name, &condition, &new[..len]);
                if !holds {
                    return exchange(request, 412, None);
                }
                let status = if self.photos.insert(key, new).is_some() { 204 } else { 201 };
                exchange(request, status, None)
            }
            3 => {
                let request = head("DELETE", &name, &condition);
                match (there.is_some(), holds) {
                    (false, _) => exchange(request, 404, None),
                    (true, false) => exchange(request, 412, None),
                    (true, true) => {
                        self.photos.remove(&key);
                        exchange(request, 204, None)
                    }
                }
            }
            4 => {
                // Sometimes one of the two is a multipart object.
                let other = (key + 1) % NAMES;
                let names = [name[3..].to_owned(), path(other)[3..].to_owned()];
                let small = bytes(self.below(u64::MAX), 900);
                let tar = tar_of(&[(&names[0], &new), (&names[1], &small)]);
                self.photos.insert(key, new);
                self.photos.insert(other, small);
                exchange(with_body("POST", "/1/batch", "", &tar), 201, None)
            }
            8 => {
                let other = (key + 1) % NAMES;
                let names = [&name[3..], &path(other)[3..], ""].join("\n");
                let text = "Content-Type: text/plain\r\n";
                let request = with_body("POST", "/1/delete", text, names.as_bytes());
                let mut outcome = |key: u64| {
                    let status = if self.photos.remove(&key).is_some() { 204 } else { 404 };
                    format!("{{\"key\":{key},\"alt\":0,\"status\":{status}}}")
                };
                let body = format!("[{},{}]", outcome(key), outcome(other));
                exchange(request, 200, Some(body.into_bytes()))
            }
            5 => {
                let status = if there.is_some() { 200 } else { 404 };
                let request = head("HEAD", &name, "");
                Exchange { is_head: true, ..exchange(request, status, None) }
            }
            6 => {
                let first = usize::try_from(self.below(1_200_000)).unwrap();
                let request = head("GET", &name, &format!("Range: bytes={first}-\r\n"));
                match there {
                    None => exchange(request, 404, None),
                    Some(photo) if first >= photo.len() => exchange(request, 416, None),
                    Some(photo) => exchange(request, 206, Some(photo[first..].to_vec())),
                }
            }
            7 => {
                let request = with_body("PUT", &super::with_foreign_cookie(&name), "", b"x");
                match there {
                    Some(_) => exchange(request, 409, None),
                    // Does not store the name under another cookie.
                    None => exchange(head("GET", &name, ""), 404, None),
                }
            }
            _ => match there {
                None => exchange(head("GET", &name, ""), 404, None),
                Some(photo) => exchange(head("GET", &name, ""), 200, Some(photo)),
            },
        }
    }
}

#[test]
fn random_pipelines_match_the_model() {
    both_with("", "1GiB", |store| {
        let mut model = Model { seed: 20_261_122, ..Model::default() };
        for pipeline in 0..4 {
            let exchanges: Vec<Exchange> = (0..REQUESTS).map(|_| model.next()).collect();
            let mut client: RawConnection = store.connect();
            let mut writer = client.stream.try_clone().unwrap();
            let stream: Vec<u8> = exchanges.iter().flat_map(|e| e.request.clone()).collect();
            let sender = std::thread::spawn(move || writer.write_all(&stream).unwrap());
            for (n, exchange) in exchanges.into_iter().enumerate() {
                let shown = exchange.request.iter().take_while(|byte| **byte != b'\r');
                let shown = String::from_utf8(shown.copied().collect()).unwrap();
                let reply = client.reply(exchange.is_head).unwrap();
                assert_eq!(reply.status, exchange.status, "{pipeline}.{n}: {shown}");
                if let Some(body) = exchange.body {
                    assert!(reply.body == body, "{pipeline}.{n}: other bytes of {shown}");
                }
            }
            sender.join().unwrap();
        }
        store.assert_needles(model.photos.len() as u64);
    });
}
