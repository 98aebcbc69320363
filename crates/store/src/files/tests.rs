//! What every implementation of the seam has to do.

use std::io::ErrorKind;

use super::{DiskFiles, LogFiles, MemoryFiles};
use crate::Lsn;

fn conforms(files: &dyn LogFiles) {
    assert_eq!(files.bases().unwrap(), []);
    assert_eq!(files.open(Lsn(7)).unwrap_err().kind(), ErrorKind::NotFound);
    let later = files.create(Lsn(100)).unwrap();
    let file = files.create(Lsn(7)).unwrap();
    files.sync_names().unwrap();
    assert_eq!(files.bases().unwrap(), [Lsn(7), Lsn(100)]);

    file.write_all_at(b"hello world", 0).unwrap();
    file.write_all_at(b"W", 6).unwrap();
    file.sync().unwrap();
    let seen = files.open(Lsn(7)).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(seen.read_at(&mut buffer, 6).unwrap(), 5);
    assert_eq!(&buffer[..5], b"World");
    assert_eq!(seen.read_at(&mut buffer, 99).unwrap(), 0);

    file.truncate(5).unwrap();
    assert_eq!(seen.size().unwrap(), 5);
    assert_eq!(later.size().unwrap(), 0);
    assert_eq!(files.create(Lsn(7)).unwrap_err().kind(), ErrorKind::AlreadyExists);

    file.reserve(5, 100).unwrap();
    assert_eq!(file.size().unwrap(), 5, "room is no content");
    let failed = files.replace(Lsn(7), &mut |_| Err(ErrorKind::Other.into()));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(files.open(Lsn(7)).unwrap().size().unwrap(), 5, "the old file stays");
    let new = files.replace(Lsn(7), &mut |file| file.write_all_at(b"new", 0)).unwrap();
    files.replace(Lsn(9), &mut |file| file.write_all_at(b"first", 0)).unwrap();
    file.write_all_at(b"late", 0).unwrap();
    for seen in [new, files.open(Lsn(7)).unwrap()] {
        assert_eq!(
            seen.read_at(&mut buffer, 0).unwrap(),
            3,
            "who has the old file changes nothing"
        );
        assert_eq!(&buffer[..3], b"new");
    }
    assert_eq!(files.bases().unwrap(), [Lsn(7), Lsn(9), Lsn(100)]);
    assert!(files.path(Lsn(7)).ends_with("00000000000000000007.log"));

    assert_eq!(files.read_start().unwrap(), None);
    for start in [&b"a"[..], b"other"] {
        files.write_start(start).unwrap();
        assert_eq!(files.read_start().unwrap().unwrap(), start);
    }
    assert!(files.start_path().ends_with("START"));
    later.write_all_at(b"x", 0).unwrap();
    for _ in 0..2 {
        files.remove(Lsn(100)).unwrap();
        assert_eq!(files.bases().unwrap(), [Lsn(7), Lsn(9)]);
    }
    assert_eq!(later.size().unwrap(), 1, "who has it open goes on reading");
}

#[test]
fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "not a segment").unwrap();
    conforms(&DiskFiles::new(dir.path().to_owned()));
}

#[test]
fn memory_conforms() {
    conforms(&MemoryFiles::default());
}
