//! Names of nodes as addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

/// Time for which an address is taken for the one of a name.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Longest time to look up a name.
const FOUND_WITHIN: Duration = Duration::from_secs(1);

/// The addresses of nodes that were looked up.
#[derive(Debug, Default)]
pub(super) struct Addresses(BTreeMap<String, (SocketAddr, Instant)>);

impl Addresses {
    /// Returns the address of a node, given as `HOST:PORT`. If it cannot be looked up now, the last one that
    /// it had; `None` if there was none.
    pub(super) async fn of(&mut self, name: &str) -> Option<SocketAddr> {
        if let Ok(address) = name.parse() {
            return Some(address);
        }
        let known = self.0.get(name).copied();
        if let Some((address, since)) = known
            && since.elapsed() < KNOWN_FOR
        {
            return Some(address);
        }
        let found = match timeout(FOUND_WITHIN, lookup_host(name)).await {
            Ok(Ok(mut found)) => found.next(),
            Ok(Err(error)) => {
                tracing::debug!("cluster: cannot look up {name}: {error}");
                None
            }
            Err(_elapsed) => None,
        };
        if let Some(address) = found {
            self.0.insert(name.to_owned(), (address, Instant::now()));
        }
        found.or(known.map(|(address, _)| address))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn addresses_are_read_and_names_looked_up() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut addresses = Addresses::default();
            let address = "10.0.0.2:8080".parse().unwrap();
            assert_eq!(addresses.of("10.0.0.2:8080").await, Some(address));
            let local = addresses.of("localhost:80").await.unwrap();
            assert!(local.ip().is_loopback() && local.port() == 80);
            assert_eq!(addresses.of("no address").await, None);
            let old = Instant::now().checked_sub(2 * KNOWN_FOR).unwrap();
            addresses.0.insert("no address".to_owned(), (address, old));
            assert_eq!(addresses.of("no address").await, Some(address), "the last one");
        });
    }
}
