//! Checks that this machine allows what the configuration needs: open files and memory.
//!
//! `serve` runs the checks before it opens anything; `config check` runs the same ones.

use super::super::control;
use super::super::error::StartError;
use super::memory::Memory;
use super::open_files::OpenFiles;
use crate::base::limits::{CHANGES_MAX, REFUSALS_MAX};
use crate::base::sys;
use crate::node::config::Config;
use crate::node::control::admin::AdminLimits;
use crate::node::datadir;

/// Fewest connections of clients that a daemon must be able to serve.
const CONNECTIONS_MIN: u64 = 32;
/// Descriptors of the process itself: standard streams, signals, timers and queues of the admin thread, the
/// access trace, and files of /proc and /sys that are read occasionally.
const OF_THE_PROCESS: u64 = 32;
/// Descriptors reserved for volumes that are created while the daemon runs, at most. A low limit reserves
/// fewer; a start needs none of them.
const OF_NEW_VOLUMES: u64 = 64;
/// Volumes that a shard opens at the same time, each with its checkpoint file open.
const OPENED_AT_ONCE: u64 = 4;

/// Result of the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Division of the file descriptors.
    pub files: OpenFiles,
    /// Findings that do not prevent a start, one sentence each.
    pub warnings: Vec<String>,
}

/// Raises the soft limit of open files to the hard limit. Returns the limit now in force; `u64::MAX` if it
/// cannot be read.
pub fn raise_file_limit() -> u64 {
    use nix::sys::resource::{Resource, setrlimit};
    let Ok((soft, hard)) = sys::open_files_limit() else { return u64::MAX };
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!("cannot raise the limit of open files from {soft} to {hard}: {error}");
            soft
        }
    }
}

/// Checks a configuration for a daemon with this number of shards that may have `open_files` files open.
///
/// # Errors
/// [`StartError`]: the machine allows less than the minimum that the daemon needs.
pub fn check(config: &Config, shards: usize, open_files: u64) -> Result<Allowed, StartError> {
    let shards = shards as u64;
    let volumes = datadir::count_volumes(&config.data);
    let reserved = reserved_files(config, shards, volumes);
    let files =
        share_out(open_files, reserved, volumes, shards, config.limits.connections.into()).ok_or(
            StartError::OpenFiles { limit: open_files, needed: reserved + for_clients_min(shards) },
        )?;
    let mut warnings = Vec::new();
    let wanted = u64::from(config.limits.connections);
    if files.connections < wanted {
        warnings.push(format!(
            "limits.connections is {wanted}, and the limit of open files is {open_files}: at most {} \
             connections are accepted. Raise the limit to {} (LimitNOFILE= in the unit, `ulimit -Hn` in a \
             shell), or lower limits.connections",
            files.connections,
            reserved + OF_NEW_VOLUMES + wanted + shards * REFUSALS_MAX,
        ));
    }
    let buffers = config.limits.buffer_memory_per_shard.bytes().saturating_mul(shards);
    let buffers = buffers.saturating_add(control::BUFFERS as u64);
    warnings.extend(Memory::of_this_process().check(buffers)?);
    Ok(Allowed { files, warnings })
}

/// As [`check`], for `hayloft config check`: uses the cores of the configuration and the hard limit of this
/// process, and returns the warnings only.
///
/// # Errors
/// As [`check`].
pub fn check_config(config: &Config) -> Result<Vec<String>, StartError> {
    let shards = config.shard_cores()?.len();
    let hard = sys::open_files_limit().map_or(u64::MAX, |(_, hard)| hard);
    Ok(check(config, shards, hard)?.warnings)
}

/// Number of descriptors that connections of clients must not use.
fn reserved_files(config: &Config, shards: u64, volumes: u64) -> u64 {
    let dirs = config.data.len() as u64;
    let listeners = config.listen.len() as u64 + 1;
    // Its ring, listening sockets, directories, a checkpoint being written in each of them, and volumes being
    // opened with their checkpoints.
    let of_a_shard = 1 + listeners + 2 * dirs + OPENED_AT_ONCE;
    // A new file and its checkpoint for a compaction in each directory.
    let of_compactions = 2 * dirs;
    // Ring, directories and new files of the main thread; a lock for each directory.
    let of_the_main_thread = 1 + 2 * dirs + CHANGES_MAX as u64;
    let of_the_admin_thread = 1 + AdminLimits::default().connections as u64;
    let of_threads = shards * of_a_shard + of_the_main_thread + of_the_admin_thread;
    OF_THE_PROCESS + of_threads + of_compactions + volumes
}

/// Smallest number of descriptors for clients: the minimum of connections, and one refusal per shard.
fn for_clients_min(shards: u64) -> u64 {
    CONNECTIONS_MIN + shards
}

/// Divides `limit` descriptors, of which `reserved` are not for clients. `None` when too few are left.
fn share_out(
    limit: u64,
    reserved: u64,
    volumes: u64,
    shards: u64,
    wanted: u64,
) -> Option<OpenFiles> {
    let left = limit.checked_sub(reserved).filter(|left| *left >= for_clients_min(shards))?;
    let spare = left - for_clients_min(shards);
    let of_new_volumes = spare.min(OF_NEW_VOLUMES);
    let spare = spare - of_new_volumes;
    let refusals_per_shard = (1 + spare / 8 / shards).min(REFUSALS_MAX);
    let left = left - refusals_per_shard * shards;
    let volumes_max = volumes.saturating_add(left - CONNECTIONS_MIN);
    let left = left - of_new_volumes;
    let connections = left.min(wanted);
    let volumes = (volumes + of_new_volumes).saturating_add(left - connections).min(volumes_max);
    Some(OpenFiles { connections, refusals_per_shard, volumes, volumes_max, limit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_and_client_files_never_exceed_the_limit() {
        for limit in (0..5000).step_by(7).chain([1 << 20, u64::MAX]) {
            for (shards, volumes) in [(1, 0), (2, 1), (64, 300)] {
                let config = Config::default();
                let reserved = reserved_files(&config, shards, volumes);
                let Some(files) = share_out(limit, reserved, volumes, shards, 16_384) else {
                    assert!(limit < reserved + for_clients_min(shards));
                    continue;
                };
                let clients = files.connections + files.refusals_per_shard * shards;
                let of_new_volumes = files.volumes.min(volumes + OF_NEW_VOLUMES) - volumes;
                assert!(reserved + of_new_volumes + clients <= limit, "{limit}: {files:?}");
                assert!(files.connections >= CONNECTIONS_MIN && files.refusals_per_shard > 0);
                assert!(files.connections <= 16_384);
                let is_ample = limit >= reserved + OF_NEW_VOLUMES + for_clients_min(shards);
                assert_eq!(
                    is_ample,
                    files.volumes >= volumes + OF_NEW_VOLUMES,
                    "{limit}: {files:?}"
                );
            }
        }
    }

    #[test]
    fn daemon_with_maximum_volumes_serves_clients_and_restarts() {
        for limit in (0..5000).step_by(7).chain([20_000, 1 << 20, u64::MAX]) {
            for (shards, volumes, wanted) in [(1, 0, 1), (2, 1, 16_384), (64, 300, 1000)] {
                let config = Config::default();
                let reserved = reserved_files(&config, shards, volumes);
                let Some(files) = share_out(limit, reserved, volumes, shards, wanted) else {
                    continue;
                };
                assert!(files.volumes_max >= files.volumes, "{limit}: {files:?}");
                let beyond = files.volumes_max - files.volumes;
                let connections = files.connections.saturating_sub(beyond);
                assert!(connections >= CONNECTIONS_MIN.min(wanted), "{limit}: {files:?}");
                if files.volumes_max < u64::MAX / 2 {
                    let then = files.volumes_max;
                    let reserved = reserved_files(&config, shards, then);
                    let again = share_out(limit, reserved, then, shards, wanted);
                    assert!(again.is_some(), "{limit}: {files:?}");
                }
            }
        }
    }

    #[test]
    fn ample_limit_changes_nothing_and_low_limit_cuts_connections() {
        let config = Config::default();
        let ample = check(&config, 2, 1 << 20).unwrap();
        assert_eq!((ample.files.connections, ample.files.refusals_per_shard), (16_384, 256));
        assert!(!ample.warnings.iter().any(|line| line.contains("open files")), "{ample:?}");
        let low = check(&config, 2, 2500).unwrap();
        assert!((1000..2500).contains(&low.files.connections), "{low:?}");
        let lines: Vec<_> =
            low.warnings.iter().filter(|line| line.contains("open files")).collect();
        let [line] = lines[..] else { panic!("{low:?}") };
        for word in ["16384", "2500", "LimitNOFILE", "ulimit -Hn"] {
            assert!(line.contains(word), "{line}");
        }
        assert!(line.contains(&low.files.connections.to_string()), "{line}");
    }

    #[test]
    fn limit_named_in_the_warning_is_sufficient() {
        let config = Config::default();
        let low = check(&config, 2, 1024).unwrap();
        let words = low.warnings[0].split("Raise the limit to ").nth(1).unwrap();
        let named: u64 = words.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(check(&config, 2, named).unwrap().files.connections, 16_384);
    }

    #[test]
    fn too_low_limit_is_refused_with_the_sufficient_number() {
        let config = Config::default();
        let error = check(&config, 2, 64).unwrap_err();
        let StartError::OpenFiles { limit: 64, needed } = error else { panic!("{error}") };
        assert!(check(&config, 2, needed - 1).is_err());
        assert!(check(&config, 2, needed).is_ok());
        let text = StartError::OpenFiles { limit: 64, needed }.to_string();
        assert!(text.contains("LimitNOFILE") && text.contains(&needed.to_string()), "{text}");
    }

    #[test]
    fn soft_limit_of_open_files_is_raised_to_the_hard_one() {
        use nix::sys::resource::{Resource, setrlimit};
        let (soft, hard) = sys::open_files_limit().unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard - 1, hard).unwrap();
        assert_eq!(raise_file_limit(), hard);
        assert_eq!(sys::open_files_limit().unwrap(), (hard, hard));
        assert_eq!(raise_file_limit(), hard);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    }
}
