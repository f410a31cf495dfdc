//! The daemon: starts the shards and the admin thread from a configuration, watches them and drains them.
//!
//! | file | holds |
//! | --- | --- |
//! | `serve` | the life of a daemon |
//! | `start` | the start: from a configuration to running threads |
//! | `running` | a started daemon |
//! | `watch` | the main thread of a running daemon |
//! | `readiness` | notifications to a service manager: ready, state, keep-alive |
//! | `signals` | signal handling: which signals drain or stop, and which are only logged |
//! | `drain` | the drain, and the end of all threads |
//! | `ended` | why the daemon stops, and how it ended |
//! | `error` | why the daemon does not start |
//! | `look` | the checks of `config check` |
//! | `private` | a daemon that runs inside the process of another command |
//! | `listeners` | the listening sockets |
//! | `activation` | listening sockets passed by the service manager |
//! | `machine` | checks of the limits of open files and memory |
//! | `medium` | checks of durability and direct I/O of the file systems below the data directories |
//! | `store`, `stores` | one data directory; opening all of them |
//! | `space` | free space for new files |
//! | `volume_files` | the volume files in the data directories |
//! | `generations` | for `config check`: which of several files of a volume counts |
//! | `first_volume` | volume 1, which a start creates |
//! | `placement` | assignment of volumes to shards |
//! | `shards` | launch parameters of the shards, and the body of their threads |
//! | `control` | the main thread's ring |
//! | `work` | the requests that the main thread receives, and the tasks that it runs |
//! | `manager` | creation, deletion and state changes of volumes while the daemon runs |
//! | `cluster` | the node in a SeaweedFS cluster |
//! | `compaction` | compactions: requests, the queue, the policy; volumes created ahead of need |
//! | `health` | which volumes and disks are suspect, and what is remembered of that |
//! | `scrubs` | scrubs, and lists of damage, that operators ask for |
//! | `lists`, `exchanges` | pieces of lists of objects, and of streams of records |
//! | `pulls` | copies of volumes of other stores |
//! | `undeletes` | deleted photos that are taken back |
//! | `disks`, `watched_files` | monitoring of the data directories and volume files |
//! | `admin_token` | the admin token in its file |
//! | `access` | the access trace's file and writer thread |
//! | `random` | random numbers |
//! | `welcome` | the log lines at the start: version and addresses |

mod access;
mod activation;
mod admin_token;
#[cfg(test)]
mod bench;
mod cluster;
mod compaction;
mod control;
mod disks;
mod drain;
mod ended;
mod error;
mod exchanges;
mod first_volume;
mod generations;
mod health;
mod listeners;
mod lists;
mod look;
mod lost;
mod machine;
mod manager;
mod medium;
mod placement;
mod private;
mod pulls;
mod random;
mod readiness;
mod running;
mod scrubs;
mod serve;
mod shards;
mod signals;
mod space;
mod start;
mod store;
mod stores;
#[cfg(test)]
mod tests;
mod undeletes;
mod volume_files;
mod watch;
mod watched_files;
mod welcome;
mod work;

pub use ended::Ended;
pub use error::{Purpose, StartError};
pub use first_volume::FirstVolume;
pub use look::look;
pub use private::Private;
pub use serve::serve;
pub use signals::{Meaning, Signals};
