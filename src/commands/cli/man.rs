//! `hayloft man`: prints or writes manual pages.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_mangen::Man;

use super::output::{deliver, fail};

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
    /// Prints or writes the pages of `hayloft`, the command with all of its subcommands.
    pub(super) fn run(self, hayloft: clap::Command) -> ExitCode {
        let Some(dir) = self.dir else {
            return deliver(&page(hayloft));
        };
        match write_all(&dir, hayloft) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!(
                "cannot write manual pages to {}: {error}; choose a directory that this user may write to",
                dir.display()
            )),
        }
    }
}

/// Removes the command that has no page: `help`, which would repeat the others.
fn without_help(hayloft: clap::Command) -> clap::Command {
    hayloft.disable_help_subcommand(true)
}

fn page(hayloft: clap::Command) -> Vec<u8> {
    let mut page = Vec::new();
    Man::new(without_help(hayloft)).render(&mut page).expect("writing to a vector does not fail");
    page
}

fn write_all(dir: &Path, hayloft: clap::Command) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(without_help(hayloft), dir)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::commands::cli::Cli;

    fn is_a_page(text: &str) -> bool {
        let lines =
            text.lines().filter(|line| !line.starts_with(".ie") && !line.starts_with(".el"));
        let mut lines = lines.skip_while(|line| !line.starts_with(".TH "));
        lines.next().is_some() && lines.next() == Some(".SH NAME")
    }

    #[test]
    fn main_page_refers_to_the_subcommand_pages() {
        let page = String::from_utf8(page(Cli::command())).unwrap();
        assert!(is_a_page(&page), "{page}");
        assert!(page.contains("hayloft\\-serve(1)"), "{page}");
    }

    #[test]
    fn man_page_is_written_for_each_subcommand() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("share/man1");
        write_all(&dir, Cli::command()).unwrap();
        for name in ["hayloft", "hayloft-serve", "hayloft-config", "hayloft-config-check"] {
            let page = std::fs::read_to_string(dir.join(format!("{name}.1"))).unwrap();
            assert!(is_a_page(&page), "{name}: {page}");
        }
        let serve = std::fs::read_to_string(dir.join("hayloft-serve.1")).unwrap();
        assert!(serve.contains("\\-\\-shard\\-ports") && serve.contains("Examples:"), "{serve}");
    }
}
