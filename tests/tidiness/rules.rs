//! What must hold, as tables.

/// The layers from the bottom up: a module, and which others it may use. Only modules above it in
/// this table can be named. A new module gets a row; a new entry in a row is a decision about the
/// design (`docs/ARCHITECTURE.md`).
pub const LAYERS: &[(&str, &[&str])] = &[
    ("base::limits", &[]),
    ("base::types", &["base::limits"]),
    ("base::stream_position", &["base::types"]),
    ("base::buckets", &["base::types"]),
    ("base::cluster", &[]),
    ("base::access_trace", &[]),
    ("base::pool_shares", &["base::limits"]),
    ("base::size", &[]),
    ("base::sys", &[]),
    ("base::sabotage", &[]),
    ("base::threads", &["base::sys", "base::sabotage", "base::types"]),
    ("base::logging", &["base::limits", "base::sys", "base::threads"]),
    ("base::account", &[]),
    ("base::calendar", &[]),
    ("base::host_port", &[]),
    ("base::new_name", &[]),
    ("runtime::mailbox", &[]),
    ("node::label", &[]),
    ("node::board", &["base::cluster", "base::types", "node::label"]),
    ("node::metrics", &["base::types", "node::board", "node::label"]),
    ("base::throttle", &[]),
    ("base::accept", &["base::throttle"]),
    ("node::datadir", &["base::calendar", "base::new_name", "base::types"]),
    (
        "node::config",
        &["base::calendar", "base::host_port", "base::size", "base::limits", "base::pool_shares"],
    ),
    ("runtime::buffer", &["base::account"]),
    ("runtime::op", &["runtime::buffer"]),
    ("runtime::devices", &["runtime::buffer", "runtime::op", "base::sabotage"]),
    ("runtime", &["runtime::buffer", "runtime::op"]),
    ("runtime::background", &["base::pool_shares", "runtime::buffer", "runtime::op", "runtime"]),
    (
        "ring",
        &[
            "base::account",
            "base::limits",
            "base::sys",
            "runtime::buffer",
            "runtime::op",
            "runtime::devices",
        ],
    ),
    (
        "runtime::sim",
        &["base::limits", "runtime::buffer", "runtime::op", "runtime::devices", "runtime"],
    ),
    (
        "volume",
        &[
            "base::cluster",
            "base::stream_position",
            "base::account",
            "base::types",
            "base::limits",
            "base::pool_shares",
            "base::sabotage",
            "runtime::background",
            "runtime::buffer",
            "runtime::op",
            "runtime",
        ],
    ),
    (
        "http",
        &[
            "base::calendar",
            "base::limits",
            "base::sabotage",
            "base::types",
            "runtime",
            "runtime::buffer",
            "runtime::op",
        ],
    ),
    (
        "node::control",
        &[
            "base::cluster",
            "base::buckets",
            "base::stream_position",
            "base::host_port",
            "base::limits",
            "base::size",
            "base::sys",
            "base::threads",
            "base::types",
            "node::label",
            "node::board",
            "node::metrics",
            "base::accept",
            "http",
        ],
    ),
    ("commands::client", &["http"]),
    ("commands::export", &["base::limits", "base::types", "http", "commands::client", "volume"]),
    ("commands::transfer", &["base::size", "base::types", "http", "commands::client"]),
    (
        "node::shard",
        &[
            "base::cluster",
            "base::stream_position",
            "base::account",
            "base::types",
            "base::access_trace",
            "base::limits",
            "base::pool_shares",
            "base::sabotage",
            "runtime::background",
            "runtime::mailbox",
            "node::board",
            "node::metrics",
            "runtime::buffer",
            "runtime::op",
            "runtime",
            "ring",
            "volume",
            "http",
            "base::throttle",
            "base::accept",
        ],
    ),
    (
        "node::daemon",
        &[
            "base::cluster",
            "base::stream_position",
            "base::types",
            "base::access_trace",
            "base::limits",
            "base::size",
            "base::sys",
            "base::sabotage",
            "base::threads",
            "base::logging",
            "runtime::mailbox",
            "node::board",
            "node::metrics",
            "base::new_name",
            "node::datadir",
            "node::config",
            "runtime::background",
            "runtime::buffer",
            "runtime::op",
            "runtime",
            "ring",
            "volume",
            "http",
            "node::control",
            "node::shard",
            "base::throttle",
        ],
    ),
    (
        "commands::offline",
        &[
            "commands::export",
            "base::calendar",
            "base::limits",
            "base::sys",
            "base::types",
            "http",
            "node::datadir",
            "ring",
            "runtime",
            "runtime::buffer",
            "runtime::op",
            "volume",
        ],
    ),
    ("commands::nginx", &["base::size", "base::types", "node::config"]),
    (
        "commands::replica",
        &[
            "base::buckets",
            "base::limits",
            "base::size",
            "base::types",
            "http",
            "volume",
            "commands::client",
            "commands::export",
            "commands::transfer",
        ],
    ),
    (
        "commands::cli",
        &[
            "base::calendar",
            "base::host_port",
            "base::size",
            "base::sys",
            "base::types",
            "base::logging",
            "node::config",
            "http",
            "commands::client",
            "commands::transfer",
            "node::daemon",
            "commands::export",
            "commands::offline",
            "commands::nginx",
            "commands::replica",
        ],
    ),
    ("lib", &[]),
    // The facades of rooms only name what is in them.
    ("base", &[]),
    ("node", &[]),
    ("commands", &[]),
    ("main", &["commands::cli"]),
];

/// What some files must not name, beyond what [`LAYERS`] says of modules.
pub struct Forbidden {
    /// Beginnings of file names.
    pub files: &'static [&'static str],
    /// Among them, those it does not hold for.
    pub except: &'static [&'static str],
    /// Beginnings of paths.
    pub names: &'static [&'static str],
    /// Among them, those that may be named.
    pub allowed: &'static [&'static str],
}

pub const FORBIDDEN: &[Forbidden] = &[
    Forbidden { files: &["src/"], except: &["src/ring"], names: &["io_uring"], allowed: &[] },
    Forbidden { files: &["src/"], except: &["src/node/control/"], names: &["tokio"], allowed: &[] },
    Forbidden {
        files: &["src/"],
        except: &["src/node/control/admin/"],
        names: &["axum"],
        allowed: &[],
    },
    Forbidden {
        files: &["src/"],
        except: &["src/node/control/cluster/"],
        names: &["hayloft_proto", "hyper", "hyper_util", "tonic"],
        allowed: &[],
    },
    Forbidden {
        files: &["src/"],
        except: &["src/node/daemon/", "src/node/datadir/", "src/commands/transfer/"],
        names: &["getrandom"],
        allowed: &[],
    },
    Forbidden {
        files: &["src/"],
        except: &["src/node/daemon/"],
        names: &["sd_notify"],
        allowed: &[],
    },
    // One log, with one writer; the configuration only says what it lets through.
    Forbidden {
        files: &["src/"],
        except: &["src/base/logging/"],
        names: &["tracing_subscriber"],
        allowed: &[
            "tracing_subscriber::filter::LevelFilter",
            "tracing_subscriber::filter::Targets",
        ],
    },
    Forbidden {
        files: &["src/"],
        except: &["src/commands/client/"],
        names: &["ureq"],
        allowed: &[],
    },
    // A metric is never read to decide: what the program decides on is on the board. The trait is the only
    // way to the value of a counter or a gauge.
    Forbidden {
        files: &["src/"],
        except: &["src/node/metrics/", "src/node/control/"],
        names: &[
            "crate::node::metrics::ReadMetric",
            "crate::node::metrics::*",
            "metrics::ReadMetric",
        ],
        allowed: &[],
    },
    // No sockets, threads, clocks, files or environment: what is needed of them is handed in.
    Forbidden {
        files: &["src/volume/", "src/http/", "src/runtime/"],
        except: &[
            "src/runtime/buffer",
            "src/runtime/mailbox.rs",
            // Counters that shards share.
            "src/runtime/background/disk_load.rs",
            "src/runtime/background/quantile.rs",
        ],
        names: &[
            "std::env",
            "std::fs",
            "std::net",
            "std::os",
            "std::process",
            "std::sync",
            "std::thread",
            "std::time",
            "libc",
            "nix",
            "socket2",
            "crossbeam_queue",
        ],
        // Numbers of errors, and addresses.
        allowed: &[
            "std::net::SocketAddr",
            "nix::libc",
            "nix::libc::EAGAIN",
            "nix::libc::EBADF",
            "nix::libc::ECANCELED",
            "nix::libc::ECONNREFUSED",
            "nix::libc::ECONNRESET",
            "nix::libc::EEXIST",
            "nix::libc::EFAULT",
            "nix::libc::EINTR",
            "nix::libc::EINVAL",
            "nix::libc::EIO",
            "nix::libc::ENOBUFS",
            "nix::libc::ENOENT",
            "nix::libc::ENOMEM",
            "nix::libc::ENOSPC",
            "nix::libc::ENOTDIR",
            "nix::libc::EOVERFLOW",
            "nix::libc::EPIPE",
            // Memory of its own, for `src/volume/index/memory.rs`: no effect that anybody sees.
            "nix::sys::mman",
            "nix::sys::mman::MapFlags",
            "nix::sys::mman::MmapAdvise",
            "nix::sys::mman::ProtFlags",
            "nix::sys::mman::madvise",
            "nix::sys::mman::mmap_anonymous",
            "nix::sys::mman::munmap",
        ],
    },
    Forbidden {
        files: &["src/runtime/"],
        except: &["src/runtime/buffer/region.rs", "src/runtime/sim/"],
        names: &["libc", "nix"],
        allowed: &[],
    },
    Forbidden {
        files: &["src/volume/", "src/http/", "src/runtime/"],
        except: &["src/runtime/buffer/region.rs", "src/volume/index/memory.rs"],
        names: &["nix::sys"],
        allowed: &[],
    },
    // Pure functions over slices.
    Forbidden {
        files: &["src/volume/format/"],
        except: &[],
        names: &[
            "crate::runtime::buffer",
            "crate::runtime::op",
            "crate::runtime",
            "crate::volume",
            "async",
            "await",
        ],
        allowed: &["crate::volume::format"],
    },
    Forbidden {
        files: &["src/volume/index/"],
        except: &[],
        names: &[
            "crate::runtime::buffer",
            "crate::runtime::op",
            "crate::runtime",
            "crate::volume",
            "async",
            "await",
        ],
        allowed: &["crate::volume::index"],
    },
    Forbidden {
        files: &["src/http/"],
        except: &["src/http/body_reader.rs", "src/http/conn.rs", "src/http/form_reader.rs"],
        names: &[
            "crate::runtime::buffer",
            "crate::runtime::op",
            "crate::runtime",
            "nix",
            "async",
            "await",
        ],
        allowed: &[],
    },
];

/// Files that may contain `unsafe`.
pub const UNSAFE: &[&str] = &[
    "src/runtime/buffer.rs",
    "src/runtime/buffer/lent.rs",
    "src/runtime/buffer/region.rs",
    "src/ring.rs",
    "src/ring/files.rs",
    "src/ring/provided.rs",
    "src/ring/setup.rs",
    "src/base/sys.rs",
    "src/volume/index/memory.rs",
    "src/volume/index/memory/bucket.rs",
];

/// Widest line (columns).
pub const COLUMNS_MAX: usize = 110;

/// The only place where integers of the format become bytes.
pub const CODEC: &str = "src/volume/format/field.rs";
pub const CODEC_WORDS: &[&str] = &[
    "to_le_bytes",
    "from_le_bytes",
    "to_be_bytes",
    "from_be_bytes",
    "to_ne_bytes",
    "from_ne_bytes",
];

/// Words of the workshop, not of the project.
pub const FOREIGN_WORDS: &[&str] =
    &[concat!("farm", "-"), concat!(".lib", "rary"), concat!("sub", "agent")];

/// A place that a check lets pass. One that is not needed any more is a complaint itself.
pub struct Exception {
    pub check: &'static str,
    pub file: &'static str,
    /// What the line contains.
    pub has: &'static str,
    pub _why: &'static str,
}

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        check: "unsafety",
        file: "tests/allocations.rs",
        has: "unsafe",
        _why: "an allocator that counts cannot be had otherwise",
    },
    Exception {
        check: "lines",
        file: "src/http/mod.rs",
        has: "//! | [`head`] |",
        _why: "a row of a table cannot be broken",
    },
    Exception {
        check: "dead_files",
        file: "fuzz/src/lib.rs",
        has: "../../tests/",
        _why: "what tests share is shared with fuzzing, which is a crate of its own",
    },
    Exception {
        check: "dead_files",
        file: "tests/volume/main.rs",
        has: "../common/",
        _why: "binaries of tests that are directories share it with those that are files",
    },
    Exception {
        check: "codec",
        file: "src/volume/index/hash.rs",
        has: "to_le_bytes",
        _why: "bytes to be hashed, in memory only",
    },
];
