//! The clients: programs that may call the API, and the application that each of them acts for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::api::Refusal;
use super::tenant::{Application, Tenant};
use crate::secret::Secret;
use crate::store;

mod assertion;
pub(super) mod certificate;
mod credential;
mod distinguished_name;

pub(super) use credential::Credential;
pub use credential::{BadCredential, Method};

/// `aud` of access tokens that name no resource.
const DEFAULT_AUDIENCE: &str = "userid-api";

/// The longest `id`, in characters.
const LONGEST_ID: usize = 64;

/// `[[issuer.client]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name, in every call.
    pub id: String,
    /// How it proves that it is itself.
    #[serde(default)]
    pub authentication: Method,
    /// The file that holds its secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The environment variable that holds its secret.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// The file that holds its public keys: PEM or a JWK set.
    #[serde(default)]
    pub public_key_file: Option<PathBuf>,
    /// The file that holds its one certificate, in PEM.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// The subject of its certificates (RFC 4514).
    #[serde(default)]
    pub certificate_subject: Option<String>,
    /// Where its codes may be sent; compared as whole strings.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The application that it acts for. Without it: the one that `[theme]` names.
    #[serde(default)]
    pub application: Option<String>,
    /// Its tokens act on the whole tenant.
    #[serde(default)]
    pub management: bool,
    /// The resources that its tokens may be for. Without it: any.
    #[serde(default)]
    pub resources: Option<Vec<String>>,
}

impl Config {
    /// The files that it names.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [&mut self.secret_file, &mut self.public_key_file, &mut self.certificate_file].into_iter().flatten()
    }

    /// What is wrong with its name, its redirect URIs and its credential: settings and reasons.
    pub fn problems(&self, base_dir: &Path) -> Vec<BadCredential> {
        let mut problems: Vec<_> = Credential::load(self, base_dir).err().into_iter().collect();
        if self.id.is_empty() || self.id.len() > LONGEST_ID || !self.id.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = format!("must be 1 to {LONGEST_ID} ASCII characters without blanks");
            problems.push(BadCredential { key: "id", reason });
        }
        if !self.redirect_uris.iter().all(|uri| is_redirect_uri(uri)) {
            let reason = "expected whole URLs without \"#\", like \"https://app.example.com/callback\"".to_owned();
            problems.push(BadCredential { key: "redirect_uris", reason });
        }
        problems
    }
}

/// A client that the program makes itself, for itself.
///
/// Its name must outlive a restart and be the same on all instances that share a store: links, codes and refresh
/// tokens are bound to it.
#[derive(Clone, Debug)]
pub struct OwnClient {
    /// Its name.
    pub id: String,
    /// Its secret.
    pub secret: Secret<String>,
    /// Where its codes may be sent; compared as whole strings.
    pub redirect_uris: Vec<String>,
}

/// Why the clients cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Two have one name.
    #[error("tell two clients apart that are both named `{0}`")]
    Twice(String),
    /// A redirect URI is not an absolute URL without a fragment (RFC 6749 section 3.1.2).
    #[error("use `{0}` as a redirect URI")]
    RedirectUri(String),
    /// What it is to prove cannot be told.
    #[error("prepare the authentication of the client `{id}`")]
    Credential {
        /// The client.
        id: String,
        /// Why.
        #[source]
        source: BadCredential,
    },
    /// The store did not answer.
    #[error("read or write the applications")]
    Store(#[from] store::Error),
}

/// A program that may call.
#[derive(Debug)]
pub(super) struct Client {
    /// `client_id`, and `aud` of its users' ID tokens.
    pub(super) id: String,
    /// Its application: `app_id` in tokens, and whose users it acts on.
    pub(super) app_id: String,
    pub(super) app_name: String,
    /// Where its codes may be sent; compared as whole strings.
    pub(super) redirect_uris: Vec<String>,
    /// Whether it acts on the whole tenant.
    pub(super) is_management: bool,
    resources: Option<Vec<String>>,
    pub(super) credential: Credential,
    /// Whether it is the gateway that the issuer is built into, which sees to it that links work only in the browser that
    /// asked. Failed attempts to be it are not counted: the random secret that the program made cannot be guessed, and
    /// nobody may lock the program out of its own issuer.
    pub(super) is_own: bool,
}

impl Client {
    /// Whether it proves by a certificate that it is itself.
    pub(super) const fn is_known_by_certificate(&self) -> bool {
        matches!(self.credential, Credential::Certificate(_) | Credential::Subject(_))
    }

    /// `aud` of the access tokens that a call asks for.
    pub(super) fn audience(&self, resource: Option<&str>) -> Result<Audience, BadResource> {
        let Some(resource) = resource else { return Ok(Audience::default()) };
        let is_uri = url::Url::parse(resource).is_ok_and(|url| url.fragment().is_none());
        let may = self.resources.as_ref().is_none_or(|allowed| allowed.iter().any(|uri| uri == resource));
        if is_uri && may { Ok(Audience(resource.to_owned())) } else { Err(BadResource) }
    }
}

/// `aud` of an access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Audience(String);

impl Default for Audience {
    fn default() -> Self {
        Self(DEFAULT_AUDIENCE.to_owned())
    }
}

impl Audience {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The resource is no absolute URI without a fragment, or not one of the client's (RFC 8707 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadResource;

impl From<BadResource> for Refusal {
    fn from(BadResource: BadResource) -> Self {
        Self::Worded(StatusCode::BAD_REQUEST, "resource is not one of the resources configured for this client")
    }
}

/// Who makes a call: the holder of the client access token that came with it.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) client: Arc<Client>,
}

/// All clients, by name.
#[derive(Debug)]
pub(super) struct Clients(BTreeMap<String, Arc<Client>>);

impl Clients {
    /// The declared clients and the program's own, each with its application.
    pub(super) async fn new(
        declared: &[Config],
        own: Option<&OwnClient>,
        tenant: &Tenant,
        store: &store::Shared,
    ) -> Result<Self, Error> {
        let mut clients = Self(BTreeMap::new());
        if let Some(own) = own {
            clients.add(Client {
                id: own.id.clone(),
                app_id: tenant.default_application.id.clone(),
                app_name: tenant.default_application.name.clone(),
                redirect_uris: own.redirect_uris.clone(),
                is_management: false,
                resources: None,
                credential: Credential::of_secret(own.secret.expose()),
                is_own: true,
            })?;
        }
        for config in declared {
            let application = match &config.application {
                Some(name) => tenant.application(name, store).await?,
                None => tenant.default_application.clone(),
            };
            clients.add(Client::declared(config, application)?)?;
        }
        Ok(clients)
    }

    fn add(&mut self, client: Client) -> Result<(), Error> {
        if let Some(wrong) = client.redirect_uris.iter().find(|uri| !is_redirect_uri(uri)) {
            return Err(Error::RedirectUri(wrong.clone()));
        }
        let id = client.id.clone();
        match self.0.insert(id.clone(), Arc::new(client)) {
            Some(_) => Err(Error::Twice(id)),
            None => Ok(()),
        }
    }

    /// The client of that name.
    pub(super) fn find(&self, id: &str) -> Option<&Arc<Client>> {
        self.0.get(id)
    }
}

impl Client {
    fn declared(config: &Config, application: Application) -> Result<Self, Error> {
        // The paths are absolute by now.
        let credential = Credential::load(config, Path::new(""))
            .map_err(|source| Error::Credential { id: config.id.clone(), source })?;
        Ok(Self {
            id: config.id.clone(),
            app_id: application.id,
            app_name: application.name,
            redirect_uris: config.redirect_uris.clone(),
            is_management: config.management,
            resources: config.resources.clone(),
            credential,
            is_own: false,
        })
    }
}

fn is_redirect_uri(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.fragment().is_none()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
