//! Routes the requests for a volume to the port of the shard that owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use hayloft::base::types::VolumeId;
use hayloft::commands::client::{Body, Client, ServerAddress};
use hayloft::commands::nginx::Node;
use hayloft::http::head::Method;

use crate::error::Error;
use crate::plan::{Endpoint, Plan, Shared};

/// Reads the shards from the admin API at `admin`, and routes each volume's requests to its shard's port.
///
/// # Errors
/// When the API does not answer, or a volume has no shard with a port of its own.
pub fn route(shared: &mut Shared, admin: &str, plan: &Plan) -> Result<(), Error> {
    let server: ServerAddress =
        admin.parse().map_err(|error| Error::Usage(format!("--by-shard: {error}")))?;
    let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
    let client = Client::new(server, "--by-shard");
    let reply =
        client.request(Method::Get, "/status", &[], Body::None).map_err(|error| failed(&error))?;
    let reply = reply.expect(&[200]).map_err(|error| failed(&error))?;
    let node: Node = reply.json().map_err(|error| failed(&error))?;
    let ip = shared.endpoints[0].address.ip();
    let (ports, routes) = assign(&node, &shared.objects.volumes)?;
    if plan.connections < plan.threads * ports.len() {
        let advice = format!(
            "{} connections are too few: {} threads need one connection to each of {} shards; raise \
             --connections",
            plan.connections,
            plan.threads,
            ports.len()
        );
        return Err(Error::Usage(advice));
    }
    shared.endpoints = ports
        .into_iter()
        .map(|port| {
            let address = SocketAddr::new(ip, port);
            Endpoint { address, host: address.to_string() }
        })
        .collect();
    shared.routes = routes;
    Ok(())
}

/// Distinct ports, and for each volume the index of its port.
fn assign(node: &Node, volumes: &[u32]) -> Result<(Vec<u16>, BTreeMap<u32, usize>), Error> {
    let port_of = |volume: u32| {
        let shard = node.volumes.iter().find(|there| there.id == VolumeId(volume))?.shard?;
        node.shards.iter().find(|there| there.id == shard)?.port
    };
    let mut wanted = BTreeMap::new();
    for volume in volumes {
        let port = port_of(*volume).ok_or_else(|| {
            Error::Failed(format!(
                "volume {volume} has no shard with a port of its own; see `hayloft volume list`, and \
                 shard_ports in the configuration of the daemon"
            ))
        })?;
        wanted.insert(*volume, port);
    }
    let ports: Vec<u16> = wanted.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let at = |port| {
        ports.iter().position(|known| *known == port).expect("every wanted port is in the list")
    };
    let routes = wanted.into_iter().map(|(volume, port)| (volume, at(port))).collect();
    Ok((ports, routes))
}

#[cfg(test)]
mod tests {
    use hayloft::commands::nginx::{NodeLimits, NodeShard, NodeVolume};

    use super::*;

    #[test]
    fn volumes_are_routed_to_the_port_of_their_shard() {
        let volume = |id, shard| NodeVolume { id: VolumeId(id), shard };
        let node = Node {
            version: String::new(),
            listen: Vec::new(),
            limits: NodeLimits { largest_body: 1, largest_batch: 1 },
            shards: vec![
                NodeShard { id: 0, port: Some(100) },
                NodeShard { id: 1, port: Some(101) },
                NodeShard { id: 2, port: None },
            ],
            volumes: vec![
                volume(1, Some(1)),
                volume(2, Some(0)),
                volume(3, Some(1)),
                volume(4, Some(2)),
                volume(5, None),
            ],
        };
        let (ports, routes) = assign(&node, &[1, 3]).unwrap();
        assert_eq!((ports, routes), (vec![101], BTreeMap::from([(1, 0), (3, 0)])));
        let (ports, routes) = assign(&node, &[1, 2]).unwrap();
        assert_eq!((ports, routes), (vec![100, 101], BTreeMap::from([(1, 1), (2, 0)])));
        for volume in [4, 5, 6] {
            let error = assign(&node, &[1, volume]).unwrap_err().to_string();
            assert!(error.contains(&format!("volume {volume}")), "{error}");
        }
    }
}
