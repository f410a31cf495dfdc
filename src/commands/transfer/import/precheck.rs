//! Checks of an import of a directory before anything is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::directory::Import;
use super::error::ImportError;
use super::row::{Found, Row};
use super::run::TOO_LARGE_NAMED;
use crate::base::types::VolumeId;
use crate::commands::client::ClientError;
use crate::commands::transfer::file::{SourceFile, Stamp};

impl Import<'_> {
    /// Refuses a store that has no photo of the manifest: it may be another store. It is accepted as one that
    /// has lost its photos if the volumes that the manifest names are empty, or with `--restore`.
    pub(super) fn refuse_another_store(&self, manifest: &Path) -> Result<(), ImportError> {
        let ledger = self.ledger();
        let mut stored = ledger.rows().filter(|(_, row)| row.stored.is_some()).peekable();
        if stored.peek().is_none() || self.run.plan.restore {
            return Ok(());
        }
        let mut volumes = BTreeSet::new();
        for (_, row) in stored {
            if row.found != Found::Nothing {
                return Ok(());
            }
            volumes.insert(row.name.volume);
        }
        if self.run.volumes.photos_in(&volumes) == Some(0) {
            return Ok(());
        }
        let server = self.run.plan.server.clone();
        Err(ImportError::OtherStore { path: manifest.to_owned(), server })
    }

    /// Ends the run unless every volume takes writes to which the manifest assigns lost photos with a file,
    /// or changed files. Creates missing volumes if the plan says so.
    pub(super) fn prepare_volumes(&self) {
        let lost: Vec<_> = {
            let ledger = self.ledger();
            let lost = ledger.rows().filter(|(_, row)| row.found.is_lost());
            lost.map(|(path, row)| (path.to_owned(), row.name.volume)).collect()
        };
        let has_file = |path: &[u8]| self.file(path).is_ok_and(|file| file.is_some());
        let with_file = lost.into_iter().filter(|(path, _)| has_file(path));
        let mut needed: BTreeSet<VolumeId> = with_file.map(|(_, volume)| volume).collect();
        if self.run.plan.create_volumes.is_some() {
            needed.extend(self.run.plan.volume);
        }
        let changed = match self.changed_in_unfit_volumes() {
            Ok(changed) => changed,
            Err(error) => return self.run.stop(format!("{error}; nothing was stored")),
        };
        needed.extend(changed.keys());
        let prepared = self.run.plan.prepare(&self.run.volumes, &needed, &self.run.progress.stop);
        if let Err(why) = prepared {
            let example = changed.values().next();
            let example = example.map(|path| format!("; {} was changed", self.shown(path)));
            let example = example.unwrap_or_default();
            self.run.stop(format!(
                "{why}{example}; nothing was stored, and photos of the manifest get no other URL"
            ));
        }
    }

    /// Returns the volumes that take no writes although a file of theirs was changed since it was stored,
    /// each with the path of the first such file.
    fn changed_in_unfit_volumes(&self) -> Result<BTreeMap<VolumeId, Vec<u8>>, ClientError> {
        let is_there = |row: &Row| match row.found {
            Found::Same => true,
            Found::Other(_) => self.run.plan.overwrite,
            _ => false,
        };
        let volumes: BTreeSet<VolumeId> =
            self.ledger().rows().map(|(_, row)| row.name.volume).collect();
        let unfit = self.run.volumes.unfit(&volumes)?;
        let unfit: BTreeSet<VolumeId> = unfit.into_iter().map(|unfit| unfit.id).collect();
        let mut changed = BTreeMap::new();
        if unfit.is_empty() {
            return Ok(changed);
        }
        let rows: Vec<_> = {
            let ledger = self.ledger();
            let rows = ledger.rows().filter(|(_, row)| unfit.contains(&row.name.volume));
            let rows = rows.filter(|(_, row)| is_there(row));
            rows.map(|(path, row)| (path.to_owned(), row)).collect()
        };
        for (path, row) in rows {
            if self.run.stopped() {
                break;
            }
            if !changed.contains_key(&row.name.volume) && self.replaces(&path, &row) {
                changed.insert(row.name.volume, path);
            }
        }
        Ok(changed)
    }

    /// Returns whether a file is to be stored over the photo in the store; false if it cannot be read.
    fn replaces(&self, path: &[u8], row: &Row) -> bool {
        let (Ok(Some(stamp)), Some(stored)) = (self.file(path), row.stored) else { return false };
        if row.found != Found::Same {
            return true;
        }
        if stamp == stored.stamp || stamp.size != stored.stamp.size {
            return stamp != stored.stamp;
        }
        let file = SourceFile::open(&self.root.join(OsStr::from_bytes(path)));
        file.and_then(|file| file.hash()).is_ok_and(|hash| hash != stored.etag)
    }

    /// Adds a notice, before anything is sent, about files to be sent that are larger than the store takes.
    pub(super) fn name_too_large(&self) {
        if self.run.largest_body.is_none() {
            return;
        }
        let own = self.own_files();
        let (mut count, mut names) = (0, Vec::new());
        for entry in self.walk(|_| ()).flatten() {
            if self.run.stopped() {
                return;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let stamp = Stamp::of(&metadata);
            let path = self.relative(entry.path());
            if metadata.is_file()
                && self.run.too_large(stamp.size).is_some()
                && !own.iter().any(|own| own == entry.path())
                && self.is_sent(path, stamp)
            {
                count += 1;
                if names.len() < TOO_LARGE_NAMED {
                    names.push((self.shown(path), stamp.size));
                }
            }
        }
        self.run.announce_too_large(count, &names, "");
    }

    /// Returns whether a file is sent, judged by its size and time alone.
    fn is_sent(&self, path: &[u8], stamp: Stamp) -> bool {
        let Some(row) = self.ledger().row(path) else { return true };
        let Some(stored) = row.stored else { return true };
        match row.found {
            Found::Same => stored.stamp.size != stamp.size,
            Found::Nothing | Found::Damaged => true,
            Found::Other(_) => self.run.plan.overwrite,
            Found::Unknown => false,
        }
    }
}
