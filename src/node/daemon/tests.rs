//! Tests of a whole daemon inside the test process, on real rings.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::StartError;
use super::drain::stop;
use super::ended::{Ended, Reason};
use super::first_volume::FirstVolume;
use super::private::Private;
use super::running::Running;
use super::signals::Signals;
use super::start::start;
use crate::base::logging::Log;
use crate::base::size::ByteSize;
use crate::base::threads::{Threads, name};
use crate::base::types::ShardId;
use crate::node::board::{Board, VolumeState};
use crate::node::config::{Config, Listen, ShardPorts};

/// A configuration of one data directory that does not exist, and free ports.
fn config(dir: &Path) -> Config {
    let any_port = ([127, 0, 0, 1], 0).into();
    let mut config = Config {
        data: vec![dir.join("data")],
        listen: vec![Listen::Tcp(any_port)],
        admin: any_port,
        shard_ports: ShardPorts::Off,
        volume_size: ByteSize::mib(16),
        buffered: true,
        ..Config::default()
    };
    config.limits.buffer_memory_per_shard = ByteSize::mib(8);
    config.limits.drain_timeout_seconds = 1;
    config
}

fn daemon(dir: &Path) -> Running {
    start(&config(dir), &Log::none(), FirstVolume::Leave).unwrap()
}

/// Starts a thread with the name of one more shard, which panics when the daemon begins to drain.
fn shard_that_panics_while_draining(daemon: &mut Running) -> String {
    let shard = name::shard(ShardId::from_index(daemon.shards.len()));
    let thread = panics_while_draining(&daemon.threads, &shard, &daemon.board);
    daemon.shards.push(thread);
    shard
}

fn panics_while_draining(
    threads: &Threads,
    name: &str,
    board: &Arc<Board>,
) -> crate::base::threads::Thread {
    let board = Arc::clone(board);
    let body = move || {
        while !board.draining() {
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("on purpose");
    };
    threads.spawn(name, body).unwrap()
}

fn stop_by_signal(daemon: Running) -> Ended {
    stop(daemon, Reason::Signal("SIGTERM".to_owned()), &mut Signals::none().unwrap())
}

#[test]
fn clean_drain_keeps_the_reason_of_the_stop() {
    for (reason, ended) in [
        (Reason::Signal("SIGTERM".to_owned()), Ended::Drained),
        (Reason::Poisoned, Ended::Poisoned),
        (Reason::NothingToServe, Ended::NothingToServe),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(dir.path());
        let board = Arc::clone(&daemon.board);
        assert_eq!(stop(daemon, reason, &mut Signals::none().unwrap()), ended);
        assert!(board.draining());
    }
}

#[test]
fn shard_that_panics_in_the_drain_is_a_lost_thread() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path());
    shard_that_panics_while_draining(&mut daemon);
    assert_eq!(stop_by_signal(daemon), Ended::ThreadLost);
}

#[test]
fn shard_lost_before_the_signal_prevents_the_drain() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = daemon(dir.path());
    let shard = name::shard(ShardId::from_index(daemon.shards.len()));
    let thread = daemon.threads.spawn(&shard, || panic!("on purpose")).unwrap();
    while !thread.is_finished() {
        std::thread::yield_now();
    }
    daemon.shards.push(thread);
    let board = Arc::clone(&daemon.board);
    assert_eq!(stop_by_signal(daemon), Ended::ThreadLost);
    assert!(!board.draining(), "the other shards would wait for it");
}

#[test]
fn other_thread_that_panics_in_the_drain_is_a_lost_thread() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = daemon(dir.path());
    let thread = panics_while_draining(&daemon.threads, name::LOG, &daemon.board);
    assert_eq!(stop_by_signal(daemon), Ended::ThreadLost);
    assert!(thread.join().is_err());
}

/// A second signal ends the wait for a shard that hangs, but it does not hide that another one panicked.
#[test]
fn a_second_signal_ends_the_drain_without_hiding_a_lost_shard() {
    let mut signals = Signals::handle().unwrap();
    for panics in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = daemon(dir.path());
        let lost = panics.then(|| shard_that_panics_while_draining(&mut daemon));
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let hanging = name::shard(ShardId::from_index(daemon.shards.len()));
        let thread = daemon.threads.spawn(&hanging, move || assert!(ends.recv().is_err()));
        daemon.shards.push(thread.unwrap());
        let threads = daemon.threads.clone();
        daemon.drain();
        while lost.as_ref().is_some_and(|shard| !threads.has_ended(shard)) {
            std::thread::yield_now();
        }
        signal_hook::low_level::raise(signal_hook::consts::SIGXCPU).unwrap();
        assert_eq!(daemon.finish(&mut signals), lost);
        assert!(!threads.has_ended(&hanging), "it was not waited for");
        drop(end);
    }
}

#[test]
fn private_daemon_reports_a_shard_that_panics_in_the_drain() {
    let dir = tempfile::tempdir().unwrap();
    let private = Private::start(&config(dir.path()), &Log::none(), FirstVolume::Leave);
    let mut private = private.unwrap();
    let shard = shard_that_panics_while_draining(private.daemon());
    match private.stop() {
        Err(StartError::ThreadEnded(thread)) => assert_eq!(thread, shard),
        other => panic!("{other:?}"),
    }
}

#[test]
fn private_daemon_serves_on_free_ports_and_stops_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let private = Private::start(&config(dir.path()), &Log::none(), FirstVolume::Create);
        let mut private = private.unwrap();
        let (data, admin) = (private.data_address(), private.admin_address());
        assert!(data.port() != 0 && admin.port() != 0 && data != admin);
        let volumes = private.daemon().board.volumes();
        let states: Vec<VolumeState> = volumes.iter().map(|volume| volume.state.get()).collect();
        assert_eq!(states, [VolumeState::Writable], "it does not recover any more");
        let connected = private.run(move || std::net::TcpStream::connect(admin).is_ok());
        assert!(connected);
        assert!(private.stop().is_ok());
    }
}

#[test]
fn set_stop_ends_the_wait_for_the_volumes_of_a_private_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let private = Private::start(&config(dir.path()), &Log::none(), FirstVolume::Create);
    let mut private = private.unwrap();
    let volume = Arc::clone(&private.daemon().board.volumes()[0]);
    let later = Arc::clone(&volume);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        later.state.set(VolumeState::Writable);
    });
    volume.state.set(VolumeState::Recovering);
    let private = private.recovered(&AtomicBool::new(true));
    assert_eq!(volume.state.get(), VolumeState::Recovering);
    volume.state.set(VolumeState::Writable);
    assert!(private.stop().is_ok());
}

/// They look at the board twice a second only.
#[test]
fn drain_wakes_shards_that_sleep() {
    let stops = (0..3).map(|_| {
        let dir = tempfile::tempdir().unwrap();
        let daemon = daemon(dir.path());
        std::thread::sleep(Duration::from_millis(50));
        let began = Instant::now();
        assert_eq!(stop_by_signal(daemon), Ended::Drained);
        began.elapsed()
    });
    let quickest = stops.min().unwrap();
    assert!(quickest < Duration::from_millis(200), "{quickest:?}");
}
