//! Which client calls the OAuth side, and whether it really is that client: the one way that is set for it, and no other
//! (RFC 6749 section 2.3, RFC 7523 section 2.2, RFC 8705 section 2).

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::form_urlencoded;

use super::form::ClientFields;
use super::refusal::OAuthRefusal;
use crate::clock::Timestamp;
use crate::issuer::client::{Client, Credential, certificate};
use crate::issuer::tls::Peer;
use crate::issuer::{Inner, records};
use crate::secret::{fingerprint, from_base64url};

/// Failed attempts to be one client from one address, in the time that they are counted in.
const FAILURES: u64 = 30;
const WINDOW: Duration = Duration::from_secs(60);

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A client that has proven to be itself.
#[derive(Clone, Debug)]
pub(in crate::issuer) struct Authenticated {
    pub(in crate::issuer) client: Arc<Client>,
    /// `x5t#S256` of the certificate that it did so by: its tokens are bound to that one.
    pub(in crate::issuer) thumbprint: Option<String>,
}

/// What a call shows, in one way at most.
enum Proof {
    Basic(String),
    Secret(String),
    Assertion(String),
    /// Nothing: the certificate of the connection, if there is one, must do.
    Nothing,
}

impl Inner {
    /// The client that sent `fields`.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        fields: &ClientFields,
        peer: Option<&Peer>,
    ) -> Result<Authenticated, OAuthRefusal> {
        let (id, proof) = presented(headers, fields)?;
        let by_basic = matches!(proof, Proof::Basic(_));
        let client = self.clients.find(&id);
        let failures = Failures::of(client, peer);
        if let Some(until) = failures.locked_until(self).await? {
            return Err(OAuthRefusal::TooManyAttempts(until.since(self.clock.now()).as_secs().max(1)));
        }
        if let Some(client) = client
            && self.proves(client, &proof, peer).await?
        {
            let certificate = peer.and_then(Peer::certificate).filter(|_| client.is_known_by_certificate());
            return Ok(Authenticated {
                client: Arc::clone(client),
                thumbprint: certificate.map(certificate::thumbprint),
            });
        }
        if client.is_none() {
            // An unknown name takes as long as a wrong secret.
            Credential::is_secret(None, proof.text());
        }
        failures.note(self).await?;
        Err(OAuthRefusal::InvalidClient { by_basic })
    }

    async fn proves(&self, client: &Client, proof: &Proof, peer: Option<&Peer>) -> Result<bool, OAuthRefusal> {
        let certificates = peer.map(|peer| &*peer.certificates).unwrap_or_default();
        Ok(match (&client.credential, proof) {
            (credential @ Credential::Secret(_), Proof::Basic(secret) | Proof::Secret(secret)) => {
                Credential::is_secret(Some(credential), secret)
            }
            (Credential::Keys(keys), Proof::Assertion(assertion)) => {
                match keys.verify(assertion, &client.id, &self.audiences(), self.clock.now()) {
                    Some(once) => {
                        let key = format!("issuer/assertion/{}/{}", client.id, fingerprint(&once.id));
                        records::claim(self.store.as_ref(), &key, &(), once.expires_at).await?
                    }
                    None => false,
                }
            }
            (Credential::Certificate(registered), Proof::Nothing) => certificates.first() == Some(registered),
            (Credential::Subject(subject), Proof::Nothing) => {
                let vouched = self
                    .authorities
                    .as_ref()
                    .is_some_and(|authorities| authorities.vouch_for(certificates, self.clock.now()));
                vouched && certificates.first().and_then(|first| certificate::subject(first)).as_ref() == Some(subject)
            }
            _ => false,
        })
    }

    /// What an assertion may be addressed to: the token endpoint in both spellings, or the issuer (RFC 7523 section 3).
    fn audiences(&self) -> [String; 3] {
        let api = &self.settings.api_url;
        [format!("{api}/oidc/token"), format!("{api}/cis/oidc/token"), self.settings.name.clone()]
    }
}

impl Proof {
    fn text(&self) -> &str {
        match self {
            Self::Basic(text) | Self::Secret(text) | Self::Assertion(text) => text,
            Self::Nothing => "",
        }
    }
}

/// Failed attempts to be one client, from one address: who fails elsewhere locks nobody out.
struct Failures(Option<String>);

impl Failures {
    fn of(client: Option<&Arc<Client>>, peer: Option<&Peer>) -> Self {
        let address = peer.map(|peer| peer.address.ip().to_string()).unwrap_or_default();
        // Names that nobody has are one, so that inventing some fills no store.
        let name = client.map_or("", |client| client.id.as_str());
        let is_limited = client.is_none_or(|client| !client.is_own);
        Self(is_limited.then(|| format!("{name}/{address}")))
    }

    async fn locked_until(&self, issuer: &Inner) -> Result<Option<Timestamp>, OAuthRefusal> {
        let Some(name) = &self.0 else { return Ok(None) };
        let until = records::load::<Timestamp>(issuer.store.as_ref(), &format!("issuer/client_locked/{name}")).await?;
        Ok(until.filter(|until| *until > issuer.clock.now()))
    }

    async fn note(&self, issuer: &Inner) -> Result<(), OAuthRefusal> {
        let Some(name) = &self.0 else { return Ok(()) };
        let count = issuer.store.count(&format!("issuer/client_failed/{name}"), WINDOW).await?;
        if count.events >= FAILURES {
            let key = format!("issuer/client_locked/{name}");
            records::save(issuer.store.as_ref(), &key, &count.resets_at, count.resets_at).await?;
            tracing::warn!(client = name.split('/').next(), "a client failed to authenticate too often: it must wait");
        }
        Ok(())
    }
}

/// The client's name and its proof; two proofs are one too many (RFC 6749 section 2.3).
fn presented(headers: &HeaderMap, fields: &ClientFields) -> Result<(String, Proof), OAuthRefusal> {
    let basic = basic_credentials(headers)?;
    let by_basic = basic.is_some();
    let ClientFields { client_id: named, client_secret: secret, client_assertion: assertion, .. } = fields;
    if usize::from(by_basic) + usize::from(secret.is_some()) + usize::from(assertion.is_some()) > 1 {
        return Err(OAuthRefusal::InvalidRequest("the client authenticates in two ways"));
    }
    if assertion.is_some() && fields.client_assertion_type.as_deref() != Some(ASSERTION_TYPE) {
        return Err(OAuthRefusal::InvalidRequest("client_assertion_type is not the one for a JWT"));
    }
    let (own, proof) = match (basic, secret, assertion) {
        (Some((id, secret)), ..) => (Some(id), Proof::Basic(secret)),
        (_, Some(secret), _) => (None, Proof::Secret(secret.clone())),
        (.., Some(assertion)) => (subject(assertion), Proof::Assertion(assertion.clone())),
        (None, None, None) => (None, Proof::Nothing),
    };
    let id = match (own, named) {
        (Some(own), Some(named)) if own != *named => None,
        (own, named) => own.or_else(|| named.clone()),
    };
    id.map(|id| (id, proof)).ok_or(OAuthRefusal::InvalidClient { by_basic })
}

/// Who an assertion says it is from, before it is believed: a call with one needs no `client_id` (RFC 7521
/// section 4.2).
fn subject(assertion: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sub: String,
    }
    let payload = from_base64url(assertion.split('.').nth(1)?)?;
    serde_json::from_slice::<Claims>(&payload).ok().map(|claims| claims.sub)
}

/// `Authorization: Basic`, both halves form-encoded (RFC 6749 section 2.3.1).
fn basic_credentials(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
    let credentials = value.to_str().ok().and_then(|text| text.split_once(' ')).and_then(|(scheme, encoded)| {
        let decoded = STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        let decoded = String::from_utf8(decoded).ok()?;
        decoded.split_once(':').map(|(id, secret)| (form_decoded(id), form_decoded(secret)))
    });
    match (credentials, second) {
        (Some(credentials), None) => Ok(Some(credentials)),
        _ => Err(OAuthRefusal::InvalidClient { by_basic: true }),
    }
}

fn form_decoded(text: &str) -> String {
    // Raw separators are data here; encoded, they survive the form parser.
    let text = text.replace('=', "%3D").replace('&', "%26");
    form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(value, _)| value.into_owned())
}
