//! A daemon that is a node of a cluster, whose master is not there.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use hayloft::base::cluster::Collection;
use hayloft::volume::format::superblock_offsets;
use hayloft::volume::{ClusterProperties, ClusterSettings, Superblock};

use super::{Daemon, Options, free_ports};

/// Makes the volume in a file of a daemon that does not run one of a cluster.
pub fn join_cluster(file: &Path, properties: ClusterProperties) {
    let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
    let mut block = vec![0; 4096];
    file.read_exact_at(&mut block, 0).unwrap();
    let superblock = Superblock::decode(&block).unwrap();
    let revision = superblock.revision + 1;
    let superblock = Superblock { cluster: Some(properties), revision, ..superblock };
    superblock.encode(&mut block);
    for offset in superblock_offsets(superblock.size) {
        file.write_all_at(&block, offset).unwrap();
    }
}

/// Arguments of a node whose master is not there.
pub fn cluster_args() -> Vec<String> {
    let grpc = format!("127.0.0.1:{}", free_ports(1));
    ["--master", "127.0.0.1:1", "--cluster-grpc", &grpc].map(str::to_owned).into()
}

/// Starts a node of a cluster: volume 1 is its own, volume 2 one of the cluster.
pub fn start_in_cluster(dir: &Path, options: Options) -> Daemon {
    let daemon = Daemon::start(dir, &options);
    let (code, _, error) =
        daemon.command(&["volume", "create", "2", "--size", options.volume_size]);
    assert_eq!(code, 0, "{error}");
    assert!(daemon.stop().success());
    let properties = ClusterProperties {
        settings: ClusterSettings::default(),
        ttl: None,
        collection: Collection::new("photos").unwrap(),
        key_floor: 1,
    };
    join_cluster(&dir.join("data/2.0.vol"), properties);
    let args = [options.args, cluster_args()].concat();
    Daemon::start(dir, &Options { args, ..options })
}
