//! Progress of an import, and of work in the daemon that a command polls, on standard error: a bar on a
//! terminal, else a line every 10 seconds.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::note;
use crate::base::size::rounded;
use crate::commands::transfer::import::Progress;

/// Interval between updates of the bar, and between polls for notices.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// Interval between progress lines.
const LINE: Duration = Duration::from_secs(10);

/// A running progress display.
pub struct Shown {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Shown {
    /// Ends the display, and waits for its thread.
    pub fn end(self) {
        drop(self.end);
        // A panic of the display is no failure of the import.
        let _ = self.thread.join();
    }
}

/// Starts a progress display on a thread of its own.
pub fn show(progress: &Arc<Progress>) -> Shown {
    let (end, ended) = channel();
    let progress = Arc::clone(progress);
    let is_terminal = std::io::stderr().is_terminal();
    let thread = std::thread::spawn(move || {
        let bar = is_terminal.then(new_bar);
        let mut last_line = Instant::now();
        while ended.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            give_notice(bar.as_ref(), &progress);
            match &bar {
                Some(bar) => draw(bar, &progress),
                None if last_line.elapsed() >= LINE => {
                    last_line = Instant::now();
                    note(format_args!("{} so far", state(&progress)));
                }
                None => {}
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        give_notice(None, &progress);
    });
    Shown { end, thread }
}

/// Progress of work in the daemon, whose state a command polls.
pub struct PolledProgress {
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl PolledProgress {
    /// Begins the display.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {msg}").expect("a valid template");
        let bar = || ProgressBar::new(0).with_style(style);
        let bar = std::io::stderr().is_terminal().then(bar);
        Self { bar, last_line: Instant::now() }
    }

    /// Shows that `done` of `total` are done, with a line that describes the state.
    pub fn show(&mut self, done: u64, total: u64, line: impl FnOnce() -> String) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total);
                bar.set_position(done.min(total));
                bar.set_message(line());
            }
            None if self.last_line.elapsed() >= LINE => {
                self.last_line = Instant::now();
                note(line());
            }
            None => {}
        }
    }

    /// Ends the display.
    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes pending notices, above the bar.
fn give_notice(bar: Option<&ProgressBar>, progress: &Progress) {
    let say = |sentence: String| match bar {
        Some(bar) => bar.suspend(|| note(sentence)),
        None => note(sentence),
    };
    progress.notices().into_iter().for_each(say);
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)");
    ProgressBar::new(0).with_style(style.expect("a valid template"))
}

/// Returns how many photos of the manifest were looked up in the store, and how many there are, while that
/// is in progress.
fn asking(progress: &Progress) -> Option<(u64, u64)> {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let (asked, all) = (of(&progress.asked), of(&progress.to_ask));
    (asked < all && of(&progress.found) == 0).then_some((asked, all))
}

fn state(progress: &Progress) -> String {
    match asking(progress) {
        Some((asked, all)) => {
            format!("asked the store for {asked} of {all} photos of the manifest")
        }
        None => counts(progress),
    }
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    if let Some((asked, all)) = asking(progress) {
        bar.set_length(all);
        bar.set_position(asked);
        bar.set_message("looked up in the store");
        return;
    }
    bar.set_length(progress.found.load(Ordering::Relaxed));
    bar.set_position(progress.done());
    let looking = !progress.all_found.load(Ordering::Relaxed);
    let looking = if looking { ", still looking" } else { "" };
    bar.set_message(format!("{}{looking}", counts(progress)));
}

/// Formats the counts of an import: `12 stored (3.4 MiB), 2 failed`.
pub fn counts(progress: &Progress) -> String {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let bytes = rounded(of(&progress.bytes));
    let again = match of(&progress.restored) {
        0 => String::new(),
        restored => format!("; {restored} again, under the URLs of the manifest"),
    };
    let mut text = format!("{} stored ({bytes}{again})", of(&progress.stored));
    for (count, what) in [
        (of(&progress.confirmed), "in the manifest and in the store"),
        (of(&progress.present), "there already"),
        (of(&progress.pruned), "pruned"),
        (of(&progress.failed), "failed"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}
