//! `hayloft-loadgen record`.

use std::path::PathBuf;

use clap::Args;

use crate::error::Error;
use crate::record::convert;

/// Options of `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// An access trace of the daemon; given several times, all are put together by time
    #[arg(long, value_name = "TRACE", required = true)]
    from: Vec<PathBuf>,
    /// Where to write the trace (oracleGeneral), which replay reads
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

impl RecordArgs {
    /// Converts the traces.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is no access trace.
    pub fn run(self) -> Result<bool, Error> {
        let converted = convert(&self.from, &self.to)?;
        println!(
            "{} reads of {} objects, of {} requests in all",
            converted.requests, converted.objects, converted.records
        );
        Ok(true)
    }
}
