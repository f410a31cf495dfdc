//! The `faultdisk` command: runs the recording device by hand, and makes images of crash states.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use faultdisk::log::{Entry, Kind};
use faultdisk::xfs::Loop;
use faultdisk::{Error, FaultDisk, Replay, RequestLog, Unflushed, state};

const EXAMPLES: &str = "\
Examples:
  truncate -s 1G base && mkfs.xfs -K base && cp base image
    faultdisk run image /tmp/disk
        attach a loop device on the image until Enter is pressed; the log is /tmp/disk/log
    faultdisk list /tmp/disk/log
        list the requests, one per line
    faultdisk state /tmp/disk/log --base base --cut 1200 --unflushed lost --out cut.img
        make an image after a power cut behind entry 1200, without the writes since the last flush
  Exit codes: 0 success; 2 failure.";

/// Block device that records every write and flush, to make images of crash states.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Export an image as a loop device and record the requests to it
    Run {
        /// Image to export; it is modified
        image: PathBuf,
        /// Directory for the log and the mount point; created if absent
        dir: PathBuf,
    },
    /// List the entries of a log
    List {
        /// Log to list
        log: PathBuf,
    },
    /// Make an image of one possible state after a power cut
    State {
        /// Log to replay
        log: PathBuf,
        /// Image of the device before the log began
        #[arg(long)]
        base: PathBuf,
        /// Image to create
        #[arg(long)]
        out: PathBuf,
        /// Number of log entries completed before the power cut [default: all]
        #[arg(long)]
        cut: Option<usize>,
        /// Writes that no flush covers: lost, kept, or a seed that decides for each sector
        #[arg(long, default_value_t = Unflushed::Lost)]
        unflushed: Unflushed,
        /// Number of flushes before the cut that had no effect
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
    println!("{} records to {}; press Enter to stop", device.name(), dir.join("log").display());
    // The end of the input stops the device, too.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(device);
    println!("{} requests recorded", disk.device().done());
    Ok(())
}

fn line(n: usize, entry: &Entry) -> String {
    match entry.kind {
        Kind::Write => {
            format!(
                "{n} write {} bytes at {}, arrived after {} entries",
                entry.len, entry.offset, entry.begun
            )
        }
        Kind::Flush => format!("{n} flush, covers the first {} entries", entry.begun),
    }
}

fn run_command() -> Result<(), Error> {
    match Cli::parse().command {
        Command::Run { image, dir } => run(&image, &dir),
        Command::List { log } => {
            for (n, entry) in RequestLog::open(&log)?.entries().iter().enumerate() {
                println!("{}", line(n, entry));
            }
            Ok(())
        }
        Command::State { log, base, out, cut, unflushed, deaf } => {
            let log = RequestLog::open(&log)?;
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
    match run_command() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faultdisk: {error}");
            ExitCode::from(2)
        }
    }
}
