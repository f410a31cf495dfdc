use super::*;
use crate::base::types::VolumeId;
use crate::commands::transfer::file::Stamp;

fn row(ledger: &mut Ledger, path: &[u8]) -> Option<(PhotoName, Option<Stored>)> {
    ledger.visit(path).map(|row| (row.name, row.stored))
}

fn name(key: u64) -> PhotoName {
    PhotoName { volume: VolumeId(1), key, alt: 0, cookie: 0xc0ffee }
}

fn stored(size: u64) -> Stored {
    Stored { stamp: Stamp { size, modified_ns: 1_500_000_000 }, etag: 7 }
}

struct LedgerDir {
    dir: tempfile::TempDir,
}

impl LedgerDir {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn manifest(&self) -> PathBuf {
        self.dir.path().join("m.tsv")
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("m.tsv.journal")
    }

    fn open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.manifest(), Path::new("/photos"))
    }
}

#[test]
fn rows_survive_a_crash_and_a_clean_finish() {
    let ledger_dir = LedgerDir::new();
    let mut ledger = ledger_dir.open().unwrap();
    let names = [(b"b\t".to_vec(), name(2)), (b"a".to_vec(), name(1)), (b"\xff".to_vec(), name(3))];
    ledger.assign(&names).unwrap().sync().unwrap();
    ledger.record(b"b\t", name(2), stored(10)).unwrap();
    drop(ledger);
    let mut ledger = ledger_dir.open().unwrap();
    assert_eq!(row(&mut ledger, b"b\t"), Some((name(2), Some(stored(10)))));
    assert_eq!(row(&mut ledger, b"a"), Some((name(1), None)));
    assert_eq!(row(&mut ledger, b"\xff"), Some((name(3), None)));
    ledger.record(b"a", name(4), stored(0)).unwrap();
    ledger.finish(false).unwrap();
    drop(ledger);
    assert!(!ledger_dir.journal().exists());
    let text = std::fs::read_to_string(ledger_dir.manifest()).unwrap();
    assert_eq!(
        text,
        "# hayloft import 1\t/photos\n\
         a\t/1/4/0/0000000000c0ffee\t0\t1.500000000\t0000000000000007\n\
         b\\t\t/1/2/0/0000000000c0ffee\t10\t1.500000000\t0000000000000007\n"
    );
    let mut ledger = ledger_dir.open().unwrap();
    assert_eq!(ledger.rows().count(), 2);
    assert_eq!(row(&mut ledger, b"a"), Some((name(4), Some(stored(0)))));
}

#[test]
fn removed_rows_stay_removed_and_stored_rows_are_paged() {
    let ledger_dir = LedgerDir::new();
    let mut ledger = ledger_dir.open().unwrap();
    for n in 0..5 {
        ledger.record(&[b'a' + n], name(u64::from(n)), stored(1)).unwrap();
    }
    ledger.assign(&[(b"drawn".to_vec(), name(9))]).unwrap().sync().unwrap();
    ledger.finish(true).unwrap();
    drop(ledger);
    let mut ledger = ledger_dir.open().unwrap();
    ledger.forget(b"b").unwrap();
    ledger.forget(b"absent").unwrap();
    drop(ledger);
    let ledger = ledger_dir.open().unwrap();
    let mut cursor = Vec::new();
    let mut chunk = || {
        let rows = ledger.next_stored(&mut cursor, 3);
        rows.into_iter().flat_map(|(path, ..)| path).collect::<Vec<u8>>()
    };
    assert_eq!([chunk(), chunk(), chunk()], [b"acd".to_vec(), b"e".to_vec(), Vec::new()]);
    ledger.finish(false).unwrap();
    let text = std::fs::read_to_string(ledger_dir.manifest()).unwrap();
    assert_eq!(text.lines().count(), 1 + 4, "{text}");
}

#[test]
fn torn_journal_is_truncated_and_can_be_appended_to() {
    let ledger_dir = LedgerDir::new();
    let mut ledger = ledger_dir.open().unwrap();
    ledger.assign(&[(b"a".to_vec(), name(1))]).unwrap().sync().unwrap();
    ledger.record(b"a", name(1), stored(10)).unwrap();
    drop(ledger);
    let whole = std::fs::read(ledger_dir.journal()).unwrap();
    for cut in 0..whole.len() {
        for tail in [&b""[..], &b"\0\0\0\0"[..], &b"\0\0\nb\t/1/9/0/0000000000000000\n"[..]] {
            std::fs::write(ledger_dir.journal(), [&whole[..cut], tail].concat()).unwrap();
            let mut ledger = ledger_dir.open().unwrap();
            assert_eq!(ledger.visit(b"b"), None);
            // Lines can be appended.
            ledger.record(b"c", name(3), stored(1)).unwrap();
            drop(ledger);
            assert!(ledger_dir.open().unwrap().visit(b"c").is_some(), "{cut}");
        }
    }
}

#[test]
fn ledger_in_use_is_locked() {
    let ledger_dir = LedgerDir::new();
    let _ledger = ledger_dir.open().unwrap();
    assert!(matches!(ledger_dir.open(), Err(LedgerError::Locked(_))));
}

#[test]
fn damaged_or_foreign_ledger_is_refused_and_left_unchanged() {
    let ledger_dir = LedgerDir::new();
    for (text, line) in [
        ("some text\n", 1),
        ("# hayloft import 1\t/photos\na\n", 2),
        ("# hayloft import 1\t/photos\na\t/1/1/0/0000000000000000\nb\t/1\n", 3),
        ("# hayloft import 1\t/photos\n\\q\t/1/1/0/0000000000000000\n", 2),
    ] {
        for path in [ledger_dir.manifest(), ledger_dir.journal()] {
            std::fs::write(&path, text).unwrap();
            let error = ledger_dir.open().map(drop).unwrap_err();
            assert!(
                matches!(error, LedgerError::Damaged { line: at, .. } if at == line),
                "{error}"
            );
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            std::fs::remove_file(path).unwrap();
        }
    }
    std::fs::write(ledger_dir.manifest(), "# hayloft import 1\t/other\n").unwrap();
    let error = ledger_dir.open().map(drop).unwrap_err();
    assert!(error.to_string().contains("is of /other"), "{error}");
    // A truncated manifest has lost names, unlike a truncated journal.
    std::fs::write(ledger_dir.manifest(), "# hayloft import 1\t/photos\na\t/1/1/0/00").unwrap();
    assert!(matches!(ledger_dir.open().map(drop), Err(LedgerError::Damaged { line: 2, .. })));
}
