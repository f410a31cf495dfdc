//! Addresses of the node in its cluster.

use std::net::{IpAddr, SocketAddr};

/// Addresses of the node in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterAddresses {
    /// IP address under which other machines of the cluster reach the node.
    pub ip: IpAddr,
    /// Port of the data API at that address.
    pub port: u16,
    /// Address on which the orders of the cluster arrive, by gRPC.
    pub grpc: SocketAddr,
}

impl ClusterAddresses {
    /// Returns a warning if the orders of the cluster may arrive from a public network.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        (!is_private(self.grpc.ip())).then(|| {
            format!(
                "cluster.grpc is {}, neither a loopback nor a private address, and the orders of the cluster \
                 have no authentication: a client that reaches it can delete all volumes of the cluster; set \
                 cluster.ip or cluster.grpc to a private address, or let a firewall choose who reaches it",
                self.grpc
            )
        })
    }
}

/// Whether an address is of this machine or of a network that the Internet does not route to.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_and_unspecified_addresses_are_warned_about() {
        let warning = |grpc: &str| {
            let ip = IpAddr::from([10, 0, 0, 8]);
            ClusterAddresses { ip, port: 8080, grpc: grpc.parse().unwrap() }.warning()
        };
        for private in [
            "127.0.0.3:1",
            "10.0.0.8:1",
            "192.168.1.1:1",
            "169.254.0.1:1",
            "[::1]:1",
            "[fd00::1]:1",
        ] {
            assert_eq!(warning(private), None, "{private}");
        }
        for public in ["0.0.0.0:1", "[::]:1", "8.8.8.8:1", "[2001:db8::1]:1", "[::ffff:8.8.8.8]:1"]
        {
            let said = warning(public).unwrap_or_else(|| panic!("{public}"));
            assert!(said.starts_with(&format!("cluster.grpc is {public}, ")), "{said}");
        }
    }
}
