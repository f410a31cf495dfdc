//! Volumes with copies on two nodes of a real cluster: two daemons, or a daemon and a stock volume server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::bytes;
use crate::daemon_harness::{Client, Daemon, Reply, data_dir, json};
use crate::weed_harness::{Master, MasterPorts, NodePorts, Weed, start_node, wait_for};

/// Time within which a node that is back has everything again, with a margin for a busy machine.
const HEALED: Duration = Duration::from_secs(60);

/// A name that the master gives out in a volume with two copies, and the node to which it points.
fn assign(master: &Master, query: &str) -> Option<(String, SocketAddr)> {
    let assigned = master.get(&format!("/dir/assign?replication=001{query}"))?;
    let (fid, url) = (assigned["fid"].as_str()?, assigned["url"].as_str()?);
    Some((format!("/{fid}"), url.parse().unwrap()))
}

/// Whether the master takes the volume of a photo, on this node, for read-only.
fn is_closed(master: &Master, node: SocketAddr, fid: &str) -> bool {
    let volume: u64 = fid[1..].split(',').next().unwrap().parse().unwrap();
    let status = master.get("/vol/status").unwrap();
    let racks = &status["Volumes"]["DataCenters"]["DefaultDataCenter"];
    let volumes = racks["DefaultRack"][node.to_string()].as_array().unwrap().iter();
    volumes.filter(|it| it["Id"] == volume).any(|it| it["ReadOnly"] == true)
}

fn put(node: SocketAddr, fid: &str, body: &[u8]) -> Reply {
    let fields = [("Content-Type", "image/jpeg"), ("Seaweed-Owner", "bob")];
    Client::new(node).request("POST", fid, &fields, Some(body)).unwrap()
}

/// What a node answers, but for what differs from request to request.
fn found(node: SocketAddr, fid: &str) -> (u16, Vec<Option<String>>, Vec<u8>) {
    let reply = Client::new(node).get(fid).unwrap();
    if reply.status != 200 {
        return (reply.status, Vec::new(), Vec::new());
    }
    let names = ["etag", "last-modified", "content-type", "content-disposition", "owner"];
    let fields = names.map(|name| reply.header(name).map(str::to_owned));
    (200, fields.into(), reply.body)
}

/// Number of copies on other nodes that may lack something, as far as a daemon knows.
fn behind(daemon: &Daemon) -> f64 {
    daemon.metric("hayloft_cluster_copies_behind", "")
}

/// Waits until no copy lacks anything, and all are known.
fn healed(daemons: &[&Daemon]) {
    wait_for("the copies to have everything", || {
        let is_well = |daemon: &&Daemon| {
            let count = |name| daemon.metric(name, "");
            behind(daemon) == 0.0
                && count("hayloft_cluster_volumes_held") == 0.0
                && count("hayloft_cluster_peers_answering") == count("hayloft_cluster_peers")
        };
        daemons.iter().all(is_well).then_some(())
    });
}

#[test]
fn photos_are_on_both_nodes_through_hangs_and_kills() {
    let (dir, ports) = (data_dir(), MasterPorts::free());
    let nodes = [NodePorts::free(), NodePorts::free()];
    let data = nodes.map(|node| node.data);
    let dirs = ["a", "b"].map(|name| dir.path().join(name));
    dirs.iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
    let master = Master::start(&dir.path().join("m"), ports);
    let start = |n: usize| {
        let daemon = start_node(&dirs[n], nodes[n], &[ports.address()], &[]);
        wait_for("the node", || master.node(data[n]));
        daemon
    };
    let (first, second) = (start(0), start(1));
    wait_for("a volume with two copies", || assign(&master, ""));

    // What is acknowledged is on both.
    let mut photos = Vec::new();
    for (n, len) in [0, 10, 70_000, 1_500_000].into_iter().enumerate() {
        let (fid, _) = assign(&master, "").unwrap();
        let body = bytes(len, len as u64);
        let stored = put(data[n % 2], &fid, &body);
        assert_eq!(stored.status, 201, "{len} bytes: {}", stored.text());
        let [one, other] = data.map(|node| found(node, &fid));
        assert!(one == other && one.0 == 200 && one.2 == body, "{len} bytes");
        photos.push((fid, body));
    }
    let (gone, _) = photos.pop().unwrap();
    let deleted = Client::new(data[0]).request("DELETE", &gone, &[], None).unwrap();
    assert_eq!((deleted.status, data.map(|node| found(node, &gone).0)), (202, [404, 404]));

    // A node that hangs delays a writer by at most 3.5 s, and is reported to the master.
    second.signal(Signal::SIGSTOP);
    let hung = photos[0].0.clone();
    let began = Instant::now();
    let refused = put(data[0], &hung, b"while it hangs");
    assert_eq!(refused.status, 500, "{}", refused.text());
    let took = began.elapsed();
    assert!(took < Duration::from_millis(3500), "{took:?}");
    wait_for("the copies to be behind", || (behind(&first) > 0.0).then_some(()));
    let began = Instant::now();
    wait_for("the master to be told", || is_closed(&master, data[0], &hung).then_some(()));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let again = put(data[0], &hung, b"while it hangs");
    assert_eq!(again.status, 500, "{}", again.text());
    assert!(json_error(&again).contains(&data[1].to_string()), "{}", again.text());
    second.signal(Signal::SIGCONT);
    let began = Instant::now();
    healed(&[&first, &second]);
    assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
    let [one, other] = data.map(|node| found(node, &hung));
    assert!(one == other, "equal when the volume is open again");

    // A node that is killed lacks nothing when it is back.
    let mut told = Vec::new();
    let (fid, _) = assign(&master, "").unwrap();
    let volume = fid.split(',').next().unwrap().to_owned();
    let write = |n: u64| {
        let fid = format!("{volume},{:x}aaaaaaaa", 0x1000_0000 + n);
        let body = bytes(3000, n);
        let stored = Client::new(data[0]).request("POST", &fid, &[], Some(&body)).unwrap();
        let said = stored.text();
        (fid, body, stored.status, said)
    };
    (0..20).for_each(|n| told.push(write(n)));
    second.kill();
    (20..24).for_each(|n| told.push(write(n)));
    for (n, (_, _, status, said)) in told.iter().enumerate() {
        assert_eq!(*status, if n < 20 { 201 } else { 500 }, "write {n}: {said}");
    }
    wait_for("the copies to be behind", || (behind(&first) > 0.0).then_some(()));
    let second = start(1);
    healed(&[&first, &second]);
    wait_for("the master to assign again", || assign(&master, ""));
    for (fid, body, status, _) in &told {
        let [one, other] = data.map(|node| found(node, fid));
        assert!(one == other, "{fid}: {} and {}", one.0, other.0);
        assert!(*status != 201 || one.2 == *body, "{fid} was acknowledged");
    }
    assert!(first.stop().success() && second.stop().success());
}

fn json_error(reply: &Reply) -> String {
    json(reply)["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn stock_volume_server_has_a_copy_and_gives_one() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &["--rack", "stock"]);
    let stock_dir = dir.path().join("stock");
    std::fs::create_dir(&stock_dir).unwrap();
    let stock = Weed::volume_server(&stock_dir, &master);
    wait_for("the node", || master.node(node.data));
    wait_for("a volume with two copies", || assign(&master, ""));
    let data = [node.data, stock.address];
    for (n, len) in [1, 60_000, 1_400_000, 10, 60_001, 1_400_001].into_iter().enumerate() {
        let (fid, _) = assign(&master, "").unwrap();
        let body = bytes(len, len as u64);
        let stored = put(data[n % 2], &fid, &body);
        assert_eq!(stored.status, 201, "{len} bytes: {}", stored.text());
        let [ours, theirs] = data.map(|node| found(node, &fid));
        assert_eq!((ours.0, &ours.1), (theirs.0, &theirs.1), "{len} bytes to {}", data[n % 2]);
        assert!(ours.2 == body && theirs.2 == body, "{len} bytes");
        let deleted = Client::new(data[n % 2]).request("DELETE", &fid, &[], None).unwrap();
        assert_eq!(deleted.status, 202, "{}", deleted.text());
        assert_eq!(data.map(|node| found(node, &fid).0), [404, 404]);
    }
    drop(stock);
    assert!(daemon.stop().success());
}
