//! Tidiness as ordinary tests: which module may know which, what must not stand in the sources, and
//! that what the documents name is there.
//!
//! Every check is a function from the project's files to complaints. `canaries` feeds each of them
//! something bad, since a check that cannot fail proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The layers from the bottom up: a module, and which others it may use. Only modules above it in
/// this table can be named. A new module gets a row; a new entry in a row is a decision about the
/// design (`docs/ARCHITECTURE.md`).
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("access_trace", &[]),
    ("limits", &[]),
    ("size", &[]),
    ("sys", &[]),
    ("sabotage", &[]),
    ("calendar", &[]),
    ("mailbox", &[]),
    ("metrics", &[]),
    ("datadir", &["calendar"]),
    ("config", &["size", "limits"]),
    ("buffer", &[]),
    ("op", &["buffer"]),
    ("runtime", &["buffer", "op"]),
    ("ring", &["limits", "sys", "buffer", "op"]),
    ("sim", &["limits", "buffer", "op", "runtime"]),
    ("volume", &["types", "limits", "sabotage", "buffer", "op", "runtime"]),
    ("http", &["limits", "buffer", "op", "runtime"]),
    ("admin", &["size", "metrics"]),
    ("client", &["http"]),
    ("transfer", &["http", "client"]),
    (
        "shard",
        &[
            "types",
            "access_trace",
            "limits",
            "mailbox",
            "metrics",
            "buffer",
            "op",
            "runtime",
            "ring",
            "volume",
            "http",
        ],
    ),
    (
        "daemon",
        &[
            "types",
            "access_trace",
            "limits",
            "size",
            "sys",
            "mailbox",
            "metrics",
            "datadir",
            "config",
            "buffer",
            "op",
            "runtime",
            "ring",
            "volume",
            "http",
            "admin",
            "shard",
        ],
    ),
    (
        "offline",
        &[
            "types", "limits", "sys", "calendar", "datadir", "buffer", "op", "runtime", "ring",
            "volume",
        ],
    ),
    ("nginx", &["size", "config"]),
    ("cli", &["size", "config", "http", "client", "transfer", "daemon", "offline", "nginx"]),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// What some files must not name, beyond what [`LAYERS`] says of modules.
struct Stranger {
    /// Beginnings of file names.
    who: &'static [&'static str],
    /// Among them, those it does not hold for.
    unless: &'static [&'static str],
    /// Beginnings of paths.
    never: &'static [&'static str],
    /// Among them, those that may be named.
    but: &'static [&'static str],
}

const STRANGERS: &[Stranger] = &[
    Stranger { who: &["src/"], unless: &["src/ring"], never: &["io_uring"], but: &[] },
    Stranger { who: &["src/"], unless: &["src/admin/"], never: &["tokio", "axum"], but: &[] },
    Stranger {
        who: &["src/"],
        unless: &["src/daemon/", "src/datadir/", "src/transfer/"],
        never: &["getrandom"],
        but: &[],
    },
    Stranger { who: &["src/"], unless: &["src/daemon/"], never: &["sd_notify"], but: &[] },
    Stranger { who: &["src/"], unless: &["src/client/"], never: &["ureq"], but: &[] },
    // No sockets, threads, clocks, files or environment: what is needed of them is handed in.
    Stranger {
        who: &["src/volume/", "src/http/", "src/runtime/", "src/op.rs", "src/sim/"],
        unless: &[],
        never: &[
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
        // Numbers of errors only.
        but: &[
            "nix::libc",
            "nix::libc::EBADF",
            "nix::libc::ECANCELED",
            "nix::libc::ECONNRESET",
            "nix::libc::EEXIST",
            "nix::libc::EIO",
            "nix::libc::ENOBUFS",
            "nix::libc::ENOENT",
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
    Stranger {
        who: &["src/op.rs", "src/runtime/"],
        unless: &[],
        never: &["libc", "nix"],
        but: &[],
    },
    Stranger {
        who: &["src/volume/", "src/http/", "src/runtime/", "src/op.rs", "src/sim/"],
        unless: &["src/volume/index/memory.rs"],
        never: &["nix::sys"],
        but: &[],
    },
    // Pure functions over slices.
    Stranger {
        who: &["src/volume/format/"],
        unless: &[],
        never: &["crate::buffer", "crate::op", "crate::runtime", "crate::volume", "async", "await"],
        but: &["crate::volume::format"],
    },
    Stranger {
        who: &["src/volume/index/"],
        unless: &[],
        never: &["crate::buffer", "crate::op", "crate::runtime", "crate::volume", "async", "await"],
        but: &["crate::volume::index"],
    },
    Stranger {
        who: &["src/http/"],
        unless: &["src/http/conn.rs"],
        never: &["crate::buffer", "crate::op", "crate::runtime", "nix", "async", "await"],
        but: &[],
    },
];

/// Files that may contain `unsafe`.
const UNSAFE: &[&str] = &[
    "src/buffer.rs",
    "src/ring.rs",
    "src/ring/files.rs",
    "src/ring/provided.rs",
    "src/ring/setup.rs",
    "src/sys.rs",
    "src/volume/index/memory.rs",
];

/// Widest line (columns).
const COLUMNS_MAX: usize = 110;

/// Debris of development.
const DEBRIS: &[&str] = &["dbg", "todo", "unimplemented"];
/// The daemon logs; only a command prints.
const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln"];
const MAY_PRINT: &[&str] = &["src/main.rs", "src/cli/"];

/// The only place where integers of the format become bytes.
const CODEC: &str = "src/volume/format/field.rs";
const CODEC_WORDS: &[&str] = &[
    "to_le_bytes",
    "from_le_bytes",
    "to_be_bytes",
    "from_be_bytes",
    "to_ne_bytes",
    "from_ne_bytes",
];

/// Words of the workshop, not of the project.
const FOREIGN_WORDS: &[&str] =
    &[concat!("farm", "-"), concat!(".lib", "rary"), concat!("sub", "agent")];

/// A place that a check lets pass. One that is not needed any more is a complaint itself.
struct Exception {
    check: &'static str,
    file: &'static str,
    /// What the line contains.
    has: &'static str,
    _why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
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
        check: "allowances",
        file: "tests/common/mod.rs",
        has: "dead_code",
        _why: "shared by test binaries of which some use all: `expect` would fail in those",
    },
    Exception {
        check: "allowances",
        file: "tests/daemon_harness/mod.rs",
        has: "dead_code",
        _why: "shared by test binaries of which some use all: `expect` would fail in those",
    },
    Exception {
        check: "allowances",
        file: "tests/http_oracle/mod.rs",
        has: "dead_code",
        _why: "shared by test binaries of which some use all: `expect` would fail in those",
    },
    Exception {
        check: "allowances",
        file: "tests/nginx_harness/mod.rs",
        has: "dead_code",
        _why: "shared by test binaries of which some use all: `expect` would fail in those",
    },
    Exception {
        check: "allowances",
        file: "src/admin/tests/mod.rs",
        has: "dead_code",
        _why: "in a macro some of whose users need all: `expect` would fail there",
    },
    Exception {
        check: "codec",
        file: "src/volume/index/mod.rs",
        has: "to_le_bytes",
        _why: "bytes to be hashed, in memory only",
    },
];

/// Something wrong, and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Complaint {
    file: String,
    line: usize,
    what: String,
}

fn complaint(file: &str, line: usize, what: impl Into<String>) -> Complaint {
    Complaint { file: file.to_owned(), line, what: what.into() }
}

/// The files of the project: path from its root, with `/`, and text (nothing if it is not UTF-8).
#[derive(Clone)]
struct Project(BTreeMap<String, String>);

const NOT_OURS: &[&str] =
    &["target", ".git", "hayloft-data", "fuzz/target", "fuzz/artifacts", "fuzz/coverage"];

impl Project {
    fn load() -> Self {
        let mut project = Self(BTreeMap::new());
        project.load_dir(Path::new(env!("CARGO_MANIFEST_DIR")), "");
        assert!(project.0.contains_key("src/lib.rs"), "this is not the project");
        project
    }

    fn load_dir(&mut self, dir: &Path, prefix: &str) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{prefix}{name}");
            if NOT_OURS.contains(&path.as_str()) {
                continue;
            }
            // An editor's temporary file may be gone already.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                self.load_dir(&entry.path(), &format!("{path}/"));
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                self.0.insert(path, String::from_utf8(bytes).unwrap_or_default());
            }
        }
    }

    /// Files whose names begin and end so.
    fn with(&self, begin: &str, end: &str) -> impl Iterator<Item = (&str, &str)> {
        let files = self.0.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        files.filter(move |(path, _)| path.starts_with(begin) && path.ends_with(end))
    }

    fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let dirs = ["src/", "tests/", "tools/", "bench/", "xtask/", "fuzz/"];
        dirs.into_iter().flat_map(|dir| self.with(dir, ".rs"))
    }

    /// Whether there is such a file or directory.
    fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let dir = format!("{path}/");
        self.0.contains_key(path) || self.0.keys().any(|file| file.starts_with(&dir))
    }
}

/// Rust source with comments and literals blanked; lines stay where they are.
fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let blank = not_code(bytes, at);
        let visible = if blank == 0 { 1 } else { 0 };
        for &byte in &bytes[at..at + blank + visible] {
            out.push(if blank > 0 && byte != b'\n' { b' ' } else { byte });
        }
        at += blank + visible;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of the comment or literal that begins at `at`; 0 for none.
fn not_code(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let until = |from: usize, end: &[u8]| {
        let found = rest[from..].windows(end.len()).position(|window| window == end);
        found.map_or(rest.len(), |position| from + position + end.len())
    };
    let escaped = |quote: u8| {
        let mut end = 1;
        while end < rest.len() && rest[end] != quote {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        (end + 1).min(rest.len())
    };
    let in_word = at > 0 && is_word(bytes[at - 1]) && !b"bc".contains(&bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => until(2, b"*/"),
        [b'"', ..] => escaped(b'"'),
        [b'r', ..] if !in_word => {
            let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return 0;
            }
            until(2 + hashes, format!("\"{}", "#".repeat(hashes)).as_bytes())
        }
        [b'\'', b'\\', ..] => escaped(b'\''),
        // A character, of up to four bytes; else it is a lifetime.
        [b'\'', _, ..] => {
            let len = 1 + rest[2..].iter().take_while(|&&byte| byte & 0xc0 == 0x80).count();
            if rest.get(1 + len) == Some(&b'\'') { len + 2 } else { 0 }
        }
        _ => 0,
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// A word, `::`, or one other character.
#[derive(Clone, Debug)]
struct Token {
    line: usize,
    text: String,
}

/// What may stand in front of a path.
const KEYWORDS: &[&str] =
    &["as", "dyn", "else", "for", "impl", "in", "match", "mut", "return", "use"];

fn ends_in_name(text: &str) -> bool {
    text.ends_with('>') || text.bytes().last().is_some_and(is_word)
}

fn tokens(text: &str) -> Vec<Token> {
    let code = code(text);
    let mut tokens = Vec::new();
    for (line, mut rest) in (1..).zip(code.lines()) {
        while let Some(first) = rest.chars().next() {
            let word = rest.bytes().take_while(|&byte| is_word(byte)).count();
            let len = match word {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                len => len,
            };
            let text = &rest[..len];
            let last = tokens.last().map_or("", |token: &Token| token.text.as_str());
            // `::name` at the start of a path names a crate as `name` does.
            let starts = text == "::" && (!ends_in_name(last) || KEYWORDS.contains(&last));
            if !first.is_whitespace() && !starts {
                tokens.push(Token { line, text: text.to_owned() });
            }
            rest = &rest[len..];
        }
    }
    tokens
}

fn is(tokens: &[Token], at: usize, wanted: &[&str]) -> bool {
    (at..).zip(wanted).all(|(n, wanted)| tokens.get(n).is_some_and(|token| token.text == *wanted))
}

/// Where the bracket that opens at `at` ends: the position behind it.
fn behind_bracket(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (n, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return n + 1;
        }
    }
    tokens.len()
}

fn behind_attributes(tokens: &[Token], mut at: usize) -> usize {
    while is(tokens, at, &["#", "["]) {
        at = behind_bracket(tokens, at + 1);
    }
    at
}

/// Takes apart what is compiled always and what only for tests: items under `#[cfg(test)]`.
fn split_tests(tokens: &[Token]) -> (Vec<Token>, Vec<Token>) {
    let (mut always, mut tests) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        if !is(tokens, at, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            always.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let mut end = behind_attributes(tokens, at);
        while end < tokens.len() && !is(tokens, end, &[";"]) && !is(tokens, end, &["{"]) {
            end = if is(tokens, end, &["("]) || is(tokens, end, &["["]) {
                behind_bracket(tokens, end)
            } else {
                end + 1
            };
        }
        end = if is(tokens, end, &["{"]) { behind_bracket(tokens, end) } else { end + 1 };
        let end = end.min(tokens.len());
        tests.extend_from_slice(&tokens[at..end]);
        at = end;
    }
    (always, tests)
}

/// All paths that are named, groups written out, with their lines.
fn paths(tokens: &[Token]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_name = tokens[at].text.bytes().all(is_word);
        let goes_on = at > 0 && tokens[at - 1].text == "::";
        at = if is_name && !goes_on { path(tokens, at, &[], &mut found) } else { at + 1 };
    }
    found
}

fn path(
    tokens: &[Token],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut whole = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            at += 1;
            while at < tokens.len() && tokens[at].text != "}" {
                at = if tokens[at].text == "," { at + 1 } else { path(tokens, at, &whole, found) };
            }
            return at + 1;
        }
        whole.push(token.text.clone());
        at += 1;
        let next = tokens.get(at + 1).map_or("", |token| token.text.as_str());
        let goes_on = is(tokens, at, &["::"]) && next != "<";
        if !goes_on {
            found.push((token.line, whole));
            // In a group a new name may follow.
            return if is(tokens, at, &["as"]) && !prefix.is_empty() { at + 2 } else { at };
        }
        at += 1;
    }
    at
}

/// The module that a file is, from the root: `src/volume/read.rs` is `volume`, `read`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let root = matches!(path, "lib" | "main");
    if root { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The row of [`LAYERS`] that a file belongs to.
fn layer_of(file: &str) -> &str {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').next().unwrap_or(path)
}

/// A path as it reads from the root of the crate.
fn resolved(file: &str, path: &[String]) -> Vec<String> {
    let first = path[0].as_str();
    match first {
        "hayloft" => ["crate".to_owned()].into_iter().chain(path[1..].iter().cloned()).collect(),
        "core" | "alloc" => {
            ["std".to_owned()].into_iter().chain(path[1..].iter().cloned()).collect()
        }
        "self" | "super" => {
            let own = path.iter().take_while(|name| *name == "self").count();
            let up = path[own..].iter().take_while(|name| *name == "super").count();
            let mut module = module_of(file);
            module.truncate(module.len().saturating_sub(up));
            module.insert(0, "crate".to_owned());
            module.extend_from_slice(&path[own + up..]);
            module
        }
        _ => path.to_vec(),
    }
}

/// Files reached from the roots by `mod` declarations, and whether they are compiled for tests only.
fn modules(project: &Project) -> BTreeMap<String, bool> {
    let mut reached: BTreeMap<String, bool> = BTreeMap::new();
    let roots = [
        "bench/baseline/src/main.rs",
        "bench/index/src/main.rs",
        "bench/runner/src/main.rs",
        "fuzz/src/lib.rs",
        "src/lib.rs",
        "src/main.rs",
        "tools/faultdisk/src/lib.rs",
        "tools/faultdisk/src/main.rs",
        "tools/loadgen/src/main.rs",
        "tools/loadgen/tests/against_daemon.rs",
        "tools/loadgen/tests/against_servers.rs",
        "tools/powercut/src/main.rs",
        "tools/powercut/tests/usage.rs",
        "xtask/src/main.rs",
    ];
    let roots = roots.map(|root| (root, false));
    let tests = project.with("tests/", ".rs").filter(|(path, _)| path.matches('/').count() == 1);
    let binaries = tests.chain(project.with("fuzz/fuzz_targets/", ".rs"));
    let mut waiting: Vec<(String, bool)> = roots
        .into_iter()
        .chain(binaries.map(|(path, _)| (path, true)))
        .map(|(path, tests)| (path.to_owned(), tests))
        .collect();
    while let Some((file, tests)) = waiting.pop() {
        let Some(text) = project.0.get(&file) else { continue };
        if reached.get(&file).is_some_and(|&before| before <= tests) {
            continue;
        }
        reached.insert(file.clone(), tests);
        let (always, for_tests) = split_tests(&tokens(text));
        let stem = file.trim_end_matches(".rs");
        let is_root = roots.iter().any(|(root, _)| *root == file)
            || stem.ends_with("/mod")
            || file.starts_with("tests/");
        let dir = if is_root { stem.rsplit_once('/').map_or("", |(dir, _)| dir) } else { stem };
        for (tokens, tests) in [(always, tests), (for_tests, true)] {
            for n in 0..tokens.len() {
                if tokens[n].text == "mod" && is(&tokens, n + 2, &[";"]) {
                    let name = &tokens[n + 1].text;
                    waiting.push((format!("{dir}/{name}.rs"), tests));
                    waiting.push((format!("{dir}/{name}/mod.rs"), tests));
                }
            }
        }
    }
    reached
}

/// Of every file in `src/` what is compiled into the product.
fn product(project: &Project) -> Vec<(&str, Vec<Token>)> {
    let reached = modules(project);
    project
        .with("src/", ".rs")
        .filter(|(file, _)| reached.get(*file) != Some(&true))
        .map(|(file, text)| (file, split_tests(&tokens(text)).0))
        .collect()
}

/// (a) Modules use only modules below them.
fn imports(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (n, (module, uses)) in LAYERS.iter().enumerate() {
        for used in *uses {
            if !LAYERS[..n].iter().any(|(below, _)| below == used) {
                let what = format!("the table lets {module} use {used}, which is not below it");
                complaints.push(complaint("tests/tidy.rs", 0, what));
            }
        }
    }
    for (file, tokens) in product(project) {
        let own = layer_of(file);
        let Some((_, uses)) = LAYERS.iter().find(|(module, _)| *module == own) else {
            complaints.push(complaint(file, 1, format!("{own} has no row in the table of layers")));
            continue;
        };
        for (line, path) in paths(&tokens) {
            let path = resolved(file, &path);
            let [root, module, ..] = &path[..] else { continue };
            if root == "crate" && module != own && !uses.contains(&module.as_str()) {
                complaints.push(complaint(file, line, format!("{own} must not use {module}")));
            }
        }
    }
    complaints
}

fn begins(path: &str, with: &str) -> bool {
    path.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// (a) Files name no crate, part of `std` or layer that they must not know.
fn strangers(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, tokens) in product(project) {
        let all = paths(&tokens);
        for rule in STRANGERS {
            let starts = |names: &[&str]| names.iter().any(|name| file.starts_with(name));
            if !starts(rule.who) || starts(rule.unless) {
                continue;
            }
            for (line, path) in &all {
                let path = resolved(file, path).join("::");
                let never = rule.never.iter().any(|name| begins(&path, name));
                // A name for one that may be used must not open what lies behind it.
                let but = rule.but.iter().any(|name| {
                    if name.starts_with("crate") { begins(&path, name) } else { path == *name }
                });
                let renamed = path.starts_with("libc::")
                    && rule.but.contains(&format!("nix::{path}").as_str());
                if never && !but && !renamed {
                    complaints.push(complaint(file, *line, format!("must not know {path}")));
                }
            }
        }
    }
    complaints
}

/// (a) `unsafe` stands where it is expected, and nowhere else.
fn unsafety(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.rust() {
        let found = tokens(text).into_iter().find(|token| token.text == "unsafe");
        match (found, UNSAFE.contains(&file)) {
            (Some(token), false) => complaints.push(complaint(file, token.line, "unsafe code")),
            (None, true) => complaints.push(complaint(file, 1, "no unsafe code left: strike it")),
            _ => {}
        }
    }
    complaints
}

/// (b) Sources are ASCII, and no line is too wide.
fn lines(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let documents = project.with("docs/", ".md");
    for (file, line, text) in project.rust().chain(documents).flat_map(|(file, text)| {
        (1..).zip(text.lines()).map(move |(line, text)| (file, line, text))
    }) {
        if let Some(found) = text.chars().find(|c| !c.is_ascii() || c.is_ascii_control()) {
            complaints.push(complaint(file, line, format!("{found:?} is not printable ASCII")));
        }
        let columns = text.chars().count();
        if columns > COLUMNS_MAX && file.ends_with(".rs") {
            complaints.push(complaint(file, line, format!("{columns} columns")));
        }
    }
    complaints
}

/// (b) No debris, and nothing printed but by commands.
fn macros(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut check = |file: &str, tokens: &[Token], banned: &[&str]| {
        for n in 0..tokens.len() {
            if banned.contains(&tokens[n].text.as_str()) && is(tokens, n + 1, &["!"]) {
                complaints.push(complaint(file, tokens[n].line, format!("{}!", tokens[n].text)));
            }
        }
    };
    for (file, text) in project.rust() {
        check(file, &tokens(text), DEBRIS);
    }
    for (file, tokens) in product(project) {
        if !MAY_PRINT.iter().any(|may| file.starts_with(may)) {
            check(file, &tokens, PRINTING);
        }
    }
    complaints
}

/// (b) Lints are expected, with a reason, not allowed: an expectation that is not met is noticed.
fn allowances(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.rust() {
        let tokens = tokens(text);
        for n in 0..tokens.len() {
            let open = match tokens[n].text.as_str() {
                "#" if is(&tokens, n + 1, &["["]) => n + 1,
                "#" if is(&tokens, n + 1, &["!", "["]) => n + 2,
                _ => continue,
            };
            let attribute = &tokens[open..behind_bracket(&tokens, open)];
            let allows = (0..attribute.len()).any(|at| is(attribute, at, &["allow", "("]));
            if allows {
                complaints.push(complaint(file, tokens[n].line, "allow: use expect"));
            }
        }
    }
    complaints
}

/// (c) Every source file is compiled.
fn dead_files(project: &Project) -> Vec<Complaint> {
    let reached = modules(project);
    let mut complaints = Vec::new();
    for (file, text) in project.rust() {
        if !reached.contains_key(file) {
            complaints.push(complaint(file, 1, "no `mod` names this file"));
        }
        let tokens = tokens(text);
        for n in 0..tokens.len() {
            if is(&tokens, n, &["#", "[", "path", "="]) {
                let what = "a module stands where its name says";
                complaints.push(complaint(file, tokens[n].line, what));
            }
        }
    }
    complaints
}

/// The lines of a document outside of fenced code, with their numbers.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    lines.collect()
}

/// What stands in backticks, and what does not.
fn spans(line: &str) -> (Vec<&str>, String) {
    let parts: Vec<&str> = line.split('`').collect();
    let inside = parts.iter().skip(1).step_by(2).copied().collect();
    (inside, parts.iter().step_by(2).copied().collect::<Vec<_>>().join("``"))
}

/// Where headings of a document can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for (_, line) in prose(text) {
        let heading = line.trim_start_matches('#');
        if heading.len() == line.len() || !heading.starts_with(' ') {
            continue;
        }
        let slug: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|&c| c.is_alphanumeric() || " -_".contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let unique = (0..).map(|n| if n == 0 { slug.clone() } else { format!("{slug}-{n}") });
        let unique = unique.into_iter().find(|slug| !anchors.contains(slug));
        anchors.extend(unique);
    }
    anchors
}

/// `target` as it is meant in `file`.
fn relative(file: &str, target: &str) -> String {
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// (d) Links in documents lead somewhere.
fn links(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    if !project.0.contains_key("docs/ARCHITECTURE.md") {
        complaints.push(complaint("docs/ARCHITECTURE.md", 0, "there is no map of the code"));
    }
    for (file, text) in project.with("", ".md") {
        for (line, text) in prose(text) {
            let (_, text) = spans(text);
            let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let defined = text.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            for target in inline.chain(defined.map(|(_, target)| target)) {
                let target = target.split_whitespace().next().unwrap_or_default();
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let path = if path.is_empty() { file.to_owned() } else { relative(file, path) };
                let known = |text: &String| anchors(text).contains(anchor);
                if !project.has(&path) {
                    complaints.push(complaint(file, line, format!("{path} does not exist")));
                } else if !anchor.is_empty() && !project.0.get(&path).is_some_and(known) {
                    complaints.push(complaint(file, line, format!("{path} has no #{anchor}")));
                }
            }
        }
    }
    complaints
}

/// What a source file defines, and which of that are tests.
fn definitions(text: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let tokens = tokens(text);
    let keywords = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];
    let (mut items, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for n in 0..tokens.len() {
        if keywords.contains(&tokens[n].text.as_str())
            && let Some(name) = tokens.get(n + 1)
        {
            items.insert(name.text.clone());
        }
        if is(&tokens, n, &["#", "[", "test", "]"]) {
            let at = behind_attributes(&tokens, n);
            if is(&tokens, at, &["fn"]) {
                tests.insert(tokens[at + 1].text.clone());
            }
        }
    }
    (items, tests)
}

/// Where `path.rs::name` in a document must be a test: under this heading.
const INVARIANTS: &str = "## Invariants";

/// (e) Files, functions and tests that documents name in backticks exist.
fn names(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    // What was true of an older version may be named there.
    let history = ["CHANGELOG.md", "bench/results/", "docs/decisions/"];
    let documents = project.with("", ".md");
    for (file, text) in
        documents.filter(|(file, _)| !history.iter().any(|past| file.starts_with(past)))
    {
        let mut in_invariants = false;
        for (line, text) in prose(text) {
            if text.starts_with("## ") {
                in_invariants = text == INVARIANTS;
            }
            let (inside, _) = spans(text);
            // "`tests/x.rs`: `name`" names a test too.
            let pairs = inside.iter().zip(inside.iter().skip(1));
            let paired = pairs.filter(|(path, name)| text.contains(&format!("`{path}`: `{name}`")));
            let paired = paired.map(|(path, name)| format!("{path}::{name}"));
            let singles = inside.iter().map(|&span| span.to_owned());
            for span in singles.chain(paired) {
                if let Some(what) = unknown(project, &span, in_invariants) {
                    complaints.push(complaint(file, line, what));
                }
            }
        }
    }
    complaints
}

/// What is wrong with a name in a document, if it is one of ours.
fn unknown(project: &Project, span: &str, must_be_test: bool) -> Option<String> {
    let ours = ["src/", "tests/", "docs/", "bench/", "xtask/", ".ci/", "tools/", "fuzz/"];
    let is_pattern = span.contains([' ', '*', '{', '<', '$']);
    if !ours.iter().any(|dir| span.starts_with(dir)) || is_pattern {
        return None;
    }
    let (path, name) = span.split_once("::").unwrap_or((span, ""));
    if !project.has(path) {
        return Some(format!("{path} does not exist"));
    }
    if name.is_empty() {
        return None;
    }
    let (items, tests) = definitions(project.0.get(path)?);
    // `Type::function`: each of them.
    let missing = name.split("::").find(|&part| !items.contains(part));
    if let Some(missing) = missing {
        return Some(format!("{path} has no {missing}"));
    }
    let is_test = tests.contains(name);
    let wanted = must_be_test || path.starts_with("tests/");
    (wanted && !is_test).then(|| format!("{path}::{name} is not a test"))
}

/// (f) Words that are not the project's own do not occur.
fn words(project: &Project) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (file, text) in project.with("", "") {
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.to_lowercase();
            if let Some(word) = FOREIGN_WORDS.iter().find(|word| text.contains(**word)) {
                complaints.push(complaint(file, line, format!("{word:?}")));
            }
        }
    }
    complaints
}

/// (g) Integers of the format become bytes in one place.
fn codec(project: &Project) -> Vec<Complaint> {
    let files = product(project).into_iter();
    let files = files.filter(|(file, _)| file.starts_with("src/volume/") && *file != CODEC);
    let found = files.flat_map(|(file, tokens)| {
        let tokens = tokens.into_iter();
        let words = tokens.filter(|token| CODEC_WORDS.contains(&token.text.as_str()));
        words.map(move |token| complaint(file, token.line, token.text))
    });
    found.collect()
}

/// Fails with all complaints of a check that no exception covers.
fn hold(name: &str, check: fn(&Project) -> Vec<Complaint>) {
    let project = Project::load();
    let complaints = check(&project);
    let covers = |exception: &Exception, complaint: &Complaint| {
        let text = project.0.get(&complaint.file).map_or("", String::as_str);
        let line = text.lines().nth(complaint.line.saturating_sub(1)).unwrap_or_default();
        exception.file == complaint.file && line.contains(exception.has)
    };
    let exceptions: Vec<_> = EXCEPTIONS.iter().filter(|e| e.check == name).collect();
    let mut report: Vec<String> = complaints
        .iter()
        .filter(|complaint| !exceptions.iter().any(|exception| covers(exception, complaint)))
        .map(|complaint| format!("{}:{}: {}", complaint.file, complaint.line, complaint.what))
        .collect();
    for exception in exceptions {
        if !complaints.iter().any(|complaint| covers(exception, complaint)) {
            let (file, has) = (exception.file, exception.has);
            report.push(format!("{file}: the exception for {has:?} is not needed: remove it"));
        }
    }
    assert!(report.is_empty(), "{name}:\n{}", report.join("\n"));
}

#[test]
fn imports_point_downwards() {
    hold("imports", imports);
}

#[test]
fn nobody_knows_what_it_must_not() {
    hold("strangers", strangers);
}

#[test]
fn unsafe_code_stands_where_it_is_expected() {
    hold("unsafety", unsafety);
}

#[test]
fn sources_are_ascii_and_not_too_wide() {
    hold("lines", lines);
}

#[test]
fn nothing_is_left_over_or_printed() {
    hold("macros", macros);
}

#[test]
fn lints_are_not_allowed_but_expected() {
    hold("allowances", allowances);
}

#[test]
fn every_source_file_is_compiled() {
    hold("dead_files", dead_files);
}

#[test]
fn links_in_documents_lead_somewhere() {
    hold("links", links);
}

#[test]
fn what_documents_name_exists() {
    hold("names", names);
}

#[test]
fn the_words_are_our_own() {
    hold("words", words);
}

#[test]
fn integers_are_encoded_in_one_place() {
    hold("codec", codec);
}

type Check = fn(&Project) -> Vec<Complaint>;

/// Of a check, a file, and a text that it must complain about there.
const BAD: &[(Check, &str, &str)] = &[
    (imports, "src/volume/read.rs", "use crate::http::status::Status;"),
    (imports, "src/volume/read.rs", "use crate::{types::NeedleId, sim::World};"),
    (imports, "src/volume/format/hint.rs", "use super::super::super::shard;"),
    (imports, "src/volume/mod.rs", "fn f() { super::admin::spawn(); }"),
    (imports, "src/volume/mod.rs", "use crate::*;"),
    (imports, "src/http/head.rs", "fn f<'a>(_: &'a str) -> crate::volume::Location { g() }"),
    (imports, "src/http/conn.rs", "const Q: char = '\"'; use crate::shard; // \""),
    (imports, "src/op.rs", "use crate::limits::UNIT;"),
    (imports, "src/runtime/mod.rs", "use crate::volume::Volume;"),
    (imports, "src/metrics/mod.rs", "#[cfg(test)] mod tests { use crate::op; } use crate::shard;"),
    (imports, "src/main.rs", "use hayloft::volume;"),
    (imports, "src/lib.rs", "mod novelty;"),
    (strangers, "src/volume/io.rs", "use std::{cell::Cell, fs as files};"),
    (strangers, "src/volume/io.rs", "fn f() { ::core::time::Duration::ZERO; }"),
    (strangers, "src/volume/io.rs", "use ::std::time::Instant;"),
    (strangers, "src/volume/append.rs", "fn f() { nix::libc::fsync(3); }"),
    (strangers, "src/volume/append.rs", "use nix::libc; fn f() { libc::fsync(3); }"),
    (strangers, "src/volume/append.rs", "use nix::libc::{ENOBUFS, fsync};"),
    (strangers, "src/volume/open.rs", "fn f() { getrandom::fill(&mut []); }"),
    (strangers, "src/volume/index/mod.rs", "pub async fn candidates() {}"),
    (strangers, "src/volume/index/table.rs", "use nix::sys::mman::munmap;"),
    (strangers, "src/volume/format/hint.rs", "use crate::buffer::Buf;"),
    (strangers, "src/volume/format/hint.rs", "use super::super::io::VolumeFile;"),
    (strangers, "src/http/head.rs", "use crate::op::Op;"),
    (strangers, "src/http/conn.rs", "use std::net::TcpStream;"),
    (strangers, "src/sim/disk.rs", "use std::fs::File;"),
    (strangers, "src/shard/mod.rs", "use io_uring::IoUring;"),
    (strangers, "src/shard/mod.rs", "use tokio::net;"),
    (unsafety, "src/volume/index/mod.rs", "fn f() { unsafe { g() } }"),
    (unsafety, "tests/engine.rs", "unsafe impl Send for X {}"),
    (unsafety, "src/sys.rs", "// unsafe, once"),
    (lines, "src/op.rs", "// caf\u{e9}"),
    (lines, "src/op.rs", "\tlet x = 1;"),
    (lines, "docs/FORMAT.md", "5 \u{b5}s"),
    (macros, "src/volume/io.rs", "fn f() { dbg!(1); }"),
    (macros, "tests/engine.rs", "fn f() { todo!() }"),
    (macros, "src/daemon/mod.rs", "fn f() { println!(\"up\"); }"),
    (allowances, "src/op.rs", "#[allow(dead_code)] fn f() {}"),
    (allowances, "src/op.rs", "#![allow(dead_code)]"),
    (allowances, "src/op.rs", "#[cfg_attr(test, allow(dead_code))] fn f() {}"),
    (dead_files, "src/volume/orphan.rs", ""),
    (dead_files, "tests/orphan/mod.rs", ""),
    (dead_files, "src/op.rs", "#[path = \"x.rs\"] mod y;"),
    (links, "docs/FORMAT.md", "see [that](missing.md)"),
    (links, "docs/FORMAT.md", "see [that](../src/missing/) there"),
    (links, "docs/FORMAT.md", "see [that](DURABILITY.md#no-such-heading)"),
    (links, "docs/FORMAT.md", "# A\n[x](#a), [y](#b)"),
    (links, "docs/FORMAT.md", "[x]: missing.md"),
    (names, "docs/DURABILITY.md", "| `tests/crash.rs`: `no_such_test` |"),
    (names, "docs/DURABILITY.md", "`tests/no_such_file.rs`"),
    (names, "docs/DURABILITY.md", "`tests/common/mod.rs::pool` is no test"),
    (names, "docs/ARCHITECTURE.md", "`src/shard/session.rs::no_such_function`"),
    (names, "docs/ARCHITECTURE.md", "## Invariants\n`src/shard/session.rs::serve` is no test"),
    (words, "src/op.rs", concat!("// by a sub", "agent")),
    (words, "README.md", concat!("see .lib", "rary")),
    (codec, "src/volume/open.rs", "fn f() { 1_u32.to_le_bytes(); }"),
    (codec, "src/volume/format/hint.rs", "fn f() { u64::from_be_bytes(x); }"),
];

/// The same, of texts that it must take.
const GOOD: &[(Check, &str, &str)] = &[
    (imports, "src/volume/read.rs", "// use crate::http;\n/* crate::sim */ use crate::op::Op;"),
    (imports, "src/volume/read.rs", "const S: &str = r#\"\" crate::http \"#; const C: u8 = b'\"';"),
    (imports, "src/volume/read.rs", "#[cfg(test)]\n#[x]\nmod tests { use crate::sim::World; }"),
    (imports, "src/volume/read.rs", "#[cfg(test)]\nfn f(_: [u8; 2]) { crate::sim::f() }"),
    (imports, "src/volume/read.rs", "pub(crate) fn f() { super::io::count() }"),
    (imports, "src/admin/tests/client.rs", "use crate::volume;"),
    (strangers, "src/volume/io.rs", "use nix::libc; const E: i32 = libc::ENOBUFS;"),
    (strangers, "src/volume/io.rs", "use std::cell::Cell; fn f(time: u64) {}"),
    (macros, "src/main.rs", "fn f() { eprintln!(\"no\"); }"),
    (macros, "src/op.rs", "#[cfg(test)]\nmod tests { fn f() { println!(\"seed\"); } }"),
    (allowances, "src/op.rs", "#[expect(dead_code)] fn allow(x: u8) {}"),
    (links, "docs/FORMAT.md", "# A b!\n`[x](y)` [x](#a-b) [y](https://a.b/c) [z](../README.md)"),
    (names, "docs/ARCHITECTURE.md", "`src/shard/session.rs::serve`, `src/shard/`, `src/*.rs`"),
    (names, "docs/DURABILITY.md", "`tests/crash.rs`: `at_once`, `tests/crash.rs::at_once`"),
    (codec, "src/volume/open.rs", "#[cfg(test)] mod tests { fn f() { 1_u8.to_le_bytes(); } }"),
];

fn complaints_about(project: &Project, check: Check, file: &str, text: &str) -> usize {
    let mut project = project.clone();
    project.0.insert(file.to_owned(), text.to_owned());
    // A new module of the crate must be there to be looked at.
    project.0.insert("src/novelty.rs".to_owned(), String::new());
    let complaints = check(&project);
    let file = if text == "mod novelty;" { "src/novelty.rs" } else { file };
    complaints.iter().filter(|complaint| complaint.file == file).count()
}

#[test]
fn canaries() {
    let project = Project::load();
    for (check, file, text) in BAD {
        assert!(complaints_about(&project, *check, file, text) > 0, "passes in {file}:\n{text}");
    }
    for (check, file, text) in GOOD {
        let count = complaints_about(&project, *check, file, text);
        assert_eq!(count, 0, "does not pass in {file}:\n{text}");
    }
    let wide = format!("// {}", "x".repeat(COLUMNS_MAX));
    assert_eq!(complaints_about(&project, lines, "src/op.rs", &wide), 1);
    let mut without_map = project.clone();
    without_map.0.remove("docs/ARCHITECTURE.md");
    assert!(links(&without_map).iter().any(|complaint| complaint.file == "docs/ARCHITECTURE.md"));
}
