//! The store's calls as SQL. Each of them is undone as a whole when it fails.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::super::{Announcement, Count};
use crate::clock::Timestamp;

/// Announcements that are kept for the processes that have not read them yet.
const KEPT_ANNOUNCEMENTS: i64 = 1000;

pub(super) fn get(file: &Connection, key: &str, now: Timestamp) -> Result<Option<Vec<u8>>> {
    file.prepare_cached("SELECT value FROM entries WHERE key = ?1 AND expires_at > ?2")?
        .query_row(params![key, now.unix_millis()], |row| row.get(0))
        .optional()
}

pub(super) fn put(file: &Connection, key: &str, value: &[u8], expires_at: Timestamp) -> Result<()> {
    file.prepare_cached("REPLACE INTO entries (key, value, expires_at) VALUES (?1, ?2, ?3)")?.execute(params![
        key,
        value,
        expires_at.unix_millis()
    ])?;
    Ok(())
}

pub(super) fn replace(
    file: &Connection,
    key: &str,
    value: &[u8],
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    file.prepare_cached("UPDATE entries SET value = ?2, expires_at = ?3 WHERE key = ?1 AND expires_at > ?4")?
        .execute(params![key, value, expires_at.unix_millis(), now.unix_millis()])
        .map(|rows| rows == 1)
}

pub(super) fn put_if_absent(
    file: &Connection,
    key: &str,
    value: &[u8],
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<bool> {
    file.prepare_cached(
        "INSERT INTO entries (key, value, expires_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (key) DO UPDATE SET value = ?2, expires_at = ?3 WHERE expires_at <= ?4",
    )?
    .execute(params![key, value, expires_at.unix_millis(), now.unix_millis()])
    .map(|rows| rows == 1)
}

pub(super) fn remove(file: &Connection, key: &str) -> Result<()> {
    file.prepare_cached("DELETE FROM entries WHERE key = ?1")?.execute([key])?;
    Ok(())
}

pub(super) fn take(file: &Connection, key: &str, now: Timestamp) -> Result<Option<Vec<u8>>> {
    let taken = get(file, key, now)?;
    if taken.is_some() {
        remove(file, key)?;
    }
    Ok(taken)
}

pub(super) fn count(file: &Connection, key: &str, window: Duration, now: Timestamp) -> Result<Count> {
    let previous = file
        .prepare_cached("SELECT events, resets_at FROM counts WHERE key = ?1")?
        .query_row([key], |row| {
            let (events, resets_at): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Count { events: events.unsigned_abs(), resets_at: Timestamp::from_unix_millis(resets_at) })
        })
        .optional()?;
    let count = Count::after(previous, now, window);
    file.prepare_cached("REPLACE INTO counts (key, events, resets_at) VALUES (?1, ?2, ?3)")?.execute(params![
        key,
        i64::try_from(count.events).unwrap_or(i64::MAX),
        count.resets_at.unix_millis()
    ])?;
    Ok(count)
}

pub(super) fn index_add(file: &Connection, set: &str, member: &str, expires_at: Timestamp) -> Result<()> {
    file.prepare_cached("REPLACE INTO members (name, member, expires_at) VALUES (?1, ?2, ?3)")?.execute(params![
        set,
        member,
        expires_at.unix_millis()
    ])?;
    Ok(())
}

pub(super) fn index_members(file: &Connection, set: &str, now: Timestamp) -> Result<Vec<String>> {
    file.prepare_cached("SELECT member FROM members WHERE name = ?1 AND expires_at > ?2")?
        .query_map(params![set, now.unix_millis()], |row| row.get(0))?
        .collect()
}

pub(super) fn index_remove(file: &Connection, set: &str, member: &str) -> Result<()> {
    file.prepare_cached("DELETE FROM members WHERE name = ?1 AND member = ?2")?.execute([set, member])?;
    Ok(())
}

pub(super) fn announce(file: &Connection, message: &str) -> Result<()> {
    file.prepare_cached("INSERT INTO announcements (message) VALUES (?1)")?.execute([message])?;
    file.prepare_cached("DELETE FROM announcements WHERE id <= ?1")?
        .execute([file.last_insert_rowid() - KEPT_ANNOUNCEMENTS])?;
    Ok(())
}

/// The number of the last announcement.
pub(super) fn last_announcement(file: &Connection) -> Result<i64> {
    file.query_row("SELECT coalesce(max(id), 0) FROM announcements", [], |row| row.get(0))
}

/// What was announced after number `last`, and the number of the last one now.
pub(super) fn announcements_after(file: &Connection, last: i64) -> Result<(Vec<Announcement>, i64)> {
    let mut statement = file.prepare_cached("SELECT id, message FROM announcements WHERE id > ?1 ORDER BY id")?;
    let mut rows = statement.query([last])?;
    let (mut announcements, mut newest) = (Vec::new(), last);
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        // Numbers have no gaps, so one means that announcements were removed unread.
        if id != newest + 1 {
            announcements.push(Announcement::Missed);
        }
        announcements.push(Announcement::Message(row.get(1)?));
        newest = id;
    }
    Ok((announcements, newest))
}

/// Frees some of the rows that expired before `before`.
pub(super) fn sweep(file: &Connection, before: Timestamp) -> Result<()> {
    for sql in [
        "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE expires_at <= ?1 LIMIT 1000)",
        "DELETE FROM counts WHERE key IN (SELECT key FROM counts WHERE resets_at <= ?1 LIMIT 1000)",
        "DELETE FROM members WHERE (name, member) IN
             (SELECT name, member FROM members WHERE expires_at <= ?1 LIMIT 1000)",
    ] {
        file.prepare_cached(sql)?.execute([before.unix_millis()])?;
    }
    Ok(())
}
