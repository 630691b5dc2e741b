//! Listening sockets: bound here, or inherited from the program that this one takes over from, or from systemd.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use listenfd::ListenFd;

use super::Error;

/// The sockets that settings name.
#[derive(Debug, Default)]
pub struct Sockets {
    inherited: Mutex<Vec<TcpListener>>,
    bound: Mutex<Vec<TcpListener>>,
}

impl Sockets {
    /// The sockets that the environment hands to this program (`LISTEN_FDS`, sd_listen_fds(3)), and the line on which
    /// a predecessor waits to hear that it is ready. Must be asked once, before there are threads or open files.
    pub fn inherited() -> (Self, Option<UnixStream>) {
        let mut handed = ListenFd::from_env();
        let mut inherited = Vec::new();
        let mut line = None;
        for at in 0..handed.len() {
            match handed.take_tcp_listener(at) {
                Ok(listener) => inherited.extend(listener),
                Err(_) => line = line.or(handed.take_unix_listener(at).ok().flatten()),
            }
        }
        // The crate knows no connected ones; who has a peer is no listener.
        let line = line.map(|end| UnixStream::from(OwnedFd::from(end))).filter(|line| line.peer_addr().is_ok());
        (Self { inherited: Mutex::new(inherited), bound: Mutex::default() }, line)
    }

    /// A listener on the address that `setting` names: an inherited one where there is one for it.
    ///
    /// # Errors
    /// When the system does not let this program have it.
    pub(super) fn bind(&self, setting: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
        let listener = self.take(address).map_or_else(|| TcpListener::bind(address), Ok);
        let shared = listener.and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.try_clone()?, listener))
        });
        let (kept, listener) = shared.map_err(|source| Error::Listen { setting, address, source })?;
        lock(&self.bound).push(kept);
        Ok(listener)
    }

    fn take(&self, address: SocketAddr) -> Option<TcpListener> {
        let mut inherited = lock(&self.inherited);
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|bound| bound == address);
        let at = inherited.iter().position(is_it)?;
        Some(inherited.swap_remove(at))
    }

    /// Closes what was inherited and is not listened on.
    pub(super) fn close_unused(&self) {
        for listener in lock(&self.inherited).drain(..) {
            let address = listener.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string());
            tracing::warn!(address, "closed an inherited socket: no setting names its address");
        }
    }

    /// Everything that is listened on, for a successor.
    ///
    /// # Errors
    /// When there are too many open files.
    pub(super) fn share(&self) -> io::Result<Vec<TcpListener>> {
        lock(&self.bound).iter().map(TcpListener::try_clone).collect()
    }

    /// Gives the sockets up. They stay open for a successor that shares them, and for whoever listens here still.
    pub(super) fn release(&self) {
        lock(&self.bound).clear();
    }
}

/// Each change is complete by itself, so one who panicked has left nothing half done.
fn lock(sockets: &Mutex<Vec<TcpListener>>) -> MutexGuard<'_, Vec<TcpListener>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a successor could not go on with what there is.
#[derive(Debug, thiserror::Error)]
pub enum Unshared {
    /// Sessions would end with this program.
    #[error(
        "share the sessions: with `session.store = \"memory\"` they end with this program; restart it, or use another store"
    )]
    Memory,
    /// The system does not let the sockets be shared.
    #[error("share the listening sockets")]
    Sockets(#[from] io::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(inherited: Vec<TcpListener>) -> Sockets {
        Sockets { inherited: Mutex::new(inherited), bound: Mutex::default() }
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[test]
    fn an_inherited_socket_is_used_for_its_very_address_and_once() {
        let (inherited, address) = listener();
        let sockets = sockets(vec![inherited]);
        let other = sockets.bind("admin.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(other.local_addr().unwrap(), address);
        let used = sockets.bind("listen", address).unwrap();
        assert_eq!(used.local_addr().unwrap(), address);
        assert!(matches!(sockets.bind("listen", address), Err(Error::Listen { setting: "listen", .. })));
        assert_eq!(sockets.share().unwrap().len(), 2);
    }

    #[test]
    fn what_no_setting_names_is_closed_and_what_is_given_up_is_free() {
        let ((unused, first), (used, second)) = (listener(), listener());
        let sockets = sockets(vec![unused, used]);
        let listener = sockets.bind("listen", second).unwrap();
        sockets.close_unused();
        TcpListener::bind(first).unwrap();
        sockets.release();
        drop(listener);
        TcpListener::bind(second).unwrap();
    }
}
