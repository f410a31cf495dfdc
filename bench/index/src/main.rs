//! What the index of a volume costs in memory and time, next to hashbrown. Prints tables in Markdown;
//! `cargo xtask index-bench` records them.

mod checkpoint;
mod memory;
mod time;

use clap::Parser;
use hayloft::types::NeedleId;
use hayloft::volume::Location;

/// Measures the index.
#[derive(Parser)]
struct Args {
    /// Needles: 1M, 10M, 100M.
    #[arg(long, default_value = "10M", value_parser = millions)]
    entries: u64,
}

fn millions(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('M').and_then(|number| number.parse::<u64>().ok());
    let number = number.filter(|number| (1..=1000).contains(number));
    number
        .map(|number| number * 1_000_000)
        .ok_or_else(|| "a number of millions, like 10M".to_owned())
}

/// Size of the volume (bytes).
const VOLUME: u64 = 100 << 30;
const SEED: u64 = 42;

/// An order of names.
type Order = (&'static str, fn(u64) -> NeedleId);

const ORDERS: [Order; 3] = [
    ("sequential", |n| NeedleId::new(n, 0)),
    ("random", |n| NeedleId::new((n + 1).wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29), 0)),
    ("4 alternates", |n| NeedleId::new(n / 4, u32::try_from(n % 4).expect("below 4"))),
];

/// Where needle `n` might be.
fn place(n: u64) -> Location {
    let units = VOLUME / 512 - 1;
    Location { offset: (1 + n.wrapping_mul(7) % units) * 512, len: (1 + n % 2000) * 512 }
}

fn main() {
    let args = Args::parse();
    println!("A volume of 100 GiB. Times are those of one thread on one core.\n");
    time::table(args.entries);
    checkpoint::table(args.entries);
    memory::table(args.entries);
}
