//! The marks of the copies on their way to the data directories.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use crate::base::types::VolumeId;

/// For each volume with copies: by the name of the other node, the version up to which both have everything.
pub type Marks = BTreeMap<VolumeId, BTreeMap<String, u64>>;

/// Passes on the marks of the volumes in each data directory to the thread that writes them there.
#[derive(Debug, Default)]
pub struct MarkStore {
    disks: Vec<Disk>,
}

#[derive(Debug)]
struct Disk {
    /// `None` if the directory is not in use.
    writer: Option<Sender<Marks>>,
    /// What was sent last; `None` before.
    sent: Option<Marks>,
}

impl MarkStore {
    /// Creates a store with the writer of each data directory, by its position; `None` for one that is not in
    /// use.
    #[must_use]
    pub fn new(writers: Vec<Option<Sender<Marks>>>) -> Self {
        let disk = |writer| Disk { writer, sent: None };
        Self { disks: writers.into_iter().map(disk).collect() }
    }

    /// Sends the marks to the writers, as far as they have changed. `disk_of` returns the position of the
    /// data directory of a volume.
    pub(super) fn save(&mut self, marks: &Marks, disk_of: impl Fn(VolumeId) -> Option<usize>) {
        let mut of_disks = vec![Marks::new(); self.disks.len()];
        for (id, of_volume) in marks {
            if let Some(of_disk) = disk_of(*id).and_then(|disk| of_disks.get_mut(disk)) {
                of_disk.insert(*id, of_volume.clone());
            }
        }
        for (disk, marks) in self.disks.iter_mut().zip(of_disks) {
            let is_new = match &disk.sent {
                Some(sent) => *sent != marks,
                None => !marks.is_empty(),
            };
            if let Some(writer) = disk.writer.as_ref().filter(|_| is_new) {
                // Without its thread the daemon stops.
                let _ = writer.send(marks.clone());
                disk.sent = Some(marks);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn each_directory_gets_the_marks_of_its_volumes_when_they_change() {
        let ((first_in, first), (last_in, last)) = (channel(), channel());
        let mut store = MarkStore::new(vec![Some(first_in), None, Some(last_in)]);
        let marks = |of: &[(u32, u64)]| -> Marks {
            let mark = |(id, mark): &(u32, u64)| {
                (VolumeId(*id), BTreeMap::from([("peer".to_owned(), *mark)]))
            };
            of.iter().map(mark).collect()
        };
        // Volume 9 is nowhere.
        let disk_of = |id: VolumeId| (id.0 < 9).then_some(id.0 as usize);
        store.save(&marks(&[(0, 5), (1, 6), (9, 7)]), disk_of);
        assert_eq!(first.try_recv().unwrap(), marks(&[(0, 5)]));
        assert!(last.try_recv().is_err(), "nothing to forget");
        store.save(&marks(&[(0, 5), (2, 6)]), disk_of);
        assert!(first.try_recv().is_err(), "unchanged");
        assert_eq!(last.try_recv().unwrap(), marks(&[(2, 6)]));
        store.save(&marks(&[]), disk_of);
        assert_eq!((first.try_recv().unwrap(), last.try_recv().unwrap()), Default::default());
    }
}
