//! Photos of the manifest whose files are gone.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::directory::Import;
use super::progress::locked;
use super::row::{Found, Row};
use super::sender::{Sender, Sent};
use super::upload::replaced;

/// A photo without a file, by its path from the root.
type Gone = (Vec<u8>, Row);

/// If the plan prunes: deletes photos whose files are gone from the store, and then their lines from the
/// manifest; stops the run instead if the walk was incomplete or found no file. Otherwise reports those that
/// are not in the store either. Returns how many photos stay in the store without a file.
///
/// It can be interrupted at any moment: deleting a photo again in the next run succeeds.
pub fn prune(import: &Import<'_>, is_whole: bool) -> u64 {
    let unvisited: Vec<Gone> = {
        let ledger = import.ledger();
        let rows = ledger.rows().filter(|(_, row)| !row.visited);
        rows.map(|(path, row)| (path.to_owned(), row)).collect()
    };
    let is_gone = |(path, _): &Gone| matches!(import.file(path), Ok(None));
    let gone: Vec<Gone> = unvisited.into_iter().filter(is_gone).collect();
    let stored = gone.iter().filter(|(_, row)| row.stored.is_some());
    if !import.run.plan.prune {
        let (lost, kept): (Vec<&Gone>, Vec<&Gone>) =
            stored.partition(|(_, row)| row.found.is_lost());
        report_lost(import, &lost);
        return kept.len() as u64;
    }
    if gone.is_empty() {
        return 0;
    }
    let progress = import.run.progress;
    if !is_whole || progress.found.load(Ordering::Relaxed) == 0 {
        let why = match is_whole {
            false => "a directory could not be read, and what it holds is not known",
            true => "there is no file at all; is its file system mounted?",
        };
        import.run.stop(format!("{}: {why}: nothing was pruned", import.root.display()));
        return gone.len() as u64;
    }
    progress.found.fetch_add(gone.len() as u64, Ordering::Relaxed);
    let queue = Mutex::new(gone.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..import.run.plan.parallel.max(1) {
            scope.spawn(|| delete_all(import, &queue));
        }
    });
    0
}

/// Reports photos that cannot be restored: they are not in the store, and their files are gone.
fn report_lost(import: &Import<'_>, lost: &[&Gone]) {
    import.run.progress.found.fetch_add(lost.len() as u64, Ordering::Relaxed);
    for (path, _) in lost {
        let why = "it is not in the store any more, and the file is gone: restore the file, or let --prune \
                   remove its line from the manifest";
        import.run.fail(import.shown(path), why.to_owned(), false);
    }
}

fn delete_all(import: &Import<'_>, queue: &Mutex<impl Iterator<Item = Gone>>) {
    let sender = Sender::new(import.run);
    while !import.run.stopped() {
        let next = locked(queue).next();
        let Some((path, row)) = next else { return };
        delete(import, &sender, &path, &row);
    }
}

fn delete(import: &Import<'_>, sender: &Sender<'_>, path: &[u8], row: &Row) {
    let fail = |why| import.run.fail(import.shown(path), why, false);
    if matches!(row.found, Found::Other(_)) && !import.run.plan.overwrite {
        return fail(replaced(row.name));
    }
    match sender.delete(row.name) {
        Ok(()) => {}
        Err(Sent::Failed { why, .. }) => return fail(why),
        Err(_) => return,
    }
    let result = import.ledger().forget(path);
    match result {
        Ok(()) => {
            import.run.progress.pruned.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => import.run.stop(error.to_string()),
    }
}
