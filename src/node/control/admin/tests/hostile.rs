//! Misbehaving clients and handlers, and the shutdown of the listener.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get as on_get;

use super::client::{connect, get, raw};
use super::{TestNode, fake_clock, start};
use crate::node::control::ControlHandle;
use crate::node::control::admin::routes::{guarded, timed};
use crate::node::control::admin::{AdminLimits, AdminState, health};

fake_clock!(still);

/// A time limit that no wait in these tests reaches unless it fails.
const LONG: Duration = Duration::from_secs(60);

/// Length of a response that exceeds the socket buffers (bytes).
const HUGE: usize = 32 << 20;

fn node(limits: AdminLimits) -> TestNode {
    TestNode::new(still::now_ns, limits)
}

fn long_limits() -> AdminLimits {
    AdminLimits {
        answer_within: LONG,
        connection_lifetime: LONG,
        shutdown_within: LONG,
        ..AdminLimits::default()
    }
}

/// True if the server has closed or reset the connection by the time the read returns.
fn ends(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(n) => n == 0,
        Err(e) => matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    }
}

/// Serves test routes: one never answers, one answers late, one with a very long body.
fn serve_slow_routes(limits: AdminLimits) -> (ControlHandle, SocketAddr) {
    let routes: Router<AdminState> = Router::new()
        .route("/healthz", on_get(health::healthz))
        .route("/never", on_get(std::future::pending::<&str>))
        .route("/huge", on_get(async || vec![b'x'; HUGE]))
        .route(
            "/late",
            on_get(async || {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "late"
            }),
        );
    let state = node(limits).state;
    start(guarded(timed(routes, &state), state), limits)
}

#[test]
fn silent_clients_do_not_block_others() {
    // Only the bound on connections takes effect here: all deadlines are far away.
    let limits = AdminLimits { connections: 8, ..long_limits() };
    let (_admin, addr) = node(limits).start();
    let mut silent: Vec<_> = (0..40).map(|_| connect(addr)).collect();
    for stream in &mut silent {
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n");
    }
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(get(addr, "/healthz").status, 200);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    // The oldest were closed, and at most the bound of silent connections is left.
    for stream in &silent[..32] {
        assert!(ends(stream), "an old connection lives beyond the bound");
    }
}

#[test]
fn slowly_sending_client_is_cut_at_the_deadline() {
    let limits = AdminLimits { connection_lifetime: Duration::from_millis(300), ..long_limits() };
    let (_admin, addr) = node(limits).start();
    let begun = Instant::now();
    let mut stream = connect(addr);
    let mut alive = true;
    // A byte every 20 ms prevents idle timeouts; only the deadline ends the connection.
    while alive && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
        alive = stream.write_all(b"G").is_ok();
    }
    let lived = begun.elapsed();
    assert!(!alive, "still there after {lived:?}");
    assert!(lived >= Duration::from_millis(250), "cut after {lived:?}");
    assert_eq!(get(addr, "/healthz").status, 200);
}

#[test]
fn client_that_does_not_read_blocks_nobody_and_is_cut() {
    let limits = AdminLimits { connection_lifetime: Duration::from_millis(500), ..long_limits() };
    let (_admin, addr) = serve_slow_routes(limits);
    let mut greedy: Vec<_> = (0..4).map(|_| connect(addr)).collect();
    for stream in &mut greedy {
        stream.write_all(b"GET /huge HTTP/1.1\r\nHost: t\r\n\r\n").expect("sends");
    }
    assert_eq!(get(addr, "/healthz").status, 200, "meanwhile");
    std::thread::sleep(Duration::from_secs(1));
    for mut stream in greedy {
        // The client reads the contents of the socket buffers, then the end, long before the whole body.
        let mut got = Vec::new();
        let _ = stream.read_to_end(&mut got);
        assert!(got.starts_with(b"HTTP/1.1 200"), "the answer had begun");
        assert!(got.len() < HUGE, "sent to the end");
    }
}

#[test]
fn hanging_handler_is_answered_503_and_blocks_nobody() {
    let limits = AdminLimits { answer_within: Duration::from_millis(300), ..long_limits() };
    let (_admin, addr) = serve_slow_routes(limits);
    let waiting = std::thread::spawn(move || get(addr, "/never"));
    assert_eq!(get(addr, "/healthz").status, 200, "meanwhile");
    let reply = waiting.join().expect("an answer");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.error(), "The answer took too long.");
    assert!(reply.header("retry-after").is_some());
}

#[test]
fn malformed_requests_get_400_and_the_listener_survives() {
    let (admin, addr) = node(AdminLimits::default()).start();
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1} tls\r\n\r\n",
    ] {
        assert_eq!(raw(addr, nonsense).status, 400, "{nonsense:?}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: t\r\n\r\n", "x".repeat(1_000_000));
    let mut stream = connect(addr);
    let _ = stream.write_all(long.as_bytes());
    drop(stream);
    assert_eq!(get(addr, "/healthz").status, 200);
    admin.shutdown().expect("the thread has not panicked");
}

#[test]
fn shutdown_finishes_requests_in_progress_and_frees_the_port() {
    let (admin, addr) = serve_slow_routes(long_limits());
    let late = std::thread::spawn(move || get(addr, "/late"));
    std::thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    admin.shutdown().expect("stops");
    assert!(begun.elapsed() >= Duration::from_millis(50), "it did not wait for /late");
    assert_eq!(late.join().expect("an answer").body, "late");
    assert!(TcpStream::connect(addr).is_err(), "the port still accepts");
}

#[test]
fn shutdown_cuts_connections_at_its_time_limit() {
    let limits = AdminLimits { shutdown_within: Duration::from_millis(200), ..long_limits() };
    let (admin, addr) = serve_slow_routes(limits);
    let mut stuck = connect(addr);
    stuck.write_all(b"GET /never HTTP/1.1\r\nHost: t\r\n\r\n").expect("sends");
    let idle = connect(addr);
    assert_eq!(get(addr, "/healthz").status, 200, "all three are accepted");
    let begun = Instant::now();
    admin.shutdown().expect("stops");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(ends(&stuck) && ends(&idle));
}

#[test]
fn dropping_the_handle_stops_the_listener() {
    let (admin, addr) = node(AdminLimits::default()).start();
    assert_eq!(get(addr, "/healthz").status, 200);
    drop(admin);
    let begun = Instant::now();
    while TcpStream::connect(addr).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it listens on");
        std::thread::sleep(Duration::from_millis(10));
    }
}
