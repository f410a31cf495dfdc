//! A recovery from beginning to end.

use std::collections::HashMap;

use super::ending::Ending;
use super::input::RecoveryInput;
use super::recovered::Recovered;
use super::recovery::Recovery;
use super::saved::Saved;
use crate::base::limits::LOG_START;
use crate::base::sabotage::{Sabotage, chosen};
use crate::volume::log::contents::Contents;
use crate::volume::log::log_end::LogEnd;
use crate::volume::log::scan::Scanner;

/// Recovers a log, either all of it or what follows a checkpoint. Damage is not an error: it is in the
/// result.
pub async fn recover(log: &RecoveryInput<'_>, saved: Option<Saved>) -> Recovered {
    let scanner = Scanner::new(log.file, log.memory, log.incarnation, log.log_end);
    let reached = saved.as_ref().map(|saved| saved.reached);
    let reached = reached.filter(|_| !chosen(Sabotage::IgnoreReached));
    let saved = saved.unwrap_or_else(|| {
        let start =
            LogEnd { record_at: 0, tail: LOG_START, sequence: 0, record_checksum: 0, version: 0 };
        let contents = Contents::new(log.index());
        Saved { contents, damage: Vec::new(), covers: start, reached: start, epoch: 0 }
    });
    let start = saved.covers;
    let mut recovery = Recovery {
        log,
        scanner,
        staged: None,
        end: start,
        chained: true,
        epoch: saved.epoch,
        reached,
        expiring: HashMap::new(),
        result: Recovered {
            contents: saved.contents,
            end: start,
            ending: Ending::Open,
            torn: None,
            damage: saved.damage,
            commits: 0,
            unread: 0,
            bytes_read: 0,
            began: start.tail,
        },
    };
    recovery.follow_chain().await;
    recovery.decide_tail().await;
    let mut result = recovery.result;
    result.contents.properties_mut().abandon_unheld();
    result.unread = recovery.scanner.lost_sectors;
    result.bytes_read = recovery.scanner.bytes_read;
    let witnesses = [log.hint.map(|hint| hint.version), reached.map(|end| end.version)];
    let version = witnesses.into_iter().flatten().max().unwrap_or(0);
    result.end.version = result.end.version.max(version);
    result
}
