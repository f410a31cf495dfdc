//! Limits the transfers (reads and writes of files) in flight on each device, and queues further ones. Used
//! by both drivers.

use std::collections::VecDeque;

use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::op::{FileId, Op, Token};

/// A device.
#[derive(Debug, Default)]
struct Device {
    /// Device number (`st_dev`).
    number: u64,
    in_flight: usize,
    waiting: VecDeque<(Token, Op)>,
}

/// The devices that hold open files.
#[derive(Debug)]
pub struct Devices {
    list: Vec<Device>,
    limit: usize,
}

/// A transfer that leaves the queue of a device.
#[derive(Debug)]
pub enum Next {
    /// It begins now and counts as in flight.
    Begins(Token, Op),
    /// Its file was closed meanwhile; it does not count as in flight.
    Closed(Token, Op),
}

/// Returns the file of a transfer; `None` for other operations.
#[must_use]
pub fn transfer_of(op: &Op) -> Option<FileId> {
    match op {
        Op::Read { file, .. } | Op::Write { file, .. } => Some(*file),
        _ => None,
    }
}

impl Devices {
    /// Creates an empty list of devices, each with at most `limit` transfers in flight.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { list: Vec::new(), limit }
    }

    /// Returns the position of the device with this number; adds the device when it is new.
    pub fn position(&mut self, number: u64) -> usize {
        let known = self.list.iter().position(|device| device.number == number);
        known.unwrap_or_else(|| {
            self.list.push(Device { number, ..Device::default() });
            self.list.len() - 1
        })
    }

    /// Sets the maximum number of transfers in flight on each device.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Counts a transfer as in flight and returns it, or queues it when the device has reached its limit.
    pub fn begin(&mut self, device: usize, token: Token, op: Op) -> Option<(Token, Op)> {
        let device = &mut self.list[device];
        if device.in_flight >= self.limit {
            device.waiting.push_back((token, op));
            return None;
        }
        device.in_flight += 1;
        Some((token, op))
    }

    /// Records the end of a transfer.
    ///
    /// # Panics
    /// When none was in flight.
    pub fn end(&mut self, device: usize) {
        let device = &mut self.list[device];
        assert!(device.in_flight > 0, "a transfer ended that had not begun");
        device.in_flight -= 1;
    }

    /// Removes and returns the next queued transfer, if the device is below its limit. To be called again
    /// after [`Next::Closed`], which leaves the device free.
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

    /// Numbers of transfers in flight on a device and queued for it.
    #[must_use]
    pub fn counts(&self, device: usize) -> (usize, usize) {
        let device = &self.list[device];
        (device.in_flight, device.waiting.len())
    }

    /// Compares the transfers in flight with a recount for each position.
    ///
    /// # Panics
    /// When they differ, or transfers are queued for an idle device.
    pub fn expect(&self, recounted: impl Fn(usize) -> usize) {
        for (position, device) in self.list.iter().enumerate() {
            assert_eq!(
                device.in_flight,
                recounted(position),
                "transfers in flight on device {position}"
            );
            let is_stuck = device.in_flight == 0 && !device.waiting.is_empty();
            assert!(!is_stuck, "transfers are queued for device {position}, which is idle");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::buffer::{Pool, Region};

    /// Two transfers are queued behind one; the first of them belongs to file 1, which is closed.
    #[test]
    fn queued_transfer_of_a_closed_file_uses_no_slot() {
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
        assert!(devices.next(device, |_| true).is_none(), "the device is at its limit");
        devices.end(device);
        let closed = devices.next(device, |file| file != FileId(1));
        assert!(matches!(closed, Some(Next::Closed(token, _)) if token.index == 1));
        let begun = devices.next(device, |file| file != FileId(1));
        assert!(matches!(begun, Some(Next::Begins(token, _)) if token.index == 2));
        devices.expect(|_| 1);
        devices.end(device);
        devices.expect(|_| 0);
    }

    #[test]
    fn each_device_has_its_own_queue_and_limit() {
        let pool = Pool::new(&Region::map(1, 1 << 20).unwrap(), 0);
        let mut devices = Devices::new(1);
        let [first, second] = [77, 78].map(|number| devices.position(number));
        assert_ne!(first, second);
        assert_eq!([77, 78].map(|number| devices.position(number)), [first, second]);
        let token = |index| Token { index, generation: 0 };
        let read = || {
            let buf = pool.alloc(512).unwrap();
            Op::Read { file: FileId(0), buf, start: 0, len: 512, offset: 0 }
        };
        assert!(devices.begin(first, token(0), read()).is_some());
        assert!(devices.begin(first, token(1), read()).is_none());
        assert!(devices.begin(second, token(2), read()).is_some(), "the other device is free");
        assert_eq!((devices.counts(first), devices.counts(second)), ((1, 1), (1, 0)));
        devices.end(second);
        assert!(devices.next(second, |_| true).is_none(), "nothing waits for it");
        devices.set_limit(2);
        let begun = devices.next(first, |_| true);
        assert!(matches!(begun, Some(Next::Begins(token, _)) if token.index == 1));
        assert_eq!((devices.counts(first), devices.counts(second)), ((2, 0), (0, 0)));
    }
}
