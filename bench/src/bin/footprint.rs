//! How many bytes a session takes in memory that is used: those of the whole process, with the allocator of linkgate, before
//! and after many of them were looked up.

use std::hint::black_box;
use std::path::PathBuf;
use std::pin::pin;

use futures_util::StreamExt as _;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use linkgate::clock::Clock;
use linkgate::session::Place;
use linkgate::store::Location;
use linkgate_bench::population::{self, Failure};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USAGE: &str = "usage: footprint FILE SESSIONS

Makes SESSIONS sessions in FILE, which is then SQLite's, looks each of them up by its cookie and takes its identity headers,
as a request does, and prints the bytes that a session takes.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, count] = arguments.as_slice() else { return Err(USAGE.into()) };
    let count: usize = count.parse().map_err(|_| USAGE)?;
    let location = Location::Sqlite(PathBuf::from(file));
    let clock = Clock::system();
    let cookies = cookies(&location, &clock, count).await?;
    // What made them is gone: a gateway that was just started.
    let sessions = population::sessions(&location, &clock)?;
    let look_up = async |cookies: &[String]| -> Result<(), Failure> {
        for cookie in cookies {
            // The cookie of a request goes with it.
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie)?)]);
            let live = sessions.find(&headers, Place::Public).await?.live().ok_or("a session is not found")?;
            black_box(live.headers().count());
        }
        Ok(())
    };
    // SQLite's own memory, and what is made by the first of anything, is not the sessions'.
    let (first, rest) = cookies.split_at(count / 10);
    look_up(first).await?;
    let before = resident()?;
    look_up(rest).await?;
    println!("{} bytes for each of {} sessions", resident()?.saturating_sub(before) / rest.len().max(1), rest.len());
    Ok(())
}

async fn cookies(location: &Location, clock: &Clock, count: usize) -> Result<Vec<String>, Failure> {
    let sessions = population::sessions(location, clock)?;
    let mut begun = pin!(population::begin(&sessions, clock, count));
    let mut cookies = Vec::with_capacity(count);
    while let Some(set_cookie) = begun.next().await {
        let set_cookie = set_cookie?;
        cookies.push(set_cookie.to_str()?.split(';').next().unwrap_or_default().to_owned());
    }
    Ok(cookies)
}

/// Bytes of memory that the process has.
fn resident() -> Result<usize, Failure> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).ok_or("the kernel does not say")?.parse()?;
    Ok(pages * rustix::param::page_size())
}
