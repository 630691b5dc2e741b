//! Opening the file: who may read it, whose it is, and which format it has.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::super::OpenError;

/// Marks a file as linkgate's: `lkgt`.
const APPLICATION_ID: i64 = 0x6c6b_6774;

/// The format that this version writes, kept in `PRAGMA user_version`.
const FORMAT: i64 = 1;

/// How long a connection waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const SCHEMA: &str = "
    CREATE TABLE entries (
        key TEXT PRIMARY KEY, value BLOB NOT NULL, expires_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_expiry ON entries (expires_at);
    CREATE TABLE counts (
        key TEXT PRIMARY KEY, events INTEGER NOT NULL, resets_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX counts_by_expiry ON counts (resets_at);
    CREATE TABLE members (
        name TEXT, member TEXT, expires_at INTEGER NOT NULL, PRIMARY KEY (name, member)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX members_by_expiry ON members (expires_at);
    CREATE TABLE announcements (
        id INTEGER PRIMARY KEY AUTOINCREMENT, message TEXT NOT NULL
    ) STRICT;
";

/// Opens the store at `path`, and makes it first where there is none.
pub(super) fn create_or_open(path: &Path) -> Result<Connection, OpenError> {
    create(path).map_err(|source| unusable(path, source))?;
    // Several processes may start on a new file at once, and a file is not changed to a write-ahead log by two.
    let turn = take_turn(path).map_err(|source| unusable(path, source))?;
    let mut file = connect(path)?;
    if identify(path, &file)? == Found::Empty {
        let transaction = file
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| not_opened(path, source))?;
        transaction
            .execute_batch(SCHEMA)
            .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
            .and_then(|()| transaction.pragma_update(None, "user_version", FORMAT))
            .map_err(|source| not_opened(path, source))?;
        transaction.commit().map_err(|source| not_opened(path, source))?;
    }
    drop(turn);
    Ok(file)
}

/// One more connection to the store at `path`.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let file = Connection::open_with_flags(path, flags)?;
        file.busy_timeout(BUSY_TIMEOUT)?;
        file.pragma_update(None, "journal_mode", "wal")?;
        // With a write-ahead log this survives a kill of the process; only a power cut may cost the last writes.
        file.pragma_update(None, "synchronous", "normal")?;
        file.pragma_update(None, "journal_size_limit", 16 * 1024 * 1024)?;
        Ok(file)
    };
    open().map_err(|source| not_opened(path, source))
}

/// Waits until no other process opens a store in the same folder; the turn ends when it is dropped.
fn take_turn(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder)?;
    folder.lock()?;
    Ok(folder)
}

/// Makes the folder and the file, for this user alone. SQLite gives the files beside it the same mode.
///
/// An existing file is not opened here: closing it again would drop the locks that this process holds on it.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => tighten(path),
        created => created.map(drop),
    }
}

fn tighten(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Found {
    Store,
    Empty,
}

fn identify(path: &Path, file: &Connection) -> Result<Found, OpenError> {
    let number =
        |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|source| not_opened(path, source));
    let application = number("PRAGMA application_id")?;
    let found = number("PRAGMA user_version")?;
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    match (application, found) {
        (APPLICATION_ID, FORMAT) => Ok(Found::Store),
        (APPLICATION_ID, found) if found > FORMAT => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT })
        }
        (0, 0) if tables == 0 => Ok(Found::Empty),
        _ => Err(OpenError::NotAStore { path: path.to_owned(), source: None }),
    }
}

fn not_opened(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::NotAStore { path: path.to_owned(), source: Some(Box::new(source)) }
        }
        _ => unusable(path, source),
    }
}

/// The answer when the system, not the content, is in the way.
pub(super) fn unusable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> OpenError {
    OpenError::Unusable { path: path.to_owned(), source: Box::new(source) }
}
