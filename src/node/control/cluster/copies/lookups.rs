//! Asks the master where the copies of volumes are.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hayloft_proto::master_pb::seaweed_client::SeaweedClient;
use hayloft_proto::master_pb::{self as pb, LookupVolumeRequest};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;

use super::addresses::Addresses;
use super::event::Event;
use super::location::{Located, Location};
use crate::base::host_port::HostPort;
use crate::base::types::VolumeId;
use crate::node::control::cluster::session::connect;
use crate::node::control::cluster::state::ClusterState;

/// Longest time for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Largest answer (bytes): that of 100,000 volumes with three copies.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks the master where the copies of volumes are.
pub(super) struct Lookups {
    /// Name of this node, which is no copy.
    own: String,
    state: Arc<ClusterState>,
    /// The master that was asked last.
    client: Option<(String, SeaweedClient<Channel>)>,
    addresses: Addresses,
}

impl Lookups {
    /// Creates it for the node of this name.
    pub(super) fn new(own: String, state: Arc<ClusterState>) -> Self {
        Self { own, state, client: None, addresses: Addresses::default() }
    }

    /// Asks for each set of volumes that arrives, until no more can.
    pub(super) async fn run(
        mut self,
        mut asked: mpsc::Receiver<BTreeSet<VolumeId>>,
        events: mpsc::Sender<Event>,
    ) {
        while let Some(volumes) = asked.recv().await {
            let located = match timeout(ANSWER_WITHIN, self.ask(&volumes)).await {
                Ok(Ok(located)) => Some(located),
                Ok(Err(problem)) => {
                    tracing::debug!("cluster: the copies of volumes are not known: {problem}");
                    None
                }
                Err(_elapsed) => None,
            };
            if located.is_none() {
                self.client = None;
            }
            if events.send(Event::Located(located)).await.is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, volumes: &BTreeSet<VolumeId>) -> Result<Located, String> {
        let master = self.state.link().master.ok_or("not registered with a master")?;
        if self.client.as_ref().is_none_or(|(known, _)| *known != master) {
            let address: HostPort = master.parse().map_err(|error| format!("{error}"))?;
            let client = SeaweedClient::new(connect(&address).await?);
            let client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
            self.client = Some((master, client));
        }
        let (_, client) = self.client.as_mut().expect("it was made just now");
        let volume_or_file_ids = volumes.iter().map(ToString::to_string).collect();
        let request = LookupVolumeRequest { volume_or_file_ids, ..Default::default() };
        let answer = client.lookup_volume(request).await.map_err(|status| status.to_string())?;
        let mut located = Located::new();
        for found in answer.into_inner().volume_id_locations {
            let id = found.volume_or_file_id.parse().map(VolumeId);
            if let Some(id) = id.ok().filter(|id| volumes.contains(id)) {
                located.insert(id, self.others(found.locations).await);
            }
        }
        Ok(located)
    }

    /// The copies on other nodes whose address is known.
    async fn others(&mut self, locations: Vec<pb::Location>) -> Vec<Location> {
        let mut others = Vec::new();
        for pb::Location { url, read_only: is_read_only, .. } in locations {
            if url == self.own {
                continue;
            }
            if let Some(address) = self.addresses.of(&url).await {
                others.push(Location { name: url.into(), address, is_read_only });
            }
        }
        others
    }
}
