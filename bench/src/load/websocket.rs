//! Messages over WebSockets: each connection sends one, waits until it comes back, and sends the next.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use url::Url;

use super::connection::{connect, server};
use super::{Failure, Field, Report, Tally, add};

/// Has messages of so many bytes echoed on each of `connections`. One that fails is counted and not used any more.
///
/// # Errors
/// When not all connections can be made.
pub async fn run(
    url: &Url,
    fields: &[Field],
    connections: NonZeroU32,
    bytes: usize,
    seconds: u32,
) -> Result<Report, Failure> {
    let mut sockets = Vec::new();
    for _ in 0..connections.get() {
        let mut request = url.as_str().into_client_request()?;
        add(fields, request.headers_mut());
        let stream = connect(&server(url)).await?;
        sockets.push(tokio_tungstenite::client_async(request, stream).await?.0);
    }

    let message = Message::Binary(Bytes::from(vec![b'a'; bytes]));
    let tally = Tally::begin();
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let mut tasks = JoinSet::new();
    for socket in sockets {
        tasks.spawn(repeat(socket, message.clone(), until, tally.clone()));
    }
    tally.give_up(tally.join(tasks, seconds).await);
    Ok(tally.report())
}

async fn repeat(mut socket: WebSocketStream<TcpStream>, message: Message, until: Instant, tally: Tally) {
    while Instant::now() < until {
        let since = Instant::now();
        let outcome = exchange(&mut socket, &message).await;
        let failed = outcome.is_err();
        tally.count(since, outcome);
        if failed {
            return;
        }
    }
    // What was measured is over; whether the goodbye arrives matters to nobody.
    socket.close(None).await.ok();
}

async fn exchange(socket: &mut WebSocketStream<TcpStream>, message: &Message) -> Result<(), Failure> {
    socket.send(message.clone()).await?;
    loop {
        match socket.next().await.ok_or(Failure::Step("hear the echo before the end"))?? {
            Message::Ping(_) | Message::Pong(_) => {}
            echo if echo.len() == message.len() && echo.is_binary() == message.is_binary() => return Ok(()),
            _ => return Err(Failure::Step("hear the same as was sent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Echoes so many messages, and ends without a goodbye.
    async fn echo(stream: TcpStream, messages: usize) {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("the load shakes hands");
        for _ in 0..messages {
            let message = socket.next().await.expect("the load goes on").expect("it sends messages");
            socket.send(message).await.expect("it reads them");
        }
    }

    #[tokio::test]
    async fn what_comes_back_is_counted_and_an_end_before_the_time_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
        let url = format!("ws://{}/", listener.local_addr().expect("it has an address"));
        let url = url.parse().expect("this is a URL");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(echo(stream, 20));
            }
        });

        let connections = NonZeroU32::new(3).expect("it is not zero");
        let report = run(&url, &[], connections, 1000, 60).await.expect("the server shakes hands");

        assert_eq!((report.requests, report.errors), (60, 3));
    }
}
