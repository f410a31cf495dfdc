//! The daemon as a volume server of a real SeaweedFS cluster.

mod cluster_cases;
mod daemon_harness;
mod weed_harness;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use daemon_harness::{COOKIE, Daemon, Options, data_dir, json};
use nix::sys::signal::Signal;
use serde_json::Value;
use weed_harness::{Master, MasterPorts, NodePorts, start_node, wait_for};

/// First id of a volume that belongs to no cluster, unless one is named.
const OWN_ID: u64 = 1 << 31;

/// The volumes of a daemon that belong to the cluster.
fn cluster_volumes(daemon: &Daemon) -> Vec<Value> {
    let volumes = json(&daemon.admin("/volumes"));
    let volumes = volumes.as_array().unwrap().iter();
    volumes.filter(|volume| !volume["cluster"].is_null()).cloned().collect()
}

fn link(daemon: &Daemon) -> Value {
    json(&daemon.admin("/status"))["cluster"].clone()
}

/// Bytes that the files in a directory really take on the disk.
fn bytes_on_disk(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap());
    files.map(|metadata| metadata.blocks() * 512).sum()
}

#[test]
fn node_joins_grows_and_survives_the_loss_of_the_master_and_its_own() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let mdir = dir.path().join("m");
    let mut master = Master::start(&mdir, ports);
    let masters = [ports.address()];
    let args = ["--rack", "r7", "--data-center", "dc7"];
    let mut daemon = start_node(dir.path(), node, &masters, &args);
    wait_for("the node", || master.node(node.data));
    assert!(cluster_volumes(&daemon).is_empty(), "no volume is made by itself");
    // The master knows the node before the node has the answer.
    let shown = wait_for("the answer of the master", || {
        Some(link(&daemon)).filter(|shown| !shown["master"].is_null())
    });
    assert_eq!((&shown["master"], &shown["rack"]), (&ports.address().into(), &"r7".into()));
    assert_eq!(shown["volume_size_limit"], 16 << 20);
    assert!(shown["since"].as_u64().unwrap() > 0);

    // The first id of a collection makes seven volumes, which take no more of the disk than they need.
    master.assign("");
    let made = wait_for("volumes", || master.volumes_of(node.data).filter(|count| *count >= 7));
    assert_eq!(made, 7);
    let volumes = cluster_volumes(&daemon);
    let ids: Vec<u64> = volumes.iter().map(|volume| volume["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    for volume in &volumes {
        assert_eq!((&volume["size"], &volume["state"]), (&(272 << 20).into(), &"writable".into()));
        assert_eq!(volume["cluster"]["placement"], "000");
    }
    let taken = bytes_on_disk(&dir.path().join("data"));
    assert!(taken < 7 * (80 << 20), "{taken}");
    assert_eq!(daemon.metric("hayloft_cluster_connected", ""), 1.0);
    assert!(daemon.metric("hayloft_cluster_heartbeats_total", "") > 2.0);
    let allocations = "call=\"allocate_volume\",result=\"done\"";
    assert_eq!(daemon.metric("hayloft_cluster_calls_total", allocations), 7.0);
    let state = master.shell(&["cluster.ps"]);
    assert!(state.contains("hayloft"), "{state}");

    // Other clients read and delete there, and store nothing.
    let mut client = daemon.client();
    let path = format!("/3/1/0/{COOKIE}");
    let refused = client.put(&path, b"photo").unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.text().contains("SeaweedFS"), "{refused:?}");
    let refused = client.request("POST", "/3", &[], Some(b"photo")).unwrap();
    assert_eq!(refused.status, 403, "{refused:?}");
    assert_eq!(client.get(&path).unwrap().status, 404);
    assert_eq!(client.request("DELETE", &path, &[], None).unwrap().status, 404);
    assert_eq!(client.request("POST", "/", &[], Some(b"photo")).unwrap().status, 503);

    // A master that has forgotten everything learns it again.
    drop(master);
    daemon.wait_until("the loss", || link(&daemon)["master"].is_null());
    assert!(link(&daemon)["last_error"]["error"].is_string());
    std::fs::remove_dir_all(&mdir).unwrap();
    master = Master::start(&mdir, ports);
    wait_for("the volumes", || master.volumes_of(node.data).filter(|count| *count == 7));
    assert!((1..=7).contains(&master.assigned_volume("")));

    // A node that was killed comes back with its volumes.
    daemon.kill();
    wait_for("the end of the node", || master.node(node.data).is_none().then_some(()));
    daemon = start_node(dir.path(), node, &masters, &args);
    wait_for("the volumes", || master.volumes_of(node.data).filter(|count| *count == 7));
    assert!((1..=7).contains(&master.assigned_volume("")));

    // One that stops says so.
    assert!(daemon.stop().success());
    wait_for("the end of the node", || master.node(node.data).is_none().then_some(()));
}

#[test]
fn collections_and_marks_of_the_cluster_are_obeyed() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let dead = MasterPorts::free().address();
    let daemon = start_node(dir.path(), node, &[dead, ports.address()], &[]);
    wait_for("the node", || master.node(node.data));
    let grown = "/vol/grow?count=2&replication=000&collection=photos&ttl=5m";
    wait_for("growth", || master.get(grown));
    wait_for("growth", || master.get("/vol/grow?count=1&replication=000"));
    let volumes = cluster_volumes(&daemon);
    let of_photos = |volume: &&Value| volume["cluster"]["collection"] == "photos";
    let photos: Vec<&Value> = volumes.iter().filter(of_photos).collect();
    assert_eq!((volumes.len(), photos.len()), (3, 2), "{volumes:?}");
    assert!(photos.iter().all(|volume| volume["cluster"]["ttl"] == "5m"));
    let (code, table, _) = daemon.command(&["volume", "list"]);
    let registered = format!("{} is registered with {}, since ", node.data, ports.address());
    assert!(code == 0 && table.contains("photos") && table.contains(&registered), "{table}");

    // A volume that is marked read-only stays so across a restart of the node, until it is marked again.
    let id = volumes.iter().find(|volume| !of_photos(volume)).unwrap()["id"].as_u64().unwrap();
    let mark = |how: &str| {
        let mark = format!("volume.mark -node {} -volumeId {id} {how}", node.name());
        master.shell(&["lock", &mark, "unlock"])
    };
    let said = mark("-readonly");
    let is_closed = |daemon: &Daemon| {
        json(&daemon.admin(&format!("/volumes/{id}")))["cluster"]["read_only"] == true
    };
    assert!(is_closed(&daemon), "{said}");
    assert!(daemon.stop().success());
    let daemon = start_node(dir.path(), node, &[ports.address()], &[]);
    wait_for("the node", || master.volumes_of(node.data).filter(|count| *count == 3));
    assert!(is_closed(&daemon));
    let said = mark("-writable");
    assert!(!is_closed(&daemon), "{said}");
    assert_eq!(u64::from(master.assigned_volume("")), id);

    // A compaction by order of the master.
    let vacuum = format!("volume.vacuum -garbageThreshold 0 -volumeId {id}");
    let said = master.shell(&["lock", &vacuum, "unlock"]);
    let checks = "call=\"vacuum_volume_check\",result=\"done\"";
    assert!(daemon.metric("hayloft_cluster_calls_total", checks) > 0.0, "{said}");

    // A collection is deleted with its volumes, and nothing else.
    wait_for("the end of the collection", || {
        master.get("/col/delete?collection=photos").or(Some(Value::Null))
    });
    daemon.wait_until("the end of its volumes", || cluster_volumes(&daemon).len() == 1);
    assert_eq!(cluster_volumes(&daemon)[0]["id"], id);
    assert!(daemon.stop().success());
}

#[test]
fn volumes_of_the_nodes_own_world_stay_beside_those_of_the_cluster() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let options = Options { shards: 2, ..Options::default() };
    let daemon = Daemon::start(dir.path(), &options);
    let own = format!("/1/7/0/{COOKIE}");
    assert_eq!(daemon.client().put(&own, b"a photo").unwrap().status, 201);
    assert!(link(&daemon).is_null());
    assert!(daemon.stop().success());

    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &[]);
    wait_for("the node", || master.node(node.data));
    let said = "volumes that belong to no cluster: 1. ";
    daemon.wait_until("the list of own volumes", || daemon.log_text().contains(said));
    // The master wants to begin with volume 1, and goes on with others.
    for _ in 0..3 {
        assert!(master.assigned_volume("") > 1);
    }
    let volumes = cluster_volumes(&daemon);
    assert!(!volumes.is_empty() && volumes.iter().all(|volume| volume["id"] != 1), "{volumes:?}");
    let refused = "call=\"allocate_volume\",result=\"refused\"";
    assert!(daemon.metric("hayloft_cluster_calls_total", refused) >= 1.0);
    let mut client = daemon.client();
    assert_eq!(client.get(&own).unwrap().body, b"a photo");
    let posted = json(&client.request("POST", "/", &[], Some(b"another")).unwrap());
    assert_eq!(posted["volume"], 1, "not in a volume of the cluster");
    let created = json(&daemon.admin_request("POST", "/volumes", r#"{"size": "16MiB"}"#));
    assert_eq!((&created["id"], &created["cluster"]), (&OWN_ID.into(), &Value::Null));
    assert!(daemon.stop().success());
}

#[test]
fn node_stops_in_time_while_its_master_hangs() {
    let (dir, ports, node) = (data_dir(), MasterPorts::free(), NodePorts::free());
    let master = Master::start(&dir.path().join("m"), ports);
    let daemon = start_node(dir.path(), node, &[ports.address()], &[]);
    wait_for("the node", || master.node(node.data));
    master.signal(Signal::SIGSTOP);
    let began = std::time::Instant::now();
    assert!(daemon.stop().success());
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    master.signal(Signal::SIGCONT);
}
