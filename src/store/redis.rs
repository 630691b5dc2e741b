//! The store in Redis or Valkey, for several gateways. It needs version 6.2 or later.
//!
//! Moments are written beside the values and judged by the gateway's clock; the server's own expiry only
//! frees memory, a while later.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, Script, ScriptInvocation};
use async_trait::async_trait;
use tokio::sync::mpsc;

pub use self::address::Address;
use self::link::Link;
use self::subscription::Subscription;
use super::{Announcement, Count, Error, OpenError, Store};
use crate::clock::{Clock, Timestamp};

mod address;
mod link;
mod subscription;

/// How much later than the gateway's clock the server forgets, so that clocks may differ between machines.
const GRACE: Duration = Duration::from_secs(60);

/// What expires later than this is not given to the server to forget.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Bytes before each value: when it expires, big endian.
const MOMENT: usize = 8;

/// Writes the value ARGV[1] if whether the key is present at ARGV[2] is what ARGV[4] wants.
static PUT_WHEN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('GET', KEYS[1])
         local present = held and struct.unpack('>i8', held) > tonumber(ARGV[2])
         if present ~= (ARGV[4] == 'present') then return 0 end
         if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[1])
         else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3]) end
         return 1",
    )
});

/// `Count::after`, with now in ARGV[1] and the latest end of the window in ARGV[2].
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local held = redis.call('HMGET', KEYS[1], 'events', 'resets_at')
         local events, resets_at = 1, ARGV[2]
         if held[2] and tonumber(held[2]) > tonumber(ARGV[1]) then
             events = tonumber(held[1]) + 1
             if tonumber(held[2]) < tonumber(ARGV[2]) then resets_at = held[2] end
         end
         redis.call('HSET', KEYS[1], 'events', events, 'resets_at', resets_at)
         if ARGV[3] == '' then redis.call('PERSIST', KEYS[1])
         else redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
         return {events, resets_at}",
    )
});

/// Adds the member ARGV[2] until ARGV[1], frees members that expired before ARGV[3], and has the set forgotten
/// after its last member: now is ARGV[4], the grace ARGV[5], the longest wait ARGV[6].
static INDEX_ADD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
         redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
         local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
         if not last[2] then return end
         local left = tonumber(last[2]) - tonumber(ARGV[4])
         if last[2] == 'inf' or left > tonumber(ARGV[6]) then redis.call('PERSIST', KEYS[1])
         else redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(left, 0) + tonumber(ARGV[5]))) end",
    )
});

/// A store in Redis or Valkey.
pub struct Redis {
    clock: Clock,
    prefix: String,
    link: Arc<Link>,
    subscription: Subscription,
}

impl Redis {
    /// A store at `address`, which is not contacted yet. A relative password file begins at `base_dir`.
    ///
    /// # Errors
    /// When the password cannot be read, or the client refuses the address.
    pub fn open(address: &Address, base_dir: &Path, clock: Clock) -> Result<Self, OpenError> {
        let client = link::client(address, base_dir)?;
        let channel = format!("{}announcements", address.prefix);
        Ok(Self {
            clock,
            prefix: address.prefix.clone(),
            link: Arc::new(Link::new(client.clone())),
            subscription: Subscription::new(client, channel),
        })
    }

    fn entry(&self, key: &str) -> String {
        format!("{}entry:{key}", self.prefix)
    }

    fn set(&self, set: &str) -> String {
        format!("{}index:{set}", self.prefix)
    }

    async fn command<T: FromRedisValue>(&self, record: &str, command: &Cmd) -> Result<T, Error> {
        let mut line = self.link.line().await.map_err(|error| failure(error, record))?;
        let answer = command.query_async(&mut line.connection).await;
        self.link.heard(&line, answer).map_err(|error| failure(error, record))
    }

    async fn script<T: FromRedisValue>(&self, record: &str, script: &ScriptInvocation<'_>) -> Result<T, Error> {
        let mut line = self.link.line().await.map_err(|error| failure(error, record))?;
        let answer = script.invoke_async(&mut line.connection).await;
        self.link.heard(&line, answer).map_err(|error| failure(error, record))
    }

    async fn put_when(&self, wanted: &str, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        let now = self.clock.now();
        let mut script = PUT_WHEN.key(self.entry(key));
        script.arg(stamped(value, expires_at)).arg(now.unix_millis()).arg(forget_after(expires_at, now)).arg(wanted);
        self.script(key, &script).await
    }

    /// The value behind `stamped` if it has not expired.
    fn judge(&self, key: &str, stamped: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut stamped) = stamped else { return Ok(None) };
        let moment = stamped.first_chunk::<MOMENT>().ok_or_else(|| Error::Corrupt(key.to_owned()))?;
        let expires_at = Timestamp::from_unix_millis(i64::from_be_bytes(*moment));
        Ok((expires_at > self.clock.now()).then(|| stamped.split_off(MOMENT)))
    }
}

#[async_trait]
impl Store for Redis {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let found = self.command(key, Cmd::new().arg("GET").arg(self.entry(key))).await?;
        self.judge(key, found)
    }

    async fn put(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<(), Error> {
        let mut command = Cmd::new();
        command.arg("SET").arg(self.entry(key)).arg(stamped(value, expires_at));
        let lifetime = forget_after(expires_at, self.clock.now());
        if !lifetime.is_empty() {
            command.arg("PX").arg(lifetime);
        }
        self.command(key, &command).await
    }

    async fn replace(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.put_when("present", key, value, expires_at).await
    }

    async fn put_if_absent(&self, key: &str, value: &[u8], expires_at: Timestamp) -> Result<bool, Error> {
        self.put_when("absent", key, value, expires_at).await
    }

    async fn remove(&self, key: &str) -> Result<(), Error> {
        self.command(key, Cmd::new().arg("DEL").arg(self.entry(key))).await
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let taken = self.command(key, Cmd::new().arg("GETDEL").arg(self.entry(key))).await?;
        self.judge(key, taken)
    }

    async fn count(&self, key: &str, window: Duration) -> Result<Count, Error> {
        let now = self.clock.now();
        let at_most = now.plus(window);
        let mut script = COUNT.key(format!("{}count:{key}", self.prefix));
        script.arg(now.unix_millis()).arg(at_most.unix_millis()).arg(forget_after(at_most, now));
        let (events, resets_at) = self.script(key, &script).await?;
        Ok(Count { events, resets_at: Timestamp::from_unix_millis(resets_at) })
    }

    async fn index_add(&self, set: &str, member: &str, expires_at: Timestamp) -> Result<(), Error> {
        let now = self.clock.now();
        let mut script = INDEX_ADD.key(self.set(set));
        script.arg(score(expires_at)).arg(member).arg(now.minus(GRACE).unix_millis());
        script.arg(now.unix_millis()).arg(millis(GRACE)).arg(millis(LONGEST));
        self.script(set, &script).await
    }

    async fn index_members(&self, set: &str) -> Result<Vec<String>, Error> {
        let after_now = format!("({}", self.clock.now().unix_millis());
        self.command(set, Cmd::new().arg("ZRANGEBYSCORE").arg(self.set(set)).arg(after_now).arg("+inf")).await
    }

    async fn index_remove(&self, set: &str, member: &str) -> Result<(), Error> {
        self.command(set, Cmd::new().arg("ZREM").arg(self.set(set)).arg(member)).await
    }

    async fn announce(&self, message: &str) -> Result<(), Error> {
        self.command("announcement", Cmd::new().arg("PUBLISH").arg(self.subscription.channel()).arg(message)).await
    }

    async fn announcements(&self) -> Result<mpsc::Receiver<Announcement>, Error> {
        Ok(self.subscription.listen().await)
    }
}

fn stamped(value: &[u8], expires_at: Timestamp) -> Vec<u8> {
    [&expires_at.unix_millis().to_be_bytes(), value].concat()
}

/// After how many milliseconds the server may free the memory; empty for never.
fn forget_after(expires_at: Timestamp, now: Timestamp) -> String {
    let left = expires_at.since(now);
    if left > LONGEST { String::new() } else { millis(left + GRACE).to_string() }
}

/// A moment as the score of a sorted set, which holds milliseconds exactly for 285 000 years.
fn score(expires_at: Timestamp) -> String {
    if expires_at == Timestamp::NEVER { "+inf".to_owned() } else { expires_at.unix_millis().to_string() }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn failure(error: RedisError, record: &str) -> Error {
    // A server before version 7 wraps what stopped a script.
    let out_of_memory = error.detail().is_some_and(|detail| detail.contains("OOM command not allowed"));
    match (error.code(), error.kind()) {
        (Some("OOM" | "MISCONF" | "READONLY"), _) => Error::Full(Box::new(error)),
        _ if out_of_memory => Error::Full(Box::new(error)),
        (Some("WRONGTYPE"), _) | (_, ErrorKind::UnexpectedReturnType) => Error::Corrupt(record.to_owned()),
        _ => Error::Unavailable(Box::new(error)),
    }
}
