//! The services of the control plane for the cluster.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use crate::node::config::{ClusterAddresses, Config};
use crate::node::control::cluster::{
    ClusterNode, ClusterState, CopiesParts, MarkStore, Marks, Orders, spawn_copies,
    spawn_heartbeats, spawn_server,
};
use crate::node::control::{Compactions, ControlPlane, ControlRequest};
use crate::node::daemon::store::Store;
use crate::node::metrics::Metrics;

/// What the services for the cluster are started with.
pub struct Joining {
    /// What the node says about itself.
    pub node: Arc<ClusterNode>,
    /// State of the node in the cluster.
    pub state: Arc<ClusterState>,
    /// The socket on which the orders of the cluster arrive.
    listener: TcpListener,
}

impl Joining {
    /// Prepares the services of a node with these addresses, one of which `listener` is bound to.
    pub fn new(
        config: &Config,
        stores: &[Store],
        (addresses, listener): (ClusterAddresses, TcpListener),
    ) -> Self {
        let node = Arc::new(node(config, stores, addresses));
        Self { node, state: Arc::default(), listener }
    }

    /// Adds the services to the control plane. `marks`: up to when the copies of volumes have everything, as
    /// an earlier start has noted it, and where it is noted.
    ///
    /// # Errors
    /// If the listener cannot be set up.
    pub fn add_to(
        self,
        plane: &mut ControlPlane,
        metrics: &Arc<Metrics>,
        requests: Sender<ControlRequest>,
        compactions: Arc<Compactions>,
        (marks, store): (Marks, MarkStore),
    ) -> io::Result<()> {
        let Self { node, state, listener } = self;
        let orders = Orders::new(requests, compactions);
        let parts = (Arc::clone(&node), Arc::clone(&state));
        let copies = CopiesParts {
            node: Arc::clone(&node),
            state: Arc::clone(&state),
            metrics: Arc::clone(metrics),
            orders: orders.clone(),
            marks,
            store,
        };
        let copies = spawn_copies(plane.runtime(), plane.stop(), copies);
        plane.add(copies);
        let own = Arc::clone(metrics);
        let server = spawn_server(plane.runtime(), plane.stop(), listener, parts, own, orders)?;
        plane.add(server);
        let own = Arc::clone(metrics);
        let heartbeats = spawn_heartbeats(plane.runtime(), plane.stop(), node, state, own);
        plane.add(heartbeats);
        Ok(())
    }
}

fn node(config: &Config, stores: &[Store], addresses: ClusterAddresses) -> ClusterNode {
    let ClusterAddresses { ip, port, grpc } = addresses;
    let cluster = &config.cluster;
    let directory = |store: &Store| {
        let id = store.dir.as_ref()?.store_id().0;
        Some(format!("{id:032x}:{}", store.path.display()))
    };
    ClusterNode {
        masters: cluster.master.clone(),
        // An IPv6 address stands in brackets, as in a URL.
        ip: SocketAddr::new(ip, 0).to_string().trim_end_matches(":0").to_owned(),
        port,
        grpc_port: grpc.port(),
        public_url: match &cluster.public_url[..] {
            "" => SocketAddr::new(ip, port).to_string(),
            url => url.to_owned(),
        },
        data_center: cluster.data_center.clone(),
        rack: cluster.rack.clone(),
        volumes_max: Some(cluster.max_volumes).filter(|most| *most > 0),
        directories: stores.iter().filter_map(directory).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_says_what_the_configuration_and_its_addresses_are() {
        let mut config = Config::default();
        config.cluster.master = vec!["m:9333".parse().unwrap()];
        config.cluster.rack = "r1".to_owned();
        let addresses = |ip: &str| ClusterAddresses {
            ip: ip.parse().unwrap(),
            port: 8080,
            grpc: "127.0.0.1:99".parse().unwrap(),
        };
        let said = node(&config, &[], addresses("10.0.0.8"));
        assert_eq!((said.name().as_str(), said.grpc_port), ("10.0.0.8:8080", 99));
        assert_eq!((said.public_url.as_str(), said.rack.as_str()), ("10.0.0.8:8080", "r1"));
        assert_eq!((said.volumes_max, said.directories), (None, vec![]));
        config.cluster.public_url = "photos.example:80".to_owned();
        config.cluster.max_volumes = 3;
        let said = node(&config, &[], addresses("fd00::1"));
        assert_eq!((said.ip.as_str(), said.name().as_str()), ("[fd00::1]", "[fd00::1]:8080"));
        assert_eq!((said.public_url.as_str(), said.volumes_max), ("photos.example:80", Some(3)));
    }
}
