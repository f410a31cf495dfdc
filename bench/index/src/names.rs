//! Needle ids of the measurements, and their locations in the volume.

use hayloft::base::types::NeedleId;
use hayloft::volume::Location;

/// Size of the volume (bytes).
pub const VOLUME: u64 = 100 << 30;
/// Seed of the hash function.
pub const SEED: u64 = 42;

/// Name of an insertion order, and its function from the sequence number to the needle id.
pub type Order = (&'static str, fn(u64) -> NeedleId);

/// Measured insertion orders.
pub const ORDERS: [Order; 3] = [
    ("sequential", |n| NeedleId::new(n, 0)),
    ("random", |n| NeedleId::new((n + 1).wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29), 0)),
    ("4 alternates", |n| NeedleId::new(n / 4, u32::try_from(n % 4).expect("below 4"))),
];

/// Arbitrary valid location of needle `n`.
pub fn location(n: u64) -> Location {
    let units = VOLUME / 512 - 1;
    Location { offset: (1 + n.wrapping_mul(7) % units) * 512, len: (1 + n % 2000) * 512 }
}
