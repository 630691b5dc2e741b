//! What makes trying out easy. It lets anybody in, so it is for this machine only.

use super::Settings;

impl Settings {
    /// What lets other machines reach the gateway, in words; empty where nothing does.
    pub(super) fn beyond_this_machine(&self) -> String {
        let mut beyond = Vec::new();
        if !self.listen.ip().is_loopback() {
            beyond.push(format!("`listen` is {}", self.listen));
        }
        if let Some(url) = self.public_url.as_ref().filter(|url| !url.is_loopback()) {
            beyond.push(format!("`public_url` is {url}"));
        }
        beyond.join(" and ")
    }

    /// Has the built-in issuer show its mail instead of sending it, where no other machine can see that, and the file be
    /// watched. It is then checked as if the file said so.
    pub(super) fn develop(&mut self) {
        self.reload.0.watch = true;
        if !self.beyond_this_machine().is_empty() {
            return;
        }
        if let Some(issuer) = &mut self.issuer {
            issuer.0.mailbox = true;
            issuer.0.mail = None;
        }
    }
}
