//! What systemd is told (`Type=notify`): that the program is ready, reads its configuration again, has a successor, or
//! stops. Where there is no systemd, nobody is told.

use sd_notify::NotifyState;

/// The program serves requests with its configuration.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "failed to read the time for systemd"),
    }
}

/// Another process is the service from now on. Only the main process is listened to (`NotifyAccess=main`), so it is this
/// one that says so, and the last that it says.
pub(super) fn handed_over(successor: u32) {
    tell(&[NotifyState::MainPid(successor), NotifyState::Ready]);
}

/// The program stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "failed to tell systemd");
    }
}
