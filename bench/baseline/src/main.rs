//! What Hayloft is compared with that is not a product. `cargo xtask bench` starts it; each command is one
//! reference point:
//!
//! - `serve`: the volume files behind a plain server on tokio-uring, a general runtime. What the daemon's own
//!   ring, runtime and buffers are worth is the difference.
//! - `null`: the daemon's ring, runtime and HTTP without a disk. What HTTP costs is its time.
//! - `raw`: the daemon's ring and the disk without HTTP. No server can be faster on this disk.

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
use hayloft::size::ByteSize;

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
    /// Data directory that no daemon has open while this starts; afterwards one may
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
    /// Length of the body of every answer, up to 1MiB
    #[arg(long, value_name = "SIZE")]
    body: ByteSize,
}

#[derive(Args)]
struct RawArgs {
    /// File to read
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// First byte of the part that is read; a multiple of 512
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    from: u64,
    /// Byte behind that part
    #[arg(long, value_name = "BYTES")]
    to: u64,
    /// Bytes of each read, a multiple of 512 up to 2MiB
    #[arg(long, value_name = "BYTES")]
    block: u32,
    /// Reads in flight, 1 to 1024
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    depth: u16,
    /// Seconds that are measured
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that, which are not
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Where random begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn seconds(name: &'static str, value: f64) -> Result<Duration, Error> {
    let there = Duration::try_from_secs_f64(value).ok().filter(|time| time.as_secs() <= 86_400);
    there.ok_or(Error::Usage(format!("--{name} {value} is no time; give seconds from 0 to 86400")))
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
            println!("{}", serde_json::to_string(&figures).expect("numbers"));
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
