//! Connections to a server that wait for the next request.
//!
//! The framework has a task for each of them, made anew after each request, which says when the other end closes it. Here
//! all of a server are looked through now and then, and each before it is used.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt as _;
use tokio::task::unconstrained;

/// So many wait at most; the ones that waited longest are closed.
const MOST: usize = 256;

/// The waiting connections of one server.
#[derive(Default)]
pub(super) struct Kept(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Those that came last are at the end, each with where it goes; a Unix socket is only in one place.
    connections: VecDeque<(Option<SocketAddr>, Stream)>,
    is_looked_after: bool,
}

impl Kept {
    /// A connection to this address that nothing has come on meanwhile, if there is one: what served last, so that those
    /// that are not needed grow old.
    pub(super) fn take(&self, address: Option<SocketAddr>) -> Option<Stream> {
        loop {
            let mut stream = {
                let connections = &mut self.lock().connections;
                let at = connections.iter().rposition(|(goes_to, _)| *goes_to == address)?;
                connections.remove(at)?.1
            };
            if is_quiet(&mut stream) {
                return Some(stream);
            }
        }
    }

    /// Has a connection wait. Says whether [`Kept::look`] must be called now and then from here on.
    pub(super) fn put(&self, address: Option<SocketAddr>, stream: Stream) -> bool {
        let mut waiting = self.lock();
        let oldest = (waiting.connections.len() >= MOST).then(|| waiting.connections.pop_front());
        waiting.connections.push_back((address, stream));
        let needs_looks = !std::mem::replace(&mut waiting.is_looked_after, true);
        drop(waiting);
        // Closing is a call of the system, which nobody need wait for.
        drop(oldest);
        needs_looks
    }

    /// Closes those that their servers have closed. Says whether it must be called again.
    pub(super) fn look(&self) -> bool {
        let mut waiting = self.lock();
        waiting.connections.retain_mut(|(_, stream)| is_quiet(stream));
        waiting.is_looked_after = !waiting.connections.is_empty();
        waiting.is_looked_after
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing has come: neither the end, nor an answer that nobody has asked for.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0];
    // However much the task has done already, the answer is wanted now.
    unconstrained(stream.read(&mut byte)).now_or_never().is_none()
}

#[cfg(test)]
mod tests {
    use pingora::protocols::l4::stream::Stream as Socket;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Box::new(Socket::from(ours)), listener.accept().await.unwrap().0)
    }

    /// Waits until it can be read from, if only its end.
    async fn heard(stream: &Kept) {
        while stream.lock().connections.iter_mut().all(|(_, stream)| is_quiet(stream)) {
            tokio::task::yield_now().await;
        }
    }

    const PLACES: [Option<SocketAddr>; 2] =
        [None, Some(SocketAddr::V4(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 80)))];

    #[tokio::test]
    async fn a_connection_is_given_once_and_only_for_where_it_goes() {
        let kept = Kept::default();
        let ((first, _a), (second, _b), (third, _c)) = (pair().await, pair().await, pair().await);
        let ids: Vec<i32> = [&first, &second, &third].map(|stream| stream.id()).into();
        kept.put(PLACES[0], first);
        kept.put(PLACES[0], second);
        kept.put(PLACES[1], third);
        let taken = |at: usize| kept.take(PLACES[at]).map(|stream| stream.id());
        assert_eq!([taken(0), taken(0), taken(0)], [Some(ids[1]), Some(ids[0]), None]);
        assert_eq!([taken(1), taken(1)], [Some(ids[2]), None]);
    }

    #[tokio::test]
    async fn what_was_closed_or_spoke_unasked_is_not_given() {
        for closes in [true, false] {
            let kept = Kept::default();
            let (ours, mut theirs) = pair().await;
            kept.put(None, ours);
            if closes {
                drop(theirs);
            } else {
                theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
            }
            heard(&kept).await;
            assert!(kept.take(None).is_none(), "{closes}");
        }
    }

    #[tokio::test]
    async fn they_are_looked_after_for_as_long_as_there_are_any() {
        let kept = Kept::default();
        let (first, there) = pair().await;
        let (second, gone) = pair().await;
        assert!(kept.put(None, first), "somebody must look");
        assert!(!kept.put(None, second), "somebody does already");
        drop(gone);
        heard(&kept).await;
        assert!(kept.look());
        assert_eq!(kept.lock().connections.len(), 1);
        drop(there);
        heard(&kept).await;
        assert!(!kept.look());
        assert!(kept.put(None, pair().await.0), "somebody must look again");
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let kept = Kept::default();
        let (oldest, mut theirs) = pair().await;
        kept.put(None, oldest);
        for _ in 0..MOST {
            kept.put(None, pair().await.0);
        }
        assert_eq!(kept.lock().connections.len(), MOST);
        assert_eq!(theirs.read(&mut [0]).await.unwrap(), 0, "it was closed");
    }
}
