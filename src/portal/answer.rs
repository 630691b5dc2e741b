//! How the gateway's own answers are made: a page for people, JSON for programs, the same headers on both.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::visit;
use crate::clock::Timestamp;
use crate::origin::Origin;
use crate::pages::{self, Asset, Frame, Pages, Reader, View};
use crate::store;

/// What our pages may do.
pub const CONTENT_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// Headers of every answer that is the gateway's own. Pages take scripts and styles from the gateway alone and go
/// into no frame; nothing is kept by caches (`Cache-Control` of an asset is its own).
pub const OWN_HEADERS: [(HeaderName, HeaderValue); 6] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// The name of the header that carries the request ID.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A year: browsers use HTTPS for the host from now on (RFC 6797).
pub const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Puts the gateway's own headers on an answer, keeping what the answer says itself.
pub fn dress(headers: &mut HeaderMap, request_id: &str, origin: &Origin) {
    for (name, value) in OWN_HEADERS {
        headers.entry(name).or_insert(value);
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
    if origin.is_secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
}

/// Says in which language a page is, where the page does not say so itself (RFC 9110 section 8.5). No `Vary` goes with it:
/// no page of ours is kept by a cache.
pub fn name_language(headers: &mut HeaderMap, reader: &Reader) {
    let language = HeaderValue::from_static(reader.language.tag());
    headers.entry(header::CONTENT_LANGUAGE).or_insert(language);
}

/// What pages are made of beside their text.
pub fn asset(asset: Asset) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(asset.cache_control)),
    ];
    (headers, asset.body).into_response()
}

/// What programs are told when they are refused.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_url: Option<String>,
    request_id: &'a str,
}

/// A refusal: why, in words for people, programs and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request has two readings or lacks a part.
    BadRequest,
    /// What was typed is no mail address.
    NoAddress,
    /// A form whose token is not this browser's.
    StaleForm,
    /// The browser came back without the cookie it was given.
    CookiesBlocked,
    /// A link that was asked for in another browser.
    OtherBrowser,
    /// A typed code that is not the one that was sent.
    WrongCode,
    /// A typed code that came too late.
    CodeExpired,
    /// Too many wrong codes were typed.
    CodeLocked {
        /// When it is worth trying again.
        until: Timestamp,
    },
    /// A link that works no more.
    LinkExpired,
    /// A link that was followed before.
    LinkUsed,
    /// A link in whose place a newer one was mailed.
    LinkReplaced,
    /// Nobody is signed in.
    SignInRequired,
    /// A token that was shown does not hold.
    InvalidToken {
        /// Why, in a word for programs.
        reason: &'static str,
    },
    /// A token that holds, and not for this.
    InsufficientScope,
    /// Signed in too long ago.
    StepUpRequired {
        /// How long ago it may be.
        max_age: Duration,
    },
    /// Signed in, and not allowed.
    NoAccess,
    /// Something that must not be sent in the clear.
    HttpsRequired,
    /// A WebSocket handshake from another site's page.
    ForeignOrigin,
    /// A proxy that is not one of ours asks about a request.
    UntrustedPeer,
    /// A proxy asks, and does not say about which request.
    NothingAsked,
    /// There is no such page.
    NotFound,
    /// No such host is set up.
    UnknownHost,
    /// Too many links were asked for.
    TooManyRequests {
        /// When it is worth trying again.
        until: Timestamp,
    },
    /// The store cannot answer.
    StoreUnavailable,
    /// Mosaic cannot be reached.
    SignInUnavailable,
    /// Mosaic answered something that cannot be used.
    SignInFailed,
    /// The upstream cannot be reached, or broke off.
    UpstreamFailed,
    /// The upstream took too long.
    UpstreamTimedOut,
    /// Our own fault.
    Internal,
    /// Any other status that a request earns by its form.
    Status(u16),
}

impl Refusal {
    /// The status (RFC 9110 section 15).
    pub fn status(self) -> StatusCode {
        let status = match self {
            Self::BadRequest | Self::NothingAsked => 400,
            Self::SignInRequired | Self::InvalidToken { .. } | Self::StepUpRequired { .. } => 401,
            Self::StaleForm
            | Self::NoAccess
            | Self::ForeignOrigin
            | Self::CookiesBlocked
            | Self::OtherBrowser
            | Self::UntrustedPeer
            | Self::InsufficientScope
            | Self::HttpsRequired => 403,
            Self::NotFound => 404,
            Self::LinkExpired | Self::LinkUsed | Self::LinkReplaced | Self::CodeExpired => 410,
            Self::UnknownHost => 421,
            Self::NoAddress | Self::WrongCode => 422,
            Self::TooManyRequests { .. } | Self::CodeLocked { .. } => 429,
            Self::Internal => 500,
            Self::SignInFailed | Self::UpstreamFailed => 502,
            Self::StoreUnavailable | Self::SignInUnavailable => 503,
            Self::UpstreamTimedOut => 504,
            Self::Status(status) => status,
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// The stable name that programs and the log go by.
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NoAddress => "no_address",
            Self::StaleForm => "stale_form",
            Self::CookiesBlocked => "cookies_blocked",
            Self::OtherBrowser => "other_browser",
            Self::WrongCode => "wrong_code",
            Self::CodeExpired => "code_expired",
            Self::CodeLocked { .. } => "code_locked",
            Self::LinkExpired => "link_expired",
            Self::LinkUsed => "link_used",
            Self::LinkReplaced => "link_replaced",
            Self::SignInRequired => "sign_in_required",
            Self::InvalidToken { .. } => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::StepUpRequired { .. } => "step_up_required",
            Self::NoAccess => "no_access",
            Self::HttpsRequired => "https_required",
            Self::ForeignOrigin => "foreign_origin",
            Self::UntrustedPeer => "untrusted_peer",
            Self::NothingAsked => "nothing_asked",
            Self::NotFound => "not_found",
            Self::UnknownHost => "unknown_host",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::StoreUnavailable => "store_unavailable",
            Self::SignInUnavailable => "sign_in_unavailable",
            Self::SignInFailed => "sign_in_failed",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimedOut => "upstream_timed_out",
            Self::Internal => "internal_error",
            Self::Status(405) => "method_not_allowed",
            Self::Status(408) => "request_timeout",
            Self::Status(413) => "body_too_large",
            Self::Status(414) => "address_too_long",
            Self::Status(417) => "expectation_failed",
            Self::Status(431) => "header_too_large",
            Self::Status(501) => "unknown_method",
            Self::Status(_) => "refused",
        }
    }

    /// The same for a call of gRPC (<https://grpc.io/docs/guides/status-codes/>).
    fn grpc_status(self) -> u16 {
        const INVALID_ARGUMENT: u16 = 3;
        const DEADLINE_EXCEEDED: u16 = 4;
        const PERMISSION_DENIED: u16 = 7;
        const RESOURCE_EXHAUSTED: u16 = 8;
        const UNIMPLEMENTED: u16 = 12;
        const INTERNAL: u16 = 13;
        const UNAVAILABLE: u16 = 14;
        const UNAUTHENTICATED: u16 = 16;
        match self.status().as_u16() {
            401 => UNAUTHENTICATED,
            403 => PERMISSION_DENIED,
            404 | 405 | 421 | 501 => UNIMPLEMENTED,
            408 | 504 => DEADLINE_EXCEEDED,
            413 | 429 | 431 => RESOURCE_EXHAUSTED,
            500 => INTERNAL,
            502 | 503 => UNAVAILABLE,
            _ => INVALID_ARGUMENT,
        }
    }

    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::InvalidToken { reason } => Some(reason),
            _ => None,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is malformed.",
            Self::NoAddress => "That isn't a complete email address, or whatever else is asked for here.",
            Self::WrongCode => "That code isn't right.",
            Self::CodeExpired => "This code has expired.",
            Self::CodeLocked { .. } => "Too many wrong codes. Wait a moment, or use the link.",
            Self::StaleForm => "The form is out of date. Open the page again.",
            Self::CookiesBlocked => "Sign-in needs cookies.",
            Self::OtherBrowser => "Open this link where you started.",
            Self::LinkExpired => "This link has expired.",
            Self::LinkUsed => "This link was already used.",
            Self::LinkReplaced => "There's a newer email. Use the link in it.",
            Self::SignInRequired => "Sign in to go on.",
            Self::InvalidToken { .. } => "The token is not accepted.",
            Self::InsufficientScope => "The token is not for this.",
            Self::StepUpRequired { .. } => "Sign in once more to go on.",
            Self::NoAccess => "You don't have access.",
            Self::HttpsRequired => "Use https:// for this.",
            Self::ForeignOrigin => "This connection may be opened from pages of this site only.",
            Self::UntrustedPeer => "Only the proxies in `trusted_proxies` may ask here.",
            Self::NothingAsked => "The proxy must say in `X-Forwarded-Uri` which request it asks about.",
            Self::NotFound => "There is nothing here.",
            Self::UnknownHost => "This address is not set up here.",
            Self::TooManyRequests { .. } => "Too many requests. Wait a moment.",
            Self::StoreUnavailable => "Not available just now. Try again in a moment.",
            Self::SignInUnavailable => "Sign-in is not available just now.",
            Self::SignInFailed => "Sign-in did not work. Try again in a moment.",
            Self::UpstreamFailed => "The application is not responding.",
            Self::UpstreamTimedOut => "The application took too long.",
            Self::Internal => "Something went wrong on our side.",
            Self::Status(_) => "The request is not accepted.",
        }
    }

    /// How the visitor has to prove who they are (RFC 9110 section 11.6.1; RFC 9470 section 3 for once more).
    fn challenge(self) -> Option<HeaderValue> {
        match self {
            Self::SignInRequired => Some(HeaderValue::from_static("Cookie realm=\"linkgate\"")),
            // RFC 6750 section 3.
            Self::InvalidToken { reason } => HeaderValue::try_from(format!(
                "Bearer realm=\"linkgate\", error=\"invalid_token\", error_description=\"{reason}\""
            ))
            .ok(),
            Self::InsufficientScope => {
                Some(HeaderValue::from_static("Bearer realm=\"linkgate\", error=\"insufficient_scope\""))
            }
            Self::StepUpRequired { max_age } => HeaderValue::try_from(format!(
                "Cookie realm=\"linkgate\", error=\"insufficient_user_authentication\", \
                 error_description=\"A more recent sign-in is required\", max_age=\"{}\"",
                max_age.as_secs()
            ))
            .ok(),
            _ => None,
        }
    }

    /// Where a program sends its user to do so.
    const fn sign_in_path(self) -> Option<&'static str> {
        match self {
            Self::SignInRequired => Some("/.linkgate/sign-in"),
            Self::StepUpRequired { .. } => Some("/.linkgate/sign-in?step_up=1"),
            _ => None,
        }
    }

    /// Seconds after which it is worth trying again.
    fn retry_after(self, now: Timestamp) -> Option<u64> {
        match self {
            Self::TooManyRequests { until } | Self::CodeLocked { until } => Some(until.since(now).as_secs().max(1)),
            Self::StoreUnavailable | Self::SignInUnavailable => Some(5),
            _ => None,
        }
    }
}

/// Makes refusals for one request.
pub struct Refuser<'a> {
    /// The pages.
    pub pages: &'a Pages,
    /// Where the visitor is, for the place to sign in.
    pub origin: &'a Origin,
    /// The name of the request.
    pub request_id: &'a str,
    /// The moment.
    pub now: Timestamp,
    /// Who reads the page.
    pub reader: Reader,
}

impl Refuser<'_> {
    /// The answer that says `refusal`: a page where the request accepts one, JSON otherwise. Someone who opens a
    /// page is led to sign in, so that who is told to is a program or a page's part, whatever it accepts.
    pub fn answer(&self, refusal: Refusal, headers: &HeaderMap) -> Response {
        if visit::is_grpc(headers) {
            return self.grpc(refusal);
        }
        let wants_page = visit::wants_page(headers) && refusal.sign_in_path().is_none();
        let answer = if wants_page { self.page(refusal) } else { self.json(refusal, refusal.reason(), None) };
        self.finish(answer, refusal)
    }

    /// The answer that says [`Refusal::NoAccess`] with a reason and in the operator's words, as far as there are any.
    pub fn answer_no_access(&self, reason: Option<&str>, text: Option<&str>, headers: &HeaderMap) -> Response {
        let refusal = Refusal::NoAccess;
        if visit::is_grpc(headers) {
            return self.grpc(refusal);
        }
        let answer = if visit::wants_page(headers) { self.page(refusal) } else { self.json(refusal, reason, text) };
        self.finish(answer, refusal)
    }

    fn finish(&self, mut answer: Response, refusal: Refusal) -> Response {
        *answer.status_mut() = refusal.status();
        if let Some(seconds) = refusal.retry_after(self.now) {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = refusal.challenge() {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        dress(answer.headers_mut(), self.request_id, self.origin);
        answer
    }

    /// The same for a refusal that has a page of its own.
    pub fn answer_with<V: View>(&self, view: &V, refusal: Refusal, headers: &HeaderMap) -> Response {
        if !visit::wants_page(headers) {
            return self.answer(refusal, headers);
        }
        let mut page = self.show(view);
        *page.status_mut() = refusal.status();
        page
    }

    fn json(&self, refusal: Refusal, reason: Option<&str>, text: Option<&str>) -> Response {
        let refused = Refused {
            error: refusal.code(),
            reason,
            message: text.unwrap_or(refusal.message()),
            login_url: refusal.sign_in_path().map(|path| self.origin.join(path)),
            request_id: self.request_id,
        };
        axum::Json(refused).into_response()
    }

    /// A call of gRPC learns the status from a trailer, or from a header where there is nothing else to say
    /// (`Trailers-Only` of <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
    fn grpc(&self, refusal: Refusal) -> Response {
        let mut answer = Response::new(Body::empty());
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(refusal.grpc_status()));
        headers.insert("grpc-message", HeaderValue::from_static(refusal.message()));
        dress(headers, self.request_id, self.origin);
        answer
    }

    fn page(&self, refusal: Refusal) -> Response {
        use pages::{Problem, ProblemKind};
        let status = refusal.status().as_u16();
        let problem = |kind| self.show(&Problem { kind, status });
        match refusal {
            Refusal::BadRequest => self.show(&pages::BadRequest {}),
            Refusal::StaleForm => self.show(&pages::StaleForm { return_to: "/".to_owned() }),
            Refusal::NotFound => self.show(&pages::NotFound {}),
            Refusal::UnknownHost => self.show(&pages::UnknownHost {}),
            Refusal::TooManyRequests { until } => self.show(&pages::TooManyRequests { until }),
            Refusal::CodeLocked { until } => self.show(&pages::CodeLocked { until }),
            Refusal::SignInUnavailable => self.show(&pages::SignInUnavailable {}),
            Refusal::UpstreamFailed | Refusal::UpstreamTimedOut => problem(ProblemKind::Upstream),
            Refusal::StoreUnavailable => problem(ProblemKind::Unavailable),
            Refusal::Internal | Refusal::SignInFailed => problem(ProblemKind::Own),
            Refusal::OtherBrowser => self.show(&pages::OtherBrowser { codes: false }),
            Refusal::NoAccess => self.show(&pages::NotAdmitted {}),
            // What has a page of its own comes with it, by `answer_with`.
            _ => self.show(&pages::Refused { status }),
        }
    }

    /// A page, with the gateway's own headers.
    pub fn show<V: View>(&self, view: &V) -> Response {
        let frame = Frame { request_id: self.request_id, now: self.now, reader: &self.reader };
        let mut answer = axum::response::Html(self.pages.show(view, frame)).into_response();
        name_language(answer.headers_mut(), &self.reader);
        dress(answer.headers_mut(), self.request_id, self.origin);
        answer
    }
}

/// What went wrong in a handler; the portal's outermost layer turns it into an answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The store cannot answer.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A refusal that has no page of its own in the flow.
    #[error("{}", .0.code())]
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Failure {
    /// What the visitor is told.
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Store(_) => Refusal::StoreUnavailable,
            Self::Refused(refusal) => *refusal,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let refusal = self.refusal();
        if let Self::Store(error) = &self {
            tracing::error!(error = %crate::session::Chain(error), "failed to answer a visitor");
        }
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = refusal.status();
        answer.extensions_mut().insert(refusal);
        answer
    }
}

/// 303 to a place of this site, which is always GET (RFC 9110 section 15.4.4).
pub fn see_other(location: &str) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::from_str(location).unwrap_or(HeaderValue::from_static("/"));
    answer.headers_mut().insert(header::LOCATION, location);
    answer
}
