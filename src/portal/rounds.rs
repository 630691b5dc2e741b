//! Signing in again and again: where a session is made and not there at the next request, the visitor would be sent round in
//! circles. The third round is a page that says what may be the cause.

use std::time::Duration;

use axum::response::Response;
use http::{HeaderMap, HeaderValue, header};

use super::answer::Refusal;
use super::{Portal, Visit};
use crate::pages::CookiesBlocked;
use crate::session::Found;
use crate::session::cookie::Kind;

/// Rounds that are further apart have other reasons.
const MEMORY: Duration = Duration::from_secs(60);
/// Rounds that may be completed without a session.
const MOST: u8 = 2;

impl Portal {
    /// The cookie that notes one more sign-in that was completed.
    pub(super) fn completed_round(&self, headers: &HeaderMap) -> HeaderValue {
        self.jar.set(Kind::Rounds, &(self.rounds(headers) + 1).min(9).to_string(), MEMORY)
    }

    /// The cookie that forgets them: whoever signs out may sign in at once.
    pub(super) fn no_rounds(&self) -> HeaderValue {
        self.jar.clear(Kind::Rounds)
    }

    fn rounds(&self, headers: &HeaderMap) -> u8 {
        match self.jar.values(Kind::Rounds, headers)[..] {
            [count] if count.len() == 1 => count.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// The page in place of one more round.
    pub(super) fn broken_loop(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        return_to: &str,
        found: &Found,
    ) -> Option<Response> {
        // A session that is over was there: whoever signs out and in again goes round in no circle.
        if self.rounds(headers) < MOST || !matches!(found, Found::None) {
            return None;
        }
        // A cookie of a session comes, and nobody here knows it: another gateway made it, on a store of its own.
        let comes_back = !self.jar.values(Kind::Session, headers).is_empty();
        tracing::warn!(request.id = visit.request_id, comes_back, "broke a loop: sign-ins that leave no session");
        let mut page = self.cookies_blocked(visit, headers, return_to, comes_back);
        page.headers_mut().append(header::SET_COOKIE, self.no_rounds());
        Some(page)
    }

    /// The page about cookies that are not kept, or that nobody knows.
    pub(super) fn cookies_blocked(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        return_to: &str,
        comes_back: bool,
    ) -> Response {
        let page = CookiesBlocked { host: visit.origin.host.clone(), return_to: return_to.to_owned(), comes_back };
        self.refuser(visit).answer_with(&page, Refusal::CookiesBlocked, headers)
    }
}
