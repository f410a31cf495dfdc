//! Memory and CPU time of a volume's index, compared with hashbrown. Prints tables in Markdown;
//! `cargo xtask index-bench` records them.

mod checkpoint;
mod memory;
mod names;
mod time;

use clap::Parser;

/// Measures memory and CPU time of the index.
#[derive(Parser)]
struct Args {
    /// Number of needles, in millions (1M to 1000M)
    #[arg(long, default_value = "10M", value_parser = millions)]
    entries: u64,
}

fn millions(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('M').and_then(|number| number.parse::<u64>().ok());
    let number = number.filter(|number| (1..=1000).contains(number));
    number
        .map(|number| number * 1_000_000)
        .ok_or_else(|| "write a number of millions from 1M to 1000M, for instance 10M".to_owned())
}

fn main() {
    let args = Args::parse();
    println!("A volume of 100 GiB. Times are CPU times of one thread.\n");
    time::table(args.entries);
    checkpoint::table(args.entries);
    memory::table(args.entries);
}
