//! What a browser brings along on its way from another host to the public one and back: which host it comes from and where
//! it goes on, sealed with the secret in that host's own cookie. Nothing is kept here, so nobody can fill the store by asking.

use serde::{Deserialize, Serialize};

use super::attempt::Browser;
use crate::clock::Timestamp;
use crate::secret;

/// How long the way may take.
const LIFETIME: std::time::Duration = std::time::Duration::from_secs(600);
/// A return target has 2 KB at most; this leaves room for the rest and for its encoding.
const MOST_BYTES: usize = 4096;

/// A browser that is on its way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// The host that it comes from.
    pub host: String,
    /// Where it goes on there.
    pub return_to: String,
    /// When it set out.
    pub begun_at: Timestamp,
}

impl HandOver {
    /// What the browser takes along: only its own cookie opens it.
    pub fn state(&self, browser: &Browser) -> String {
        let record = serde_json::to_vec(self).expect("a hand-over has string keys only");
        secret::base64url(&browser.seal_for("hand_over").close(&self.host, &record))
    }

    /// What `state` says, where `browser` took it along from `host` not long ago.
    pub fn open(state: &str, browser: &Browser, host: &str, now: Timestamp) -> Option<Self> {
        let sealed = secret::from_base64url(state).filter(|_| is_state(state))?;
        let record = browser.seal_for("hand_over").open(host, &sealed).ok()?;
        let hand_over: Self = serde_json::from_slice(&record).ok()?;
        (hand_over.host == host && now < hand_over.begun_at.plus(LIFETIME)).then_some(hand_over)
    }
}

/// Whether a text has the form of a state.
pub fn is_state(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=MOST_BYTES).contains(&text.len()) && text.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_the_same_browser_opens_it_on_the_same_host_and_in_time() {
        let begun_at = Timestamp::from_unix_seconds(1_800_000_000);
        let hand_over =
            HandOver { host: "wiki.example.com".to_owned(), return_to: "/page?x=1#part".to_owned(), begun_at };
        let browser = Browser::new();
        let state = hand_over.state(&browser);
        let open = |state: &str, browser: &Browser, host: &str, seconds: u64| {
            HandOver::open(state, browser, host, begun_at.plus(Duration::from_secs(seconds)))
        };
        assert_eq!(open(&state, &browser, "wiki.example.com", 599), Some(hand_over));
        assert_eq!(open(&state, &browser, "wiki.example.com", 600), None);
        assert_eq!(open(&state, &browser, "app.example.com", 0), None);
        assert_eq!(open(&state, &Browser::new(), "wiki.example.com", 0), None);
        for wrong in [String::new(), state[1..].to_owned(), format!("{state}A"), "%00".to_owned(), "A".repeat(5000)] {
            assert_eq!(open(&wrong, &browser, "wiki.example.com", 0), None, "{wrong:.40}");
        }
    }
}
