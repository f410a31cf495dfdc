//! How far an import is, on standard error: a bar on a terminal, else a line from time to time.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::note;
use crate::size::rounded;
use crate::transfer::import::Progress;

/// How often a bar is drawn, and notices looked for.
const LOOK: Duration = Duration::from_millis(200);
/// How often a line is written.
const LINE: Duration = Duration::from_secs(10);

/// What shows it, until it is ended.
pub struct Shown {
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Shown {
    /// Ends it.
    pub fn end(self) {
        drop(self.end);
        // Nothing in it can fail that matters.
        let _ = self.thread.join();
    }
}

/// Shows it from now on.
pub fn show(progress: &Arc<Progress>) -> Shown {
    let (end, ended) = channel();
    let progress = Arc::clone(progress);
    let is_terminal = std::io::stderr().is_terminal();
    let thread = std::thread::spawn(move || {
        let bar = is_terminal.then(new_bar);
        let mut last_line = Instant::now();
        while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
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

/// Writes what is to be said at once, above the bar.
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

/// The photos of the manifest for which the store was asked, and their number, while that is under way.
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

/// What was done, in words.
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
