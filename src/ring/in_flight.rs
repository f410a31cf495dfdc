//! Operations that the kernel has, and what they keep alive.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use nix::libc;
use nix::sys::socket::SockaddrStorage;
use slab::Slab;

use crate::runtime::buffer::{Buf, Lent};
use crate::runtime::op::{DirId, FileId, Sock, Token};

/// Resources that an operation in flight keeps alive; also determines how its completion is handled.
pub enum Held {
    Nothing,
    Name {
        _name: CString,
    },
    Names {
        _from: CString,
        _to: CString,
    },
    /// Opening a file: the result is a descriptor, which is registered as a file.
    Opening {
        _name: CString,
    },
    /// Syncing a file.
    Sync(FileId),
    /// Syncing a directory.
    SyncDir(DirId),
    /// A read, receive or send with one buffer.
    Buf(Buf),
    /// A send of lent bytes.
    Lent(Lent),
    /// A connection that is being opened.
    Connecting {
        /// Its socket, which is closed if that fails. Absent once the ring has ended.
        socket: Option<OwnedFd>,
        _address: Box<SockaddrStorage>,
    },
    /// A gathered write, with the list of its pieces that the kernel reads.
    Gather {
        bufs: Vec<Buf>,
        _pieces: Box<[libc::iovec]>,
        /// The file, if the write is durable.
        durable: Option<FileId>,
    },
    /// A receive into a buffer that the kernel picks.
    RecvAny(Sock),
}

/// An operation in flight.
pub struct InFlight {
    pub token: Token,
    /// Number of previous uses of the slot.
    generation: u32,
    pub held: Held,
    /// Position of the device on which the operation counts as in flight.
    pub device: Option<usize>,
}

/// The operations in flight. Each has a number, which the kernel returns with its completion: the slot (low
/// 32 bits) and the generation of the slot, so that no completion is taken for that of another operation.
pub struct InFlightTable {
    entries: Slab<InFlight>,
    /// Generation of each slot; kept when the slot is free.
    generations: Vec<u32>,
    /// Slot of each token's operation.
    slots: Vec<u32>,
}

fn slot_of(number: u64) -> usize {
    usize::try_from(number & 0xffff_ffff).expect("32 bits")
}

impl InFlightTable {
    pub fn new() -> Self {
        Self { entries: Slab::with_capacity(4096), generations: Vec::new(), slots: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an operation and returns its number.
    pub fn insert(&mut self, token: Token, held: Held, device: Option<usize>) -> u64 {
        let slot = self.entries.vacant_key();
        if self.generations.len() <= slot {
            self.generations.resize(slot + 1, 0);
        }
        let generation = self.generations[slot];
        self.entries.insert(InFlight { token, generation, held, device });
        let index = token.index as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, u32::MAX);
        }
        let slot = u32::try_from(slot).expect("fewer than 2^32 operations");
        self.slots[index] = slot;
        u64::from(generation) << 32 | u64::from(slot)
    }

    /// Removes the operation with this number after its completion.
    ///
    /// # Panics
    /// When it was removed before.
    pub fn remove(&mut self, number: u64) -> InFlight {
        let slot = slot_of(number);
        let generation = u32::try_from(number >> 32).expect("32 bits");
        assert_eq!(self.entries[slot].generation, generation, "a completion came twice");
        let entry = self.entries.remove(slot);
        self.generations[slot] = generation.wrapping_add(1);
        self.slots[entry.token.index as usize] = u32::MAX;
        entry
    }

    /// Returns the operation with this number; `None` for a number that belongs to no operation.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut InFlight> {
        self.entries.get_mut(slot_of(number))
    }

    /// Returns the operation of a token, with its number; `None` if it has completed.
    pub fn find(&self, token: Token) -> Option<(u64, &InFlight)> {
        let slot = self.slots.get(token.index as usize).copied().unwrap_or(u32::MAX);
        let entry = self.entries.get(slot as usize).filter(|entry| entry.token == token)?;
        Some((u64::from(entry.generation) << 32 | u64::from(slot), entry))
    }

    /// Closes the sockets of the connections that are being opened. What the kernel may still access stays.
    pub fn close_sockets(&mut self) {
        for (_, entry) in &mut self.entries {
            if let Held::Connecting { socket, .. } = &mut entry.held {
                socket.take();
            }
        }
    }

    /// Counts the operations in flight on a device.
    pub fn on_device(&self, device: usize) -> usize {
        self.entries.iter().filter(|(_, entry)| entry.device == Some(device)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { index: 0, generation: 0 };

    #[test]
    fn number_of_an_operation_differs_from_that_of_the_one_before_in_its_slot() {
        let mut table = InFlightTable::new();
        let first = table.insert(TOKEN, Held::Nothing, None);
        assert_eq!((table.len(), table.is_empty()), (1, false));
        table.remove(first);
        assert_eq!((table.len(), table.is_empty()), (0, true));
        assert!(table.find(TOKEN).is_none());
        let second = table.insert(TOKEN, Held::Nothing, Some(0));
        assert_eq!(slot_of(second), slot_of(first));
        assert_ne!(second, first);
        assert_eq!(table.find(TOKEN).map(|(number, _)| number), Some(second));
        assert_eq!((table.on_device(0), table.on_device(1)), (1, 0));
    }

    #[test]
    #[should_panic(expected = "a completion came twice")]
    fn completion_of_an_earlier_operation_is_not_taken_for_that_of_a_later_one() {
        let mut table = InFlightTable::new();
        let first = table.insert(TOKEN, Held::Nothing, None);
        table.remove(first);
        table.insert(TOKEN, Held::Nothing, None);
        table.remove(first);
    }
}
