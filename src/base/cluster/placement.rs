//! Where the copies of a volume are.

use std::fmt;

/// Number of further copies of a volume in other data centers, in other racks and on other nodes of the same
/// rack, as three decimal digits in one byte: 100 for each data center, 10 for each rack, 1 for each node.
/// Every byte is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReplicaPlacement(pub u8);

impl ReplicaPlacement {
    /// Number of copies, this one included.
    #[must_use]
    pub fn copies(self) -> u32 {
        u32::from(self.0 / 100) + u32::from(self.0 / 10 % 10) + u32::from(self.0 % 10) + 1
    }
}

impl fmt::Display for ReplicaPlacement {
    /// Writes the three digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_further_copies() {
        for (byte, text, copies) in
            [(0, "000", 1), (1, "001", 2), (110, "110", 3), (255, "255", 13)]
        {
            let placement = ReplicaPlacement(byte);
            assert_eq!((placement.to_string().as_str(), placement.copies()), (text, copies));
        }
    }
}
