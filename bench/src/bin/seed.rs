//! Fills a store with sessions that a gateway takes for its own, because `Sessions::begin` makes every one of them.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use linkgate::clock::Clock;
use linkgate::store::Location;
use linkgate_bench::population::{self, Failure};

const USAGE: &str = "usage: seed STORE SESSIONS COOKIES_FILE COOKIES

Fills STORE, a file of SQLite or what `session.store` says otherwise, with SESSIONS sessions, and writes the cookies of
the first COOKIES of them to COOKIES_FILE, one a line, as a `Cookie` header has them.";

/// The first of the sessions began so long ago, the last of them now. A gateway notes the use of each once in a while since
/// its beginning; if all began together, so would the notes.
const AGE_OF_THE_FIRST: Duration = Duration::from_secs(3600);

struct Order {
    location: Location,
    sessions: usize,
    cookies_file: PathBuf,
    cookies: u32,
}

impl Order {
    fn read(arguments: &[String]) -> Option<Self> {
        let [store, sessions, cookies_file, cookies] = arguments else { return None };
        let location = Location::try_from(store.clone()).unwrap_or_else(|_| Location::Sqlite(PathBuf::from(store)));
        Some(Self {
            location,
            sessions: sessions.parse().ok()?,
            cookies_file: PathBuf::from(cookies_file),
            cookies: cookies.parse().ok()?,
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Order::read(&arguments) {
        Some(order) => seed(&order).await,
        None => Err(USAGE.into()),
    }
}

async fn seed(order: &Order) -> Result<(), Failure> {
    let first = Clock::system().now().minus(AGE_OF_THE_FIRST);
    let apart = AGE_OF_THE_FIRST / u32::try_from(order.sessions)?.max(1);
    let clock = Clock::manual(first);
    let sessions = population::sessions(&order.location, &clock)?;
    let mut cookies = BufWriter::new(File::create(&order.cookies_file)?);
    let mut begun = pin!(population::begin(&sessions, &clock, order.sessions).zip(stream::iter(0..)));
    while let Some((set_cookie, number)) = begun.next().await {
        clock.set(first.plus(apart * number));
        let set_cookie = set_cookie?;
        if number < order.cookies {
            writeln!(cookies, "{}", set_cookie.to_str()?.split(';').next().unwrap_or_default())?;
        }
    }
    Ok(cookies.flush()?)
}
