//! The log lines of a start: version, addresses, ports, and an example command.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::listeners::Bound;
use crate::node::config::Listen;

/// Returns the lines: version, addresses of the data API, ports of the shards, an example command.
pub fn lines(bound: &Bound, shards: usize, admin: SocketAddr) -> Vec<String> {
    let count = if shards == 1 { "1 shard".to_owned() } else { format!("{shards} shards") };
    let mut lines = vec![format!("hayloft {}, {count}", env!("CARGO_PKG_VERSION"))];
    for place in &bound.places {
        let scheme = if place.tcp().is_some() { "http://" } else { "" };
        lines.push(format!("photos on {scheme}{place}, admin on http://{admin}"));
    }
    if let Some(first) = bound.first_shard_port {
        let address = SocketAddr::new(bound.shard_port_host(), first);
        lines.push(match shards {
            1 => format!("shard 0 also on http://{address}"),
            _ => format!("shard 0 also on http://{address}, shard k on port {first} + k"),
        });
    }
    lines.extend(bound.places.first().map(|place| format!("to try it: {}", example(place))));
    lines
}

/// A curl command that stores a photo.
fn example(place: &Listen) -> String {
    let (socket, authority) = match place {
        Listen::Tcp(address) => (String::new(), near(*address).to_string()),
        Listen::Unix(path) => {
            (format!("--unix-socket {} ", path.display()), "localhost".to_owned())
        }
    };
    format!(
        "curl {socket}-H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://{authority}/"
    )
}

/// The address with which this machine connects to `address`: loopback for an unspecified one.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(places: &[&str], first_shard_port: Option<u16>) -> Bound {
        let places = places.iter().map(|place| place.parse().unwrap()).collect();
        Bound { shards: Vec::new(), files: Vec::new(), places, first_shard_port }
    }

    #[test]
    fn startup_lines_name_version_addresses_and_a_command() {
        let admin = "127.0.0.1:81".parse().unwrap();
        let text = lines(&bound(&["0.0.0.0:80", "unix:/s"], Some(180)), 2, admin).join("\n");
        for part in [
            concat!("hayloft ", env!("CARGO_PKG_VERSION"), ", 2 shards\n"),
            "photos on http://0.0.0.0:80, admin on http://127.0.0.1:81\n",
            "photos on unix:/s, admin on",
            "shard 0 also on http://0.0.0.0:180, shard k on port 180 + k",
            "@photo.jpg http://127.0.0.1:80/",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = lines(&bound(&["[::]:80"], None), 1, admin).join("\n");
        assert!(text.contains("http://[::1]:80/") && !text.contains("also"), "{text}");
        let text = lines(&bound(&["unix:/s"], Some(180)), 1, admin).join("\n");
        assert!(text.contains("curl --unix-socket /s -H"), "{text}");
        assert!(text.contains("shard 0 also on http://127.0.0.1:180\n"), "{text}");
    }
}
