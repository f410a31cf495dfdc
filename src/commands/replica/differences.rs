//! The differences between two lists, found while they are taken.

use std::io;
use std::vec;

use super::difference::Difference;
use super::partition::Partition;

/// Iterates over the differences, partition by partition. After an error nothing more is found.
#[derive(Debug)]
pub struct Differences {
    partitions: vec::IntoIter<Partition>,
    found: vec::IntoIter<Difference>,
}

impl Differences {
    pub(super) fn new(partitions: Vec<Partition>) -> Self {
        Self { partitions: partitions.into_iter(), found: Vec::new().into_iter() }
    }
}

impl Iterator for Differences {
    type Item = io::Result<Difference>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(difference) = self.found.next() {
                return Some(Ok(difference));
            }
            match self.partitions.next()?.compare() {
                Ok(found) => self.found = found.into_iter(),
                Err(error) => {
                    self.partitions = Vec::new().into_iter();
                    return Some(Err(error));
                }
            }
        }
    }
}
