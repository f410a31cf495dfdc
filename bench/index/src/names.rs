//! Which needles are in the index, and where in the volume they might be.

use hayloft::types::NeedleId;
use hayloft::volume::Location;

/// Size of the volume (bytes).
pub const VOLUME: u64 = 100 << 30;
/// Where random begins.
pub const SEED: u64 = 42;

/// An order of names.
pub type Order = (&'static str, fn(u64) -> NeedleId);

/// The orders that are measured.
pub const ORDERS: [Order; 3] = [
    ("sequential", |n| NeedleId::new(n, 0)),
    ("random", |n| NeedleId::new((n + 1).wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29), 0)),
    ("4 alternates", |n| NeedleId::new(n / 4, u32::try_from(n % 4).expect("below 4"))),
];

/// Where needle `n` might be.
pub fn place(n: u64) -> Location {
    let units = VOLUME / 512 - 1;
    Location { offset: (1 + n.wrapping_mul(7) % units) * 512, len: (1 + n % 2000) * 512 }
}
