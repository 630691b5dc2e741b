//! Requests that come as often as they should, whether or not the server keeps up. Latency counts from the moment that a
//! request was due, so what waits behind a slow answer is not left out (coordinated omission).

use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::connection::{Connection, authority};
use super::{Failure, Field, Report, Tally, add};

/// Sends `rate` requests in a second, on each of `connections` by turns.
///
/// # Errors
/// When the server cannot be asked at all, or the system has no timer left. What fails after that is in the report.
pub async fn run(
    url: &Url,
    fields: &[Field],
    rate: NonZeroU32,
    connections: NonZeroU32,
    seconds: u32,
) -> Result<Report, Failure> {
    let request = request(url, fields);
    let mut warm = Vec::new();
    for _ in 0..connections.get() {
        let mut connection = Connection::to(url);
        ask(&mut connection, request.clone()).await?;
        warm.push(connection);
    }

    let interval = Duration::from_secs(1) / rate.get();
    let total = rate.get().saturating_mul(seconds);
    let tally = Tally::begin();
    let mut tasks = JoinSet::new();
    let mut turns = Vec::new();
    for connection in warm {
        let (turn, due) = unbounded_channel();
        turns.push(turn);
        tasks.spawn(ask_when_due(connection, request.clone(), due, tally.clone()));
    }
    // In this order, so that no tick is before its request is due.
    let began = Instant::now();
    let timer = Timer::every(interval)?;
    let mut passed = 0;
    for (number, turn) in (1..=total).zip(turns.iter().cycle()) {
        while passed < u64::from(number) {
            passed += timer.passed().await?;
        }
        // Its task takes turns for as long as there are any.
        turn.send(began + interval * number).ok();
    }
    drop(turns);
    tally.join(tasks, 0).await;
    tally.give_up(u64::from(total).saturating_sub(tally.counted()));
    Ok(tally.report())
}

async fn ask_when_due(
    mut connection: Connection,
    request: Request<Full<Bytes>>,
    mut turns: UnboundedReceiver<Instant>,
    tally: Tally,
) {
    while let Some(due) = turns.recv().await {
        tally.count(due, ask(&mut connection, request.clone()).await);
    }
}

async fn ask(connection: &mut Connection, request: Request<Full<Bytes>>) -> Result<(), Failure> {
    let status = connection.send(request).await?.status();
    if status.is_success() { Ok(()) } else { Err(Failure::Status(status)) }
}

fn request(url: &Url, fields: &[Field]) -> Request<Full<Bytes>> {
    let request = Request::get(&url[url::Position::BeforePath..url::Position::AfterQuery]);
    let request = request.header(header::HOST, authority(url)).body(Full::default());
    let mut request = request.expect("the parts of a URL make a request");
    add(fields, request.headers_mut());
    request
}

/// A clock of the system's that ticks: tokio's timers are as coarse as a millisecond, which is more than a request takes.
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn every(interval: Duration) -> std::io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let interval = Timespec::try_from(interval).map_err(std::io::Error::other)?;
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: interval, it_value: interval })?;
        #[expect(
            deprecated,
            reason = "an `OwnedFd` stays open as long as it is there, which is all that `register` asks for"
        )]
        AsyncFd::new(timer).map(Self)
    }

    /// Waits for the next tick, and says how many there were since the last time.
    async fn passed(&self) -> std::io::Result<u64> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut ticks = [0; size_of::<u64>()];
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut ticks)?));
            if let Ok(read) = read {
                read?;
                return Ok(u64::from_ne_bytes(ticks));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    /// Answers each request at once, except that after so many there is a pause.
    async fn answer(mut stream: TcpStream, pause_after: usize, pause: Duration) {
        let mut request = [0; 1024];
        let mut answered = 0;
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            if answered == pause_after {
                tokio::time::sleep(pause).await;
            }
            answered += 1;
            stream.write_all(EMPTY).await.ok();
        }
    }

    #[tokio::test]
    async fn what_waits_behind_one_slow_answer_is_slow_as_well() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let url = format!("http://{}/", listener.local_addr().expect("it has an address"));
        let url = url.parse().expect("this is a URL");
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("the load connects");
            answer(stream, 100, Duration::from_millis(300)).await;
        });

        let rate = NonZeroU32::new(1000).expect("it is not zero");
        let report = run(&url, &[], rate, NonZeroU32::MIN, 1).await.expect("the server answers");

        assert_eq!((report.requests, report.errors), (1000, 0));
        // 300 of 1000 were due in the pause. A tool that waits before it asks again sees a single slow answer.
        assert!(report.p99_us > 200_000.0, "{report:?}");
        // Nothing is sent before it is due, and so nothing takes no time.
        assert!(report.p50_us > 0.0, "{report:?}");
    }
}
