//! Requests that store and delete.

use hayloft::base::types::VolumeId;
use hayloft::runtime::sim::history::{Action, Answer, Event};

use super::request::{EPOCH_NS, Request, path_of, quoted};
use super::{COOKIE, Client, PHOTOS_MAX};
use crate::node::causes::cost_of;
use crate::node::seen::{Name, Value};
use crate::node::{BATCH_MAX, SECOND};

/// Upper bound of the space of a tombstone in the log, in a commit of its own (bytes).
const TOMBSTONE_COST: u64 = 4096 + 1024;
/// Time to the next expiry of an object that another change of it must leave (ns): longer than a request
/// takes.
const UNCHANGED_BEFORE_NS: u64 = 60 * SECOND;
/// A time of expiry after the end (ns since 1970).
const FAR_NS: u64 = 18_000_000_000 * SECOND;

impl Client {
    pub(super) async fn put(
        &mut self,
        name: Name,
        value: Value,
        action: Action,
        condition: Option<(&str, String)>,
    ) {
        let expires = self.expiry();
        if let Some(time) = expires {
            self.seen.borrow_mut().set_expiry(value, time);
        }
        let mut request = Request::of("PUT", name).expires(expires);
        if let Some((field, text)) = &condition {
            request = request.field(field, text);
        }
        let (at, event) = self.begin(name, action);
        let reply = self.ask(request.body(value.bytes(), cost_of(value.len))).await;
        let Some((asked, reply)) = reply else { return };
        let answer = match (action, reply.status) {
            (_, 201) => Answer::Created,
            (_, 204) => Answer::Replaced,
            (Action::PutNew(_), 412) => Answer::Exists,
            (Action::PutIf(..), 412) => Answer::Unmet,
            _ => self.check_refusal(&asked, &reply),
        };
        if matches!(reply.status, 201 | 204) {
            assert_eq!(reply.etag(), Some(value.etag), "entity tag of the stored value");
        }
        if matches!(reply.status, 201 | 204) && expires.is_some() {
            self.count("objects that expire");
        }
        if matches!(reply.status, 201 | 204) && value.len > 1 << 20 {
            self.across(name, event.called, "large bodies across an exchange");
        }
        self.answered(name, at, event, answer);
    }

    /// Deletes several photos with one multi-delete.
    pub(super) async fn delete_all(&mut self, volume: VolumeId) {
        let first = self.draw(self.plan.keys);
        let count = self.plan.keys.min(1 + self.draw(PHOTOS_MAX));
        let keys = (0..count).map(|n| (first + n) % self.plan.keys);
        let names: Vec<Name> = keys.map(|key| (volume, key, COOKIE)).collect();
        let lines: String =
            names.iter().map(|(_, key, _)| format!("{key}/0/{COOKIE:016x}\n")).collect();
        let begun: Vec<(usize, Event)> =
            names.iter().map(|name| self.begin(*name, Action::Delete)).collect();
        let at = names.iter().zip(&begun).map(|(name, (at, _))| (*name, *at)).collect();
        self.seen.borrow_mut().add_multi_delete(at);
        let request = Request::new("POST", &format!("/{volume}/delete"), Some(volume));
        let cost = count * TOMBSTONE_COST;
        let request = request.field("Content-Type", "text/plain").body(lines.into_bytes(), cost);
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answers: Vec<Answer> = match reply.status {
            200 => {
                let documents: Vec<serde_json::Value> =
                    serde_json::from_slice(&reply.body).unwrap();
                let keys: Vec<_> = documents.iter().map(|photo| photo["key"].as_u64()).collect();
                let wanted: Vec<_> = names.iter().map(|(_, key, _)| Some(*key)).collect();
                assert_eq!(keys, wanted);
                self.count("multi-deletes");
                self.across(names[0], begun[0].1.called, "multi-deletes across an exchange");
                let answer = |photo: &serde_json::Value| match photo["status"].as_u64() {
                    Some(204) => Answer::Deleted,
                    Some(404) => Answer::Missing,
                    status => panic!("a photo of a multi-delete has the status {status:?}"),
                };
                documents.iter().map(answer).collect()
            }
            _ => vec![self.check_refusal(&asked, &reply); names.len()],
        };
        for ((name, (at, event)), answer) in names.iter().zip(begun).zip(answers) {
            self.answered(*name, at, event, answer);
        }
    }

    pub(super) async fn delete(&mut self, name: Name, old: Option<Value>) {
        let mut request = Request::of("DELETE", name);
        if let Some(old) = old {
            request = request.field("If-Match", &quoted(old));
        }
        let action = old.map_or(Action::Delete, |old| Action::DeleteIf(old.number));
        let (at, event) = self.begin(name, action);
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answer = match reply.status {
            204 => Answer::Deleted,
            404 => self.check_404(&asked, &reply),
            412 if old.is_some() => Answer::Unmet,
            _ => self.check_refusal(&asked, &reply),
        };
        self.answered(name, at, event, answer);
    }

    /// POSTs an object: the node picks the key, and the volume unless one is given.
    pub(super) async fn post(&mut self, volume: Option<VolumeId>) {
        let value = self.value();
        let target = volume.map_or_else(|| "/".to_owned(), |volume| format!("/{volume}"));
        let called = self.handle.now();
        let request = Request::new("POST", &target, volume);
        let reply = self.ask(request.body(value.bytes(), cost_of(value.len))).await;
        let Some((asked, reply)) = reply else { return };
        if reply.status != 201 {
            self.check_refusal(&asked, &reply);
            return;
        }
        let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        let name = name_in_reply(&document, value);
        assert!(
            volume.is_none_or(|volume| volume == name.0),
            "the object is in another volume than requested"
        );
        assert_eq!(reply.field("Location"), Some(&*path_of(name)));
        let event = self.event(called, Action::Put(value.number), Answer::Created);
        self.seen.borrow_mut().add_posted(name, event);
        self.causes.note_write(name.0, called);
        self.count("names picked");
    }

    /// Stores several photos with one batch put.
    pub(super) async fn batch(&mut self, volume: VolumeId) {
        let first = self.draw(self.plan.keys);
        let count = self.plan.keys.min(1 + self.draw(PHOTOS_MAX));
        let keys = (0..count).map(|n| (first + n) % self.plan.keys);
        let names: Vec<Name> = keys.map(|key| (volume, key, COOKIE)).collect();
        let values: Vec<Value> = names.iter().map(|_| self.value()).collect();
        let expires = self.expiry();
        if let Some(time) = expires {
            values.iter().for_each(|value| self.seen.borrow_mut().set_expiry(*value, time));
        }
        let mut tar = tar::Builder::new(Vec::new());
        for (name, value) in names.iter().zip(&values) {
            let mut header = tar::Header::new_ustar();
            header.set_size(value.len as u64);
            header.set_mode(0o644);
            let path = format!("{}/0/{:016x}", name.1, name.2);
            tar.append_data(&mut header, path, &value.bytes()[..]).unwrap();
        }
        let tar = tar.into_inner().unwrap();
        let len = tar.len() as u64;
        let cost = values.iter().map(|value| cost_of(value.len)).sum();
        let begun: Vec<(usize, Event)> = names
            .iter()
            .zip(&values)
            .map(|(name, v)| self.begin(*name, Action::Put(v.number)))
            .collect();
        let at = names.iter().zip(&begun).map(|(name, (at, _))| (*name, *at)).collect();
        self.seen.borrow_mut().add_batch(at);
        let request = Request::new("POST", &format!("/{volume}/batch"), Some(volume));
        let request = request.expires(expires);
        let request = request.field("Content-Type", "application/x-tar").body(tar, cost);
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answer = match reply.status {
            413 => {
                assert!(len > BATCH_MAX, "a batch of {len} bytes");
                Answer::Refused
            }
            201 => Answer::Stored,
            _ => self.check_refusal(&asked, &reply),
        };
        if answer == Answer::Stored {
            let documents: Vec<serde_json::Value> = serde_json::from_slice(&reply.body).unwrap();
            let stored: Vec<Name> = documents
                .iter()
                .zip(&values)
                .map(|(document, value)| name_in_reply(document, *value))
                .collect();
            assert_eq!(stored, names);
            self.count("batches");
            self.across(names[0], begun[0].1.called, "batches across an exchange");
        }
        for (name, (at, event)) in names.iter().zip(begun) {
            self.answered(*name, at, event, answer);
        }
    }

    /// Changes when an object expires: it is written anew, and stays the same. Not shortly before it expires:
    /// what the change is decided on might not be true any more when it takes effect.
    pub(super) async fn renew(&mut self, name: Name) {
        let now = self.handle.now();
        if self.seen.borrow().expires_within(name, now, now + UNCHANGED_BEFORE_NS) {
            return;
        }
        let soon = self.expiry();
        let request = Request::of("POST", name);
        let (request, expires) = match soon {
            Some(_) => (request.expires(soon), soon),
            None if self.draw(3) == 0 => (request.field("X-Hayloft-Expires", "never"), None),
            None => {
                let far = Some(FAR_NS - EPOCH_NS);
                (request.expires(far), far)
            }
        };
        let (at, event) = self.begin(name, Action::Renew(expires));
        let len = self.seen.borrow().longest_needle(name);
        let request = request.body(Vec::new(), cost_of(len));
        let Some((asked, reply)) = self.ask(request).await else { return };
        let answer = match reply.status {
            204 => Answer::Present,
            404 => self.check_404(&asked, &reply),
            _ => self.check_refusal(&asked, &reply),
        };
        self.count("changes of the time of expiry");
        self.answered(name, at, event, answer);
    }
}

/// The name of a stored object in the JSON of a reply; asserts that size and entity tag match.
fn name_in_reply(document: &serde_json::Value, value: Value) -> Name {
    assert_eq!(document["size"].as_u64(), Some(value.len as u64));
    assert_eq!(document["etag"].as_str(), Some(&*quoted(value)));
    let number = |name: &str| document[name].as_u64().unwrap();
    let cookie = u64::from_str_radix(document["cookie"].as_str().unwrap(), 16).unwrap();
    (VolumeId(u32::try_from(number("volume")).unwrap()), number("key"), cookie)
}
