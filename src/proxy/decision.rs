//! Everything that can refuse a request, in its order, before anything is forwarded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::RequestHeader;
use pingora::proxy::Session;

use super::access::{self, Access, Facts, Objection, Pass, Verdict};
use super::canonical::{self, CanonicalPath, Malformed};
use super::cors;
use super::edge::{self, Remembered, Streams};
use super::handshake::check_upgrade;
use super::manner::Manner;
use super::objected::Objected;
use super::route::{self, Route};
use super::{Context, Site, Terms, refusal};
use crate::assertion;
use crate::clock::Timestamp;
use crate::credential::{Error, Fault, Found, Visitor};
use crate::grant::{self, Grant};
use crate::origin::Authority;
use crate::portal::answer::Refusal;
use crate::portal::oauth2_proxy::PATHS as OAUTH2_PROXY_PATHS;
use crate::portal::return_to;
use crate::session::Place;

/// A request's host and path in their one spelling.
pub(super) struct Target {
    pub(super) authority: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) path: CanonicalPath,
    /// Path and query, as the upstream gets them.
    pub(super) path_and_query: String,
    /// How the request is forwarded.
    pub(super) manner: Manner,
    /// The route, once it is found.
    pub(super) route: Option<Arc<Route>>,
    /// What is known of the cookies, where they came before.
    pub(super) remembered: Option<Arc<Remembered>>,
}

/// The word in logs and metrics for a request that another proxy may forward.
pub(super) const ALLOWED: &str = "allowed";

/// What becomes of a request that no upstream hears of.
pub(super) enum Decision {
    Portal,
    /// A browser asks what a page of another site may do, and this is what.
    Preflight(http::response::Builder),
    /// Nobody is signed in; by tokens too, where the route takes them.
    SignIn {
        takes_tokens: bool,
    },
    StepUp(Objected, Duration),
    NoAccess(Objected),
    Refuse(Refusal),
    /// The route is for other methods, which are these.
    OtherMethods(HeaderValue),
}

impl Decision {
    /// The word for it in logs and metrics.
    pub(super) const fn verdict(&self) -> &'static str {
        match self {
            Self::Portal => "portal",
            Self::Preflight(_) => "preflight",
            Self::SignIn { .. } => Refusal::SignInRequired.code(),
            Self::StepUp(_, max_age) => Refusal::StepUpRequired { max_age: *max_age }.code(),
            Self::NoAccess(_) => Refusal::NoAccess.code(),
            Self::Refuse(refusal) => refusal.code(),
            Self::OtherMethods(_) => Refusal::Status(405).code(),
        }
    }

    /// The status that a program is answered with; the portal chooses its own.
    pub(super) fn status(&self) -> Option<StatusCode> {
        let refusal = match self {
            Self::Portal => return None,
            Self::Preflight(_) => return Some(StatusCode::NO_CONTENT),
            Self::SignIn { .. } => Refusal::SignInRequired,
            Self::StepUp(_, max_age) => Refusal::StepUpRequired { max_age: *max_age },
            Self::NoAccess(_) => Refusal::NoAccess,
            Self::Refuse(refusal) => *refusal,
            Self::OtherMethods(_) => Refusal::Status(405),
        };
        Some(refusal.status())
    }

    /// What the rules have against the request.
    pub(super) const fn objected(&self) -> Option<&Objected> {
        match self {
            Self::StepUp(objected, _) | Self::NoAccess(objected) => Some(objected),
            _ => None,
        }
    }
}

impl From<Malformed> for Decision {
    fn from(malformed: Malformed) -> Self {
        Self::Refuse(refusal::of_malformed(malformed))
    }
}

impl From<Refusal> for Decision {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

/// A request as it is decided about: the visitor's own, or one that another proxy or an operator asks about.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) request: &'a RequestHeader,
    /// The visitor's address.
    pub(super) client: IpAddr,
    /// The moment.
    pub(super) now: Timestamp,
    /// The requests of the connection that it came by, where that is one of HTTP/2.
    pub(super) streams: Option<&'a Streams>,
}

impl Site {
    /// The whole decision about a request: everything that can refuse it comes before anything is forwarded.
    pub(super) async fn decide(&self, session: &Session, context: &mut Context) -> Result<Pass, Decision> {
        if has_two_lengths(session) {
            return Err(Malformed::Framing.into());
        }
        let asked = Asked {
            request: session.req_header(),
            client: context.client,
            now: context.arrived_at,
            streams: edge::streams_of(session),
        };
        let pass = self.decide_about(asked, &mut context.target).await?;
        // Whoever may pass at the proxy that forwards this has no other way round it.
        if pass.route().is_forwarded_elsewhere {
            return Err(Refusal::NotFound.into());
        }
        context.assertion = self.assertion(&pass).await?;
        Ok(pass)
    }

    /// The signed assertion for the upstream, where its route asks for one, and the header's name. Without a key nothing
    /// is forwarded.
    pub(super) async fn assertion(&self, pass: &Pass) -> Result<Option<(HeaderName, HeaderValue)>, Refusal> {
        let Some(visitor) = pass.visitor().filter(|_| pass.wants_assertion()) else { return Ok(None) };
        let assertion = Box::pin(self.assertions.of(visitor, &pass.route().name)).await.map_err(|error| {
            tracing::error!(error = %crate::session::Chain(&error), "failed to mint an assertion");
            if matches!(error, assertion::Error::TooLong) { Refusal::Internal } else { Refusal::StoreUnavailable }
        })?;
        Ok(Some((self.assertions.header(), assertion)))
    }

    /// The decision about a request by what is in its header. `target` is what it is for, once that is known.
    pub(super) async fn decide_about(&self, asked: Asked<'_>, target: &mut Option<Target>) -> Result<Pass, Decision> {
        let target = target.insert(self.terms.read(asked.request)?);
        if self.place(&target.host) == Place::Public {
            target.remembered = edge::remembered(asked.streams, &asked.request.headers.get_all(header::COOKIE));
        }
        let route = self.terms.route(asked.request, target)?;
        target.route = Some(Arc::clone(&route));
        let visitor = self.visitor(&route, asked, target).await?;
        let refused = match self.terms.judge(&route, asked, target, visitor.clone(), None) {
            Err(Decision::NoAccess(refused)) => refused,
            decided => return decided,
        };
        let grant = self.grant(&route, refused.objection(), visitor.as_ref()).await.map_err(|error| {
            tracing::error!(error = %crate::session::Chain(&error), "failed to find out what is granted");
            Refusal::StoreUnavailable
        })?;
        match grant {
            Some(_) => self.terms.judge(&route, asked, target, visitor, grant),
            None => Err(Decision::NoAccess(refused)),
        }
    }

    /// What was granted to a visitor whom rules keep out. For all others nothing is looked up.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub(super) async fn grant(
        &self,
        route: &Route,
        objection: Objection,
        visitor: Option<&Visitor>,
    ) -> Result<Option<Arc<Grant>>, grant::Unknown> {
        let address = visitor.and_then(|visitor| visitor.identity().proven_address());
        match address.filter(|_| objection.reason.yields_to_grants()) {
            Some(address) => Box::pin(self.grants.find(address, &route.name)).await,
            None => Ok(None),
        }
    }

    /// The visitor, where the route wants to know.
    async fn visitor(
        &self,
        route: &Route,
        Asked { request, now, .. }: Asked<'_>,
        target: &Target,
    ) -> Result<Option<Visitor>, Refusal> {
        let Target { host, path, .. } = target;
        if route.policy.access_to(&request.method, path) == Access::Public {
            return Ok(None);
        }
        let (headers, takes_tokens) = (&request.headers, route.bearer.then_some(&*route.name));
        let remembered = target.remembered.as_ref().map(|remembered| &remembered.live);
        let again = match remembered {
            Some(live) => self.credentials.find_again(headers, live, takes_tokens, now).await,
            None => None,
        };
        let found = match again {
            Some(found) => Ok(found),
            // On the heap, as all that few requests wait for: the others then need no room for it.
            None => Box::pin(self.credentials.find(headers, self.place(host), takes_tokens)).await,
        };
        match found {
            Ok(Found::Visitor(visitor)) => Ok(Some(visitor)),
            Ok(Found::Nobody) => Ok(None),
            Ok(Found::Refused(Fault(reason))) => Err(Refusal::InvalidToken { reason }),
            Ok(Found::NotForThis) => Err(Refusal::InsufficientScope),
            Err(error) => {
                tracing::error!(error = %crate::session::Chain(&error), "failed to find out who a request is from");
                Err(match error {
                    Error::Store(_) => Refusal::StoreUnavailable,
                    Error::User(_) => Refusal::SignInUnavailable,
                })
            }
        }
    }
}

impl Terms {
    /// What a request is for.
    pub(super) fn read(&self, request: &RequestHeader) -> Result<Target, Decision> {
        let raw = request.raw_path();
        canonical::check(&request.method, request.version, raw, &request.headers, &self.limits)?;
        let (authority, host) = self.authority(request)?;
        let (path, query) = canonical::split_target(raw)?;
        let path = CanonicalPath::parse(path)?;
        let mut path_and_query = String::with_capacity(raw.len());
        path_and_query.push_str(path.as_str());
        if let Some(query) = query {
            path_and_query.push('?');
            path_and_query.push_str(query);
        }
        let manner = Manner::of(&request.headers);
        Ok(Target { authority, host, path, path_and_query, manner, route: None, remembered: None })
    }

    /// Which host a request is for, with its port and alone, if it is one of ours.
    fn authority(&self, request: &RequestHeader) -> Result<(Arc<str>, Arc<str>), Decision> {
        if let Some(known) = canonical::only_host(request.version, &request.uri, &request.headers)
            .and_then(|host| self.routes.known(host))
        {
            return Ok((Arc::clone(&known.authority), Arc::clone(&known.host)));
        }
        let Authority { host, port } = canonical::host(request.version, &request.uri, &request.headers)?;
        let authority = Authority { port: port.filter(|port| *port != self.public_url.scheme.default_port()), host };
        if !self.routes.serves(&authority) {
            return Err(Refusal::UnknownHost.into());
        }
        Ok((authority.to_string().into(), authority.host.into()))
    }

    /// The route that a request is for.
    pub(super) fn route(&self, request: &RequestHeader, target: &Target) -> Result<Arc<Route>, Decision> {
        if self.oauth2_proxy_paths && OAUTH2_PROXY_PATHS.contains(&target.path.as_str()) {
            return Err(Decision::Portal);
        }
        if let Some(ours) = own_path(target) {
            return Err(if ours { Decision::Portal } else { Refusal::NotFound.into() });
        }
        if let Some(preflight) = self.preflight(request, target) {
            return Err(preflight);
        }
        let route = match self.routes.find(&target.host, &target.path, &request.method) {
            route::Found::Route(route) => Arc::clone(route),
            route::Found::OtherMethods(allowed) => return Err(Decision::OtherMethods(allowed)),
            route::Found::Nothing => return Err(Refusal::NotFound.into()),
        };
        if target.manner.is_websocket {
            check_upgrade(request)?;
        }
        Ok(route)
    }

    /// What a browser is told that asks on behalf of a page, ahead of a request that it would send without a visitor's
    /// doing: nobody needs to be signed in for that. Routes that say nothing to other sites have it forwarded.
    fn preflight(&self, request: &RequestHeader, target: &Target) -> Option<Decision> {
        let method = cors::preflight_method(&request.method, &request.headers)?;
        let route::Found::Route(route) = self.routes.find(&target.host, &target.path, &method) else { return None };
        let answer = route.cors.as_ref()?.preflight(&request.headers);
        Some(answer.map_or_else(|| Refusal::ForeignOrigin.into(), Decision::Preflight))
    }

    /// Whether `visitor`, who may have a grant, may have what a request is for. It asks nobody, so it can be explained.
    pub(super) fn judge(
        &self,
        route: &Arc<Route>,
        asked: Asked<'_>,
        target: &Target,
        visitor: Option<Visitor>,
        grant: Option<Arc<Grant>>,
    ) -> Result<Pass, Decision> {
        let Asked { request, client, now, .. } = asked;
        let facts = Facts { method: &request.method, path: &target.path, client, now };
        let objected = |objection, visitor| Objected::refused(Arc::clone(route), objection, visitor);
        match access::decide(route, &facts, visitor.clone(), grant) {
            Verdict::Pass(pass) if self.is_foreign_upgrade(request, target, &pass) => {
                Err(Refusal::ForeignOrigin.into())
            }
            Verdict::Pass(_) if self.announces_too_much(request, route) => Err(Refusal::Status(413).into()),
            Verdict::Pass(pass) => Ok(pass),
            Verdict::SignIn => Err(Decision::SignIn { takes_tokens: route.bearer }),
            Verdict::StepUp(objection, max_age) => Err(Decision::StepUp(objected(objection, visitor), max_age)),
            Verdict::Refuse(objection) => Err(Decision::NoAccess(objected(objection, visitor))),
        }
    }

    /// A page of another site must not open a WebSocket in a visitor's name: browsers send cookies along and
    /// apply no same-origin policy (RFC 6455 section 10.2).
    fn is_foreign_upgrade(&self, request: &RequestHeader, target: &Target, pass: &Pass) -> bool {
        if !target.manner.is_websocket || pass.visitor().is_none() {
            return false;
        }
        let Some(origin) = request.headers.get(header::ORIGIN) else { return false };
        let ours = format!("{}://{}", self.public_url.scheme.as_str(), target.authority);
        origin.as_bytes() != ours.as_bytes()
    }

    /// A body that says itself that it is beyond the limit is not begun.
    fn announces_too_much(&self, request: &RequestHeader, route: &Route) -> bool {
        let announced = || canonical::body_length(request.version, &request.headers);
        self.most_body_bytes(route).is_some_and(|most| announced().is_ok_and(|length| length > most))
    }
}

/// Whether a path is the portal's: `Some(false)` in any other spelling.
fn own_path(target: &Target) -> Option<bool> {
    let own = return_to::OWN_PREFIX;
    let start = target.path.as_str().get(..own.len())?;
    let ends = matches!(target.path.as_str().as_bytes().get(own.len()), None | Some(b'/' | b';'));
    (start.eq_ignore_ascii_case(own) && ends).then(|| target.path.is_below(own))
}

/// Whether the body has a length and a transfer coding: only the header as it was sent still shows both.
fn has_two_lengths(session: &Session) -> bool {
    session.req_header().headers.contains_key(header::TRANSFER_ENCODING)
        && session.as_http1().is_some_and(|session| canonical::names_length(&session.get_headers_raw_bytes()))
}
