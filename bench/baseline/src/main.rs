//! Reference points that Hayloft is compared with besides other products. `cargo xtask bench` starts them;
//! each command is one reference point:
//!
//! - `serve`: serves the volume files with a plain server on tokio-uring, a general-purpose runtime. The
//!   difference to the daemon is the gain of its own ring, runtime and buffers.
//! - `null`: the daemon's ring, runtime and HTTP without a disk: the cost of HTTP alone.
//! - `raw`: the daemon's ring and the disk without HTTP: the upper bound for any server on this disk.

mod error;
mod null;
mod raw;
mod reply;
mod serve;
mod table;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use hayloft::base::size::ByteSize;

use crate::error::Error;
use crate::raw::Spans;

/// Reference points for measurements of Hayloft.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the photos of a stopped daemon's data directory, with tokio-uring, on one thread
    Serve(ServeArgs),
    /// Answer every GET with the same bytes from memory, through Hayloft's ring and HTTP, on one thread
    Null(NullArgs),
    /// Read random spans of a file through Hayloft's ring, without HTTP, and print figures as JSON
    Raw(RawArgs),
}

#[derive(Args)]
struct ServeArgs {
    /// Data directory; no daemon may have it open until this server has started
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
}

#[derive(Args)]
struct NullArgs {
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Length of every response body, 1B to 1MiB
    #[arg(long, value_name = "SIZE")]
    body: ByteSize,
}

#[derive(Args)]
struct RawArgs {
    /// File to read
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// First byte of the range to read; a multiple of 512
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    from: u64,
    /// End of the range to read (exclusive)
    #[arg(long, value_name = "BYTES")]
    to: u64,
    /// Bytes of each read, a multiple of 512 up to 2MiB
    #[arg(long, value_name = "BYTES")]
    block: u32,
    /// Reads in flight, 1 to 1024
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    depth: u16,
    /// Measured time in seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Warm-up time in seconds, not measured
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seed of the random offsets
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn seconds(name: &'static str, value: f64) -> Result<Duration, Error> {
    let there = Duration::try_from_secs_f64(value).ok().filter(|time| time.as_secs() <= 86_400);
    there.ok_or(Error::Usage(format!(
        "--{name} {value} is not a valid time; give seconds from 0 to 86400"
    )))
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Serve(args) => serve::run(&args.data, args.listen),
        Command::Null(args) => null::run(args.listen, args.body),
        Command::Raw(args) => {
            let RawArgs { file, from, to, block, depth, seed, .. } = args;
            let spans = Spans::new(from, to, block)?;
            let (time, warmup) =
                (seconds("seconds", args.seconds)?, seconds("warmup", args.warmup)?);
            if time.is_zero() {
                return Err(Error::Usage("--seconds 0 measures nothing; give more".to_owned()));
            }
            let figures = raw::measure(&file, spans, depth.into(), (warmup, time), seed)?;
            println!("{}", serde_json::to_string(&figures).expect("numbers always serialize"));
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hayloft-baseline: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { 2 } else { 1 })
        }
    }
}
