//! Addresses of clients that may write.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

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

impl Network {
    pub(super) fn is_ipv4(self) -> bool {
        matches!(self.0, IpNet::V4(_))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
