//! The receivers of announcements in this process.

use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Announcement;

/// What a listener may leave unread before it is told that it missed something.
const BACKLOG: usize = 256;

/// Everybody in this process who wants to hear of announcements.
#[derive(Default)]
pub(super) struct Listeners(Mutex<Vec<mpsc::Sender<Announcement>>>);

impl Listeners {
    /// One more listener.
    pub(super) fn add(&self) -> mpsc::Receiver<Announcement> {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Tells every listener, without waiting for a slow one.
    pub(super) fn tell(&self, announcement: &Announcement) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|listener| match listener.capacity() {
            // The backlog is full and ends with `Missed`, which stands for this one too.
            0 => !listener.is_closed(),
            1 => listener.try_send(Announcement::Missed).is_ok(),
            _ => listener.try_send(announcement.clone()).is_ok(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> Announcement {
        Announcement::Message(number.to_string())
    }

    #[test]
    fn a_listener_that_falls_behind_learns_that_it_missed_something() {
        let listeners = Listeners::default();
        let mut slow = listeners.add();
        for number in 0..BACKLOG * 2 {
            listeners.tell(&message(number));
        }
        for number in 0..BACKLOG - 1 {
            assert_eq!(slow.try_recv(), Ok(message(number)));
        }
        assert_eq!(slow.try_recv(), Ok(Announcement::Missed));
        listeners.tell(&message(7));
        assert_eq!(slow.try_recv(), Ok(message(7)));
    }

    #[test]
    fn a_listener_that_is_gone_is_forgotten() {
        let listeners = Listeners::default();
        drop(listeners.add());
        listeners.tell(&message(1));
        assert!(listeners.0.lock().unwrap().is_empty());
    }
}
