//! A disk that can be made ill, and a daemon on it and on a sound one.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use faultdisk::xfs::{Loop, Mount, extents, make_image};
use faultdisk::{FaultDisk, ReadFault, ReadFaultKind};
use serde_json::{Value, json};

use super::scene::Scene;
use crate::http::Client;
use crate::node::Node;
use crate::photos::Batches;
use crate::process::Failed;
use crate::record::cannot;

/// Volumes on the ill disk.
pub const ILL: [u32; 2] = [2, 3];
/// The volume on the other disk.
pub const SOUND: u32 = 4;
/// Number of photos in each volume.
pub const PHOTOS: u64 = 4000;
/// Size of each volume (MiB).
const MIB: u64 = 256;
/// Length of the image of the ill disk (bytes).
const IMAGE: u64 = 1 << 30;

fn len_of(key: u64) -> usize {
    usize::try_from(10_000 + key * 7919 % 60_000).expect("below 70,000")
}

/// A disk that can be made ill, with a file system.
pub struct IllDisk {
    // Dropped in this order.
    mount: Mount,
    /// The disk.
    pub disk: FaultDisk,
    dir: PathBuf,
}

impl IllDisk {
    /// Makes the disk.
    ///
    /// # Errors
    /// When that fails.
    pub fn make(work: &Path) -> Result<Self, Failed> {
        let dir = work.join("ill");
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).map_err(cannot("create", &dir))?;
        let image = dir.join("image");
        make_image(&image, IMAGE).map_err(failed)?;
        let disk = FaultDisk::start(&image, &dir).map_err(failed)?;
        let device = Loop::attach(disk.path()).map_err(failed)?;
        let mount = device.mount(&dir.join("xfs")).map_err(failed)?;
        Ok(Self { mount, disk, dir })
    }

    fn data(&self) -> PathBuf {
        self.mount.path().join("data")
    }

    /// Where the volume files are on the device (bytes): the file system itself stays sound.
    ///
    /// # Errors
    /// When the files cannot be looked at.
    pub fn extents(&self) -> Result<Vec<Range<u64>>, Failed> {
        let mut all = Vec::new();
        for volume in ILL {
            let file = self.data().join(format!("{volume}.0.vol"));
            all.extend(extents(&file).map_err(failed)?);
        }
        Ok(all)
    }

    /// Makes reads of the volume files fail from now on, or none any more.
    ///
    /// # Errors
    /// When the files cannot be looked at.
    pub fn fail_reads(&self, kind: Option<ReadFaultKind>) -> Result<(), Failed> {
        let ranges = self.extents()?;
        self.disk.device().fail_reads(kind.map(|kind| ReadFault { ranges, kind }));
        Ok(())
    }

    /// Removes the disk.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove(self) -> Result<(), Failed> {
        let Self { mount, disk, dir } = self;
        drop((mount, disk));
        fs::remove_dir_all(&dir).map_err(cannot("remove", &dir))
    }
}

fn failed(error: faultdisk::Error) -> Failed {
    Failed(error.to_string())
}

/// Starts a daemon on both disks, with photos in all volumes.
///
/// # Errors
/// When that fails.
pub fn node(scene: &Scene, ill: &IllDisk) -> Result<Node, Failed> {
    let data = ill.data();
    let data = data.to_string_lossy();
    let node = scene.new_node("0,1", 64, &["--shard-ports", "off", "--data", &data])?;
    let admin = Client::new(node.admin);
    for (volume, disk) in [(ILL[0], 0), (ILL[1], 0), (SOUND, 1)] {
        let body = json!({"id": volume, "size": format!("{MIB}MiB"), "disk": disk}).to_string();
        let reply = admin.send("POST", "/volumes", body.as_bytes())?;
        if reply.status != 201 {
            return Err(Failed(format!("volume {volume}: {}", reply.text())));
        }
        let keys: Vec<u64> = (0..PHOTOS).collect();
        Batches { volume, each: 50, len_of }.put(node.data, &keys)?;
    }
    Ok(node)
}

/// What the admin API says of a volume.
///
/// # Errors
/// When it says nothing.
pub fn state(node: &Node, volume: u32) -> Result<Value, Failed> {
    let text = node.admin(&format!("/volumes/{volume}"))?;
    serde_json::from_str(&text).map_err(|error| Failed(format!("volume {volume}: {error}")))
}
