//! `hayloft-loadgen record`.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::record::convert;

/// Options of `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// Access trace of the daemon; given several times, the records are merged by time
    #[arg(long, value_name = "TRACE", required = true)]
    from: Vec<PathBuf>,
    /// File to write the trace to (oracleGeneral), for replay
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl RecordArgs {
    /// Converts the traces.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not an access trace.
    pub fn run(self) -> Result<bool, Error> {
        let converted = convert(&self.from, &self.to)?;
        println!(
            "{} reads of {} objects, from {} requests",
            converted.requests, converted.objects, converted.records
        );
        Ok(true)
    }
}
