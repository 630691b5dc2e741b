//! How many connections there are: in all, and of each client address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// The open connections of all listeners. Clones are one.
#[derive(Clone, Default)]
pub struct Connections(Arc<watch::Sender<usize>>);

impl Connections {
    /// How many are open.
    pub fn open(&self) -> usize {
        *self.0.borrow()
    }

    /// Returns once none is open.
    pub async fn closed(&self) {
        // The sender is here, so this ends with none open and not before.
        drop(self.0.subscribe().wait_for(|open| *open == 0).await);
    }

    /// A place for one more, where there are fewer than `most`.
    pub(super) fn enter(&self, most: usize) -> Option<Place> {
        let has_entered = self.0.send_if_modified(|open| {
            let is_free = *open < most;
            *open += usize::from(is_free);
            is_free
        });
        has_entered.then(|| Place(self.clone()))
    }
}

/// The place of one connection, until it is dropped.
pub(super) struct Place(Connections);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

/// Open connections by client address. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of a client, until it is dropped.
pub(super) struct Entered {
    peers: Peers,
    peer: IpAddr,
}

impl Peers {
    /// Counts one more of `peer`, where it has fewer than `most`.
    pub(super) fn enter(&self, peer: IpAddr, most: usize) -> Option<Entered> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(peer).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Entered { peers: self.clone(), peer })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = open.entry(self.peer) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_so_many_places_and_gets_them_back() {
        let peers = Peers::default();
        let (one, two): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = peers.enter(one, 2);
        let second = peers.enter(one, 2);
        assert!(first.is_some() && second.is_some());
        assert!(peers.enter(one, 2).is_none());
        assert!(peers.enter(two, 2).is_some());
        drop(first);
        assert!(peers.enter(one, 2).is_some());
        drop(second);
        assert!(peers.0.lock().unwrap().is_empty(), "what is not open takes no memory");
    }

    #[test]
    fn there_are_so_many_places_in_all() {
        let connections = Connections::default();
        let first = connections.enter(1);
        assert!(first.is_some() && connections.enter(1).is_none());
        assert_eq!(connections.open(), 1);
        drop(first);
        assert_eq!(connections.open(), 0);
        assert!(connections.enter(1).is_some());
    }
}
