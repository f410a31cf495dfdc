//! Checks that the file system of a data directory is durable and that direct I/O works there.
//!
//! Opening a file with `O_DIRECT` proves little: ext4 with `data=journal` accepts it and goes through the
//! page cache, and tmpfs accepts it (Linux 6.6) and keeps everything in memory. So the type of the file
//! system is checked, and a block is written and read back. The type check changes nothing; `config check`
//! does only that.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::{FsType, HUGETLBFS_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, statfs};

use super::error::StartError;
use crate::base::limits::{BLOCK, UNIT};
use crate::base::sys::{self, DirectIo};
use crate::node::datadir::PROBE;
use crate::runtime::buffer::{PAGE, Pool, Region};

/// `RAMFS_MAGIC` from `linux/magic.h`.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);
/// Major number of block devices in memory (`/dev/ram0`; `Documentation/admin-guide/devices.txt`).
const RAM_DISK: u64 = 1;
const RESTART: &str = "a restart of the machine";

/// Checks the file system that `path` is on, or will be on once it is created in `place`, and probes direct
/// I/O there. Leaves no file behind. `sample` is an existing file of the directory, if there is one. Returns
/// a warning if the file system works, but the operator should know something about it.
///
/// # Errors
/// [`StartError`]: the file system is in memory or omits syncs, or has no direct I/O that this version can
/// use.
pub fn check(
    path: &Path,
    place: &Path,
    sample: Option<&Path>,
) -> Result<Option<String>, StartError> {
    let warning = look(path, place, sample)?;
    probe(path, place)?;
    Ok(warning)
}

/// As [`check`], but without the probe: changes nothing.
///
/// # Errors
/// As [`check`], as far as the file system and its device report it.
pub fn look(
    path: &Path,
    place: &Path,
    sample: Option<&Path>,
) -> Result<Option<String>, StartError> {
    let Ok(found) = statfs(place) else { return Ok(None) };
    let layers = match found.filesystem_type() {
        OVERLAYFS_SUPER_MAGIC => Some(check_layers(path, place)?),
        kind => {
            if let Some(medium) = memory_name(kind, place) {
                return Err(not_durable(path, medium));
            }
            None
        }
    };
    let (warning, upper) = layers.unzip();
    let medium = upper.flatten().unwrap_or_else(|| place.to_owned());
    let direct_io = match sample.map(|sample| direct_io_of(path, sample)).transpose()? {
        None | Some(DirectIo::Unknown) => direct_io_as_mounted(&medium),
        Some(known) => known,
    };
    judge(path, direct_io)?;
    Ok(warning)
}

/// Returns what the file system reports about direct I/O on an existing file, which is only opened.
fn direct_io_of(path: &Path, sample: &Path) -> Result<DirectIo, StartError> {
    let mut options = File::options();
    match options.read(true).custom_flags(libc::O_DIRECT).open(sample) {
        Ok(file) => Ok(sys::direct_io(&file).unwrap_or(DirectIo::Unknown)),
        Err(error) if is_refused(&error) => Err(not_opened(path, &error)),
        // Any other error is reported when the file is opened for use.
        Err(_) => Ok(DirectIo::Unknown),
    }
}

/// Infers direct I/O from the mount options and the block size of the device, from /proc and /sys.
fn direct_io_as_mounted(place: &Path) -> DirectIo {
    let Some(device) = device_of(place) else { return DirectIo::Unknown };
    let name = device.file_name().unwrap_or_default();
    let options = Path::new("/proc/fs/ext4").join(name).join("options");
    let options = fs::read_to_string(options).unwrap_or_default();
    if options.lines().any(|option| option == "data=journal") {
        return DirectIo::None;
    }
    // A partition has no queue directory of its own; its parent device has.
    let block_size = |queue: &str| {
        let text = fs::read_to_string(device.join(queue).join("logical_block_size")).ok()?;
        text.trim().parse().ok()
    };
    let bytes = ["queue", "../queue"].into_iter().find_map(block_size);
    bytes.map_or(DirectIo::Unknown, DirectIo::Aligned)
}

/// Checks that this version can use such direct I/O.
fn judge(path: &Path, direct_io: DirectIo) -> Result<(), StartError> {
    match direct_io {
        DirectIo::None => {
            let why = "its statx says that there is none, as of ext4 mounted with data=journal, and of \
                       files that are encrypted, verified or compressed";
            Err(StartError::NoDirectIo { path: path.to_owned(), why: why.to_owned() })
        }
        DirectIo::Aligned(bytes) if u64::from(bytes) > UNIT => {
            Err(StartError::Alignment { path: path.to_owned(), bytes })
        }
        DirectIo::Aligned(_) | DirectIo::Unknown => Ok(()),
    }
}

fn not_opened(path: &Path, error: &io::Error) -> StartError {
    let why = format!("opening a file with O_DIRECT: {error}");
    StartError::NoDirectIo { path: path.to_owned(), why }
}

fn not_durable(path: &Path, medium: String) -> StartError {
    StartError::NotDurable { path: path.to_owned(), medium, loss: RESTART }
}

/// Returns a description of the medium, if it is memory.
fn memory_name(kind: FsType, place: &Path) -> Option<String> {
    let file_system = match kind {
        TMPFS_MAGIC => "tmpfs",
        RAMFS_MAGIC => "ramfs",
        HUGETLBFS_MAGIC => "hugetlbfs",
        _ => return memory_device(place),
    };
    Some(format!("{file_system}, a file system in memory"))
}

/// Returns the sysfs directory of the block device below `place`, if there is one.
fn device_of(place: &Path) -> Option<PathBuf> {
    let device = fs::metadata(place).ok()?.dev();
    let (major, minor) = (libc::major(device), libc::minor(device));
    fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()
}

/// Returns a description of the device below `place`, if that device is in memory.
fn memory_device(place: &Path) -> Option<String> {
    let major = libc::major(fs::metadata(place).ok()?.dev());
    let found = device_of(place);
    let name = found.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let is_memory = u64::from(major) == RAM_DISK || name.is_some_and(|n| n.starts_with("zram"));
    is_memory.then(|| format!("{}, a device in memory", name.unwrap_or("a RAM disk")))
}

/// Checks the upper layer of an overlay, which decides durability. Returns a warning, and the path of that
/// layer if it is visible from here.
fn check_layers(path: &Path, place: &Path) -> Result<(String, Option<PathBuf>), StartError> {
    let device = fs::metadata(place).map_or(0, |found| found.dev());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let overlay = Overlay::of(&mounts, libc::major(device), libc::minor(device));
    let overlay = overlay.unwrap_or_default();
    if overlay.is_volatile {
        let medium = "an overlay that is mounted volatile, which leaves out every sync".to_owned();
        let loss = "a power cut for certain";
        return Err(StartError::NotDurable { path: path.to_owned(), medium, loss });
    }
    let mut warning =
        format!("{} is on an overlay, a layer over another file system", path.display());
    let upper = overlay.upper.as_deref();
    match upper.and_then(|upper| Some((upper, statfs(upper).ok()?))) {
        Some((upper, found)) => {
            if let Some(medium) = memory_name(found.filesystem_type(), upper) {
                let medium = format!("an overlay over {} on {medium}", upper.display());
                return Err(not_durable(path, medium));
            }
            write!(warning, " ({})", upper.display()).expect("writing to a String does not fail");
        }
        None => warning += ", which cannot be seen from here",
    }
    warning += ": photos are lost with that layer, as the layer of a container is when the container is \
                removed. Mount a directory of a disk there (a volume)";
    Ok((warning, overlay.upper))
}

/// Mount options of an overlay.
#[derive(Debug, Default, PartialEq, Eq)]
struct Overlay {
    /// The directory that receives writes (`upperdir`).
    upper: Option<PathBuf>,
    is_volatile: bool,
}

impl Overlay {
    /// Returns the last mount of this device in `mounts`, the text of `/proc/self/mountinfo`
    /// (`proc_pid_mountinfo(5)`).
    fn of(mounts: &str, major: u32, minor: u32) -> Option<Self> {
        let device = format!("{major}:{minor}");
        let line = mounts.lines().rfind(|line| line.split(' ').nth(2) == Some(&device))?;
        let (_, described) = line.split_once(" - ")?;
        let options = described.split(' ').nth(2)?;
        let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
        let is_volatile = options.split(',').any(is_volatile);
        Some(Self { upper: upper.map(|upper| PathBuf::from(unescaped(upper))), is_volatile })
    }
}

/// Whether a mount option makes an overlay volatile. Kernels after 6.1 spell it `fsync=volatile`.
fn is_volatile(option: &str) -> bool {
    matches!(option, "volatile" | "fsync=volatile")
}

/// Decodes a name from the mount table, which has blanks and backslashes as `\\` and three octal digits.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Writes a block with `O_DIRECT`, and reads it back in units of 512 bytes, as needles are read.
fn probe(path: &Path, place: &Path) -> Result<(), StartError> {
    let file = match open(place) {
        Ok(file) => file,
        Err(error) if is_refused(&error) => return Err(not_opened(path, &error)),
        // Any other error of the directory is reported when it is opened for use.
        Err(_) => return Ok(()),
    };
    judge(path, sys::direct_io(&file).unwrap_or(DirectIo::Unknown))?;
    let problem = |problem: String| StartError::Probe { path: path.to_owned(), problem };
    match write_and_read(&file) {
        Ok(true) => Ok(()),
        Ok(false) => Err(problem("a block reads back with other contents than written".to_owned())),
        Err((what, error)) => match error.raw_os_error() {
            // A full disk can be read, and deletes use space reserved in the volumes.
            Some(libc::ENOSPC | libc::EDQUOT) => Ok(()),
            _ if is_refused(&error) => {
                let why = format!("{what}: {error}");
                Err(StartError::NoDirectIo { path: path.to_owned(), why })
            }
            // A failing disk makes only its own volumes unavailable: not a reason to refuse the start.
            Some(libc::EIO | libc::EROFS | libc::ENODEV | libc::ENXIO | libc::EUCLEAN) => Ok(()),
            _ => Err(problem(format!("{what}: {error}"))),
        },
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// Opens an unnamed file (`O_TMPFILE`); without support for that, a file that is unlinked at once.
fn open(place: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    let unnamed = options.custom_flags(libc::O_TMPFILE | libc::O_DIRECT).open(place);
    if !unnamed.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EOPNOTSUPP)) {
        return unnamed;
    }
    let name = place.join(PROBE);
    // A start that was killed may have left one.
    let _ = fs::remove_file(&name);
    let named = options.custom_flags(libc::O_DIRECT).create_new(true).open(&name);
    // Also after an error: where O_DIRECT is refused, the file may have been created.
    let _ = fs::remove_file(&name);
    named
}

/// Returns whether a block reads back as written, unit by unit. The error names the step that failed.
fn write_and_read(file: &File) -> Result<bool, (&'static str, io::Error)> {
    let (block, unit) = (BLOCK as usize, UNIT as usize);
    let region = Region::map(1, 2 * PAGE).map_err(|error| ("mapping a buffer", error))?;
    let pool = Pool::new(&region, 0);
    let buffer = || pool.alloc(block).expect("two pages are free");
    let (mut written, mut read) = (buffer(), buffer());
    for (n, byte) in written[..block].iter_mut().enumerate() {
        *byte = u8::try_from(n % 251).expect("a remainder below 251 fits u8") + 1;
    }
    file.write_all_at(&written[..block], 0)
        .map_err(|error| ("a direct write of 4096 bytes", error))?;
    let mut is_same = true;
    for at in (0..block).step_by(unit) {
        file.read_exact_at(&mut read[..unit], at as u64)
            .map_err(|error| ("a direct read of 512 bytes", error))?;
        is_same &= read[..unit] == written[at..at + unit];
    }
    Ok(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 252:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
57 22 0:48 / /merged rw shared:3 - overlay over\\040lay rw,lowerdir=/l,upperdir=/an\\040upper,workdir=/w
58 22 0:49 / /other rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/u,workdir=/w,volatile
60 22 0:52 / /newer rw,relatime - overlay overlay rw,upperdir=/u,workdir=/w,uuid=on,fsync=volatile
59 22 0:50 / /seen rw - overlay overlay ro,lowerdir=/a:/b
";

    #[test]
    fn upper_layer_of_an_overlay_is_found_in_the_mount_table() {
        let upper = |path: &str| Some(PathBuf::from(path));
        let overlay = |upper, is_volatile| Some(Overlay { upper, is_volatile });
        assert_eq!(Overlay::of(MOUNTS, 0, 48), overlay(upper("/an upper"), false));
        assert_eq!(Overlay::of(MOUNTS, 0, 49), overlay(upper("/u"), true));
        assert_eq!(Overlay::of(MOUNTS, 0, 52), overlay(upper("/u"), true));
        assert_eq!(Overlay::of(MOUNTS, 0, 50), overlay(None, false));
        assert_eq!(Overlay::of(MOUNTS, 0, 51), None);
        assert_eq!(Overlay::of("", 0, 48), None);
        assert_eq!(Overlay::of("57 22 0:48 / /merged\n", 0, 48), None);
    }

    #[test]
    fn names_in_the_mount_table_are_unescaped() {
        assert_eq!(unescaped("/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescaped("/a\\04"), "/a\\04");
        assert_eq!(unescaped("/a\\"), "/a\\");
        assert_eq!(unescaped("/a\\999"), "/a\\999");
    }

    #[test]
    fn probe_leaves_no_file_and_keeps_the_modification_time() {
        let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).unwrap();
        let modified = |dir: &Path| fs::metadata(dir).unwrap().modified().unwrap();
        let before = modified(dir.path());
        check(dir.path(), dir.path(), None).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(modified(dir.path()), before);
    }
}
