//! A client of the simulated node: one connection at a time, random requests; every answer is checked and
//! recorded.

use std::fmt::Write;
use std::rc::Rc;

use hayloft::base::types::VolumeId;
use hayloft::runtime::op::{Op, Sock};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::history::{Action, Answer, Event};
use hayloft::runtime::{Handle, split_mix};

use super::causes::{Causes, RequestInfo, cost_of};
use super::seen::{Name, Value, value_of};
use super::wire::{self, Reply};
use super::{BATCH_MAX, Plan, SECOND, SharedSeen, listener};

/// Cookie of all objects whose names clients choose.
const COOKIE: u64 = 0x0123_4567_89ab_cdef;
/// Largest number of photos in a batch.
const PHOTOS_MAX: u64 = 4;
/// Upper bound of the space of a tombstone in the log, in a commit of its own (bytes).
const TOMBSTONE_COST: u64 = 4096 + 1024;
/// Upper bound of the buffers of a multi-delete: its body and its tombstones (bytes).
const DELETE_MEMORY: u64 = (2 + PHOTOS_MAX) * 4096;
/// Usual time until a connection is established (ns).
pub const CONNECT_DELAY_NS: u64 = 300_000;
/// Time within which the clients of a burst send their requests (ns).
const BURST_TIME_NS: u64 = 1_500_000;
/// The wall clock when the monotonic one begins (ns since 1970).
pub const EPOCH_NS: u64 = 1_700_000_000 * SECOND;
/// Longest time after which an object expires that is to expire soon (ns).
const EXPIRES_WITHIN_NS: u64 = SECOND;
/// Time to the next expiry of an object that another change of it must leave (ns): longer than a request
/// takes.
const UNCHANGED_BEFORE_NS: u64 = 60 * SECOND;
/// A time of expiry after the end (ns since 1970).
const FAR_NS: u64 = 18_000_000_000 * SECOND;
/// Upper bound of the buffers for a read, or for reading the needle that a write replaces (bytes).
const READ_MEMORY: u64 = (1 << 20) + (64 << 10);

pub struct Client {
    pub world: World,
    pub handle: Handle,
    pub plan: Plan,
    pub seed: u64,
    pub seen: SharedSeen,
    pub causes: Rc<Causes>,
    pub connection: Option<Sock>,
}

/// A request and its properties.
struct Request {
    volume: Option<VolumeId>,
    head: String,
    body: Vec<u8>,
    /// Upper bound of its space in the log (bytes); 0 if it stores nothing.
    cost: u64,
    /// The object that it names.
    name: Option<Name>,
    /// Time at which what it stores expires (ns).
    expires: Option<u64>,
}

impl Request {
    fn new(method: &str, target: &str, volume: Option<VolumeId>) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n");
        Self { volume, head, body: Vec::new(), cost: 0, name: None, expires: None }
    }

    fn of(method: &str, name: Name) -> Self {
        Self { name: Some(name), ..Self::new(method, &path_of(name), Some(name.0)) }
    }

    /// With the time at which the object expires (ns).
    fn expires(mut self, expires: Option<u64>) -> Self {
        self.expires = expires;
        match expires {
            Some(time) => {
                let wall = EPOCH_NS + time;
                let text = format!("{}.{:09}", wall / SECOND, wall % SECOND);
                self.field("X-Hayloft-Expires", &text)
            }
            None => self,
        }
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        write!(self.head, "{name}: {value}\r\n").unwrap();
        self
    }

    /// Whether this is a conditional write.
    fn decides_by_header(&self) -> bool {
        let is_write = self.head.starts_with("PUT") || self.head.starts_with("DELETE");
        is_write && (self.head.contains("If-Match") || self.head.contains("If-None-Match"))
    }

    fn body(mut self, body: Vec<u8>, cost: u64) -> Self {
        (self.body, self.cost) = (body, cost);
        let len = self.body.len().to_string();
        self.field("Content-Length", &len)
    }

    fn bytes(self) -> Vec<u8> {
        [self.head.into_bytes(), b"\r\n".to_vec(), self.body].concat()
    }
}

fn path_of((volume, key, cookie): Name) -> String {
    format!("/{volume}/{key}/0/{cookie:016x}")
}

fn quoted(value: Value) -> String {
    format!("\"{:016x}\"", value.etag)
}

impl Client {
    fn draw(&mut self, below: u64) -> u64 {
        split_mix(&mut self.seed) % below
    }

    fn count(&self, what: &'static str) {
        self.seen.borrow_mut().count(what);
    }

    fn volume(&mut self) -> VolumeId {
        VolumeId(1 + u32::try_from(self.draw(u64::from(self.plan.volumes))).unwrap())
    }

    fn name(&mut self) -> Name {
        let drawn = self.draw(u64::MAX);
        match self.draw(8) {
            0 => self.seen.borrow().some_posted(drawn),
            _ => None,
        }
        .unwrap_or_else(|| (self.volume(), drawn % self.plan.keys, COOKIE))
    }

    fn value(&mut self) -> Value {
        let len = match self.draw(40) {
            0 => (1 << 20) + self.draw(200_000),
            1..=4 => self.draw(100_000),
            _ => self.draw(3000),
        };
        let value = self.seen.borrow_mut().fresh(usize::try_from(len).unwrap());
        if value.len > 1 << 20 {
            self.count("large bodies");
        }
        value
    }

    /// A time at which an object is to expire (ns), for some.
    fn expiry(&mut self) -> Option<u64> {
        let expires = self.plan.expiry && self.draw(4) == 0;
        expires.then(|| self.handle.now() + 5_000_000 + self.draw(EXPIRES_WITHIN_NS))
    }

    /// A value that was written to the object at some time.
    fn some_value(&mut self, name: Name) -> Option<Value> {
        let drawn = self.draw(u64::MAX);
        self.seen.borrow().some_value(name, drawn)
    }

    /// Sends `operations` random requests.
    pub async fn work(mut self, operations: u64) {
        for _ in 0..operations {
            let pause = self.draw(self.plan.pause_ns);
            self.handle.sleep_until(self.handle.now() + pause).await;
            self.one().await;
        }
        self.hang_up().await;
    }

    async fn one(&mut self) {
        let name = self.name();
        match self.draw(26) {
            0..=4 => {
                let value = self.value();
                self.put(name, value, Action::Put(value.number), None).await;
            }
            5 => {
                let (value, any) = (self.value(), ("If-None-Match", "*".to_owned()));
                self.put(name, value, Action::PutNew(value.number), Some(any)).await;
            }
            6 => {
                let Some(old) = self.some_value(name) else { return };
                let (value, condition) = (self.value(), ("If-Match", quoted(old)));
                let action = Action::PutIf(value.number, old.number);
                self.put(name, value, action, Some(condition)).await;
            }
            7 => self.delete(name, None).await,
            8 => {
                let Some(old) = self.some_value(name) else { return };
                self.delete(name, Some(old)).await;
            }
            9 => self.post(Some(name.0)).await,
            10 => self.post(None).await,
            11 | 12 => self.batch(name.0).await,
            13 | 14 => self.head(name).await,
            15 | 16 => self.range(name).await,
            17 => self.get_unless(name).await,
            18 => self.get_if(name).await,
            19 => self.get_with_wrong_cookie(name).await,
            20 => self.delete_all(name.0).await,
            21 => self.renew(name).await,
            _ => self.get(name).await,
        }
    }

    /// Connects, and reads one object after a short time.
    pub async fn read_one(mut self) {
        let shard = usize::try_from(self.draw(self.plan.shards as u64)).unwrap();
        self.connection = Some(self.world.connect(listener(shard), 64 << 10));
        let pause = CONNECT_DELAY_NS + self.draw(BURST_TIME_NS);
        self.handle.sleep_until(self.handle.now() + pause).await;
        let names = self.seen.borrow().names();
        if !names.is_empty() {
            let drawn = self.draw(names.len() as u64);
            self.get(names[usize::try_from(drawn).unwrap()]).await;
        }
        self.hang_up().await;
    }

    /// Reads every object.
    pub async fn read_all(mut self) {
        let names = self.seen.borrow().names();
        for name in names {
            self.get(name).await;
        }
        self.hang_up().await;
    }

    /// Writes an object to every volume, reads and deletes it.
    pub async fn write_all(mut self) {
        for volume in (1..=self.plan.volumes).map(VolumeId) {
            let name = (volume, self.plan.keys, COOKIE);
            let value = self.seen.borrow_mut().fresh(1000);
            self.put(name, value, Action::Put(value.number), None).await;
            self.get(name).await;
            self.delete(name, None).await;
            self.get(name).await;
        }
        self.hang_up().await;
    }

    fn event(&self, called: u64, action: Action, answer: Answer) -> Event {
        Event { called, answered: self.handle.now(), action, answer }
    }

    /// Records an operation before it is sent, since a power cut may prevent the answer.
    fn begin(&self, name: Name, action: Action) -> (usize, Event) {
        let called = self.handle.now();
        let unknown = Event { called, answered: u64::MAX, action, answer: Answer::Unknown };
        (self.seen.borrow_mut().record(name, unknown), unknown)
    }

    fn answered(&self, name: Name, at: usize, event: Event, answer: Answer) {
        if answer != Answer::Unknown {
            let event = self.event(event.called, event.action, answer);
            self.seen.borrow_mut().update(name, at, event);
        }
        if matches!(answer, Answer::Created | Answer::Replaced | Answer::Stored | Answer::Deleted) {
            self.causes.note_write(name.0, event.called);
            self.across(name, event.called, "writes across an exchange");
        }
    }

    /// Counts an answered operation during which the generation was exchanged.
    fn across(&self, name: Name, called: u64, what: &'static str) {
        self.causes.compactions.note_answer(name.0, called, self.handle.now(), what);
    }

    fn read(&self, name: Name, called: u64, action: Action, answer: Answer) {
        if !matches!(answer, Answer::Unknown | Answer::Refused) {
            let event = self.event(called, action, answer);
            self.seen.borrow_mut().record(name, event);
            self.across(name, called, "reads across an exchange");
        }
    }

    async fn put(
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

    async fn delete(&mut self, name: Name, old: Option<Value>) {
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
    async fn post(&mut self, volume: Option<VolumeId>) {
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
    async fn batch(&mut self, volume: VolumeId) {
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

    /// Deletes several photos with one multi-delete.
    async fn delete_all(&mut self, volume: VolumeId) {
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

    async fn get(&mut self, name: Name) {
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
    fn value_of_body(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        let value = self.seen.borrow().tagged(reply.etag());
        assert_eq!(value_of(&reply.body), value.number, "the entity tag of another value");
        self.causes.check_read(asked, value);
        Answer::Value(value.number)
    }

    async fn head(&mut self, name: Name) {
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

    /// Changes when an object expires: it is written anew, and stays the same. Not shortly before it expires:
    /// what the change is decided on might not be true any more when it takes effect.
    async fn renew(&mut self, name: Name) {
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

    async fn range(&mut self, name: Name) {
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
    async fn get_unless(&mut self, name: Name) {
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
    async fn get_if(&mut self, name: Name) {
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

    async fn get_with_wrong_cookie(&mut self, (volume, key, cookie): Name) {
        let bit = self.draw(64);
        let request = Request::of("GET", (volume, key, cookie ^ 1 << bit));
        let Some((asked, reply)) = self.ask(request).await else { return };
        match reply.status {
            404 => drop(self.check_404(&asked, &reply)),
            _ => drop(self.check_refusal(&asked, &reply)),
        }
    }

    /// Asserts that a 404 has a cause.
    fn check_404(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        if reply.reason() != "no such photo" {
            self.causes.explain(asked, reply.status, reply.reason());
        }
        Answer::Missing
    }

    /// Asserts that a refusal has a cause. Returns whether the effect of the request is unknown.
    fn check_refusal(&self, asked: &RequestInfo, reply: &Reply) -> Answer {
        let (status, mut reason) = (reply.status, reply.reason());
        if reason.starts_with("photo ")
            && reason.ends_with(" is damaged on disk; nothing was deleted")
        {
            reason = "the photo is damaged on disk";
        }
        if reason == "the photo is damaged on disk"
            && let Some(answer) = self.causes.damage_of(asked)
        {
            self.count("answers about damage");
            return answer;
        }
        self.causes.explain(asked, status, reason);
        self.count(match status {
            503 if reason.ends_with("failed too often") => "refusals by suspect volumes",
            503 => "refusals with 503",
            507 => "refusals with 507",
            500 => "failures with 500",
            _ => "other refusals",
        });
        if reason.starts_with("the write failed") { Answer::Unknown } else { Answer::Refused }
    }

    async fn hang_up(&mut self) {
        if let Some(sock) = self.connection.take() {
            self.handle.submit(Op::Close { sock }).await;
        }
    }

    /// Sends a request and receives the answer; `None` if the connection broke.
    async fn ask(&mut self, request: Request) -> Option<(RequestInfo, Reply)> {
        let is_head = request.head.starts_with("HEAD");
        let is_batch = request.head.contains("/batch ");
        let is_multi_delete = request.head.contains("/delete ");
        let asked = RequestInfo {
            volume: request.volume,
            name: request.name,
            needs_header_only: is_head || request.decides_by_header(),
            expires: request.expires,
            is_delete: request.head.starts_with("DELETE") || is_multi_delete,
            called: self.handle.now(),
            memory: READ_MEMORY
                + if is_multi_delete { DELETE_MEMORY } else { 2 * request.body.len() as u64 },
            was_recovering: self.causes.is_recovering(request.volume),
        };
        let len = request.body.len() as u64;
        let memory = match (is_batch, is_multi_delete) {
            (true, _) => READ_MEMORY + len / 4 * 5,
            (_, true) => READ_MEMORY + DELETE_MEMORY,
            _ => len,
        };
        let upload = self.causes.begin_upload(request.volume, request.cost, memory);
        let (reply, is_broken) = self.exchange(&request.bytes(), is_head).await;
        self.causes.end_upload(upload);
        match &reply {
            Some(_) => self.count("answers"),
            None => {
                self.count("connections broken");
                if !is_broken {
                    self.causes.explain_silence(&asked);
                }
            }
        }
        if reply.as_ref().is_none_or(|reply| reply.closes) {
            self.hang_up().await;
        }
        Some((asked, reply?))
    }

    /// Returns the answer, and whether the client reset the connection.
    async fn exchange(&mut self, request: &[u8], is_head: bool) -> (Option<Reply>, bool) {
        let sock = match self.connection {
            Some(sock) => sock,
            None => {
                let shard = usize::try_from(self.draw(self.plan.shards as u64)).unwrap();
                let segment = match self.draw(6) {
                    0 => 1 + self.draw(5),
                    1 => 1460,
                    _ => 64 << 10,
                };
                let segment = usize::try_from(segment).unwrap();
                self.world.connect(listener(shard), segment)
            }
        };
        self.connection = Some(sock);
        // Some clients reset the connection in the middle of the request, or send the rest late.
        let misbehavior = if self.plan.faults { self.draw(30) } else { u64::MAX };
        let stop = match misbehavior {
            0 | 1 => usize::try_from(self.draw(request.len() as u64)).unwrap(),
            _ => request.len(),
        };
        let is_sent = wire::send(&self.handle, sock, &request[..stop]).await;
        match misbehavior {
            0 => {
                self.world.reset(sock);
                return (None, true);
            }
            1 if is_sent => {
                self.handle.sleep_until(self.handle.now() + 1_000_000_000).await;
                wire::send(&self.handle, sock, &request[stop..]).await;
            }
            2 => self.world.reset(sock),
            _ => {}
        }
        // Also if the request was not sent completely: the answer may be early.
        (wire::receive(&self.handle, sock, is_head).await, misbehavior == 2)
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
