//! Damage of the disk, and what an operator does about it: sectors rot, become unreadable and readable again;
//! volumes of which too many reads fail become suspect, as the main thread of a daemon decides, and are
//! cleared.

use hayloft::base::limits::{SUSPECT_HARD, UNIT};
use hayloft::base::types::VolumeId;
use hayloft::node::board::VolumeState as Shown;
use hayloft::node::shard::{ClearVolume, SuspectVolume};
use hayloft::runtime::sim::disk::Image;

use super::Operator;
use crate::node::causes::ChangeKind;
use crate::node::damage::{Found, Harm, Planted, needles, place_of};
use crate::node::files::VolumeFile;

/// Distance from which on errors are in different places, and the length of a long needle (bytes).
const PLACE_DISTANCE: u64 = (1 << 20) + (64 << 10);
/// Values that are damaged at a time.
const AT_A_TIME: [u64; 4] = [1, 1, 2, 3];
/// Attempts to find values in different places of a file.
const ATTEMPTS: u64 = 30;

impl Operator {
    /// Damages values in a volume, or makes one readable again.
    pub(super) async fn damage_or_heal(&mut self, volume: VolumeId) {
        if self.draw(4) == 0 {
            let file = self.settled_file(volume);
            if file.is_some_and(|file| self.causes.damages.heal(&self.world, file)) {
                self.count("sectors readable again");
            }
            return;
        }
        let [count, with_sectors] = [self.draw(AT_A_TIME.len() as u64), self.draw(2)];
        let Some(file) = self.settled_file(volume) else { return };
        let image = self.world.look(|snapshot| snapshot.image());
        let all = needles(&image, file);
        let disk = (&image, file, &all[..]);
        for _ in 0..AT_A_TIME[usize::try_from(count).unwrap()] {
            self.damage(disk, with_sectors == 0, 0);
        }
        if self.draw(4) == 0 {
            // So far apart that each counts.
            for _ in 0..ATTEMPTS {
                self.damage(disk, with_sectors == 0, PLACE_DISTANCE);
            }
            self.scrub(volume).await;
        }
    }

    /// The file of a volume of which no copy is being made: that may be without the damage, or with it.
    fn settled_file(&self, volume: VolumeId) -> Option<VolumeFile> {
        let board = self.metrics.board.volume(volume)?;
        let is_serving = board.state.get().serves() && !board.compaction.is_running();
        let is_settled = is_serving && self.causes.compactions.is_settled(volume);
        self.monitor.current(volume).filter(|_| is_settled)
    }

    /// Damages a value that is at least `distance` bytes away from other damage in the file.
    fn damage(
        &mut self,
        (image, file, all): (&Image, VolumeFile, &[Found]),
        with_sectors: bool,
        distance: u64,
    ) {
        let volume = file.volume;
        let (drawn, byte) = (self.draw(u64::MAX), self.draw(u64::MAX));
        let mut harm = self.one_of(&[Harm::Data, Harm::Data, Harm::Header, Harm::Footer]);
        if with_sectors && self.draw(2) == 0 {
            harm = Harm::Sector;
        }
        let Some((name, value)) = self.seen.borrow().some_durable(volume, drawn) else { return };
        let now = self.world.now();
        let seen = self.seen.borrow();
        // Nobody knows of an object without a header whether it has expired. Of a multipart object, a part is
        // damaged.
        let is_data_only = seen.expires_within(name, 0, u64::MAX) || value.len > 1 << 20;
        let is_known = self.causes.damages.is_of_value(name, value.number);
        if is_known || (is_data_only && harm != Harm::Data) {
            return;
        }
        let Some(place) = place_of(image, (file, all), name, &value) else { return };
        if self.causes.damages.is_near(file, place.needle, distance) {
            return;
        }
        let at = place.byte(harm, byte);
        let offset = usize::try_from(at).unwrap();
        match harm {
            Harm::Sector => self.world.wear_out(&file.name(), offset / UNIT as usize),
            _ => self.world.rot(&file.name(), offset, u32::try_from(byte % 8).unwrap()),
        }
        let (needle, since, until) = (place.needle, now, u64::MAX);
        drop(seen);
        let planted = Planted { name, value, harm, file, at, needle, since, until };
        self.causes.damages.add(planted);
        self.count(match harm {
            Harm::Data => "bits of data changed",
            Harm::Header => "bits of headers changed",
            Harm::Footer => "bits of footers changed",
            Harm::Sector => "sectors unreadable",
        });
    }

    /// Makes volumes suspect of which too many reads failed, as the main thread of a daemon does.
    pub(super) async fn look_at_health(&mut self) {
        for volume in self.causes.present() {
            let Some(board) = self.metrics.board.volume(volume) else { continue };
            let is_open = matches!(board.state.get(), Shown::Writable | Shown::ReadOnly);
            let is_suspect = board.health.suspect.get() != 0;
            if is_suspect {
                self.count("volumes suspect");
                if self.draw(3) == 0 {
                    self.clear(volume).await;
                }
            } else if is_open && board.health.hard_errors.get() >= self.errors_cleared(volume) {
                let number = self.causes.begin(volume, ChangeKind::Suspect);
                let asked = SuspectVolume { volume };
                match self.requester.ask(self.plan.owner_of(volume), asked).await {
                    Ok(_) => self.causes.end_done(number),
                    Err(_) => self.causes.end_unknown(number),
                }
            }
        }
    }

    /// The number of errors from which on the volume is suspect: an operator starts their count anew.
    fn errors_cleared(&self, volume: VolumeId) -> u64 {
        self.cleared.get(&volume).copied().unwrap_or(0) + SUSPECT_HARD
    }

    async fn clear(&mut self, volume: VolumeId) {
        let errors = self.metrics.board.volume(volume).map_or(0, |it| it.health.hard_errors.get());
        let number = self.causes.begin(volume, ChangeKind::Clear);
        let owner = self.plan.owner_of(volume);
        let cleared = self.requester.ask(owner, ClearVolume { volume }).await;
        match cleared {
            Ok(was_suspect) => {
                assert!(was_suspect, "volume {volume} was shown as suspect");
                self.cleared.insert(volume, errors);
                self.causes.end_done(number);
                self.count("suspicions ended");
            }
            Err(_) => self.causes.end_unknown(number),
        }
    }
}
