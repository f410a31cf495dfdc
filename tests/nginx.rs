//! The real nginx with `docs/nginx.example.conf`, in front of the real daemon: clients get the daemon's
//! responses. `tests/smuggling.rs` tests that both parse the same requests from the same bytes.

mod daemon_harness;
mod nginx_cases;
mod nginx_harness;
