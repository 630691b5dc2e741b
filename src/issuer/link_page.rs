//! The page that a mailed link opens. Opening it changes nothing; its one button makes a code and leads on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::link::{Found, Link};
use super::{Inner, api};
use crate::pages::Reader;
use crate::store;

const PATH: &str = "/.linkgate/link";

/// In place of a code, for a gateway that needs none: the link was used.
const SPENT: &str = "spent";
/// When to press again after too many presses.
const PAUSE: Duration = Duration::from_secs(60);

pub(super) fn router(issuer: Arc<Inner>) -> Router {
    Router::new()
        .route(PATH, get(show).post(press))
        .layer(DefaultBodyLimit::max(4096))
        .layer(middleware::map_response(api::no_store))
        .with_state(issuer)
}

async fn show(
    State(issuer): State<Arc<Inner>>,
    RawQuery(query): RawQuery,
    reader: Option<Extension<Reader>>,
) -> Response {
    let page = Shown::to(&issuer, reader);
    let token = token_in(query.unwrap_or_default().as_bytes());
    match issuer.find_link(&token).await {
        Ok(Found::Live(link)) => page.ask(&token, &link),
        Ok(Found::Used(link)) => page.used(&link),
        Ok(Found::Gone) => page.expired(),
        Err(error) => page.unavailable(&error),
    }
}

async fn press(State(issuer): State<Arc<Inner>>, reader: Option<Extension<Reader>>, body: Bytes) -> Response {
    let page = Shown::to(&issuer, reader);
    lead_on(&issuer, &token_in(&body), &page).await.unwrap_or_else(|error| page.unavailable(&error))
}

async fn lead_on(issuer: &Inner, token: &str, page: &Shown<'_>) -> Result<Response, store::Error> {
    let link = match issuer.find_link(token).await? {
        Found::Live(link) => link,
        Found::Used(link) => return Ok(page.used(&link)),
        Found::Gone => return Ok(page.expired()),
    };
    let Some(code) = issuer.make_code(token, &link).await? else { return Ok(page.busy()) };
    let target = with_code(&link.redirect_uri, code.expose(), link.state.as_deref());
    Ok((StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response())
}

fn token_in(form: &[u8]) -> String {
    form_urlencoded::parse(form).find(|(name, _)| name == "token").map_or_else(String::new, |(_, value)| value.into())
}

/// `redirect_uri` with its own query kept, `code`, and `state` as it was given.
fn with_code(redirect_uri: &str, code: &str, state: Option<&str>) -> String {
    let separator = if redirect_uri.contains('?') { '&' } else { '?' };
    let state = state.map_or_else(String::new, |state| format!("&state={}", percent_encoded(state)));
    format!("{redirect_uri}{separator}code={code}{state}")
}

/// A blank as `%20`: readers that only percent-decode get the same bytes as those that read forms.
fn percent_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The page, for whoever reads it. None of its kinds knows an address or where the visitor was going.
struct Shown<'a> {
    issuer: &'a Inner,
    reader: Reader,
}

impl<'a> Shown<'a> {
    fn to(issuer: &'a Inner, reader: Option<Extension<Reader>>) -> Self {
        Self { issuer, reader: reader.map(|Extension(reader)| reader).unwrap_or_default() }
    }

    fn ask(&self, token: &str, link: &Link) -> Response {
        let Inner { clients, settings, .. } = self.issuer;
        let app = clients.find(&link.client_id).map_or(&settings.app_name, |client| &client.app_name);
        let values = json!({
            "app": app,
            "token": token,
            "asked_at": link.asked_at.unix_millis(),
            "browser": link.agent.browser,
            "system": link.agent.system,
        });
        self.page(StatusCode::OK, "link.html", values)
    }

    fn expired(&self) -> Response {
        let minutes = self.issuer.settings.link_lifetime.as_secs().div_ceil(60);
        self.page(StatusCode::GONE, "link_expired.html", json!({ "minutes": minutes }))
    }

    /// The gateway itself knows whether whoever comes back is signed in, and where they were going.
    fn used(&self, link: &Link) -> Response {
        let own = self.issuer.settings.own_client.as_ref();
        if own.is_some_and(|own| own.id == link.client_id) {
            let target = with_code(&link.redirect_uri, SPENT, link.state.as_deref());
            return (StatusCode::SEE_OTHER, [(LOCATION, target)]).into_response();
        }
        self.page(StatusCode::GONE, "link_used.html", json!({}))
    }

    fn busy(&self) -> Response {
        let until = self.issuer.clock.now().plus(PAUSE).unix_millis();
        let page = self.page(StatusCode::TOO_MANY_REQUESTS, "too_many_requests.html", json!({ "until": until }));
        ([(RETRY_AFTER, "60")], page).into_response()
    }

    fn unavailable(&self, error: &store::Error) -> Response {
        tracing::error!(error = error as &dyn std::error::Error, "the issuer's store failed");
        let page = self.page(StatusCode::SERVICE_UNAVAILABLE, "sign_in_unavailable.html", json!({}));
        ([(RETRY_AFTER, "5")], page).into_response()
    }

    fn page(&self, status: StatusCode, template: &str, mut values: Value) -> Response {
        values["address"] = Value::Null;
        values["return_to"] = "/".into();
        (status, Html(self.issuer.pages.render(template, values, &self.reader))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_state_comes_back_byte_for_byte(state in "\\PC{0,40}|[\\x00-\\x7f]{0,40}") {
            let target = with_code("https://a.test/cb?x=1", "c0de", Some(&state));
            prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()));
            let url = url::Url::parse(&target).expect("it is a URL");
            let pairs: Vec<_> = url.query_pairs().into_owned().collect();
            let expected = [("x", "1"), ("code", "c0de"), ("state", state.as_str())];
            prop_assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
    }

    #[test]
    fn the_redirect_keeps_its_query_and_gives_the_state_back() {
        let check =
            |uri: &str, state: Option<&str>, expected: &str| assert_eq!(with_code(uri, "c0de", state), expected);
        check("https://a.test/cb", None, "https://a.test/cb?code=c0de");
        check("https://a.test/cb", Some("s"), "https://a.test/cb?code=c0de&state=s");
        check("https://a.test/cb?x=1&y=%20", Some("s"), "https://a.test/cb?x=1&y=%20&code=c0de&state=s");
        check(
            "https://a.test/cb",
            Some("a b+c&code=evil#é%41"),
            "https://a.test/cb?code=c0de&state=a%20b%2Bc%26code%3Devil%23%C3%A9%2541",
        );
        check("https://a.test/cb", Some("x\r\ny"), "https://a.test/cb?code=c0de&state=x%0D%0Ay");
    }
}
