//! Plain HTTP beside HTTPS: whoever opens a page is sent on, and everything else is refused before a secret follows.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{HeaderValue, Method, header};
use pingora::http::RequestHeader;
use pingora::proxy::{ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::canonical::{self, CanonicalPath, Malformed};
use super::{Site, VISITOR_TIMEOUT, edge, headers, refusal};
use crate::clock::Clock;
use crate::origin::Origin;
use crate::portal::answer::{self, Refusal};

/// The listener's answers.
pub struct Redirect {
    /// What is served, on the other listener.
    pub site: Arc<ArcSwap<Site>>,
    /// The time.
    pub clock: Clock,
}

#[async_trait]
impl ProxyHttp for Redirect {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _modules: &mut pingora::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _context: &mut ()) -> pingora::Result<()> {
        edge::header_arrived(session);
        session.set_keepalive(None);
        session.set_write_timeout(Some(VISITOR_TIMEOUT));
        session.set_total_drain_timeout(Some(VISITOR_TIMEOUT));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, _context: &mut ()) -> pingora::Result<bool> {
        let site = self.site.load_full();
        let request = session.req_header();
        let request_id = headers::request_id(&request.headers, false);
        let request_id = request_id.to_str().unwrap_or_default();
        let answer = match site.secure_url(request) {
            Ok(location) => {
                let mut answer = answer::see_other(&location);
                // For good, and with the same method (RFC 9110 section 15.4.9).
                *answer.status_mut() = http::StatusCode::PERMANENT_REDIRECT;
                let headers = answer.headers_mut();
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
                answer::dress(headers, request_id, &site.terms.public_url);
                // What is said in the clear is no promise (RFC 6797 section 7.2).
                headers.remove(header::STRICT_TRANSPORT_SECURITY);
                answer
            }
            Err(refusal) => {
                let reader = site.reader(request, "/");
                let refuser = site.refuser(&site.terms.public_url, request_id, reader, self.clock.now());
                refuser.answer(refusal, &request.headers)
            }
        };
        refusal::write(session, &site, answer).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _session: &mut Session, _context: &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Error::e_explain(ErrorType::InternalError, "plain HTTP is never forwarded")
    }

    async fn logging(&self, _session: &mut Session, _error: Option<&Error>, _context: &mut ()) {
        edge::answered();
    }
}

impl Site {
    /// Where the same page is over HTTPS.
    fn secure_url(&self, request: &RequestHeader) -> Result<String, Refusal> {
        let of = refusal::of_malformed;
        let raw = request.raw_path();
        canonical::check(&request.method, request.version, raw, &request.headers, &self.terms.limits).map_err(of)?;
        let authority = canonical::host(request.version, &request.uri, &request.headers).map_err(of)?;
        if !self.terms.routes.serves_host(&authority.host) {
            return Err(Refusal::UnknownHost);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Err(Refusal::HttpsRequired);
        }
        let (path, query) = canonical::split_target(raw).map_err(of)?;
        let path = CanonicalPath::parse(path).map_err(of)?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let origin = Origin { host: authority.host, ..self.terms.public_url.clone() };
        let location = origin.join(&format!("{}{query}", path.as_str()));
        HeaderValue::from_str(&location).map(|_| location).map_err(|_| of(Malformed::Path))
    }
}
