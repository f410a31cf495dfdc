//! Transfers in flight on each device, of which there are a number at most, and those that wait for
//! their turn. Both drivers of the seam keep them so.

use std::collections::VecDeque;

use crate::op::{FileId, Op, Token};
use crate::sabotage::{Sabotage, chosen};

/// One device.
#[derive(Debug, Default)]
struct Device {
    /// What the system calls it.
    number: u64,
    in_flight: usize,
    waiting: VecDeque<(Token, Op)>,
}

/// The devices that transfers have gone to.
#[derive(Debug)]
pub struct Devices {
    list: Vec<Device>,
    limit: usize,
}

/// A transfer that has waited.
#[derive(Debug)]
pub enum Next {
    /// It begins now, and keeps its device busy.
    Begins(Token, Op),
    /// Its file was closed meanwhile.
    Closed(Token, Op),
}

/// The file of a transfer; nothing of another operation.
#[must_use]
pub fn transfer_of(op: &Op) -> Option<FileId> {
    match op {
        Op::Read { file, .. } | Op::Write { file, .. } => Some(*file),
        _ => None,
    }
}

impl Devices {
    /// None yet; each takes at most `limit` transfers at once.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { list: Vec::new(), limit }
    }

    /// The position of a device, which is noted when it is new.
    pub fn position(&mut self, number: u64) -> usize {
        let known = self.list.iter().position(|device| device.number == number);
        known.unwrap_or_else(|| {
            self.list.push(Device { number, ..Device::default() });
            self.list.len() - 1
        })
    }

    /// Each takes at most so many from now on.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// A transfer wants to begin: it is given back if it may. Else it waits.
    pub fn begin(&mut self, device: usize, token: Token, op: Op) -> Option<(Token, Op)> {
        let device = &mut self.list[device];
        if device.in_flight >= self.limit {
            device.waiting.push_back((token, op));
            return None;
        }
        device.in_flight += 1;
        Some((token, op))
    }

    /// A transfer has ended.
    ///
    /// # Panics
    /// When none was in flight.
    pub fn end(&mut self, device: usize) {
        let device = &mut self.list[device];
        assert!(device.in_flight > 0, "a transfer ended that had not begun");
        device.in_flight -= 1;
    }

    /// The next of those that wait, if there is room for it. After one whose file was closed there may
    /// be another.
    pub fn next(&mut self, device: usize, is_open: impl Fn(FileId) -> bool) -> Option<Next> {
        let device = &mut self.list[device];
        if device.in_flight >= self.limit {
            return None;
        }
        let (token, op) = device.waiting.pop_front()?;
        if transfer_of(&op).is_some_and(is_open) {
            device.in_flight += 1;
            return Some(Next::Begins(token, op));
        }
        device.in_flight += usize::from(chosen(Sabotage::LeakDeviceSlot));
        Some(Next::Closed(token, op))
    }

    /// Transfers that keep a device busy, and those that wait for it.
    #[must_use]
    pub fn counts(&self, device: usize) -> (usize, usize) {
        let device = &self.list[device];
        (device.in_flight, device.waiting.len())
    }

    /// Compares with a recount of the transfers that keep each device busy.
    ///
    /// # Panics
    /// When they differ, or some wait for a device that has nothing to do.
    pub fn expect(&self, recounted: impl Fn(usize) -> usize) {
        for (position, device) in self.list.iter().enumerate() {
            assert_eq!(device.in_flight, recounted(position), "transfers of device {position}");
            let hangs = device.in_flight == 0 && !device.waiting.is_empty();
            assert!(!hangs, "transfers wait for device {position}, which has nothing to do");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::{Pool, Region};

    /// Two transfers wait behind one; the first of them belongs to file 1.
    #[test]
    fn what_waited_for_a_closed_file_takes_nobodys_turn() {
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut devices = Devices::new(1);
        let device = devices.position(77);
        assert_eq!(devices.position(77), device);
        let read = |file| {
            let buf = pool.alloc(512).unwrap();
            Op::Read { file: FileId(file), buf, start: 0, len: 512, offset: 0 }
        };
        let token = |index| Token { index, generation: 0 };
        assert!(devices.begin(device, token(0), read(0)).is_some());
        assert!(devices.begin(device, token(1), read(1)).is_none());
        assert!(devices.begin(device, token(2), read(0)).is_none());
        assert!(devices.next(device, |_| true).is_none(), "there is no room yet");
        devices.end(device);
        let closed = devices.next(device, |file| file != FileId(1));
        assert!(matches!(closed, Some(Next::Closed(token, _)) if token.index == 1));
        let begun = devices.next(device, |file| file != FileId(1));
        assert!(matches!(begun, Some(Next::Begins(token, _)) if token.index == 2));
        devices.expect(|_| 1);
        devices.end(device);
        devices.expect(|_| 0);
    }
}
