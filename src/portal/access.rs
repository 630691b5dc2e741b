//! Asking the owners of a route for access, and their answer.
//!
//! The mail to an owner has no power of its own: whoever opens its links signs in as one of the owners and presses a
//! button, so that neither a scanner nor whoever the mail is passed on to answers for them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use url::form_urlencoded;

use super::answer::{Failure, Refusal, see_other};
use super::post::Post;
use super::return_to::ACCESS;
use super::sign_in::read_form;
use super::{Portal, Visit, query_value};
use crate::clock::Timestamp;
use crate::grant::request::{Answer, Asking, Request, Requests, State as Known};
use crate::grant::{Giver, Grant, Grants, Key};
use crate::identity::EmailAddress;
use crate::pages::{
    AccessAnswered, AccessAsked, AccessRequest, AccessRequestGone, AccessRequestState, AskedForAccess, NoAccess,
};
use crate::secret::fingerprint;
use crate::session::Live;

/// One visitor asks for so many routes a day.
const MOST_BY_ONE: u64 = 10;
const DAY: Duration = Duration::from_secs(86_400);
/// The owners of one route get so many requests an hour.
const MOST_FOR_ONE: u64 = 30;
const HOUR: Duration = Duration::from_secs(3600);
/// A visitor's mail about an answer is tried for this long.
const MAILED: Duration = DAY;

/// A route with those who look after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The name of the route.
    pub route: String,
    /// Whom to ask.
    pub owners: Vec<EmailAddress>,
}

/// What asking for access takes.
pub struct Access {
    /// The routes that can be asked for.
    pub owned: Vec<Owned>,
    /// What is asked for and not answered.
    pub requests: Requests,
    /// What is given.
    pub grants: Arc<Grants>,
    /// What carries the mails.
    pub post: Arc<dyn Post>,
}

impl Access {
    fn owners_of(&self, route: &str) -> Option<&[EmailAddress]> {
        self.owned.iter().find(|owned| owned.route == route).map(|owned| owned.owners.as_slice())
    }
}

/// The fields of the form on the page that refuses, each at most once.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AskForm {
    csrf: String,
    route: String,
    return_to: String,
}

/// The same of an owner's form.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerForm {
    csrf: String,
    answer: String,
}

/// `POST /.linkgate/access`, on any host.
pub(super) async fn ask(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let access = portal.access()?;
    let form: AskForm = read_form(&headers, &body)?;
    let return_to = portal.accept(&form.return_to, &visit);
    let Some(live) = portal.sender(&visit, &headers, &form.csrf).await? else {
        return Ok(see_other(&sign_in_for(&return_to)));
    };
    let identity = live.identity();
    let owners = access.owners_of(&form.route).ok_or(Refusal::NotFound)?;
    let address = identity.proven_address().ok_or(Refusal::NoAccess)?.clone();
    let page = if return_to.starts_with('/') { visit.origin.join(&return_to) } else { return_to.clone() };
    let request = Request { address, route: form.route.clone(), asked_at: portal.clock.now(), page };
    let asking = portal.asked(access, owners, &live, &request).await?;
    if asking == Asking::New {
        portal.metrics.access_request("asked");
        tracing::info!(request.id = visit.request_id, subject = %identity.subject, route = form.route, "asked the owners of a route for access");
    }
    let refused = if asking == Asking::Refused { "1" } else { "" };
    let query = [("refused", refused), ("return_to", &*return_to)];
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    Ok(see_other(&format!("{ACCESS}?{query}")))
}

/// `GET /.linkgate/access`, on any host: what came of asking. Says it of nobody, so that anybody may look.
pub(super) async fn asked(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    portal.access()?;
    let value = |name: &str| query_value(query.as_deref(), name);
    let return_to = portal.accept(&value("return_to"), &visit);
    Ok(portal.refuser(&visit).show(&AskedForAccess { refused: value("refused") == "1", return_to }))
}

/// `GET /.linkgate/access/{key}`: where an owner answers, or sees what was answered.
pub(super) async fn page(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    Path(key): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let access = portal.access()?;
    let key = Key::from_text(&key).ok_or(Refusal::NotFound)?;
    let chosen = Answer::read(&query_value(query.as_deref(), "answer"));
    let Some(live) = portal.sessions.find(&headers, visit.place()).await?.live() else {
        return Ok(see_other(&sign_in_for(&link(key, chosen))));
    };
    portal.show_request(access, &visit, &live, key, chosen).await
}

/// `POST /.linkgate/access/{key}`
pub(super) async fn answer(
    State(portal): State<Arc<Portal>>,
    Extension(visit): Extension<Visit>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Failure> {
    let access = portal.access()?;
    let key = Key::from_text(&key).ok_or(Refusal::NotFound)?;
    let form: AnswerForm = read_form(&headers, &body)?;
    let Some(live) = portal.sender(&visit, &headers, &form.csrf).await? else {
        return Ok(see_other(&sign_in_for(&link(key, None))));
    };
    let answer = Answer::read(&form.answer).ok_or(Refusal::BadRequest)?;
    let Known::Open(request) = access.requests.find(key).await? else {
        // Another owner was faster, or it is a form that was sent before: the page says how it is now.
        return Ok(see_other(&link(key, None)));
    };
    let Some(owner) = owner(access, &live, &request.route) else { return Ok(portal.no_owner(&visit, &live, key)) };
    if let Some(request) = access.requests.take(key).await? {
        portal.decide(access, &visit, owner, request, answer).await?;
    }
    Ok(see_other(&link(key, None)))
}

impl Portal {
    /// Refuses what there is not, where no route has owners.
    fn access(&self) -> Result<&Access, Refusal> {
        self.access.as_ref().ok_or(Refusal::NotFound)
    }

    /// Keeps a request and mails it to the owners, unless they have it.
    async fn asked(
        &self,
        access: &Access,
        owners: &[EmailAddress],
        live: &Live,
        request: &Request,
    ) -> Result<Asking, Failure> {
        match access.requests.find(request.key()).await? {
            Known::Open(_) => return Ok(Asking::Waiting),
            Known::Refused(_) => return Ok(Asking::Refused),
            Known::None => {}
        }
        let by_one = self.store.count(&format!("access_asked_by:{}", live.subject()), DAY).await?;
        let for_one = self.store.count(&format!("access_asked_for:{}", fingerprint(&request.route)), HOUR).await?;
        for (count, most) in [(by_one, MOST_BY_ONE), (for_one, MOST_FOR_ONE)] {
            if count.events > most {
                return Err(Refusal::TooManyRequests { until: count.resets_at }.into());
            }
        }
        let asking = access.requests.ask(request).await?;
        if asking != Asking::New {
            return Ok(asking);
        }
        let links = Answer::ALL.map(|answer| self.public_url.join(&link(request.key(), Some(answer))));
        let (address, route) = (request.address.as_str(), request.route.as_str());
        let letter = self.pages.access_asked(AccessAsked { address, route, at: request.asked_at, links: &links });
        let mut is_mailed = false;
        for owner in owners {
            is_mailed |= access.post.send(owner, letter.clone(), request.waits_until()).await.is_ok();
        }
        if !is_mailed {
            // Nobody would ever answer.
            access.requests.withdraw(request.key()).await?;
            return Err(Refusal::StoreUnavailable.into());
        }
        Ok(Asking::New)
    }

    async fn show_request(
        &self,
        access: &Access,
        visit: &Visit,
        live: &Live,
        key: Key,
        chosen: Option<Answer>,
    ) -> Result<Response, Failure> {
        let (address, route, state) = match access.requests.find(key).await? {
            Known::Open(Request { address, route, asked_at, .. }) => {
                (address, route, AccessRequestState::Open { asked_at, chosen: chosen.map(Answer::word) })
            }
            Known::Refused(refusal) => {
                let (by, at) = (refusal.by.to_string(), refusal.at);
                (refusal.request.address, refusal.request.route, AccessRequestState::Refused { by, at })
            }
            Known::None => match access.grants.read(key).await? {
                Some(Grant { address, route, given_by, expires_at, .. }) => {
                    let until = Some(expires_at).filter(|end| *end != Timestamp::NEVER);
                    (address, route, AccessRequestState::Granted { by: given_by.to_string(), until })
                }
                None => return Ok(self.gone(access, visit, live, key)),
            },
        };
        if owner(access, live, &route).is_none() {
            return Ok(self.no_owner(visit, live, key));
        }
        let (csrf, address) = (live.csrf_token(), address.to_string());
        Ok(self.refuser(visit).show(&AccessRequest { csrf, key: key.to_text(), address, route, state }))
    }

    /// The answer about a request that there is not. Only owners learn that.
    fn gone(&self, access: &Access, visit: &Visit, live: &Live, key: Key) -> Response {
        if !access.owned.iter().any(|owned| owner(access, live, &owned.route).is_some()) {
            return self.no_owner(visit, live, key);
        }
        let mut page = self.refuser(visit).show(&AccessRequestGone {});
        *page.status_mut() = StatusCode::NOT_FOUND;
        page
    }

    /// The answer to somebody who is signed in as none of the owners: they may be, by another account.
    fn no_owner(&self, visit: &Visit, live: &Live, key: Key) -> Response {
        let mut page = self.refuser(visit).show(&NoAccess {
            address: Some(live.identity().shown_name()),
            csrf: live.csrf_token(),
            return_to: link(key, None),
            reason: None,
            text: None,
            ask: None,
        });
        *page.status_mut() = Refusal::NoAccess.status();
        page
    }

    /// Does what an owner answered, and tells the visitor.
    async fn decide(
        &self,
        access: &Access,
        visit: &Visit,
        owner: &EmailAddress,
        request: Request,
        answer: Answer,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let (address, route, page) = (request.address.clone(), request.route.clone(), request.page.clone());
        let ends = answer.ends(now);
        let done = match ends {
            Some(expires_at) => {
                let given_by = Giver::Owner(owner.clone());
                let grant =
                    Grant { address: address.clone(), route: route.clone(), given_by, given_at: now, expires_at };
                access.grants.give(&grant).await
            }
            None => access.requests.refuse(request.clone(), owner.clone()).await,
        };
        if let Err(error) = done {
            // What is not answered goes on waiting, as far as the store lets it.
            access.requests.put_back(&request).await?;
            return Err(error.into());
        }
        self.metrics.access_request(if ends.is_some() { "granted" } else { "refused" });
        let answer = answer.word();
        tracing::info!(request.id = visit.request_id, owner = %owner, address = %address, route, answer, "an owner answered a request for access");
        let until = ends.filter(|end| *end != Timestamp::NEVER);
        let letter = match ends {
            Some(_) => self.pages.access_given(AccessAnswered { route: &route, link: &page, until }),
            None => self.pages.access_refused(&route),
        };
        // The answer stands. Whoever asked sees it on the page that they asked for as well.
        if access.post.send(&address, letter, now.plus(MAILED)).await.is_err() {
            tracing::warn!(request.id = visit.request_id, address = %address, "failed to tell a visitor of an answer");
        }
        Ok(())
    }
}

/// The address by which somebody is one of the owners of a route.
fn owner<'a>(access: &'a Access, live: &Live, route: &str) -> Option<&'a EmailAddress> {
    let address = live.identity().proven_address()?;
    access.owners_of(route)?.iter().find(|owner| *owner == address)
}

/// Where an owner answers a request.
fn link(key: Key, answer: Option<Answer>) -> String {
    let query = answer.map(|answer| format!("?answer={}", answer.word())).unwrap_or_default();
    format!("{ACCESS}/{}{query}", key.to_text())
}

fn sign_in_for(return_to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("/.linkgate/sign-in?{query}")
}
