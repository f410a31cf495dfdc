//! Memory per needle.

use hayloft::volume::index::{Hasher, Index};

use crate::names::{ORDERS, SEED, VOLUME, location};

/// Resident memory of this process (bytes).
fn resident() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")
        .expect("smaps_rollup exists since Linux 4.14");
    let line =
        rollup.lines().find(|line| line.starts_with("Rss:")).expect("smaps_rollup has an Rss line");
    let pages = line.split_whitespace().nth(1).and_then(|number| number.parse::<f64>().ok());
    pages.expect("Rss is a number of KiB") * 1024.0
}

/// Prints the memory table: the index grows to twice `entries`, sampled at every percent from a fifth of
/// `entries` on.
pub fn table(entries: u64) {
    let (from, to) = (entries / 5, entries * 2);
    println!(
        "\n| bytes for each needle, {} to {} M | worst | mean | worst resident | mean resident | \
         resident, from first to last |",
        from as f64 / 1e6,
        to as f64 / 1e6
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for (order, name) in ORDERS {
        let hasher = Hasher::new(SEED);
        let before = resident();
        let mut index = Index::for_volume(VOLUME);
        let (mut worst, mut sum, mut samples) = ([0.0_f64; 2], [0.0; 2], 0.0);
        let mut first = None;
        let mut slope = 0.0;
        for n in 0..to {
            index.insert(hasher.hash(name(n)), location(n));
            let count = n + 1;
            if count >= from && (count - from).is_multiple_of(to / 100) {
                let held = resident() - before;
                let now = [index.memory() as f64, held].map(|bytes| bytes / count as f64);
                for (at, bytes) in now.into_iter().enumerate() {
                    worst[at] = worst[at].max(bytes);
                    sum[at] += bytes;
                }
                samples += 1.0;
                let (begin, held_then) = *first.get_or_insert((count, held));
                if count > begin {
                    slope = (held - held_then) / (count - begin) as f64;
                }
            }
        }
        println!(
            "| {order} | {:.2} | {:.2} | {:.2} | {:.2} | {slope:.2} |",
            worst[0],
            sum[0] / samples,
            worst[1],
            sum[1] / samples,
        );
    }
}
