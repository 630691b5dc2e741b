//! What the cookies of a connection's last request came to. A browser sends the same ones with the next.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::GetAll;
use http::{HeaderName, HeaderValue};

use crate::session::Live;

/// What the cookies of a request came to.
pub(in crate::proxy) struct Remembered {
    /// The `Cookie` fields, on the public host. In HTTP/2 browsers write one for each cookie (RFC 9113 section 8.2.3).
    pub(in crate::proxy) cookies: Box<[HeaderValue]>,
    /// The session that they name.
    pub(in crate::proxy) live: Arc<Live>,
    /// What the upstream is told about the visitor.
    pub(in crate::proxy) identity: Box<[(HeaderName, HeaderValue)]>,
    /// Where the visitor is, and how that is written.
    pub(in crate::proxy) client: Option<(IpAddr, HeaderValue)>,
    /// What of the cookies the upstream gets.
    pub(in crate::proxy) others: Option<HeaderValue>,
}

/// What is remembered of a connection's requests: the last of them.
#[derive(Default)]
pub(super) struct Memory(Mutex<Option<Arc<Remembered>>>);

impl Memory {
    /// What was remembered of the last request, if it had the same cookies.
    pub(super) fn recall(&self, cookies: &GetAll<'_, HeaderValue>) -> Option<Arc<Remembered>> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        cookies.iter().eq(&remembered.cookies).then_some(remembered)
    }

    /// Remembers it for the next one.
    pub(super) fn remember(&self, remembered: Remembered) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(remembered));
    }

    /// Remembers nothing: it holds the memory that the request was read into.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
