//! `hayloft serve`: runs the daemon.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::cluster_args::ClusterArgs;
use super::output::fail;
use crate::base::logging::Log;
use crate::base::size::ByteSize;
use crate::node::config::{
    Config, ConfigDraft, ConfigError, Cores, Listen, ShardPorts, parse_tcp_address,
};
use crate::node::daemon::{self, Ended};

const SERVE_EXAMPLES: &str = "\
Examples:
  hayloft serve
      try it out: data in ./hayloft-data, a first volume of 1 GiB, loopback only
  hayloft serve --data /disk1/hayloft/data --data /disk2/hayloft/data
      two disks: the first start creates the directories on them
  hayloft serve --listen unix:/run/hayloft/data.sock
      behind nginx on this machine (hayloft nginx-config)
  hayloft serve --cores 2-7 --config /etc/hayloft/hayloft.toml
      six shards; the rest from a file (docs/hayloft.example.toml lists every setting)
  hayloft serve --listen 10.0.0.8:8080 --master 10.0.0.7:9333 --rack r1
      a volume server of a SeaweedFS cluster

Flags override the configuration file. A repeatable flag replaces the whole list of the file.
Sizes: a whole number and KiB, MiB, GiB, TiB (powers of 1024) or KB, MB, GB, TB (powers of 1000).
Exit codes: 0 it was stopped by a signal, and has drained; 1 it stopped because no volume takes \
writes, none could be opened, or one of its threads ended (the log says why): start it again; 2 \
it did not start.";

/// Flags of `hayloft serve`.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    /// Data directory; repeatable, one per disk. Those of a new store are created [default: ./hayloft-data]
    #[arg(long, value_name = "DIR")]
    pub data: Vec<PathBuf>,

    /// Address of the data API, IP:PORT or unix:/path; repeatable [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<Listen>,

    /// Every client that reaches --listen may store, replace and delete: no warning about public addresses
    #[arg(long)]
    pub trusted_network: bool,

    /// Address of the admin API, which asks for no password [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR", value_parser = parse_tcp_address)]
    pub admin: Option<SocketAddr>,

    /// Size of a volume created without naming one, 16MiB to 1TiB in steps of 1MiB [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub volume_size: Option<ByteSize>,

    /// Cores to run on, one shard each: all, or for instance 0,2-5 [default: all]
    #[arg(long, value_name = "LIST")]
    pub cores: Option<Cores>,

    /// Port of shard 0 (shard k: + k), off, or auto: port of the first --listen + 100, none with
    /// sockets from systemd [default: auto]
    #[arg(long, value_name = "BASE|off")]
    pub shard_ports: Option<ShardPorts>,

    /// Flags for a SeaweedFS cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Configuration file (TOML); unknown keys are errors [default: none]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Use the page cache, where O_DIRECT does not work. Nothing is then guaranteed to survive a power
    /// failure [default: off]
    #[arg(long)]
    pub buffered: bool,
}

impl ServeArgs {
    /// Returns the validated configuration: the file, if one is named, else the defaults, with the flags
    /// applied over it.
    ///
    /// # Errors
    /// [`ConfigError`], which names the flag, or the file, line and key, of the invalid setting. A value of
    /// the file that a flag overrides must still parse, but may be out of range.
    pub fn into_config(self) -> Result<Config, ConfigError> {
        self.into_draft()?.validated()
    }

    /// Returns the configuration before validation, with the source of each setting.
    pub(super) fn into_draft(self) -> Result<ConfigDraft, ConfigError> {
        let mut draft = match &self.config {
            Some(path) => ConfigDraft::read(path)?,
            None => ConfigDraft::default(),
        };
        if !self.data.is_empty() {
            draft.config.data = self.data;
            draft.overridden("data", "--data");
        }
        if !self.listen.is_empty() {
            draft.config.listen = self.listen;
            draft.overridden("listen", "--listen");
        }
        if self.trusted_network {
            draft.config.trusted_network = true;
            draft.overridden("trusted_network", "--trusted-network");
        }
        if let Some(admin) = self.admin {
            draft.config.admin = admin;
            draft.overridden("admin", "--admin");
        }
        if let Some(volume_size) = self.volume_size {
            draft.config.volume_size = volume_size;
            draft.overridden("volume_size", "--volume-size");
        }
        if let Some(cores) = self.cores {
            draft.config.cores = cores;
            draft.overridden("cores", "--cores");
        }
        if let Some(shard_ports) = self.shard_ports {
            draft.config.shard_ports = shard_ports;
            draft.overridden("shard_ports", "--shard-ports");
        }
        self.cluster.apply(&mut draft);
        if self.buffered {
            draft.config.buffered = true;
            draft.overridden("buffered", "--buffered");
        }
        Ok(draft)
    }

    /// Runs the daemon until it has drained after a signal, or fails.
    pub(super) fn run(self) -> ExitCode {
        let config = match self.into_config() {
            Ok(config) => config,
            Err(error) => return fail(&error),
        };
        let targets = match config.log_filter() {
            Ok(targets) => targets,
            Err(error) => return fail(&error),
        };
        let log = match Log::start(targets) {
            Ok(log) => log,
            Err(error) => return fail(&format!("cannot start the log: {error}; try again")),
        };
        match daemon::serve(&config, &log) {
            Ok(Ended::Drained) => ExitCode::SUCCESS,
            Ok(Ended::Poisoned | Ended::NothingToServe | Ended::ThreadLost) => ExitCode::FAILURE,
            Err(error) => {
                // Like `fail`, but after the pending lines of the log, and without blocking on a reader.
                log.say(&format!("hayloft: {error}"));
                ExitCode::from(2)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::commands::cli::{Cli, Command};
    use crate::node::config::{ClusterConfig, OrWord};

    fn serve(flags: &[&str]) -> Result<ServeArgs, String> {
        let words = ["hayloft", "serve"].iter().chain(flags);
        match Cli::try_parse_from(words) {
            Ok(Cli { command: Command::Serve(args) }) => Ok(args),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn config(flags: &[&str]) -> Result<Config, String> {
        serve(flags)?.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_all_settings_have_their_defaults() {
        assert_eq!(config(&[]), Ok(Config::default()));
    }

    #[test]
    fn each_flag_sets_its_setting() {
        let core = crate::node::config::available_cores().unwrap()[0].to_string();
        let flags = [
            "--data",
            "/d1",
            "--data",
            "/d2",
            "--listen",
            "0.0.0.0:80",
            "--listen",
            "unix:/s",
            "--admin",
            "127.0.0.1:81",
            "--volume-size",
            "100GiB",
            "--cores",
            &core,
            "--shard-ports",
            "off",
            "--buffered",
            "--trusted-network",
            "--master",
            "m1:9333",
            "--master",
            "10.0.0.7:9333.9334",
            "--cluster-ip",
            "10.0.0.8",
            "--cluster-grpc",
            "127.0.0.1:82",
            "--data-center",
            "dc7",
            "--rack",
            "r1",
        ];
        let expected = Config {
            data: vec!["/d1".into(), "/d2".into()],
            listen: vec!["0.0.0.0:80".parse().unwrap(), "unix:/s".parse().unwrap()],
            admin: "127.0.0.1:81".parse().unwrap(),
            volume_size: ByteSize::gib(100),
            cores: core.parse().unwrap(),
            shard_ports: ShardPorts::Off,
            buffered: true,
            trusted_network: true,
            cluster: ClusterConfig {
                master: vec!["m1:9333".parse().unwrap(), "10.0.0.7:9333.9334".parse().unwrap()],
                ip: OrWord::of("10.0.0.8".parse().unwrap()),
                grpc: OrWord::of("127.0.0.1:82".parse().unwrap()),
                data_center: "dc7".to_owned(),
                rack: "r1".to_owned(),
                ..ClusterConfig::default()
            },
            ..Config::default()
        };
        assert_eq!(config(&flags), Ok(expected));
    }

    #[test]
    fn flags_override_the_file_and_errors_name_the_origin() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hayloft.toml");
        // 1MiB is too small for a volume: fine as long as a flag overrides it.
        std::fs::write(
            &path,
            "log = \"warn\"\nvolume_size = \"1MiB\"\ndata = [\"/f1\", \"/f2\"]\n",
        )
        .unwrap();
        let file = path.to_str().unwrap();

        let both = config(&["--config", file, "--volume-size", "2GiB", "--data", "/flag"]).unwrap();
        assert_eq!(both.volume_size, ByteSize::gib(2));
        assert_eq!(both.log, "warn");
        assert_eq!(both.data, [PathBuf::from("/flag")]);

        let error = config(&["--config", file]).unwrap_err();
        assert!(error.starts_with(&format!("{file}:2: volume_size: ")), "{error}");
        let error = config(&["--config", file, "--volume-size", "2MiB"]).unwrap_err();
        assert!(error.starts_with("--volume-size: volume_size: 2MiB"), "{error}");
        let error = config(&["--config", "/absent.toml"]).unwrap_err();
        assert!(error.contains("/absent.toml"), "{error}");
    }

    #[test]
    fn invalid_flag_values_are_rejected_with_advice() {
        for (flags, advice) in [
            (["--volume-size", "10G"], "write 10GiB for powers of 1024"),
            (["--cores", "0,0"], "core 0 is named twice"),
            (["--listen", "localhost:80"], "host names are not looked up"),
            (["--admin", "unix:/a"], "write IP:PORT"),
            (["--shard-ports", "no"], "off, or auto"),
            (["--master", "10.0.0.7"], "write HOST:PORT"),
            (["--cluster-grpc", "unix:/a"], "write IP:PORT"),
        ] {
            let error = serve(&flags).unwrap_err();
            assert!(error.contains(advice), "{flags:?}: {error}");
            assert!(error.contains(flags[0]), "{flags:?}: {error}");
        }
    }

    /// The defaults in the help texts are written by hand: compares them with the real ones.
    #[test]
    fn help_states_the_defaults_of_the_settings() {
        let mut command = Cli::command();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help = serve.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let config = Config::default();
        for value in [
            config.data[0].display().to_string(),
            config.listen[0].to_string(),
            config.admin.to_string(),
            config.volume_size.to_string(),
            config.cores.to_string(),
            config.shard_ports.to_string(),
        ] {
            assert!(help.contains(&format!("[default: {value}]")), "{value}: {help}");
        }
    }
}
