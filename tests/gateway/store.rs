//! The store's contract, checked against memory, SQLite and a real Redis server.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkgate::clock::{Clock, Timestamp};
use linkgate::secret::random_token;
use linkgate::store::{self, Announcement, Count, Entry, Error, Location, OpenError, Shared};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::redis_server::RedisServer;

const MINUTE: Duration = Duration::from_secs(60);

/// An announcement arrives within a second; the rest is for a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(3);

/// A place of its own for one test's records, and the clock that the test sets.
struct Place {
    clock: Clock,
    kind: Kind,
}

enum Kind {
    Memory(Shared),
    Sqlite(Folder),
    Redis { prefix: String },
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Place {
    fn memory() -> Self {
        let clock = clock();
        let store = open("memory", &clock);
        Self { clock, kind: Kind::Memory(store) }
    }

    fn sqlite() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(random_token().expose());
        Self { clock: clock(), kind: Kind::Sqlite(Folder(folder)) }
    }

    fn redis() -> Self {
        Self { clock: clock(), kind: Kind::Redis { prefix: random_token().expose().clone() } }
    }

    /// One more handle on the same records, as another instance has it.
    fn open(&self) -> Shared {
        match &self.kind {
            Kind::Memory(store) => Shared::clone(store),
            Kind::Sqlite(folder) => open(&format!("sqlite:{}", folder.0.join("store.db").display()), &self.clock),
            Kind::Redis { prefix } => open(&RedisServer::shared().location(prefix), &self.clock),
        }
    }

    fn in_a_minute(&self) -> Timestamp {
        self.clock.now().plus(MINUTE)
    }
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_unix_seconds(1_800_000_000))
}

fn location(text: &str) -> Location {
    Location::try_from(text.to_owned()).unwrap()
}

fn open(text: &str, clock: &Clock) -> Shared {
    store::open(&location(text), Path::new("."), clock.clone()).unwrap()
}

async fn value(store: &Shared, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

async fn members(store: &Shared, set: &str) -> Vec<String> {
    let mut members = store.index_members(set).await.unwrap();
    members.sort();
    members
}

async fn next(listener: &mut mpsc::Receiver<Announcement>) -> Announcement {
    tokio::time::timeout(SOON, listener.recv()).await.expect("an announcement within a second").expect("a sender")
}

fn message(text: &str) -> Announcement {
    Announcement::Message(text.to_owned())
}

macro_rules! every_store {
    ($($check:ident),* $(,)?) => {
        every_store! { @ memory $($check)* }
        every_store! { @ sqlite $($check)* }
        every_store! { @ redis $($check)* }
    };
    (@ $store:ident $($check:ident)*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    super::$check(super::Place::$store()).await;
                }
            )*
        }
    };
}

every_store! {
    what_is_put_is_there_until_it_is_removed,
    an_entry_is_absent_from_the_moment_it_expires,
    a_later_write_moves_the_expiry,
    what_expires_never_stays,
    replace_writes_over_what_is_present_only,
    replace_all_does_so_with_each,
    put_if_absent_writes_where_nothing_is_present_only,
    of_many_who_put_if_absent_one_succeeds,
    take_reads_and_removes,
    what_has_expired_cannot_be_taken,
    of_many_who_take_one_gets_the_value,
    a_window_opens_with_its_first_event_and_then_starts_anew,
    a_clock_set_back_keeps_no_window_open,
    every_event_counts_once,
    a_set_has_its_members_until_they_expire_or_are_removed,
    a_set_forgets_nobody_when_an_early_member_expires,
    values_are_any_bytes,
    keys_are_any_text,
    the_kinds_of_records_do_not_meet,
    handles_on_one_place_see_each_others_writes,
    what_is_announced_reaches_every_listener_in_order,
    a_listener_hears_nothing_from_before,
}

async fn what_is_put_is_there_until_it_is_removed(place: Place) {
    let store = place.open();
    assert_eq!(value(&store, "key").await, None);
    store.put("key", b"one", place.in_a_minute()).await.unwrap();
    assert_eq!(value(&store, "key").await.as_deref(), Some("one"));
    store.put("key", b"two", place.in_a_minute()).await.unwrap();
    assert_eq!(value(&store, "key").await.as_deref(), Some("two"));
    store.remove("key").await.unwrap();
    assert_eq!(value(&store, "key").await, None);
    store.remove("key").await.unwrap();
}

async fn an_entry_is_absent_from_the_moment_it_expires(place: Place) {
    let store = place.open();
    store.put("key", b"value", place.in_a_minute()).await.unwrap();
    place.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(value(&store, "key").await.as_deref(), Some("value"));
    place.clock.advance(Duration::from_millis(1));
    assert_eq!(value(&store, "key").await, None);

    store.put("past", b"value", place.clock.now().minus(MINUTE)).await.unwrap();
    assert_eq!(value(&store, "past").await, None);
}

async fn a_later_write_moves_the_expiry(place: Place) {
    let store = place.open();
    let late = place.in_a_minute().plus(MINUTE);
    store.put("longer", b"", place.in_a_minute()).await.unwrap();
    store.put("longer", b"put", late).await.unwrap();
    store.put("replaced", b"", place.in_a_minute()).await.unwrap();
    assert!(store.replace("replaced", b"replace", late).await.unwrap());
    store.put("shorter", b"", late).await.unwrap();
    store.put("shorter", b"", place.in_a_minute()).await.unwrap();
    store.put("no longer for good", b"", Timestamp::NEVER).await.unwrap();
    store.put("no longer for good", b"", place.in_a_minute()).await.unwrap();

    place.clock.advance(MINUTE);
    assert_eq!(value(&store, "longer").await.as_deref(), Some("put"));
    assert_eq!(value(&store, "replaced").await.as_deref(), Some("replace"));
    assert_eq!(value(&store, "shorter").await, None);
    assert_eq!(value(&store, "no longer for good").await, None);
}

async fn what_expires_never_stays(place: Place) {
    let store = place.open();
    store.put("put", b"value", Timestamp::NEVER).await.unwrap();
    assert!(store.put_if_absent("absent", b"value", Timestamp::NEVER).await.unwrap());
    store.index_add("set", "member", Timestamp::NEVER).await.unwrap();
    place.clock.advance(Duration::from_secs(200 * 365 * 86_400));
    assert!(!store.put_if_absent("absent", b"other", Timestamp::NEVER).await.unwrap());
    assert!(store.replace("put", b"replaced", Timestamp::NEVER).await.unwrap());
    assert_eq!(value(&store, "put").await.as_deref(), Some("replaced"));
    assert_eq!(members(&store, "set").await, ["member"]);
}

async fn replace_all_does_so_with_each(place: Place) {
    let store = place.open();
    store.put("present", b"", place.in_a_minute()).await.unwrap();
    store.put("moved", b"", place.in_a_minute()).await.unwrap();
    let entry = |key: &str, expires_at| Entry { key: key.to_owned(), value: b"new".into(), expires_at };
    let late = place.in_a_minute().plus(MINUTE);
    let entries = vec![entry("present", place.in_a_minute()), entry("absent", late), entry("moved", late)];
    store.replace_all(entries).await.unwrap();
    assert_eq!(value(&store, "present").await.as_deref(), Some("new"));
    assert_eq!(value(&store, "absent").await, None);
    place.clock.advance(MINUTE);
    assert_eq!(value(&store, "present").await, None);
    assert_eq!(value(&store, "moved").await.as_deref(), Some("new"));
    store.replace_all(Vec::new()).await.unwrap();
}

async fn replace_writes_over_what_is_present_only(place: Place) {
    let store = place.open();
    assert!(!store.replace("key", b"absent", place.in_a_minute()).await.unwrap());
    assert_eq!(value(&store, "key").await, None);

    store.put("key", b"first", place.in_a_minute()).await.unwrap();
    assert!(store.replace("key", b"second", place.in_a_minute()).await.unwrap());
    assert_eq!(value(&store, "key").await.as_deref(), Some("second"));

    place.clock.advance(MINUTE);
    assert!(!store.replace("key", b"expired", place.in_a_minute()).await.unwrap());
    assert_eq!(value(&store, "key").await, None);
}

async fn put_if_absent_writes_where_nothing_is_present_only(place: Place) {
    let store = place.open();
    assert!(store.put_if_absent("key", b"first", place.in_a_minute()).await.unwrap());
    assert!(!store.put_if_absent("key", b"second", place.in_a_minute().plus(MINUTE)).await.unwrap());
    assert_eq!(value(&store, "key").await.as_deref(), Some("first"));

    place.clock.advance(MINUTE);
    assert!(store.put_if_absent("key", b"after expiry", place.in_a_minute()).await.unwrap());
    assert_eq!(value(&store, "key").await.as_deref(), Some("after expiry"));
}

async fn of_many_who_put_if_absent_one_succeeds(place: Place) {
    let stores = [place.open(), place.open()];
    let expires_at = place.in_a_minute();
    let mut racing = JoinSet::new();
    for number in 0..50 {
        let store = Shared::clone(&stores[number % 2]);
        racing.spawn(async move {
            let won = store.put_if_absent("lease", number.to_string().as_bytes(), expires_at).await.unwrap();
            won.then(|| number.to_string())
        });
    }
    let winners: Vec<String> = racing.join_all().await.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(value(&stores[0], "lease").await.as_ref(), winners.first());
}

async fn take_reads_and_removes(place: Place) {
    let store = place.open();
    store.put("key", b"value", place.in_a_minute()).await.unwrap();
    assert_eq!(store.take("key").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(store.take("key").await.unwrap(), None);
    assert_eq!(value(&store, "key").await, None);
}

async fn what_has_expired_cannot_be_taken(place: Place) {
    let store = place.open();
    store.put("key", b"value", place.in_a_minute()).await.unwrap();
    place.clock.advance(MINUTE);
    assert_eq!(store.take("key").await.unwrap(), None);
}

async fn of_many_who_take_one_gets_the_value(place: Place) {
    let stores = [place.open(), place.open()];
    stores[0].put("code", b"value", place.in_a_minute()).await.unwrap();
    let mut racing = JoinSet::new();
    for number in 0..50 {
        let store = Shared::clone(&stores[number % 2]);
        racing.spawn(async move { store.take("code").await.unwrap() });
    }
    let taken: Vec<Vec<u8>> = racing.join_all().await.into_iter().flatten().collect();
    assert_eq!(taken, [b"value".to_vec()]);
}

async fn a_window_opens_with_its_first_event_and_then_starts_anew(place: Place) {
    let store = place.open();
    let closes = place.in_a_minute();
    assert_eq!(store.count("mails", MINUTE).await.unwrap(), Count { events: 1, resets_at: closes });
    place.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(store.count("mails", MINUTE).await.unwrap(), Count { events: 2, resets_at: closes });
    assert_eq!(store.count("others", MINUTE).await.unwrap().events, 1);

    place.clock.advance(Duration::from_millis(1));
    let anew = Count { events: 1, resets_at: place.in_a_minute() };
    assert_eq!(store.count("mails", MINUTE).await.unwrap(), anew);

    let forever = Count { events: 1, resets_at: Timestamp::NEVER };
    assert_eq!(store.count("forever", Duration::MAX).await.unwrap(), forever);
}

async fn a_clock_set_back_keeps_no_window_open(place: Place) {
    let store = place.open();
    store.count("mails", MINUTE).await.unwrap();
    place.clock.set(place.clock.now().minus(Duration::from_secs(86_400)));
    let expected = Count { events: 2, resets_at: place.in_a_minute() };
    assert_eq!(store.count("mails", MINUTE).await.unwrap(), expected);
}

async fn every_event_counts_once(place: Place) {
    let stores = [place.open(), place.open()];
    let mut racing = JoinSet::new();
    for number in 0..50 {
        let store = Shared::clone(&stores[number % 2]);
        racing.spawn(async move { store.count("tries", MINUTE).await.unwrap().events });
    }
    let counted: HashSet<u64> = racing.join_all().await.into_iter().collect();
    assert_eq!(counted, (1..=50).collect());
}

async fn a_set_has_its_members_until_they_expire_or_are_removed(place: Place) {
    let store = place.open();
    assert!(members(&store, "sessions").await.is_empty());
    store.index_add("sessions", "short", place.in_a_minute()).await.unwrap();
    store.index_add("sessions", "moved", place.in_a_minute()).await.unwrap();
    store.index_add("sessions", "moved", place.in_a_minute().plus(MINUTE)).await.unwrap();
    store.index_add("sessions", "removed", place.in_a_minute()).await.unwrap();
    store.index_add("others", "other", place.in_a_minute()).await.unwrap();
    assert_eq!(members(&store, "sessions").await, ["moved", "removed", "short"]);

    store.index_remove("sessions", "removed").await.unwrap();
    store.index_remove("sessions", "never there").await.unwrap();
    store.index_remove("no set", "member").await.unwrap();
    assert_eq!(members(&store, "sessions").await, ["moved", "short"]);

    place.clock.advance(MINUTE);
    assert_eq!(members(&store, "sessions").await, ["moved"]);
    assert!(members(&store, "others").await.is_empty());
}

async fn a_set_forgets_nobody_when_an_early_member_expires(place: Place) {
    let store = place.open();
    store.index_add("sessions", "late", place.clock.now().plus(MINUTE * 10)).await.unwrap();
    store.index_add("sessions", "early", place.in_a_minute()).await.unwrap();
    place.clock.advance(MINUTE * 5);
    store.index_add("sessions", "later", place.clock.now().plus(MINUTE * 10)).await.unwrap();
    assert_eq!(members(&store, "sessions").await, ["late", "later"]);
}

async fn values_are_any_bytes(place: Place) {
    let store = place.open();
    let megabyte: Vec<u8> = (0..=255).cycle().take(1024 * 1024).collect();
    for bytes in [&b""[..], b"\0", b"\r\n$5\r\n", &[0xff; 9], &megabyte] {
        store.put("put", bytes, place.in_a_minute()).await.unwrap();
        assert_eq!(store.get("put").await.unwrap().as_deref(), Some(bytes));
        assert!(store.replace("put", bytes, place.in_a_minute()).await.unwrap());
        assert_eq!(store.take("put").await.unwrap().as_deref(), Some(bytes));
        assert!(store.put_if_absent("put", bytes, place.in_a_minute()).await.unwrap());
        assert_eq!(store.take("put").await.unwrap().as_deref(), Some(bytes));
    }
}

async fn keys_are_any_text(place: Place) {
    let store = place.open();
    let keys = [
        "",
        " ",
        "a b",
        "a:b",
        "a:B",
        "a%",
        "a_",
        "a*",
        "é",
        "e\u{301}",
        "鍵",
        "'; DROP TABLE entries",
        "a\nb",
        "a\0b",
    ];
    for key in keys {
        store.put(key, key.as_bytes(), place.in_a_minute()).await.unwrap();
        store.index_add("set", key, place.in_a_minute()).await.unwrap();
        assert_eq!(store.count(key, MINUTE).await.unwrap().events, 1, "{key:?}");
    }
    for key in keys {
        assert_eq!(value(&store, key).await.as_deref(), Some(key));
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(members(&store, "set").await, sorted);
}

async fn the_kinds_of_records_do_not_meet(place: Place) {
    let store = place.open();
    store.put("name", b"value", place.in_a_minute()).await.unwrap();
    store.count("name", MINUTE).await.unwrap();
    store.index_add("name", "member", place.in_a_minute()).await.unwrap();
    store.remove("name").await.unwrap();
    assert_eq!(store.count("name", MINUTE).await.unwrap().events, 2);
    assert_eq!(members(&store, "name").await, ["member"]);
}

async fn handles_on_one_place_see_each_others_writes(place: Place) {
    let (one, two) = (place.open(), place.open());
    one.put("key", b"value", place.in_a_minute()).await.unwrap();
    one.index_add("set", "member", place.in_a_minute()).await.unwrap();
    assert_eq!(value(&two, "key").await.as_deref(), Some("value"));
    assert_eq!(members(&two, "set").await, ["member"]);
    two.remove("key").await.unwrap();
    assert_eq!(value(&one, "key").await, None);

    two.put("key", b"kept", place.in_a_minute()).await.unwrap();
    drop((one, two));
    assert_eq!(value(&place.open(), "key").await.as_deref(), Some("kept"), "it survives closing");
}

async fn what_is_announced_reaches_every_listener_in_order(place: Place) {
    let (one, two) = (place.open(), place.open());
    let mut listeners =
        [one.announcements().await.unwrap(), one.announcements().await.unwrap(), two.announcements().await.unwrap()];
    drop(two.announcements().await.unwrap());
    for text in ["session:1", "user: Zoë\r\n"] {
        one.announce(text).await.unwrap();
    }
    for listener in &mut listeners {
        assert_eq!(next(listener).await, message("session:1"));
        assert_eq!(next(listener).await, message("user: Zoë\r\n"));
        assert!(listener.try_recv().is_err());
    }
}

async fn a_listener_hears_nothing_from_before(place: Place) {
    place.open().announce("old").await.unwrap();
    let store = place.open();
    let mut listener = store.announcements().await.unwrap();
    store.announce("new").await.unwrap();
    assert_eq!(next(&mut listener).await, message("new"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_goes_away_is_unavailable_and_comes_back() {
    let server = RedisServer::start();
    let store = open(&server.location("outage"), &clock());
    let mut listener = store.announcements().await.unwrap();
    store.put("key", b"value", Timestamp::NEVER).await.unwrap();

    server.stop();
    for _ in 0..3 {
        let answer = tokio::time::timeout(Duration::from_secs(5), store.take("key")).await.expect("an answer in time");
        assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
    }

    server.start_again();
    assert!(store.put_if_absent("key", b"value", Timestamp::NEVER).await.unwrap());
    assert_eq!(next(&mut listener).await, Announcement::Missed);
    store.announce("after").await.unwrap();
    assert_eq!(next(&mut listener).await, message("after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_between_two_calls_goes_unnoticed() {
    let server = RedisServer::start();
    let store = open(&server.location("restart"), &clock());
    let mut listener = store.announcements().await.unwrap();
    store.put("key", b"value", Timestamp::NEVER).await.unwrap();
    server.stop();
    server.start_again();
    // `Missed` shows that the losses of both connections have been noticed.
    assert_eq!(next(&mut listener).await, Announcement::Missed);
    assert!(store.put_if_absent("key", b"value", Timestamp::NEVER).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_while_redis_is_down() {
    let server = RedisServer::start();
    server.stop();
    let store = open(&server.location("late"), &clock());
    assert!(matches!(store.get("key").await, Err(Error::Unavailable(_))));
    let mut listener = store.announcements().await.unwrap();

    server.start_again();
    assert_eq!(value(&store, "key").await, None);
    assert_eq!(next(&mut listener).await, Announcement::Missed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_without_memory_is_full_and_still_forgets() {
    let server = RedisServer::start();
    let store = open(&server.location("full"), &clock());
    store.put("kept", b"value", Timestamp::NEVER).await.unwrap();
    assert_eq!(server.command("CONFIG SET maxmemory 1"), "+OK");

    assert!(matches!(store.put("new", b"", Timestamp::NEVER).await, Err(Error::Full(_))));
    assert!(matches!(store.put_if_absent("new", b"", Timestamp::NEVER).await, Err(Error::Full(_))));
    assert!(matches!(store.count("new", MINUTE).await, Err(Error::Full(_))));
    assert_eq!(value(&store, "kept").await.as_deref(), Some("value"));
    assert!(store.take("kept").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_linkgate_did_not_write_into_redis_is_corrupt() {
    let server = RedisServer::shared();
    let store = open(&server.location("foreign"), &clock());
    server.command("SET foreign:entry:short abc");
    server.command("RPUSH foreign:entry:list abc");
    for key in ["short", "list"] {
        let answer = store.get(key).await;
        assert!(matches!(&answer, Err(Error::Corrupt(named)) if named == key), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_what_expired_but_not_at_once() {
    let server = RedisServer::shared();
    let place = Place { clock: clock(), kind: Kind::Redis { prefix: "forget".to_owned() } };
    let store = place.open();
    store.put("name", b"", place.in_a_minute()).await.unwrap();
    store.count("name", MINUTE).await.unwrap();
    store.index_add("name", "member", place.in_a_minute()).await.unwrap();
    store.put("forever", b"", Timestamp::NEVER).await.unwrap();
    for kind in ["entry", "count", "index"] {
        let left: u64 = server.command(&format!("PTTL forget:{kind}:name")).trim_start_matches(':').parse().unwrap();
        assert!((60_001..=120_000).contains(&left), "{kind}: {left}");
    }
    assert_eq!(server.command("PTTL forget:entry:forever"), ":-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_with_a_password_is_entered_with_that_of_the_file() {
    let server = RedisServer::start();
    assert_eq!(server.command("CONFIG SET requirepass hunter2"), "+OK");
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(random_token().expose()));
    std::fs::create_dir(&folder.0).unwrap();
    let at = format!("{}&password_file=password", server.location("login"));
    let open = || store::open(&location(&at), &folder.0, clock());

    assert!(matches!(open(), Err(OpenError::Password { .. })), "there is no file yet");
    std::fs::write(folder.0.join("password"), "wrong\n").unwrap();
    let store = open().unwrap();
    assert!(matches!(store.get("key").await, Err(Error::Unavailable(_))));
    std::fs::write(folder.0.join("password"), "hunter2\n").unwrap();
    assert_eq!(value(&open().unwrap(), "key").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_speak_tls_is_not_spoken_to_without() {
    // As `main` does; another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let server = RedisServer::shared();
    let store = open(&format!("rediss://127.0.0.1:{}", server.port()), &clock());
    assert!(matches!(store.get("key").await, Err(Error::Unavailable(_))));
}
