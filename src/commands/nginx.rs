//! The nginx configuration for a running daemon: the example of the documentation with the daemon's
//! addresses, and with requests for each volume sent to the port of the shard that owns it. It has two
//! servers: a public one for reads, and one for writes, which admits only listed clients.
//!
//! The text is `docs/nginx.example.conf` with replacements, so that its comments and tests apply here, too.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

use crate::base::size::{ByteSize, KIB, MIB};
use crate::base::types::VolumeId;
use crate::node::config::Listen;

const EXAMPLE: &str = include_str!("../../docs/nginx.example.conf");
/// Timeout of connecting to a port (see [`unreachable`]).
const CONNECT: Duration = Duration::from_secs(2);
/// Beginning of the public server in the example.
const PUBLIC: &str = "\n# For the public: reads only.\n";
/// Comment of the example about the clients of the server for writes.
const LOOPBACK_ONLY: &str = "    # On loopback, for programs on this machine. Clients";
/// Replacement of [`LOOPBACK_ONLY`] with a unix socket.
const SOCKET_ONLY: &str = "    # On a unix socket, for programs on this machine. Clients";
/// Replacement of [`LOOPBACK_ONLY`] with networks that may write.
const LISTED_ONLY: &str = "    # For the networks that are listed. Clients";
/// Advice if the public server has no name.
const DEFAULT_SITE: &str = "\
# On Debian, nginx's own site is the default of port 80, and would answer in place of the public server
# below: remove /etc/nginx/sites-enabled/default, or give --server-name.
";
/// Port of the server for writes, unless another is named.
const WRITES_PORT: u16 = 8082;

/// The fields of the daemon's `/status` that the configuration needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Version of the daemon.
    pub version: String,
    /// Addresses of its data API: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// Limits of its data API.
    pub limits: Limits,
    /// The shards.
    pub shards: Vec<Shard>,
    /// The volumes.
    pub volumes: Vec<Volume>,
}

/// Limits of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// Largest body of a photo (bytes).
    pub largest_body: u64,
    /// Largest batch (bytes).
    pub largest_batch: u64,
}

impl Node {
    /// Returns the address at which this host reaches its data API: the first that it listens on. If that
    /// means all addresses of its host, the one at which the admin API was reached, or 127.0.0.1.
    #[must_use]
    pub fn data_address(&self, admin: Option<IpAddr>) -> Option<Listen> {
        let listen: Listen = self.listen.first()?.parse().ok()?;
        Some(match listen {
            Listen::Tcp(tcp) if tcp.ip().is_unspecified() => {
                let ip = admin.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                Listen::Tcp(SocketAddr::new(ip, tcp.port()))
            }
            listen => listen,
        })
    }

    /// Returns the size of the largest body that it takes, of a photo or a batch.
    #[must_use]
    pub fn largest_body(&self) -> ByteSize {
        ByteSize(self.limits.largest_body.max(self.limits.largest_batch))
    }
}

/// A shard of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Number of the shard.
    pub id: u32,
    /// TCP port of the shard, if it has one of its own.
    pub port: Option<u16>,
}

/// A volume of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// The id in the URL.
    pub id: VolumeId,
    /// The shard that owns it; `None` while it is being created.
    pub shard: Option<u32>,
}

/// Settings of the site, which the daemon's `/status` does not give, or not reliably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Address at which nginx reaches the data API of all shards. The shard ports are on the same address;
    /// on 127.0.0.1 if it is a unix socket.
    pub daemon: Listen,
    /// Where nginx listens for public reads: a port, `IP:PORT`, or `unix:/path`.
    pub listen: String,
    /// Where nginx listens for writes, in the same form; `None`: port 8082, on loopback if `allow_writes` is
    /// empty, else on all addresses.
    pub listen_writes: Option<String>,
    /// Networks that may write. Empty: all clients that reach `listen_writes`, which must be loopback or a
    /// unix socket then.
    pub allow_writes: Vec<Network>,
    /// Host names of the site; empty: all requests to `listen`.
    pub server_names: Vec<String>,
    /// Largest body that nginx passes on, 1 B or more.
    pub largest_body: ByteSize,
}

/// Addresses of clients: an IP address, or a network in CIDR notation (`10.1.0.0/16`) without bits set after
/// the prefix. Never all addresses (`/0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Error of parsing a [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseNetworkError {
    /// Neither an address nor a network.
    #[error("{0:?} is not a network; write an IP address or CIDR, for instance 10.1.0.0/16")]
    NotANetwork(String),
    /// Bits are set after the prefix, which nginx would ignore.
    #[error("{text:?} has bits set after the prefix; write {network} or {address}")]
    HostBits {
        /// Text as given.
        text: String,
        /// The network with these bits cleared.
        network: IpNet,
        /// The single address.
        address: IpAddr,
    },
    /// The network of all addresses.
    #[error("{0} is every address, so everybody could write; name the networks of those who may")]
    Everybody(IpNet),
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        let network = address.or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| ParseNetworkError::NotANetwork(text.to_owned()))?;
        if network.prefix_len() == 0 {
            return Err(ParseNetworkError::Everybody(network.trunc()));
        }
        if network != network.trunc() {
            let (text, address) = (text.to_owned(), network.addr());
            return Err(ParseNetworkError::HostBits { text, network: network.trunc(), address });
        }
        Ok(Self(network))
    }
}

/// Why no configuration can be generated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NginxError {
    /// A character that may end a word in nginx's configuration.
    #[error(
        "{0:?} cannot be used in an nginx configuration; use letters, digits and the characters \
         . : / - _ * [ ] only"
    )]
    NotPlain(String),
    /// Not a port, address or unix socket.
    #[error(
        "{0:?} is not an address to listen on; write a port such as 80, IP:PORT, or unix:/path"
    )]
    NotListen(String),
    /// The public server and the one for writes, or nginx and the daemon, on one port.
    #[error("{0} would serve both {1}; give one of them another port (--listen, --listen-writes)")]
    Shared(String, &'static str),
    /// Networks that may write, with a unix socket, which no network reaches.
    #[error(
        "{0} is a unix socket, which no network reaches; leave out --allow-writes, or write a port or \
         IP:PORT for --listen-writes"
    )]
    NoNetwork(String),
    /// A server for writes that other machines reach, without networks that may write.
    #[error(
        "{0} is reached from other machines, so that everybody could write; say who may write: \
         --allow-writes CIDR, or write 127.0.0.1:PORT or unix:/path for --listen-writes"
    )]
    OpenWrites(String),
    /// An unspecified address, which means all addresses.
    #[error(
        "{0} means every address of the daemon's host; name the one at which nginx reaches it, for \
         instance 127.0.0.1:{port}", port = .0.port()
    )]
    Unspecified(SocketAddr),
    /// A body limit of 0, which nginx takes for no limit.
    #[error(
        "nginx takes 0 for no limit; write the daemon's limits.largest_body, for instance 64MiB"
    )]
    NoBody,
}

impl Site {
    /// Checks that the settings fit together and can be used in an nginx configuration.
    ///
    /// # Errors
    /// [`NginxError`].
    pub fn validate(&self) -> Result<(), NginxError> {
        self.check_listen()?;
        if let Some(address) = self.daemon.tcp().filter(|address| address.ip().is_unspecified()) {
            return Err(NginxError::Unspecified(address));
        }
        let mut words = vec![self.daemon.to_string(), self.listen.clone()];
        words.extend(self.listen_writes.clone());
        for word in words.iter().chain(&self.server_names) {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:/-_*[]".contains(&byte);
            if word.is_empty() || !word.bytes().all(is_plain) {
                return Err(NginxError::NotPlain(word.clone()));
            }
        }
        if self.largest_body.bytes() == 0 { Err(NginxError::NoBody) } else { Ok(()) }
    }

    fn check_listen(&self) -> Result<(), NginxError> {
        let writes = self.writes_listen();
        for listen in writes.iter().chain([&self.listen]) {
            if port_of(listen).is_none_or(|port| port == 0) && !listen.starts_with("unix:/") {
                return Err(NginxError::NotListen(listen.clone()));
            }
        }
        let is_public = |writes: &&String| match port_of(writes) {
            None => **writes == self.listen,
            port => port == port_of(&self.listen),
        };
        if let Some(writes) = writes.iter().find(is_public) {
            return Err(NginxError::Shared(writes.clone(), "the public and writes"));
        }
        let daemon = self.daemon.to_string();
        if writes.iter().chain([&self.listen]).any(|listen| *listen == daemon) {
            return Err(NginxError::Shared(daemon, "nginx and the daemon"));
        }
        let mut writes = writes.into_iter();
        let problem = if self.allow_writes.is_empty() {
            writes.find(|listen| !is_local(listen)).map(NginxError::OpenWrites)
        } else {
            writes.find(|listen| listen.starts_with("unix:")).map(NginxError::NoNetwork)
        };
        problem.map_or(Ok(()), Err)
    }

    /// Returns where the server for writes listens. For nginx a bare port means IPv4 only.
    fn writes_listen(&self) -> Vec<String> {
        if let Some(listen) = &self.listen_writes {
            return vec![listen.clone()];
        }
        let is_ipv4 = |network: &Network| matches!(network.0, IpNet::V4(_));
        let mut all = Vec::new();
        if self.allow_writes.is_empty() {
            all.push(format!("127.0.0.1:{WRITES_PORT}"));
        }
        if self.allow_writes.iter().any(is_ipv4) {
            all.push(WRITES_PORT.to_string());
        }
        if !self.allow_writes.iter().all(is_ipv4) {
            all.push(format!("[::]:{WRITES_PORT}"));
        }
        all
    }

    /// Returns the comment about the clients of the server for writes.
    fn writers(&self) -> &'static str {
        let is_unix = |listen: &String| listen.starts_with("unix:");
        if !self.allow_writes.is_empty() {
            LISTED_ONLY
        } else if self.writes_listen().iter().any(is_unix) {
            SOCKET_ONLY
        } else {
            LOOPBACK_ONLY
        }
    }

    /// Returns the beginning of the server for writes: its addresses, and the networks that may write.
    fn writes_server(&self) -> String {
        let listen = self.writes_listen();
        let mut text: String = listen.iter().map(|at| format!("    listen {at};\n")).collect();
        for network in &self.allow_writes {
            let _ = writeln!(text, "    allow {};", network.0);
        }
        if !self.allow_writes.is_empty() {
            text += "    deny all;\n";
        }
        text
    }

    fn shard_address(&self, port: u16) -> SocketAddr {
        let host =
            self.daemon.tcp().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
        SocketAddr::new(host, port)
    }
}

/// Returns the port of a listen address of nginx.
fn port_of(listen: &str) -> Option<u16> {
    let address = || listen.parse::<Listen>().ok()?.tcp().map(|address| address.port());
    listen.parse().ok().or_else(address)
}

/// Returns whether a listen address of nginx is reached only from this machine. A bare port is on all
/// addresses.
fn is_local(listen: &str) -> bool {
    listen.parse::<Listen>().is_ok_and(|listen| {
        listen.tcp().is_none_or(|address| address.ip().to_canonical().is_loopback())
    })
}

/// Returns the shards that have a port of their own, each with its port.
fn own_ports(node: &Node) -> impl Iterator<Item = (u32, u16)> {
    node.shards.iter().filter_map(|shard| Some((shard.id, shard.port?)))
}

/// Returns the configuration, to be included in the http block of nginx.
///
/// # Errors
/// Those of [`Site::validate`].
pub fn included(node: &Node, site: &Site) -> Result<String, NginxError> {
    site.validate()?;
    let (_, text) =
        EXAMPLE.split_once("\n\n").expect("the example begins with a paragraph about itself");
    let listen = match site.server_names.join(" ") {
        names if names.is_empty() => format!("    listen {};\n", site.listen),
        names => format!("    listen {};\n    server_name {names};\n", site.listen),
    };
    let body = format!("client_max_body_size {};", nginx_size(site.largest_body));
    let text = set(text, "127.0.0.1:8080", &site.daemon.to_string());
    let text = set(&text, "    listen 80;\n", &listen);
    let text = set(&text, "    listen 127.0.0.1:8082;\n", &site.writes_server());
    let text = set(&text, LOOPBACK_ONLY, site.writers());
    let mut text = set(&text, "client_max_body_size 64m;", &body);
    let mut about = introduction(node);
    if site.server_names.is_empty() {
        about += DEFAULT_SITE;
    }
    if own_ports(node).next().is_some() {
        text = set(&text, PUBLIC, &(shards(node, site) + PUBLIC));
        text = set(&text, "proxy_pass http://hayloft;", "proxy_pass http://$hayloft_upstream;");
    } else {
        about += "# The shards have no ports of their own (shard_ports): one shared address serves all.\n";
    }
    Ok(about + "\n" + &text)
}

/// Returns the configuration as a whole `nginx.conf`.
///
/// # Errors
/// Those of [`Site::validate`].
pub fn full(node: &Node, site: &Site) -> Result<String, NginxError> {
    let mut text = "worker_processes auto;\nworker_rlimit_nofile 16384;\n\nevents {\n    \
                    worker_connections 4096;\n}\n\nhttp {\n"
        .to_owned();
    for line in included(node, site)?.lines() {
        let indent = if line.is_empty() { "" } else { "    " };
        let _ = writeln!(text, "{indent}{line}");
    }
    Ok(text + "}\n")
}

/// Replaces a part of the example.
///
/// # Panics
/// If the example does not contain it.
fn set(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the example of nginx has no {old:?}");
    text.replace(old, new)
}

/// Returns the first comment of the configuration.
fn introduction(node: &Node) -> String {
    format!(
        "# nginx in front of a Hayloft daemon of {} shards and {} volumes, to be included in the http block\n\
         # of nginx.conf (on Debian: a file in /etc/nginx/conf.d/). Settings that are switched off have a\n\
         # `#` with no space after it.\n\
         #\n\
         # Generated by `hayloft nginx-config` {}. Generate it again after volumes were added, or cores or\n\
         # ports were changed, and then `nginx -s reload`. A volume that is not listed is served at the\n\
         # shared address.\n",
        node.shards.len(),
        node.volumes.len(),
        node.version.replace(char::is_control, "?"),
    )
}

/// Returns an upstream for each shard, and the map from volumes to upstreams.
fn shards(node: &Node, site: &Site) -> String {
    let mut text = "\n# The port of each shard: the shard that owns a volume answers requests for it alone. \
                    If its\n# connection fails, the shared address gets a second try, of reads only \
                    (below).\n"
        .to_owned();
    let shared =
        EXAMPLE.split_once("upstream hayloft {").expect("the example has the shared upstream").1;
    let shared = shared.split_once('}').expect("the upstream ends with a brace").0;
    let kept: Vec<&str> = shared.lines().filter(|line| line.starts_with("    keepalive")).collect();
    for (shard, port) in own_ports(node) {
        let _ = writeln!(
            text,
            "upstream hayloft_shard_{shard} {{\n    server {} max_fails=0;\n    \
             server {} max_fails=0 backup;\n{}\n}}",
            site.shard_address(port),
            site.daemon,
            kept.join("\n"),
        );
    }
    text += "\n# The shard that owns each volume, whose number is at the beginning of the path. Requests\n\
             # for volumes that are not listed go to the shared address, and so does POST /.\n\
             map $uri $hayloft_volume {\n    \"~^/(?<hayloft_number>[0-9]+)(/|$)\" $hayloft_number;\n}\n\
             map $hayloft_volume $hayloft_upstream {\n    default hayloft;\n";
    for volume in &node.volumes {
        let owner = own_ports(node).map(|(shard, _)| shard).find(|n| Some(*n) == volume.shard);
        if let Some(shard) = owner {
            let _ = writeln!(text, "    {} hayloft_shard_{shard};", volume.id);
        }
    }
    text + "}\n"
}

/// Formats a size for nginx: in bytes, or with the suffix k (KiB) or m (MiB).
fn nginx_size(size: ByteSize) -> String {
    match size.bytes() {
        bytes if bytes.is_multiple_of(MIB) => format!("{}m", bytes / MIB),
        bytes if bytes.is_multiple_of(KIB) => format!("{}k", bytes / KIB),
        bytes => bytes.to_string(),
    }
}

/// Connects to the addresses of the daemon in the configuration, from this host. Returns a sentence for each
/// that does not answer.
#[must_use]
pub fn unreachable(node: &Node, site: &Site) -> Vec<String> {
    let own = own_ports(node).map(|(_, port)| Listen::Tcp(site.shard_address(port)));
    let all = std::iter::once(site.daemon.clone()).chain(own);
    let connect = |address: &Listen| match address {
        Listen::Tcp(address) => TcpStream::connect_timeout(address, CONNECT).map(drop),
        Listen::Unix(path) => UnixStream::connect(path).map(drop),
    };
    let problem = |address: Listen| {
        connect(&address).err().map(|error| format!("nothing answers at {address}: {error}"))
    };
    all.filter_map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ports: [Option<u16>; 2]) -> Node {
        let shard = |(id, port)| Shard { id, port };
        let volume = |id| Volume { id: VolumeId(id), shard: Some(id % 2) };
        Node {
            version: "0.1.0".to_owned(),
            listen: vec!["0.0.0.0:9000".to_owned()],
            limits: Limits { largest_body: 8 << 20, largest_batch: 16 << 20 },
            shards: (0..).zip(ports).map(shard).collect(),
            volumes: [1, 2, 30].map(volume).to_vec(),
        }
    }

    fn site() -> Site {
        Site {
            daemon: "127.0.0.1:8080".parse().unwrap(),
            listen: "80".to_owned(),
            listen_writes: None,
            allow_writes: Vec::new(),
            server_names: Vec::new(),
            largest_body: ByteSize::mib(64),
        }
    }

    #[test]
    fn address_and_largest_body_are_taken_from_the_status() {
        let node = node([None, None]);
        let at = |node: &Node, admin: Option<&str>| {
            node.data_address(admin.map(|ip| ip.parse().unwrap())).map(|at| at.to_string())
        };
        assert_eq!(at(&node, None).as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(at(&node, Some("10.0.0.5")).as_deref(), Some("10.0.0.5:9000"));
        assert_eq!(node.largest_body(), ByteSize::mib(16));
        let socket = Node { listen: vec!["unix:/s".to_owned()], ..node.clone() };
        assert_eq!(at(&socket, Some("10.0.0.5")).as_deref(), Some("unix:/s"));
        assert_eq!(at(&Node { listen: vec![], ..node }, None), None);
    }

    #[test]
    fn without_shard_ports_the_output_is_the_example_file() {
        let text = included(&node([None, None]), &site()).unwrap();
        let (_, example) = EXAMPLE.split_once("\n\n").unwrap();
        let (about, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(rest, example);
        assert!(about.contains("2 shards and 3 volumes"), "{about}");
        assert!(about.lines().all(|line| line.starts_with('#')), "{about}");
    }

    #[test]
    fn each_volume_is_mapped_to_its_shard() {
        let site = Site {
            daemon: "10.0.0.5:9000".parse().unwrap(),
            listen: "127.0.0.1:81".to_owned(),
            listen_writes: Some("10.0.0.7:82".to_owned()),
            allow_writes: ["10.1.0.0/16", "::1"].map(|text| text.parse().unwrap()).to_vec(),
            server_names: vec!["photos.example".to_owned(), "*.photos.example".to_owned()],
            largest_body: ByteSize::kib(1536),
        };
        let text = included(&node([Some(9100), Some(9101)]), &site).unwrap();
        for part in [
            "\nupstream hayloft {\n",
            "    server 10.0.0.5:9000 max_fails=0;\n",
            "\nupstream hayloft_shard_1 {\n    server 10.0.0.5:9101 max_fails=0;\n    \
             server 10.0.0.5:9000 max_fails=0 backup;\n    keepalive 32;\n",
            "    default hayloft;\n    1 hayloft_shard_1;\n    2 hayloft_shard_0;\n",
            "    30 hayloft_shard_0;\n}",
            "    listen 127.0.0.1:81;\n    server_name photos.example *.photos.example;\n",
            "    listen 10.0.0.7:82;\n    allow 10.1.0.0/16;\n    allow ::1/128;\n    deny all;\n",
            "client_max_body_size 1536k;",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(text.matches("proxy_pass http://$hayloft_upstream;").count(), 2, "{text}");
        assert!(!text.contains("8080") && !text.contains("proxy_pass http://hayloft;"), "{text}");
        let open = |text: &str| text.matches('{').count() - text.matches('}').count();
        assert_eq!(open(&text), 0);
        let full = full(&node([Some(9100), Some(9101)]), &site).unwrap();
        assert!(full.contains("\nhttp {\n    # nginx in front of ") && open(&full) == 0, "{full}");
    }

    #[test]
    fn with_a_unix_socket_shard_ports_are_on_loopback() {
        let site = Site { daemon: "unix:/run/hayloft/data.sock".parse().unwrap(), ..site() };
        let text = included(&node([Some(9100), None]), &site).unwrap();
        assert!(text.contains("    server unix:/run/hayloft/data.sock max_fails=0;\n"), "{text}");
        assert!(text.contains("    server 127.0.0.1:9100 max_fails=0;\n"), "{text}");
        assert!(!text.contains("    1 hayloft_shard_1;"), "shard 1 has no port: {text}");
    }

    #[test]
    fn unsafe_or_conflicting_settings_are_refused_with_advice() {
        type Change = fn(&mut Site);
        let cases: [(Change, &str); 19] = [
            (|site| site.daemon = "0.0.0.0:90".parse().unwrap(), "for instance 127.0.0.1:90"),
            (|site| site.daemon = "unix:/a;b".parse().unwrap(), "letters, digits"),
            (|site| site.listen = "0".to_owned(), "a port such as 80"),
            (|site| site.listen = "80 ssl".to_owned(), "a port such as 80"),
            (|site| site.listen = "unix:/a b".to_owned(), "letters, digits"),
            (|site| site.server_names = vec!["a;b".to_owned()], "letters, digits"),
            (|site| site.server_names = vec![String::new()], "letters, digits"),
            (|site| site.largest_body = ByteSize(0), "64MiB"),
            (|site| site.listen_writes = Some("x".to_owned()), "a port such as 80"),
            (|site| site.listen_writes = Some("unix:/a;".to_owned()), "letters, digits"),
            (|site| site.listen_writes = Some("127.0.0.1:80".to_owned()), "the public and writes"),
            (|site| site.listen = "8082".to_owned(), "another port"),
            (|site| site.listen_writes = Some("127.0.0.1:8080".to_owned()), "and the daemon"),
            (|site| site.listen_writes = Some("8082".to_owned()), "say who may write: --allow"),
            (|site| site.listen_writes = Some("0.0.0.0:8082".to_owned()), "--allow-writes CIDR"),
            (|site| site.listen_writes = Some("[::]:8082".to_owned()), "--allow-writes CIDR"),
            (|site| site.listen_writes = Some("10.0.0.5:8082".to_owned()), "--allow-writes CIDR"),
            (|site| site.listen_writes = Some("[fd00::1]:8082".to_owned()), "--allow-writes CIDR"),
            (
                |site| {
                    site.listen_writes = Some("unix:/w".to_owned());
                    site.allow_writes = vec!["10.0.0.0/8".parse().unwrap()];
                },
                "which no network reaches",
            ),
        ];
        for (change, advice) in cases {
            let mut site = site();
            change(&mut site);
            let error = included(&node([None, None]), &site).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
    }

    #[test]
    fn writes_server_listens_on_loopback_or_allows_listed_networks() {
        let server = |networks: &[&str]| {
            let allow_writes = networks.iter().map(|text| text.parse().unwrap()).collect();
            Site { allow_writes, ..site() }.writes_server()
        };
        assert_eq!(server(&[]), "    listen 127.0.0.1:8082;\n");
        assert_eq!(
            server(&["10.0.0.5"]),
            "    listen 8082;\n    allow 10.0.0.5/32;\n    deny all;\n"
        );
        assert_eq!(
            server(&["fd00::/8", "10.0.0.0/8"]),
            "    listen 8082;\n    listen [::]:8082;\n    allow fd00::/8;\n    allow 10.0.0.0/8;\n    \
             deny all;\n"
        );
        assert!(!server(&["fd00::/8"]).contains("listen 8082;"));
        let allow_writes = vec!["10.0.0.5".parse().unwrap()];
        let text = included(&node([None, None]), &Site { allow_writes, ..site() }).unwrap();
        assert!(!text.contains("127.0.0.1:8082") && !text.contains("On loopback"), "{text}");
    }

    #[test]
    fn comment_states_who_can_reach_the_writes_server() {
        for (listen_writes, networks, said) in [
            (None, &[][..], LOOPBACK_ONLY),
            (Some("127.8.9.1:82"), &[], LOOPBACK_ONLY),
            (Some("[::1]:82"), &[], LOOPBACK_ONLY),
            (Some("unix:/w"), &[], SOCKET_ONLY),
            (None, &["10.0.0.5"], LISTED_ONLY),
            (Some("8083"), &["10.0.0.5"], LISTED_ONLY),
            (Some("10.0.0.7:82"), &["10.0.0.5"], LISTED_ONLY),
            (Some("127.0.0.1:82"), &["127.0.0.9"], LISTED_ONLY),
        ] {
            let listen_writes = listen_writes.map(str::to_owned);
            let allow_writes = networks.iter().map(|text| text.parse().unwrap()).collect();
            let site = Site { listen_writes, allow_writes, ..site() };
            let text = included(&node([None, None]), &site).unwrap();
            let all = [LOOPBACK_ONLY, SOCKET_ONLY, LISTED_ONLY];
            let found: Vec<&str> = all.into_iter().filter(|one| text.contains(one)).collect();
            assert_eq!(found, [said], "{site:?}");
        }
    }

    #[test]
    fn without_a_server_name_the_default_site_is_mentioned() {
        let advice = |names: &[&str]| {
            let server_names = names.iter().map(|&name| name.to_owned()).collect();
            let text = included(&node([None, None]), &Site { server_names, ..site() }).unwrap();
            let head = text.split_once("\n\n").unwrap().0;
            head.contains("remove /etc/nginx/sites-enabled/default, or give --server-name")
        };
        assert!(advice(&[]));
        assert!(!advice(&["photos.example"]), "there is nothing to do");
    }

    #[test]
    fn invalid_networks_are_rejected_with_advice() {
        for (text, advice) in [
            ("", "10.1.0.0/16"),
            ("10.0.0.0/33", "10.1.0.0/16"),
            ("localhost", "10.1.0.0/16"),
            ("10.0.0.0/8;", "10.1.0.0/16"),
            ("10.0.0.5/8", "write 10.0.0.0/8 or 10.0.0.5"),
            ("0.0.0.0/0", "everybody could write"),
            ("::/0", "everybody could write"),
        ] {
            let error = text.parse::<Network>().expect_err(text).to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_are_written_with_nginx_suffixes() {
        for (bytes, text) in [(64 << 20, "64m"), (1536, "1536"), (1 << 30, "1024m"), (2048, "2k")] {
            assert_eq!(nginx_size(ByteSize(bytes)), text);
        }
    }

    #[test]
    fn unreachable_addresses_are_reported() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let site = Site { daemon: Listen::Tcp(taken), ..site() };
        // No process can listen on port 0.
        let problems = unreachable(&node([Some(taken.port()), Some(0)]), &site);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("nothing answers at 127.0.0.1:0: "), "{problems:?}");
    }
}
