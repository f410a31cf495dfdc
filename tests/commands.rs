//! Commands that need no daemon, run as from a shell: output streams and exit codes.

use std::path::Path;
use std::process::{Command, Output};

fn hayloft(dir: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hayloft")).args(args).current_dir(dir).output();
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn valid_configuration_is_printed_with_its_warnings() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("h.toml"), "log = \"warn\"\nlisten = [\"127.0.0.1:90\"]\n")
        .unwrap();
    let flags = ["config", "check", "h.toml", "--buffered", "--cores", "0"];
    let (code, settings, warnings) = hayloft(dir.path(), &flags);
    assert_eq!(code, 0, "{warnings}");
    for line in [
        "log = \"warn\" # h.toml:1",
        "listen = [\"127.0.0.1:90\"] # h.toml:2",
        "buffered = true # --buffered",
        "connections = 16384 # default",
        "# shard k has port 190 + k besides (last: 190) on 127.0.0.1.",
    ] {
        assert!(settings.lines().any(|found| found == line), "{line}: {settings}");
    }
    assert!(settings.starts_with("# `hayloft serve` would run 1 shard, on core 0,"), "{settings}");
    assert!(warnings.starts_with("hayloft: warning: buffered is on"), "{warnings}");
    // The output is itself a configuration file.
    std::fs::write(dir.path().join("again.toml"), &settings).unwrap();
    let (code, again, _) = hayloft(dir.path(), &["config", "check", "--config", "again.toml"]);
    assert_eq!((code, again.lines().next()), (0, settings.lines().next()));
    let nothing_else = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(nothing_else, 2, "no data directory is created");
}

#[test]
fn invalid_configuration_is_reported_with_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("\nlog = \"x=y=z\"", "hayloft: h.toml:2: log: \"y=z\" is no level"),
        ("\nvolume_size = \"1MiB\"", "hayloft: h.toml:2: volume_size: 1MiB is out of range"),
        ("speed = 1", "hayloft: h.toml:1: speed: unknown setting"),
        ("[limits", "hayloft: h.toml:1: \"[limits\" is not valid TOML"),
    ] {
        std::fs::write(dir.path().join("h.toml"), text).unwrap();
        let (code, settings, error) = hayloft(dir.path(), &["config", "check", "h.toml"]);
        assert_eq!((code, &settings[..]), (2, ""), "{text}");
        assert!(error.starts_with(expected), "{text}: {error}");
        let (served, _, by_serve) = hayloft(dir.path(), &["serve", "--config", "h.toml"]);
        assert_eq!((served, by_serve), (2, error), "serve prints the same");
    }
    let (code, _, error) = hayloft(dir.path(), &["config", "check", "none.toml"]);
    assert!(code == 2 && error.contains("cannot read the configuration file none.toml"), "{error}");
}

#[test]
fn bash_completions_complete_a_flag() {
    let dir = tempfile::tempdir().unwrap();
    let (code, script, _) = hayloft(dir.path(), &["completions", "bash"]);
    assert_eq!(code, 0);
    std::fs::write(dir.path().join("hayloft"), script).unwrap();
    let bash = |args: &[&str]| {
        let output = Command::new("bash").args(args).current_dir(dir.path()).output().unwrap();
        let stdout = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        stdout
    };
    bash(&["-n", "hayloft"]);
    let ask = "source ./hayloft; COMP_WORDS=(hayloft serve --sh); COMP_CWORD=2; \
               _hayloft hayloft --sh serve; echo ${COMPREPLY[@]}";
    assert_eq!(bash(&["--norc", "-c", ask]), "--shard-ports\n");
    let (code, _, error) = hayloft(dir.path(), &["completions", "csh"]);
    assert!(code == 2 && error.contains("possible values: bash"), "{error}");
}

#[test]
fn manual_pages_are_written_to_stdout_or_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (code, page, _) = hayloft(dir.path(), &["man"]);
    assert!(code == 0 && page.contains("\n.TH hayloft 1 "), "{page}");
    let (code, nothing, _) = hayloft(dir.path(), &["man", "--dir", "man1"]);
    assert_eq!((code, &nothing[..]), (0, ""));
    let pages = std::fs::read_dir(dir.path().join("man1")).unwrap();
    let names = pages.map(|page| page.unwrap().file_name().into_string().unwrap());
    let names: Vec<String> = names.collect();
    assert!(names.contains(&"hayloft-config-check.1".to_owned()), "{names:?}");
    assert_eq!(std::fs::read_to_string(dir.path().join("man1/hayloft.1")).unwrap(), page);
    std::fs::write(dir.path().join("file"), "").unwrap();
    let (code, _, error) = hayloft(dir.path(), &["man", "--dir", "file"]);
    assert!(code == 2 && error.contains("cannot write manual pages to file"), "{error}");
}
