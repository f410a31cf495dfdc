//! Requests that read.

use hayloft::runtime::sim::history::{Action, Answer};

use super::Client;
use super::request::{Request, quoted};
use crate::node::causes::RequestInfo;
use crate::node::seen::{Name, value_of};
use crate::node::wire::Reply;

impl Client {
    pub(super) async fn get(&mut self, name: Name) {
        let called = self.handle.now();
        let Some((asked, reply)) = self.ask(Request::of("GET", name)).await else { return };
        let answer = match reply.status {
            200 => self.value_of_body(&asked, &reply),
            404 => self.check_404(&asked, &reply),
            _ => self.check_refusal(&asked, &reply),
        };
        self.read(name, called, Action::Get, answer);
    }

    /// The value in a body; asserts that the entity tag matches.
    pub(super) fn value_of_body(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        let value = self.seen.borrow().tagged(reply.etag());
        assert_eq!(value_of(&reply.body), value.number, "the entity tag of another value");
        self.causes.check_read(asked, value);
        Answer::Value(value.number)
    }

    pub(super) async fn head(&mut self, name: Name) {
        let called = self.handle.now();
        let Some((asked, reply)) = self.ask(Request::of("HEAD", name)).await else { return };
        let answer = match reply.status {
            200 => {
                let value = self.seen.borrow().tagged(reply.etag());
                assert_eq!(reply.number("Content-Length"), Some(value.len));
                self.causes.check_head(&asked, value);
                Answer::Value(value.number)
            }
            404 => Answer::Missing,
            500 if let Some(answer) = self.causes.damage_of(&asked) => answer,
            // The response to HEAD has no message.
            status => self.causes.explain_head(&asked, status),
        };
        self.count("heads");
        self.read(name, called, Action::Get, answer);
    }

    pub(super) async fn range(&mut self, name: Name) {
        let len = self.some_value(name).map_or(1000, |value| value.len) as u64;
        let first = self.draw(len + 100);
        let last = first + self.draw(len + 100);
        let called = self.handle.now();
        let request = Request::of("GET", name).field("Range", &format!("bytes={first}-{last}"));
        let Some((asked, reply)) = self.ask(request).await else { return };
        let first = usize::try_from(first).unwrap();
        let answer = match reply.status {
            206 => {
                let value = self.seen.borrow().tagged(reply.etag());
                let last = usize::try_from(last).unwrap().min(value.len - 1);
                let said = format!("bytes {first}-{last}/{}", value.len);
                assert_eq!(reply.field("Content-Range"), Some(&*said));
                assert_eq!(reply.body, value.bytes()[first..=last], "bytes of a range");
                self.count("ranges");
                if value.len <= 1 << 20 {
                    self.causes.check_read(&asked, value);
                }
                Answer::Value(value.number)
            }
            416 => {
                let said =
                    reply.field("Content-Range").and_then(|said| said.strip_prefix("bytes */"));
                let len: usize = said.unwrap().parse().unwrap();
                assert!(first >= len && self.seen.borrow().had_len(name, len), "{len} bytes");
                self.count("ranges beyond the end");
                Answer::Present
            }
            404 => self.check_404(&asked, &reply),
            _ => self.check_refusal(&asked, &reply),
        };
        self.read(name, called, Action::Get, answer);
    }

    /// GET with If-None-Match.
    pub(super) async fn get_unless(&mut self, name: Name) {
        let Some(had) = self.some_value(name) else { return };
        let called = self.handle.now();
        let request = Request::of("GET", name).field("If-None-Match", &quoted(had));
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answer = match reply.status {
            200 => {
                assert_ne!(reply.etag(), Some(had.etag), "200 although the entity tag matches");
                self.value_of_body(&asked, &reply)
            }
            304 => {
                assert_eq!(reply.etag(), Some(had.etag));
                self.count("not modified");
                if had.len <= 1 << 20 {
                    self.causes.check_read(&asked, had);
                }
                Answer::Value(had.number)
            }
            404 => self.check_404(&asked, &reply),
            _ => self.check_refusal(&asked, &reply),
        };
        self.read(name, called, Action::Get, answer);
    }

    /// GET with If-Match.
    pub(super) async fn get_if(&mut self, name: Name) {
        let Some(wanted) = self.some_value(name) else { return };
        let called = self.handle.now();
        let request = Request::of("GET", name).field("If-Match", &quoted(wanted));
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answer = match reply.status {
            200 => self.value_of_body(&asked, &reply),
            404 => self.check_404(&asked, &reply),
            412 => Answer::Unmet,
            _ => self.check_refusal(&asked, &reply),
        };
        self.read(name, called, Action::GetIf(wanted.number), answer);
    }

    pub(super) async fn get_with_wrong_cookie(&mut self, (volume, key, cookie): Name) {
        let bit = self.draw(64);
        let request = Request::of("GET", (volume, key, cookie ^ 1 << bit));
        let Some((asked, reply)) = self.ask(request).await else { return };
        match reply.status {
            404 => drop(self.check_404(&asked, &reply)),
            _ => drop(self.check_refusal(&asked, &reply)),
        }
    }
}
