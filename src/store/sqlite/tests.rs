//! What only a file can do: be full, locked, damaged, somebody else's, or left behind by a kill.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rusqlite::Connection;

use super::*;
use crate::secret::random_token;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("linkgate-{}", random_token().expose()));
        fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store.db")
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.file(), clock()).unwrap()
    }

    fn open_error(&self) -> OpenError {
        Sqlite::open(&self.file(), clock()).err().expect("the store does not open")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_000_000))
}

async fn set(store: &Sqlite, pragma: &'static str, value: i64) {
    store.writer.run(move |file| file.pragma_update(None, pragma, value)).await.unwrap();
}

#[tokio::test]
async fn what_is_removed_is_told_in_the_same_step() {
    let folder = Folder::new();
    let store = folder.open();
    store.put("key", b"value", Timestamp::NEVER).await.unwrap();
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("ALTER TABLE announcements RENAME TO hidden").unwrap();
    assert!(store.remove_told("key", "gone").await.is_err());
    assert!(store.get("key").await.unwrap().is_some(), "what cannot be told is not removed");
    other.execute_batch("ALTER TABLE hidden RENAME TO announcements").unwrap();
    let mut heard = store.announcements().await.unwrap();
    store.remove_told("key", "gone").await.unwrap();
    assert_eq!(heard.recv().await, Some(Announcement::Message("gone".to_owned())));
    assert_eq!(store.get("key").await.unwrap(), None);
}

#[tokio::test]
async fn a_file_that_cannot_be_followed_has_not_told_all() {
    let folder = Folder::new();
    let store = folder.open();
    while !store.has_told_all() {
        tokio::task::yield_now().await;
    }
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("ALTER TABLE announcements RENAME TO hidden").unwrap();
    while store.has_told_all() {
        store.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    other
        .execute_batch("INSERT INTO hidden (message) VALUES ('late'); ALTER TABLE hidden RENAME TO announcements")
        .unwrap();
    let mut heard = store.announcements().await.unwrap();
    while !store.has_told_all() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        heard.try_recv(),
        Ok(Announcement::Message("late".to_owned())),
        "what was announced meanwhile comes first"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    store.put("kept", b"value", Timestamp::NEVER).await.unwrap();
    set(&store, "max_page_count", 20).await;

    let large = vec![7; 100_000];
    assert!(matches!(store.put("large", &large, Timestamp::NEVER).await, Err(Error::Full(_))));
    assert!(matches!(store.replace("kept", &large, Timestamp::NEVER).await, Err(Error::Full(_))));
    assert_eq!(store.get("kept").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.get("large").await.unwrap(), None);

    store.remove("kept").await.unwrap();
    assert_eq!(store.get("kept").await.unwrap(), None, "signing out works on a full disk");
}

#[tokio::test]
async fn one_write_that_fails_does_not_fail_those_beside_it() {
    let folder = Folder::new();
    let store = folder.open();
    set(&store, "max_page_count", 20).await;
    let large = vec![7; 100_000];
    let (before, failed, after) = tokio::join!(
        store.put("before", b"value", Timestamp::NEVER),
        store.put("large", &large, Timestamp::NEVER),
        store.put("after", b"value", Timestamp::NEVER),
    );
    assert!(before.is_ok() && after.is_ok());
    assert!(matches!(failed, Err(Error::Full(_))));
    assert!(store.get("before").await.unwrap().is_some());
    assert!(store.get("after").await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_became_read_only_is_full() {
    let folder = Folder::new();
    let store = folder.open();
    store.put("kept", b"value", Timestamp::NEVER).await.unwrap();
    set(&store, "query_only", 1).await;
    assert!(matches!(store.take("kept").await, Err(Error::Full(_))));
    assert_eq!(store.get("kept").await.unwrap().as_deref(), Some(&b"value"[..]));
}

#[tokio::test]
async fn a_file_that_another_program_locked_is_unavailable_until_it_lets_go() {
    let folder = Folder::new();
    let store = folder.open();
    store.put("kept", b"value", Timestamp::NEVER).await.unwrap();
    set(&store, "busy_timeout", 10).await;
    let other = Connection::open(folder.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let (put, take) = tokio::join!(store.put("new", b"", Timestamp::NEVER), store.take("kept"));
    assert!(matches!(put, Err(Error::Unavailable(_))));
    assert!(matches!(take, Err(Error::Unavailable(_))));
    assert!(store.get("kept").await.unwrap().is_some(), "readers do not wait for writers");

    other.execute_batch("ROLLBACK").unwrap();
    assert!(store.take("kept").await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_written_survives_a_kill() {
    let folder = Folder::new();
    let store = folder.open();
    store.put("session", b"value", Timestamp::NEVER).await.unwrap();
    store.put("revoked", b"value", Timestamp::NEVER).await.unwrap();
    store.remove("revoked").await.unwrap();

    // The files as a killed process leaves them: nothing closed, nothing moved out of the log.
    let left_behind = Folder::new();
    for name in ["store.db", "store.db-wal"] {
        fs::copy(folder.0.join(name), left_behind.0.join(name)).unwrap();
    }
    let reopened = left_behind.open();
    assert_eq!(reopened.get("session").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(reopened.get("revoked").await.unwrap(), None);
}

#[tokio::test]
async fn announcements_removed_unread_are_told_as_missed() {
    let folder = Folder::new();
    let store = folder.open();
    store
        .writer
        .run(|file| (0..1500).try_for_each(|number| statement::announce(file, &number.to_string())))
        .await
        .unwrap();
    let (read, kept) = store
        .readers
        .run(|file| {
            let (read, newest) = statement::announcements_after(file, 10)?;
            assert_eq!(newest, 1500);
            Ok((read, file.query_row("SELECT count(*) FROM announcements", [], |row| row.get::<_, i64>(0))?))
        })
        .await
        .unwrap();
    assert_eq!(kept, 1000);
    assert_eq!(read.len(), 1001);
    assert_eq!(read[0], Announcement::Missed);
    assert_eq!(read[1], Announcement::Message("500".to_owned()));
}

#[tokio::test]
async fn what_has_expired_does_not_pile_up() {
    let folder = Folder::new();
    let clock = clock();
    let store = Sqlite::open(&folder.file(), clock.clone()).unwrap();
    for number in 0..600 {
        let soon = clock.now().plus(Duration::from_secs(1));
        store.put(&number.to_string(), b"", soon).await.unwrap();
        store.count(&number.to_string(), Duration::from_secs(1)).await.unwrap();
        store.index_add("set", &number.to_string(), soon).await.unwrap();
    }
    clock.advance(Duration::from_secs(90));
    for _ in 0..600 {
        store.put("last", b"", Timestamp::NEVER).await.unwrap();
    }
    for (table, left) in [("entries", 1), ("counts", 0), ("members", 0)] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = store.readers.run(move |file| file.query_row(&sql, [], |row| row.get(0))).await.unwrap();
        assert_eq!(rows, left, "{table}");
    }
}

#[test]
fn the_file_and_its_folder_are_for_this_user_alone() {
    let folder = Folder::new();
    let path = folder.0.join("state/store.db");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let store = Sqlite::open(&path, clock()).unwrap();
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        assert_eq!(mode(&path.with_file_name(name)), 0o600, "{name}");
    }
    drop(store);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = Sqlite::open(&path, clock()).unwrap();
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = Folder::new();
    drop(folder.open());
    Connection::open(folder.file()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = folder.open_error();
    let expected = format!(
        "read the store `{}`: it has format 99 and this linkgate knows up to 1; run the newer version, or name another file",
        folder.file().display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_damaged_file_is_refused_and_left_alone() {
    let folder = Folder::new();
    let noise = b"this is not a database, ".repeat(100);
    fs::write(folder.file(), &noise).unwrap();
    let error = folder.open_error();
    assert!(matches!(error, OpenError::NotAStore { source: Some(_), .. }), "{error:?}");
    assert_eq!(fs::read(folder.file()).unwrap(), noise);
}

#[test]
fn the_database_of_another_program_is_refused() {
    let folder = Folder::new();
    Connection::open(folder.file()).unwrap().execute_batch("CREATE TABLE entries (key)").unwrap();
    let error = folder.open_error();
    assert!(matches!(error, OpenError::NotAStore { source: None, .. }), "{error:?}");
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = Folder::new();
    fs::write(folder.0.join("file"), b"").unwrap();
    let path = folder.0.join("file/store.db");
    let error = Sqlite::open(&path, clock()).err().expect("a file is no folder");
    let expected = format!(
        "open the store `{}`: its folder and the file must be writable by the user that runs linkgate",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn processes_that_start_at_once_on_a_new_file_all_get_the_store() {
    let folder = Folder::new();
    let starting: Vec<_> = (0..8)
        .map(|_| {
            let path = folder.file();
            std::thread::spawn(move || Sqlite::open(&path, clock()).map(drop))
        })
        .collect();
    for thread in starting {
        thread.join().unwrap().unwrap();
    }
}
