//! Texts that each check must complain about, and texts that it must take.

use super::Check;
use super::circles::{circles_of_files, facades};
use super::documents::{links, names};
use super::modules::{codec, dead_files, forbidden_names, imports};
use super::sources::{lines, mistakes, unsafety, words};

/// Of a check, a file, and a text that it must complain about there.
pub const BAD: &[(Check, &str, &str)] = &[
    (imports, "src/volume/object/read.rs", "use crate::http::status::Status;"),
    (
        imports,
        "src/volume/object/read.rs",
        "use crate::{base::types::NeedleId, runtime::sim::World};",
    ),
    (imports, "src/volume/format/hint.rs", "use super::super::super::node::shard;"),
    (imports, "src/volume/mod.rs", "fn f() { super::node::control::admin::spawn(); }"),
    (imports, "src/volume/mod.rs", "use crate::*;"),
    (imports, "src/http/head.rs", "fn f<'a>(_: &'a str) -> crate::volume::Location { g() }"),
    (imports, "src/http/conn.rs", "const Q: char = '\"'; use crate::node::shard; // \""),
    (imports, "src/runtime/op.rs", "use crate::base::limits::UNIT;"),
    (imports, "src/runtime/executor.rs", "use crate::volume::Volume;"),
    (
        imports,
        "src/node/metrics/mod.rs",
        "#[cfg(test)] mod tests { use crate::runtime::op; } use crate::node::shard;",
    ),
    (imports, "src/main.rs", "use hayloft::volume;"),
    (imports, "src/lib.rs", "mod novelty;"),
    (circles_of_files, "src/base/sys.rs", "use crate::base::threads::Threads; fn f() {}"),
    (circles_of_files, "src/base/sys.rs", "use super::{threads as t, x}; fn f() { t::start(); }"),
    (facades, "src/base/mod.rs", "pub mod types; pub const X: u8 = 1;"),
    (facades, "src/base/mod.rs", "mod inner { pub fn f() {} }"),
    (forbidden_names, "src/volume/io.rs", "use std::{cell::Cell, fs as files};"),
    (forbidden_names, "src/volume/io.rs", "fn f() { ::core::time::Duration::ZERO; }"),
    (forbidden_names, "src/volume/io.rs", "use ::std::time::Instant;"),
    (forbidden_names, "src/volume/log/append_log.rs", "fn f() { nix::libc::fsync(3); }"),
    (forbidden_names, "src/volume/log/append_log.rs", "use nix::libc; fn f() { libc::fsync(3); }"),
    (forbidden_names, "src/volume/log/append_log.rs", "use nix::libc::{ENOBUFS, fsync};"),
    (forbidden_names, "src/volume/generation/open.rs", "fn f() { getrandom::fill(&mut []); }"),
    (forbidden_names, "src/volume/index/mod.rs", "pub async fn candidates() {}"),
    (forbidden_names, "src/volume/index/table.rs", "use nix::sys::mman::munmap;"),
    (forbidden_names, "src/volume/format/hint.rs", "use crate::runtime::buffer::Buf;"),
    (forbidden_names, "src/volume/format/hint.rs", "use super::super::io::VolumeFile;"),
    (forbidden_names, "src/http/head.rs", "use crate::runtime::op::Op;"),
    (forbidden_names, "src/http/conn.rs", "use std::net::TcpStream;"),
    (forbidden_names, "src/runtime/sim/disk.rs", "use std::fs::File;"),
    (forbidden_names, "src/node/shard/mod.rs", "use io_uring::IoUring;"),
    (forbidden_names, "src/node/shard/mod.rs", "use tokio::net;"),
    (forbidden_names, "src/node/daemon/mod.rs", "use tracing_subscriber::fmt;"),
    (
        forbidden_names,
        "src/node/shard/route.rs",
        "use crate::node::metrics::{Metrics, ReadMetric};",
    ),
    (forbidden_names, "src/node/shard/route.rs", "use super::super::metrics::ReadMetric as _;"),
    (forbidden_names, "src/node/shard/route.rs", "use crate::node::metrics::*;"),
    (
        forbidden_names,
        "src/node/daemon/watch.rs",
        "use crate::node::metrics; fn f() { metrics::ReadMetric::get(x); }",
    ),
    (unsafety, "src/volume/index/mod.rs", "fn f() { unsafe { g() } }"),
    (unsafety, "tests/volume/engine.rs", "unsafe impl Send for X {}"),
    (unsafety, "src/base/sys.rs", "// unsafe, once"),
    (
        mistakes,
        "src/volume/io.rs",
        "fn f() { if chosen(Sabotage::A) || chosen(Sabotage::B) {} } fn g() {}",
    ),
    (lines, "src/runtime/op.rs", "// caf\u{e9}"),
    (lines, "src/runtime/op.rs", "\tlet x = 1;"),
    (lines, "docs/FORMAT.md", "5 \u{b5}s"),
    (dead_files, "src/volume/orphan.rs", ""),
    (dead_files, "tests/orphan/mod.rs", ""),
    (dead_files, "src/runtime/op.rs", "#[path = \"x.rs\"] mod y;"),
    (links, "docs/FORMAT.md", "see [that](missing.md)"),
    (links, "docs/FORMAT.md", "see [that](../src/missing/) there"),
    (links, "docs/FORMAT.md", "see [that](DURABILITY.md#no-such-heading)"),
    (links, "docs/FORMAT.md", "# A\n[x](#a), [y](#b)"),
    (links, "docs/FORMAT.md", "[x]: missing.md"),
    (names, "docs/DURABILITY.md", "| `tests/volume/crash.rs`: `no_such_test` |"),
    (names, "docs/DURABILITY.md", "`tests/no_such_file.rs`"),
    (names, "docs/DURABILITY.md", "`tests/common/mod.rs::pool` is no test"),
    (names, "docs/ARCHITECTURE.md", "`src/node/shard/session.rs::no_such_function`"),
    (names, "docs/ARCHITECTURE.md", "## Invariants\n`src/node/shard/session.rs::serve` is no test"),
    (words, "src/runtime/op.rs", concat!("// by a sub", "agent")),
    (words, "README.md", concat!("see .lib", "rary")),
    (codec, "src/volume/generation/open.rs", "fn f() { 1_u32.to_le_bytes(); }"),
    (codec, "src/volume/format/hint.rs", "fn f() { u64::from_be_bytes(x); }"),
];

/// The same, of texts that it must take.
pub const GOOD: &[(Check, &str, &str)] = &[
    (
        imports,
        "src/volume/object/read.rs",
        "// use crate::http;\n/* crate::runtime::sim */ use crate::runtime::op::Op;",
    ),
    (
        imports,
        "src/volume/object/read.rs",
        "const S: &str = r#\"\" crate::http \"#; const C: u8 = b'\"';",
    ),
    (
        imports,
        "src/volume/object/read.rs",
        "#[cfg(test)]\n#[x]\nmod tests { use crate::runtime::sim::World; }",
    ),
    (
        imports,
        "src/volume/object/read.rs",
        "#[cfg(test)]\nfn f(_: [u8; 2]) { crate::runtime::sim::f() }",
    ),
    (imports, "src/volume/object/read.rs", "pub(crate) fn f() { super::io::count() }"),
    (imports, "src/node/control/admin/tests/client.rs", "use crate::volume;"),
    (circles_of_files, "src/base/sys.rs", "use crate::base::limits::UNIT; // crate::base::threads"),
    (
        facades,
        "src/base/mod.rs",
        "//! X\n#[cfg(test)] mod t { fn f() {} }\npub mod a; pub use a::{B, c as d};",
    ),
    (forbidden_names, "src/volume/io.rs", "use nix::libc; const E: i32 = libc::ENOBUFS;"),
    (forbidden_names, "src/volume/io.rs", "use std::cell::Cell; fn f(time: u64) {}"),
    (forbidden_names, "src/node/control/admin/status.rs", "use crate::node::metrics::ReadMetric;"),
    (forbidden_names, "src/node/shard/route.rs", "use crate::node::metrics::{self, Metrics};"),
    (
        forbidden_names,
        "src/node/shard/route.rs",
        "#[cfg(test)] mod tests { use crate::node::metrics::ReadMetric; }",
    ),
    (
        mistakes,
        "src/volume/io.rs",
        "fn f() { chosen(Sabotage::A); chosen(Sabotage::A); } fn g() { chosen(Sabotage::B); }",
    ),
    (links, "docs/FORMAT.md", "# A b!\n`[x](y)` [x](#a-b) [y](https://a.b/c) [z](../README.md)"),
    (
        names,
        "docs/ARCHITECTURE.md",
        "`src/node/shard/session.rs::serve`, `src/node/shard/`, `src/*.rs`",
    ),
    (
        names,
        "docs/DURABILITY.md",
        "`tests/volume/crash.rs`: `concurrent_operations`, `tests/volume/crash.rs::concurrent_operations`",
    ),
    (
        codec,
        "src/volume/generation/open.rs",
        "#[cfg(test)] mod tests { fn f() { 1_u8.to_le_bytes(); } }",
    ),
];
