//! The nginx configuration for a running daemon: the example of the documents with the daemon's
//! addresses, and each volume asked for at the port of the shard that owns it. It has two servers: a
//! public one for reads, and one for writes, which only listed clients reach.
//!
//! The text is `docs/nginx.example.conf` itself, so that what is said and tested there holds here too.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;
use thiserror::Error;

use crate::config::Listen;
use crate::size::{ByteSize, KIB, MIB};

const EXAMPLE: &str = include_str!("../docs/nginx.example.conf");
/// How long a port may take to answer (see [`unreachable`]).
const CONNECT: Duration = Duration::from_secs(2);
/// What the public server of the example begins with.
const PUBLIC: &str = "\n# For the public: reads only.\n";
/// What the example says about who reaches the server for writes.
const LOOPBACK_ONLY: &str = "    # On loopback, for programs on this machine. Whoever";
/// The same with a unix socket.
const SOCKET_ONLY: &str = "    # On a unix socket, for programs on this machine. Whoever";
/// The same with networks that may write.
const LISTED_ONLY: &str = "    # For the networks that are listed. Whoever";
/// What to do when the public server has no name.
const DEFAULT_SITE: &str = "\
# On Debian, nginx's own site is the default of port 80, and would answer in place of the public server
# below: remove /etc/nginx/sites-enabled/default, or give --server-name.
";
/// Port of the server for writes, unless another is named.
const WRITES_PORT: u16 = 8082;

/// The part of the daemon's `/status` that matters here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// The daemon's version.
    pub version: String,
    /// Where its data API is: `IP:PORT` or `unix:/path`.
    pub listen: Vec<String>,
    /// What its data API takes.
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
    /// Where this host reaches its data API: the first address that it listens on; when that means all
    /// addresses of its host, the one by which the admin API was reached, or 127.0.0.1.
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

    /// The largest body that it takes.
    #[must_use]
    pub fn largest_body(&self) -> ByteSize {
        ByteSize(self.limits.largest_body.max(self.limits.largest_batch))
    }
}

/// A shard of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Shard {
    /// Its number.
    pub id: u32,
    /// Its own TCP port, if it has one.
    pub port: Option<u16>,
}

/// A volume of [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Volume {
    /// The id in the URL.
    pub id: u32,
    /// The shard that owns it; none while it is being made.
    pub shard: Option<u32>,
}

/// What the daemon does not know, or not for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// Where nginx reaches the data API of all shards. The ports of the shards are on the same address;
    /// on 127.0.0.1 if it is a unix socket.
    pub daemon: Listen,
    /// Where nginx serves the public, reads only: a port, `IP:PORT`, or `unix:/path`.
    pub listen: String,
    /// Where nginx takes writes, in the same form; `None`: port 8082, on loopback if `allow_writes` is
    /// empty, else on all addresses.
    pub listen_writes: Option<String>,
    /// Networks that may write. Empty: whoever reaches `listen_writes`, which must be loopback or a unix
    /// socket then.
    pub allow_writes: Vec<Network>,
    /// Host names of the site; none: whatever comes to `listen`.
    pub server_names: Vec<String>,
    /// Largest body that nginx passes on, 1 B or more.
    pub largest_body: ByteSize,
}

/// Addresses of clients: an IP address, or a network in CIDR notation (`10.1.0.0/16`), of which no bit
/// behind the prefix is set. Never all addresses (`/0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseNetworkError {
    /// Neither an address nor a network.
    #[error("{0:?} is not a network; write an IP address or CIDR, for instance 10.1.0.0/16")]
    NotANetwork(String),
    /// Bits behind the prefix, which nginx would ignore.
    #[error("{text:?} has bits set behind the prefix; write {network} or {address}")]
    HostBits {
        /// What was given.
        text: String,
        /// The whole network.
        network: IpNet,
        /// The one address.
        address: IpAddr,
    },
    /// Everybody.
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

/// Why there is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NginxError {
    /// Something that would end a word in nginx's configuration.
    #[error(
        "{0:?} cannot stand in a configuration of nginx; use letters, digits and the characters \
         . : / - _ * [ ] only"
    )]
    NotPlain(String),
    /// No port, address or unix socket.
    #[error("{0:?} is nothing to listen on; write a port such as 80, IP:PORT, or unix:/path")]
    NotListen(String),
    /// The public server and the one for writes, or the daemon, on one port.
    #[error("{0} would serve both {1}; give one of them another port (--listen, --listen-writes)")]
    Shared(String, &'static str),
    /// Networks, and a unix socket, to which no network leads.
    #[error(
        "{0} is a unix socket, which no network reaches; leave out --allow-writes, or write a port or \
         IP:PORT for --listen-writes"
    )]
    NoNetwork(String),
    /// A server for writes that other machines reach, and nobody chooses which.
    #[error(
        "{0} is reached from other machines, so that everybody could write; say who may write: \
         --allow-writes CIDR, or write 127.0.0.1:PORT or unix:/path for --listen-writes"
    )]
    OpenWrites(String),
    /// An address that means all addresses.
    #[error(
        "{0} means every address of the daemon's host; name the one at which nginx reaches it, for \
         instance 127.0.0.1:{port}", port = .0.port()
    )]
    Unspecified(SocketAddr),
    /// A limit that nginx would take for none.
    #[error(
        "nginx takes 0 for no limit; write the daemon's limits.largest_body, for instance 64MiB"
    )]
    NoBody,
}

impl Site {
    /// Checks that its parts can stand in a configuration of nginx.
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

    /// Where the server for writes listens. nginx takes a bare port for IPv4 alone.
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

    /// What the configuration says about who reaches the server for writes.
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

    /// The beginning of the server for writes: where it listens, and to whom.
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

/// The port in something that nginx listens on.
fn port_of(listen: &str) -> Option<u16> {
    let address = || listen.parse::<Listen>().ok()?.tcp().map(|address| address.port());
    listen.parse().ok().or_else(address)
}

/// Whether only this machine reaches what nginx listens on. A bare port is one of all addresses.
fn is_local(listen: &str) -> bool {
    listen.parse::<Listen>().is_ok_and(|listen| {
        listen.tcp().is_none_or(|address| address.ip().to_canonical().is_loopback())
    })
}

/// The shards that have a port of their own, with it.
fn own_ports(node: &Node) -> impl Iterator<Item = (u32, u16)> {
    node.shards.iter().filter_map(|shard| Some((shard.id, shard.port?)))
}

/// The configuration, to be included in the http block of nginx.
///
/// # Errors
/// What [`Site::validate`] says.
pub fn included(node: &Node, site: &Site) -> Result<String, NginxError> {
    site.validate()?;
    let (_, text) = EXAMPLE.split_once("\n\n").expect("a paragraph about the example");
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

/// The same as a whole `nginx.conf`.
///
/// # Errors
/// What [`Site::validate`] says.
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

/// Replaces what stands in the example.
fn set(text: &str, old: &str, new: &str) -> String {
    assert!(text.contains(old), "the example of nginx has no {old:?}");
    text.replace(old, new)
}

fn introduction(node: &Node) -> String {
    format!(
        "# nginx in front of a Hayloft daemon of {} shards and {} volumes, to be included in the http block\n\
         # of nginx.conf (on Debian: a file in /etc/nginx/conf.d/). Settings that are switched off have a\n\
         # `#` with no space behind it.\n\
         #\n\
         # Made by `hayloft nginx-config` {}. Make it again after volumes were added, or cores or\n\
         # ports were changed, and then `nginx -s reload`. A volume that is not listed is served at the\n\
         # shared address.\n",
        node.shards.len(),
        node.volumes.len(),
        node.version.replace(char::is_control, "?"),
    )
}

/// An upstream for each shard, and which volume goes to which.
fn shards(node: &Node, site: &Site) -> String {
    let mut text = "\n# The port of each shard: what comes to the shard that owns the volume needs no other \
                    one. If its\n# connection fails, the shared address gets a second try, of reads only \
                    (below).\n"
        .to_owned();
    let shared = EXAMPLE.split_once("upstream hayloft {").expect("the shared upstream").1;
    let shared = shared.split_once('}').expect("its end").0;
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
    text += "\n# Which shard owns which volume: its number stands at the beginning of the path. Whatever\n\
             # is not listed goes to the shared address, POST / among it.\n\
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

/// A size as nginx writes it.
fn nginx_size(size: ByteSize) -> String {
    match size.bytes() {
        bytes if bytes.is_multiple_of(MIB) => format!("{}m", bytes / MIB),
        bytes if bytes.is_multiple_of(KIB) => format!("{}k", bytes / KIB),
        bytes => bytes.to_string(),
    }
}

/// Which of the addresses in the configuration nobody listens on, as seen from here.
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
        let volume = |id| Volume { id, shard: Some(id % 2) };
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
    fn the_daemon_says_where_it_is_and_what_it_takes() {
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
    fn without_ports_of_the_shards_it_is_the_example() {
        let text = included(&node([None, None]), &site()).unwrap();
        let (_, example) = EXAMPLE.split_once("\n\n").unwrap();
        let (about, rest) = text.split_once("\n\n").unwrap();
        assert_eq!(rest, example);
        assert!(about.contains("2 shards and 3 volumes"), "{about}");
        assert!(about.lines().all(|line| line.starts_with('#')), "{about}");
    }

    #[test]
    fn each_volume_goes_to_its_shard() {
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
    fn with_a_unix_socket_the_ports_are_on_loopback() {
        let site = Site { daemon: "unix:/run/hayloft/data.sock".parse().unwrap(), ..site() };
        let text = included(&node([Some(9100), None]), &site).unwrap();
        assert!(text.contains("    server unix:/run/hayloft/data.sock max_fails=0;\n"), "{text}");
        assert!(text.contains("    server 127.0.0.1:9100 max_fails=0;\n"), "{text}");
        assert!(!text.contains("    1 hayloft_shard_1;"), "shard 1 has no port: {text}");
    }

    #[test]
    fn what_nginx_would_misunderstand_is_refused_with_advice() {
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
    fn writes_are_for_loopback_or_for_listed_networks() {
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
    fn it_says_who_reaches_the_server_for_writes() {
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
    fn without_a_name_it_says_what_answers_in_its_place() {
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
    fn networks_are_checked_with_advice() {
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
    fn sizes_are_those_of_nginx() {
        for (bytes, text) in [(64 << 20, "64m"), (1536, "1536"), (1 << 30, "1024m"), (2048, "2k")] {
            assert_eq!(nginx_size(ByteSize(bytes)), text);
        }
    }

    #[test]
    fn who_does_not_listen_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap();
        let site = Site { daemon: Listen::Tcp(taken), ..site() };
        // Nobody can listen on port 0.
        let problems = unreachable(&node([Some(taken.port()), Some(0)]), &site);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("nothing answers at 127.0.0.1:0: "), "{problems:?}");
    }
}
