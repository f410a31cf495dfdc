//! `hayloft man`: prints or writes manual pages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::{Cli, deliver, fail};

const MAN_EXAMPLES: &str = "\
Examples:
  hayloft man | man -l -
      read it
  hayloft man --dir /usr/share/man/man1
      install hayloft.1 and a page for each command: then `man hayloft-serve` works";

/// Flags of `hayloft man`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Directory to write hayloft.1 and a page for each command to. Created if absent; existing pages
    /// are replaced [default: hayloft.1 to standard output]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub(super) fn run(self) -> ExitCode {
        let Some(dir) = self.dir else {
            return deliver(&page());
        };
        match write_all(&dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!(
                "cannot write manual pages to {}: {error}; choose a directory that this user may write to",
                dir.display()
            )),
        }
    }
}

/// The commands that have pages: all but `help`, which would repeat them.
fn commands() -> clap::Command {
    Cli::command().disable_help_subcommand(true)
}

fn page() -> Vec<u8> {
    let mut page = Vec::new();
    Man::new(commands()).render(&mut page).expect("writing to a vector does not fail");
    page
}

fn write_all(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(commands(), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_a_page(text: &str) -> bool {
        let lines =
            text.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"));
        let mut lines = lines.skip_while(|line| !line.starts_with(".TH "));
        lines.next().is_some() && lines.next() == Some(".SH NAME")
    }

    #[test]
    fn the_page_names_the_commands() {
        let page = String::from_utf8(page()).unwrap();
        assert!(is_a_page(&page), "{page}");
        assert!(page.contains("hayloft\\-serve(1)"), "{page}");
    }

    #[test]
    fn each_command_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("share/man1");
        write_all(&dir).unwrap();
        for name in ["hayloft", "hayloft-serve", "hayloft-config", "hayloft-config-check"] {
            let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
            assert!(is_a_page(&page), "{name}: {page}");
        }
        let serve = std::fs::read_to_string(dir.join("hayloft-serve.1")).unwrap();
        assert!(serve.contains("\\-\\-shard\\-ports") && serve.contains("Examples:"), "{serve}");
    }
}
