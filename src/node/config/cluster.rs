//! Section `[cluster]`: the SeaweedFS cluster that the node is a volume server of.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::cluster_addresses::ClusterAddresses;
use super::error::ConfigError;
use super::listen::Listen;
use super::or_word::{Auto, OrWord};
use super::ranges::number_in;
use crate::base::host_port::{GRPC_DISTANCE, HostPort};

/// Largest number of masters.
const MASTERS_MAX: usize = 16;
/// Longest name of a rack or a data center (bytes).
const NAME_BYTES_MAX: usize = 64;
/// Longest public address (bytes).
const PUBLIC_URL_BYTES_MAX: usize = 255;
/// Largest value of `max_volumes`.
const VOLUMES_MAX: u32 = 1_000_000;

/// The SeaweedFS cluster that the node is a volume server of. Off unless `master` names one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// Addresses of the masters, tried in turn until the leader is found. At most 16, none twice; none: the
    /// node belongs to no cluster.
    pub master: Vec<HostPort>,
    /// IP address under which other machines of the cluster reach the node; `auto`: that of the first TCP
    /// `listen`.
    pub ip: OrWord<IpAddr, Auto>,
    /// Port of the data API at that address; `auto`: that of the first TCP `listen`.
    pub port: OrWord<u16, Auto>,
    /// `HOST:PORT` under which clients outside the cluster reach the data API; empty if it is the same.
    pub public_url: String,
    /// Name of the data center; empty for the default one.
    pub data_center: String,
    /// Name of the rack; empty for the default one.
    pub rack: String,
    /// Address on which the orders of the cluster arrive, by gRPC; `auto`: `ip`, and `port` + 10000. There is
    /// no authentication: keep it on loopback or a private network.
    pub grpc: OrWord<SocketAddr, Auto>,
    /// Largest number of volumes that the cluster may make here; 0: as many as there is free space for. At
    /// most 1,000,000.
    pub max_volumes: u32,
}

impl ClusterConfig {
    /// Whether the node belongs to a cluster.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.master.is_empty()
    }

    /// Checks everything but the addresses.
    ///
    /// # Errors
    /// [`ConfigError::Setting`] for the first setting that is wrong.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.is_on() {
            return self.check_off();
        }
        if self.master.len() > MASTERS_MAX {
            let problem = format!("{} masters", self.master.len());
            return Err(ConfigError::setting(
                "cluster.master",
                problem,
                format!("name 1 to {MASTERS_MAX}"),
            ));
        }
        for (position, master) in self.master.iter().enumerate() {
            if self.master[..position].iter().any(|earlier| earlier.is_same_server(master)) {
                let problem = format!("{master} is named twice");
                return Err(ConfigError::setting(
                    "cluster.master",
                    problem,
                    "name each master once",
                ));
            }
        }
        name("cluster.data_center", &self.data_center, NAME_BYTES_MAX, "dc1")?;
        name("cluster.rack", &self.rack, NAME_BYTES_MAX, "rack1")?;
        let example = "photos.example.com:8080, without a scheme";
        name("cluster.public_url", &self.public_url, PUBLIC_URL_BYTES_MAX, example)?;
        number_in("cluster.max_volumes", self.max_volumes, &(0..=VOLUMES_MAX), "volumes")
    }

    /// Checks that without a master nothing else of the section is set.
    fn check_off(&self) -> Result<(), ConfigError> {
        let off = Self::default();
        let set = [
            ("ip", self.ip != off.ip),
            ("port", self.port != off.port),
            ("public_url", self.public_url != off.public_url),
            ("data_center", self.data_center != off.data_center),
            ("rack", self.rack != off.rack),
            ("grpc", self.grpc != off.grpc),
            ("max_volumes", self.max_volumes != off.max_volumes),
        ];
        match set.into_iter().find(|(_, is_set)| *is_set) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::setting(
                &format!("cluster.{key}"),
                "it is set, but cluster.master names no master, so that there is no cluster",
                "name the master, for instance master = [\"10.0.0.7:9333\"], or remove it",
            )),
        }
    }

    /// Returns the addresses of the node in its cluster, where the data API listens on `listen`; `None` if it
    /// belongs to no cluster.
    ///
    /// # Errors
    /// [`ConfigError::Setting`]: an address is not set and cannot be derived, or is none that others can
    /// reach.
    pub fn addresses(&self, listen: &[Listen]) -> Result<Option<ClusterAddresses>, ConfigError> {
        if !self.is_on() {
            return Ok(None);
        }
        let first = listen.iter().find_map(Listen::tcp);
        let ip = self.ip.value().or(first.map(|address| address.ip()));
        let reachable = |ip: &IpAddr| !ip.to_canonical().is_unspecified();
        let ip = ip.filter(reachable).ok_or_else(|| {
            ConfigError::setting(
                "cluster.ip",
                "the address under which other machines reach this one does not follow from listen",
                "write it, for instance ip = \"10.0.0.8\" (--cluster-ip)",
            )
        })?;
        let port = self.port.value().or(first.map(|address| address.port()));
        let port = port.filter(|port| *port > 0).ok_or_else(|| {
            ConfigError::setting(
                "cluster.port",
                "the port of the data API does not follow from listen",
                "write it, for instance port = 8080",
            )
        })?;
        let derived = port.checked_add(GRPC_DISTANCE).map(|port| SocketAddr::new(ip, port));
        let grpc = self.grpc.value().or(derived).filter(|grpc| grpc.port() > 0);
        let grpc = grpc.ok_or_else(|| {
            ConfigError::setting(
                "cluster.grpc",
                format!("the port of the data API is {port}, and 10000 more is no port"),
                "write an address, for instance grpc = \"10.0.0.8:18080\"",
            )
        })?;
        Ok(Some(ClusterAddresses { ip, port, grpc }))
    }
}

/// Checks a text: visible ASCII without spaces.
fn name(key: &str, text: &str, max: usize, example: &str) -> Result<(), ConfigError> {
    if text.len() <= max && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains("//")
    {
        return Ok(());
    }
    let fix =
        format!("write at most {max} visible ASCII characters without spaces, such as {example}");
    Err(ConfigError::setting(key, format!("{text:?} is not possible"), fix))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::node::config::{Config, ConfigDraft};

    fn config(section: &str) -> Result<Config, String> {
        let text = format!("[cluster]\n{section}");
        let path = Path::new("h.toml");
        let draft = ConfigDraft::parse(path, &text).map_err(|error| error.to_string())?;
        let checked = draft.config.validate_on(&[0]);
        checked.map(|()| draft.config.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_follow_from_those_of_the_data_api() {
        let config =
            config("master = [\"m:9333\", \"10.0.0.7:9333.1\"]\nport = 80\nmax_volumes = 7");
        let mut config = config.unwrap();
        assert_eq!(config.cluster.master.len(), 2);
        let listen = |texts: &[&str]| -> Vec<Listen> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let addresses = |config: &Config, texts: &[&str]| {
            let found = config.cluster.addresses(&listen(texts));
            found.map(|found| found.map(|it| (it.ip.to_string(), it.port, it.grpc.to_string())))
        };
        let some = |ip: &str, port, grpc: &str| Ok(Some((ip.to_owned(), port, grpc.to_owned())));
        let of = |config: &Config, texts: &[&str]| {
            addresses(config, texts).map_err(|error| error.to_string())
        };
        assert_eq!(of(&config, &["10.0.0.8:8080"]), some("10.0.0.8", 80, "10.0.0.8:10080"));
        config.cluster.port = OrWord::default();
        let first_of_tcp = &["unix:/s", "10.0.0.8:8080", "127.0.0.1:1"];
        assert_eq!(of(&config, first_of_tcp), some("10.0.0.8", 8080, "10.0.0.8:18080"));
        config.cluster.ip = OrWord::of("10.0.0.9".parse().unwrap());
        assert_eq!(of(&config, &["0.0.0.0:8080"]), some("10.0.0.9", 8080, "10.0.0.9:18080"));
        config.cluster.grpc = OrWord::of("127.0.0.1:5".parse().unwrap());
        assert_eq!(of(&config, &["0.0.0.0:60000"]), some("10.0.0.9", 60_000, "127.0.0.1:5"));
        config.cluster.grpc = OrWord::default();
        for (texts, key) in [
            (&["0.0.0.0:60000"][..], "cluster.grpc: "),
            (&["0.0.0.0:0"], "cluster.port: "),
            (&["unix:/s"], "cluster.port: "),
        ] {
            let error = of(&config, texts).unwrap_err();
            assert!(error.starts_with(key), "{error}");
        }
        config.cluster.ip = OrWord::default();
        for texts in [&["0.0.0.0:80"][..], &["[::]:80"], &["unix:/s"]] {
            let error = of(&config, texts).unwrap_err();
            assert!(error.starts_with("cluster.ip: ") && error.contains("--cluster-ip"), "{error}");
        }
        config.cluster = ClusterConfig::default();
        assert_eq!(of(&config, &["unix:/s"]), Ok(None), "without a cluster nothing is needed");
    }

    #[test]
    fn invalid_settings_are_rejected() {
        let many: Vec<String> = (0..17).map(|n| format!("\"m{n}:1\"")).collect();
        let many = format!("master = [{}]", many.join(", "));
        for (section, wanted) in [
            ("rack = \"r1\"", "cluster.rack: it is set, but cluster.master names no master"),
            ("port = 80", "cluster.port: it is set"),
            ("max_volumes = 1", "cluster.max_volumes: it is set"),
            ("master = [\"m:1\", \"m:1.2\"]", "cluster.master: m:1.2 is named twice"),
            (&many, "cluster.master: 17 masters; name 1 to 16"),
            ("master = [\"m\"]", "h.toml:2: cluster.master: \"m\" is no address of a server"),
            ("master = [\"m:1\"]\nrack = \"a b\"", "cluster.rack: \"a b\" is not possible"),
            ("master = [\"m:1\"]\ndata_center = \"\u{e9}\"", "cluster.data_center: "),
            ("master = [\"m:1\"]\npublic_url = \"http://h:1\"", "cluster.public_url: "),
            ("master = [\"m:1\"]\nmax_volumes = 1000001", "cluster.max_volumes: 1000001 is out of"),
            ("master = [\"m:1\"]\ngrpc = \"127.0.0.1:8080\"", "which listen uses"),
            ("master = [\"m:1\"]\ngrpc = \"0.0.0.0:8081\"", "which admin uses"),
            ("master = [\"m:1\"]\ngrpc = \"127.0.0.1:8180\"", "which shard_ports uses"),
            ("master = [\"m:1\"]\nip = \"node1\"", "h.toml:3: cluster.ip: "),
            ("master = [\"m:1\"]\nip = \"0.0.0.0\"", "cluster.ip: "),
            ("masters = [\"m:1\"]", "unknown setting; did you mean cluster.master?"),
        ] {
            let error = config(section).expect_err(section);
            assert!(error.contains(wanted), "{section}: {error}");
        }
        assert!(config("master = [\"m:1\"]\ngrpc = \"127.0.0.2:8080\"").is_ok(), "another address");
    }

    #[test]
    fn public_address_of_the_orders_is_warned_about() {
        let warnings = |section: &str| config(section).unwrap().warnings();
        assert_eq!(warnings("master = [\"m:1\"]"), [""; 0]);
        let said = warnings("master = [\"m:1\"]\nip = \"8.8.8.8\"");
        assert!(
            said.len() == 1 && said[0].starts_with("cluster.grpc is 8.8.8.8:18080"),
            "{said:?}"
        );
    }
}
