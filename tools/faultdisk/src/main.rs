//! `faultdisk`: runs the device by hand, and makes images of what a cut can leave.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use faultdisk::log::{Entry, Kind};
use faultdisk::xfs::Loop;
use faultdisk::{Error, FaultDisk, Log, Replay, Unflushed, state};

const EXAMPLES: &str = "\
Examples:
  truncate -s 1G base && mkfs.xfs -K base && cp base image
  faultdisk run image /tmp/disk
      a loop device on the image until Enter is pressed; the log is /tmp/disk/log
  faultdisk list /tmp/disk/log
      what was done, an entry a line
  faultdisk state /tmp/disk/log --base base --cut 1200 --unflushed lost --out cut.img
      the disk after a power cut behind entry 1200, without what was written since the last flush
Exit codes: 0 done; 2 could not.";

/// A block device that records every write and flush.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Export an image as a loop device and record what is done with it
    Run {
        /// The image; it is written
        image: PathBuf,
        /// Where the log and the mount point go; made if absent
        dir: PathBuf,
    },
    /// List the entries of a log
    List {
        /// The log
        log: PathBuf,
    },
    /// Make an image of what a power cut can leave
    State {
        /// The log
        log: PathBuf,
        /// What the device held before
        #[arg(long)]
        base: PathBuf,
        /// The image to make
        #[arg(long)]
        out: PathBuf,
        /// Entries that were carried out [default: all]
        #[arg(long)]
        cut: Option<usize>,
        /// Fate of what no flush covers: lost, kept, or a seed that decides for each sector
        #[arg(long, default_value_t = Unflushed::Lost)]
        unflushed: Unflushed,
        /// So many flushes before the cut did nothing
        #[arg(long, default_value_t = 0)]
        deaf: usize,
    },
}

fn run(image: &Path, dir: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(|source| Error::File {
        what: "create",
        path: dir.to_owned(),
        source,
    })?;
    let disk = FaultDisk::start(image, dir)?;
    let device = Loop::attach(disk.path())?;
    println!("{} records to {}; Enter ends it", device.name(), dir.join("log").display());
    // At the end of the input it ends too.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(device);
    println!("{} entries", disk.device().done());
    Ok(())
}

fn line(n: usize, entry: &Entry) -> String {
    match entry.kind {
        Kind::Write => {
            format!("{n} write {} at {}, begun at {}", entry.len, entry.offset, entry.begun)
        }
        Kind::Flush => format!("{n} flush of the first {}", entry.begun),
    }
}

fn made() -> Result<(), Error> {
    match Cli::parse().command {
        Command::Run { image, dir } => run(&image, &dir),
        Command::List { log } => {
            for (n, entry) in Log::open(&log)?.entries().iter().enumerate() {
                println!("{}", line(n, entry));
            }
            Ok(())
        }
        Command::State { log, base, out, cut, unflushed, deaf } => {
            let log = Log::open(&log)?;
            let all = log.entries().len();
            let cut = cut.unwrap_or(all).min(all);
            let rolling = out.with_extension("rolling");
            let mut replay = Replay::new(&log, &base, &rolling)?;
            replay.advance(state::durable(log.entries(), cut, deaf))?;
            let made = replay.image(cut, unflushed, &out);
            let _ = std::fs::remove_file(&rolling);
            made
        }
    }
}

fn main() -> ExitCode {
    match made() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultdisk: {error}");
            ExitCode::from(2)
        }
    }
}
