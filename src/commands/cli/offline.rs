//! Flags and output that `check`, `dump` and `export` share: the commands that read without a daemon.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::output::{error_text, fail, note};
use super::volume_id::volume_id;
use crate::base::size::rounded;
use crate::base::types::VolumeId;
use crate::commands::offline::{Offline, Progress, Selection};
use crate::node::config::Config;

/// Flags that select data directories and volumes.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct OfflineArgs {
    /// Data directory, on which no daemon may be running; repeatable [default: ./hayloft-data]
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,

    /// Volume; repeatable [default: all]
    #[arg(long, value_name = "N", value_parser = volume_id())]
    pub volume: Vec<VolumeId>,

    /// Configuration file of the daemon: its data directories and `buffered` apply unless flags override
    /// them [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Read through the page cache, where O_DIRECT does not work [default: off]
    #[arg(long)]
    pub buffered: bool,
}

impl OfflineArgs {
    /// Opens the selection. Prints notes about missing io_uring and directories without a lock, or the
    /// error, and returns the exit code then.
    pub(super) fn open(self) -> Result<Offline, ExitCode> {
        let config = match &self.config {
            Some(path) => Config::load(path).map_err(|error| fail(&error))?,
            None => Config::default(),
        };
        let data = if self.data.is_empty() { config.data } else { self.data };
        let buffered = self.buffered || config.buffered;
        let selection = Selection { data, volumes: self.volume, buffered };
        let offline = Offline::open(&selection).map_err(|error| fail(&error))?;
        if let Some(why) = offline.without_ring() {
            note(format_args!(
                "note: {why}. Reading goes on without io_uring, with plain reads: slower, with the same \
                 result"
            ));
        }
        for path in offline.unlocked() {
            note(format_args!(
                "note: {} could not be locked, since its lock file can neither be opened nor made \
                 here; make sure that no daemon uses it meanwhile",
                path.display()
            ));
        }
        Ok(offline)
    }
}

/// Prints which file of a volume with several is read, and what the others are.
pub(super) fn print_notes(offline: &Offline) {
    for text in offline.notes() {
        note(format_args!("note: {text}"));
    }
}

/// Interval between updates of the progress meter.
const METER_PERIOD: Duration = Duration::from_millis(200);

/// Progress display on standard error, if that is a terminal.
pub(super) struct Meter {
    is_on: bool,
    last: Option<Instant>,
    is_shown: bool,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { is_on: io::stderr().is_terminal(), last: None, is_shown: false }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= METER_PERIOD);
        if !self.is_on || !(is_due || progress.total.is_none()) {
            return;
        }
        self.last = Some(Instant::now());
        self.is_shown = true;
        let Progress { volume, done, total } = progress;
        error_text(&format!("\r\x1b[Kvolume {volume}: {}", progress_text(done, total)));
    }

    /// Erases the line, before other output.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            error_text("\r\x1b[K");
        }
    }
}

fn progress_text(done: u64, total: Option<u64>) -> String {
    let Some(total) = total else { return "reading the log".to_owned() };
    let percent = u128::from(done) * 100 / u128::from(total.max(1));
    format!("{} of {} verified ({}%)", rounded(done), rounded(total), percent.min(100))
}

/// Describes a position: `volume 1, byte 4096, needle 42/0`. `offset` is in bytes.
pub(super) fn place_text(
    volume: VolumeId,
    offset: Option<u64>,
    key: Option<u64>,
    alt: Option<u32>,
) -> String {
    let mut text = format!("volume {volume}");
    if let Some(offset) = offset {
        text += &format!(", byte {offset}");
    }
    if let (Some(key), Some(alt)) = (key, alt) {
        text += &format!(", needle {key}/{alt}");
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::commands::cli::Cli;

    /// The defaults in the help texts are written by hand: compares them with the real ones.
    #[test]
    fn help_states_the_default_data_directory() {
        let default = format!("[default: {}]", Config::default().data[0].display());
        for name in ["check", "dump", "export"] {
            let mut command = Cli::command();
            let help = command.find_subcommand_mut(name).unwrap().render_long_help().to_string();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.contains(&default) && help.contains("Exit codes: 0"), "{help}");
        }
    }

    #[test]
    fn progress_text_has_rounded_sizes_and_a_percentage() {
        assert_eq!(progress_text(0, Some(0)), "0 B of 0 B verified (0%)");
        assert_eq!(progress_text(1 << 19, Some(1 << 20)), "512.0 KiB of 1.0 MiB verified (50%)");
    }
}
