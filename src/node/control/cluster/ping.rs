//! `Ping`: the time of an answer, and of that of a master.

use std::time::Duration;

use hayloft_proto::master_pb;
use hayloft_proto::master_pb::seaweed_client::SeaweedClient;
use hayloft_proto::volume_server_pb::{PingRequest, PingResponse};
use tokio::time::timeout;
use tonic::Status;

use super::node::ClusterNode;
use super::session::connect;
use crate::base::host_port::HostPort;
use crate::base::sys;

/// Longest time for the answer of a master.
const WITHIN: Duration = Duration::from_secs(5);

/// Answers `Ping`. Only the node itself and masters of its cluster are asked: others would be asked on behalf
/// of a client that cannot reach them.
///
/// # Errors
/// `UNIMPLEMENTED` for another target, `UNAVAILABLE` if it does not answer.
pub(super) async fn ping(
    node: &ClusterNode,
    leader: Option<&str>,
    request: PingRequest,
) -> Result<PingResponse, Status> {
    let start_time_ns = now_ns();
    let remote_time_ns = match (&request.target[..], &request.target_type[..]) {
        ("", _) => start_time_ns,
        (target, "master") if is_master(node, leader, target) => ping_master(target).await?,
        (target, kind) => {
            let sentence = format!("this node does not ask {target} ({kind}) for its time");
            return Err(Status::unimplemented(sentence));
        }
    };
    Ok(PingResponse { start_time_ns, remote_time_ns, stop_time_ns: now_ns() })
}

fn is_master(node: &ClusterNode, leader: Option<&str>, target: &str) -> bool {
    let Ok(target) = target.parse::<HostPort>() else { return false };
    let leader = leader.and_then(|leader| leader.parse::<HostPort>().ok());
    node.masters.iter().chain(&leader).any(|master| master.is_same_server(&target))
}

async fn ping_master(target: &str) -> Result<i64, Status> {
    let unavailable = |problem: &str| Status::unavailable(format!("master {target}: {problem}"));
    let master: HostPort = target.parse().map_err(|_| unavailable("no address"))?;
    let asked = async {
        let channel = connect(&master).await.map_err(|problem| unavailable(&problem))?;
        let request = master_pb::PingRequest::default();
        SeaweedClient::new(channel).ping(request).await
    };
    let answer = timeout(WITHIN, asked).await.map_err(|_| unavailable("no answer"))??;
    Ok(answer.into_inner().start_time_ns)
}

/// Wall clock (nanoseconds since 1970).
fn now_ns() -> i64 {
    i64::try_from(sys::wall_ns()).unwrap_or(i64::MAX)
}
