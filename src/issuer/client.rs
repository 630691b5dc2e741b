//! The clients: programs that may call the API, and the application that each of them acts for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::api::Refusal;
use super::tenant::{Application, Tenant};
use crate::secret::{Secret, same, sha256};
use crate::setting::{BadSecret, SecretSource};
use crate::store;

/// `aud` of access tokens that name no resource.
const DEFAULT_AUDIENCE: &str = "userid-api";

/// `[[issuer.client]]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Its name, in every call.
    pub id: String,
    /// The file that holds its secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The environment variable that holds its secret.
    #[serde(default)]
    pub secret_env: Option<String>,
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
        self.secret_file.iter_mut()
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
    /// There is none, or two.
    #[error("find the one secret of the client `{0}`")]
    NoSecret(String),
    /// A secret cannot be had.
    #[error("read the secret of the client `{id}`")]
    Secret {
        /// The client.
        id: String,
        /// Why.
        #[source]
        source: BadSecret,
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
    /// SHA-256 of the secret: all are equally long, and compared in equal time.
    secret: [u8; 32],
}

impl Client {
    /// Whether this is its secret.
    pub(super) fn has_secret(&self, secret: &str) -> bool {
        same(&sha256(secret.as_bytes()), &self.secret)
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
                secret: sha256(own.secret.expose().as_bytes()),
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
        let source = match (&config.secret_file, &config.secret_env) {
            (Some(file), None) => SecretSource::File(file.clone()),
            (None, Some(name)) => SecretSource::Environment(name.clone()),
            _ => return Err(Error::NoSecret(config.id.clone())),
        };
        let secret = source.read().map_err(|source| Error::Secret { id: config.id.clone(), source })?;
        Ok(Self {
            id: config.id.clone(),
            app_id: application.id,
            app_name: application.name,
            redirect_uris: config.redirect_uris.clone(),
            is_management: config.management,
            resources: config.resources.clone(),
            secret: sha256(secret.expose().as_bytes()),
        })
    }
}

fn is_redirect_uri(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| url.fragment().is_none()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
