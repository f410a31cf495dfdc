//! Damage of the simulated disk below stored values: what was damaged, and what follows from it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use hayloft::base::limits::{LOG_START, UNIT};
use hayloft::base::types::{NeedleId, VolumeId};
use hayloft::runtime::sim::World;
use hayloft::runtime::sim::disk::Image;
use hayloft::runtime::sim::history::Damaged;
use hayloft::volume::FoundDamage;
use hayloft::volume::format::{
    FOOTER_LEN, Kind, Manifest, NeedleHeader, NeedleLayout, Superblock, decode_header,
};

use super::files::VolumeFile;
use super::seen::{Name, Value};

/// Number of places at which reads fail that make a volume suspect.
const SUSPECT_PLACES: usize = 3;
/// Bytes of a needle that a HEAD reads at most.
const FRONT_LEN: u64 = 5 << 10;

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// A bit of the data.
    Data,
    /// A bit of the header.
    Header,
    /// A bit of the footer.
    Footer,
    /// A sector, which cannot be read.
    Sector,
}

/// Damage of a stored value.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    pub name: Name,
    pub value: Value,
    pub harm: Harm,
    /// The file in which it was done.
    pub file: VolumeFile,
    /// Byte of that file.
    pub at: u64,
    /// Begin of the needle (byte of the file).
    pub needle: u64,
    pub since: u64,
    /// Time at which it went away (ns); `u64::MAX` for never.
    pub until: u64,
}

impl Planted {
    fn is_of_large(&self) -> bool {
        self.value.len > 1 << 20
    }

    /// Whether a reader of the whole value cannot read it.
    fn is_fatal(&self) -> bool {
        self.harm != Harm::Footer
    }

    /// Whether it may keep readers of the header from it.
    fn is_of_head(&self) -> bool {
        let is_front = self.at < self.needle + FRONT_LEN;
        match self.harm {
            Harm::Header => true,
            Harm::Sector => is_front && !self.is_of_large(),
            Harm::Data | Harm::Footer => false,
        }
    }

    /// Whether nobody can read the header.
    fn is_headless(&self) -> bool {
        let is_first = self.harm == Harm::Sector && self.at < self.needle + UNIT;
        self.harm == Harm::Header || (is_first && !self.is_of_large())
    }

    /// Whether it was there all the time in this interval.
    fn lasts(&self, from: u64, until: u64) -> bool {
        self.since < from && self.until > until
    }
}

/// A needle in a file.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub header: NeedleHeader,
    pub at: u64,
}

/// The needles in a file that have a readable header, in its order.
pub fn needles(image: &Image, file: VolumeFile) -> Vec<Found> {
    let Some(pages) = image.files.get(&file.name()) else { return Vec::new() };
    let mut block = [0; 4096];
    pages.read(0, &mut block);
    let Ok(superblock) = Superblock::decode(&block) else { return Vec::new() };
    let (mut found, mut at) = (Vec::new(), LOG_START);
    while at + UNIT <= superblock.log_end() {
        if pages.page(usize::try_from(at / 4096).unwrap()).is_none() {
            at = (at / 4096 + 1) * 4096;
            continue;
        }
        let mut unit = [0; UNIT as usize];
        pages.read(usize::try_from(at).unwrap(), &mut unit);
        if let Some((header, 0)) = decode_header(&unit, superblock.incarnation, at) {
            found.push(Found { header, at });
        }
        at += UNIT;
    }
    found
}

/// The bytes of a file that hold a value.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Begin of the needle, or of the first part.
    pub needle: u64,
    /// Length of that.
    pub len: u64,
    /// Begin of the data.
    pub data: u64,
    /// Length of the data.
    pub data_len: u64,
}

impl Place {
    /// Byte of the header, of the data or of the footer number `n`.
    pub fn byte(&self, harm: Harm, n: u64) -> u64 {
        match harm {
            Harm::Header => self.needle + n % 100,
            Harm::Data => self.data + n % self.data_len,
            Harm::Footer => self.needle + self.len - n % FOOTER_LEN as u64 - 1,
            // Of header or data: a compaction may carry over a needle without its footer.
            Harm::Sector => {
                self.needle + n % (self.data + self.data_len - self.needle).div_ceil(UNIT) * UNIT
            }
        }
    }
}

/// Where a file with the needles `all` holds the value of an object: the needle that was written last.
pub fn place_of(
    image: &Image,
    (file, all): (VolumeFile, &[Found]),
    name: Name,
    value: &Value,
) -> Option<Place> {
    let id = NeedleId::new(name.1, 0);
    let is_it = |found: &&Found| found.header.id == id && found.header.data_checksum == value.etag;
    let found = all.iter().rfind(is_it)?;
    let layout = found.header.layout();
    match found.header.kind {
        Kind::Data => Some(Place {
            needle: found.at,
            len: layout.len as u64,
            data: found.at + layout.data_start as u64,
            data_len: layout.data_len as u64,
        }),
        Kind::Manifest => {
            let mut data = vec![0; layout.data_len];
            let from = usize::try_from(found.at).unwrap() + layout.data_start;
            image.files[&file.name()].read(from, &mut data);
            let part = Manifest::decode(&data)?.part(0);
            let layout = NeedleLayout::data(0, part.len as usize);
            Some(Place {
                needle: part.offset,
                len: layout.len as u64,
                data: part.offset + layout.data_start as u64,
                data_len: layout.data_len as u64,
            })
        }
        _ => None,
    }
}

/// All damage that was done; kept across restarts.
#[derive(Debug, Default)]
pub struct Damages(RefCell<Vec<Planted>>);

impl Damages {
    pub fn add(&self, planted: Planted) {
        self.0.borrow_mut().push(planted);
    }

    /// Makes a sector of a file readable again that cannot be read. Returns whether there was one.
    pub fn heal(&self, world: &World, file: VolumeFile) -> bool {
        let mut all = self.0.borrow_mut();
        let is_unreadable = |planted: &&mut Planted| {
            let is_there = planted.harm == Harm::Sector && planted.until == u64::MAX;
            let sector = usize::try_from(planted.at / UNIT).unwrap();
            let is_in = planted.file == file;
            is_there && is_in && world.unreadable().contains(&(planted.file.name(), sector))
        };
        let Some(planted) = all.iter_mut().find(is_unreadable) else { return false };
        world.make_readable(&planted.file.name(), usize::try_from(planted.at / UNIT).unwrap());
        planted.until = world.now();
        true
    }

    fn any(&self, holds: impl Fn(&Planted) -> bool) -> bool {
        self.0.borrow().iter().any(holds)
    }

    /// Whether there is damage within `distance` of a byte of a file.
    pub fn is_near(&self, file: VolumeFile, at: u64, distance: u64) -> bool {
        self.any(|it| it.file == file && it.is_fatal() && it.needle.abs_diff(at) < distance)
    }

    pub fn is_of_value(&self, name: Name, value: u64) -> bool {
        self.any(|planted| planted.name == name && planted.value.number == value)
    }

    pub fn is_of_volume(&self, volume: VolumeId) -> bool {
        self.any(|planted| planted.name.0 == volume)
    }

    /// Whether a request for an object may find damage.
    pub fn may_hit(&self, name: Name, from: u64, until: u64) -> bool {
        self.any(|planted| {
            let overlaps = planted.since <= until && planted.until >= from;
            planted.name == name && planted.is_fatal() && overlaps
        })
    }

    /// Whether a volume has enough damaged places to become suspect.
    pub fn may_make_suspect(&self, volume: VolumeId) -> bool {
        let all = self.0.borrow();
        let of = all.iter().filter(|planted| planted.name.0 == volume && planted.is_fatal());
        of.count() >= SUSPECT_PLACES
    }

    /// Asserts that an answer with all of a value does not contradict its damage.
    pub fn check_read(&self, name: Name, value: u64, called: u64, now: u64) {
        let contradicts = |it: &Planted| it.is_fatal() && it.lasts(called, now);
        self.check(name, value, contradicts);
    }

    /// Asserts that an answer from the header of a value does not contradict its damage.
    pub fn check_head(&self, name: Name, value: u64, called: u64, now: u64) {
        let contradicts = |it: &Planted| it.is_headless() && it.lasts(called, now);
        self.check(name, value, contradicts);
    }

    fn check(&self, name: Name, value: u64, contradicts: impl Fn(&Planted) -> bool) {
        let all = self.0.borrow();
        let mut of = all.iter().filter(|it| it.name == name && it.value.number == value);
        let found = of.find(|planted| contradicts(planted));
        assert!(found.is_none(), "served although it is damaged: {found:?}");
    }

    /// The damage of the values of an object.
    pub fn of(&self, name: Name) -> BTreeMap<u64, Damaged> {
        let all = self.0.borrow();
        let of = all.iter().filter(|planted| planted.name == name && planted.is_fatal());
        let damaged = |it: &Planted| Damaged {
            since: it.since,
            until: it.until,
            is_of_head: it.is_of_head(),
            is_in_part: it.is_of_large(),
        };
        of.map(|planted| (planted.value.number, damaged(planted))).collect()
    }

    /// Asserts that what a scrub has found in a volume was damaged, and that it has found what is damaged of
    /// the objects `unreadable`. Returns the number of places.
    pub fn check_found(&self, file: VolumeFile, found: &[FoundDamage], unreadable: &[Name]) -> u64 {
        let all = self.0.borrow();
        let of: Vec<&Planted> = all.iter().filter(|it| it.name.0 == file.volume).collect();
        let id_of = |name: &Name| NeedleId::new(name.1, 0);
        for damage in found {
            let at = damage.finding.at;
            let is_at = |it: &&&Planted| (at.offset..at.offset + at.len).contains(&it.at);
            let is_of = |it: &&&Planted| damage.finding.id == Some(id_of(&it.name));
            let cause = of.iter().find(|it| is_of(it) || (it.file == file && is_at(it)));
            assert!(cause.is_some(), "no cause for {damage:?} in {file:?}; damaged is {of:?}");
        }
        for name in unreadable.iter().filter(|name| name.0 == file.volume) {
            let ids = || found.iter().filter(|it| it.finding.id == Some(id_of(name)));
            let covers = |it: &&&Planted| {
                let mut ranges = found.iter().map(|damage| damage.finding.at);
                let is_here = it.file == file && it.name == *name;
                is_here && ranges.any(|at| (at.offset..at.offset + at.len).contains(&it.at))
            };
            // What a compaction could not carry over is gone: nothing is damaged any more.
            let may_be_gone =
                of.iter().any(|it| it.name == *name && it.file != file && it.is_headless());
            assert!(
                ids().next().is_some() || of.iter().any(|it| covers(&it)) || may_be_gone,
                "damage, and the scrub did not find it: {name:?} in {file:?}; damaged is {of:?}, found \
                 {found:?}"
            );
        }
        found.len() as u64
    }
}
