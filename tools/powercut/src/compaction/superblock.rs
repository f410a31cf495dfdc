//! The superblock of a volume file (docs/FORMAT.md), without the code of the daemon.

const MAGIC: &[u8; 8] = b"HAYLSUPR";
/// Length of the fields that are read (bytes).
const LEN: usize = 512;
/// State of a file that is being built.
const BUILDING: u32 = 0;

/// What a superblock copy says about its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Superblock {
    pub volume: u32,
    pub generation: u64,
    /// Whether the file was finished.
    pub is_finished: bool,
}

impl Superblock {
    /// Decodes a superblock copy at the start of `block`. Its checksum is not verified: a torn copy is as
    /// good for counting.
    pub fn decode(block: &[u8]) -> Option<Self> {
        let block = block.get(..LEN).filter(|block| block.starts_with(MAGIC))?;
        let u32_at = |at: usize| {
            u32::from_le_bytes(block[at..at + 4].try_into().expect("a slice of four bytes"))
        };
        let generation = block[56..64].try_into().expect("a slice of eight bytes");
        Some(Self {
            volume: u32_at(24),
            generation: u64::from_le_bytes(generation),
            is_finished: u32_at(80) != BUILDING,
        })
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A block with a superblock copy.
    pub fn encoded(volume: u32, generation: u64, state: u32) -> Vec<u8> {
        let mut block = vec![0; 4096];
        block[..8].copy_from_slice(MAGIC);
        block[24..28].copy_from_slice(&volume.to_le_bytes());
        block[56..64].copy_from_slice(&generation.to_le_bytes());
        block[80..84].copy_from_slice(&state.to_le_bytes());
        block
    }

    #[test]
    fn only_superblocks_are_decoded() {
        let found = Superblock::decode(&encoded(7, 300, 1));
        assert_eq!(found, Some(Superblock { volume: 7, generation: 300, is_finished: true }));
        assert!(!Superblock::decode(&encoded(7, 300, 0)).unwrap().is_finished);
        assert_eq!(Superblock::decode(&[0; 4096]), None);
        assert_eq!(Superblock::decode(&encoded(1, 1, 1)[..80]), None);
    }
}
