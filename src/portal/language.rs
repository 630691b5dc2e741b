//! The language of pages: what the visitor chose, what their browser asks for, or the default.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method, header};

use super::answer::{Failure, Refusal, see_other};
use super::hand_over::{ARRIVE, HAND_OVER};
use super::return_to::{self, DEVICE, MOST_BYTES};
use super::{CALLBACK, Portal, Visit, query_value, visit};
use crate::pages::{Language, Pages, Reader};
use crate::session::cookie::{Jar, Kind};

/// The path where a language is chosen.
pub const PATH: &str = "/.linkgate/language";
/// As long as browsers keep a cookie.
const LIFETIME: Duration = Duration::from_secs(400 * 86_400);

/// What these are asked with is good once, and stays out of pages.
const OPENED_ONCE: [&str; 3] = [CALLBACK, HAND_OVER, ARRIVE];

/// Who reads the answer to a request for `target`. A page that answers a form cannot be opened again, and neither can one
/// with a very long address.
pub fn reader(pages: &Pages, jar: Jar, method: &Method, target: &str, headers: &HeaderMap) -> Reader {
    let path = target.split('?').next().unwrap_or_default();
    let can_be_opened =
        (method == Method::GET || method == Method::HEAD) && target.len() <= MOST_BYTES && !OPENED_ONCE.contains(&path);
    let chosen = jar.values(Kind::Language, headers);
    let language = chosen.into_iter().find_map(|tag| Language::try_from(tag.to_owned()).ok());
    // Whoever sends somebody there cannot have a code of theirs on the page.
    let here = if path == DEVICE { path } else { target };
    Reader {
        language: language.unwrap_or_else(|| pages.language(headers)),
        here: can_be_opened.then(|| here.to_owned()),
    }
}

/// `GET /.linkgate/language?lang=de&return_to=/path`: has the browser keep the choice, and leads back to the page.
///
/// Without script and without a form's token, so whoever makes a visitor follow such a link chooses their language.
/// That is all it does, and what a browser fetches ahead or for another page does not count.
pub(super) async fn choose(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let language = Language::try_from(query_value(query.as_deref(), "lang")).map_err(|_| Refusal::BadRequest)?;
    let page = return_to::page(&query_value(query.as_deref(), "return_to"), &visit.origin);
    let mut answer = see_other(&page);
    if visit::is_deliberate(&headers) {
        let cookie = portal.jar.set(Kind::Language, language.tag(), LIFETIME);
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(answer)
}
