//! Where Mosaic is and as whom we call it: `[mosaic]` made complete and checked.

use std::path::PathBuf;
use std::sync::Arc;

use reqwest::{Certificate, Client, redirect};
use url::{Host, Url};

use super::call::Timeouts;
use super::client_authentication::{
    AssertionKey, BadFile, ClientAuthentication, ClientCertificate, Method, read_authorities,
};
use super::error::Error;
use super::{Config, Region, Wording};
use crate::secret::Secret;
use crate::setting::{BadSecret, SecretSource};

/// Everything that the client must know, resolved.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What the paths of the API are appended to.
    pub base_url: Url,
    /// Where client access tokens are had.
    pub token_url: Url,
    /// Where the keys of the tokens are.
    pub key_set_url: Url,
    /// The `iss` of every token.
    pub issuer: String,
    /// The client of the tenant's application; the `aud` of ID tokens.
    pub client_id: String,
    /// How the client proves that it is the one.
    pub client_authentication: ClientAuthentication,
    /// Authorities that are trusted beside those of the system.
    pub certificate_authorities: Vec<Certificate>,
    /// How calls are worded.
    pub wording: Wording,
}

/// Why `[mosaic]` names no usable connection. Each message begins with the setting that it is about.
#[derive(Debug, thiserror::Error)]
pub enum BadConnection {
    /// Neither a region nor a base URL.
    #[error("mosaic.region: set the region of your tenant, or `base_url`")]
    Where,
    /// Nothing says who signs the tokens.
    #[error("mosaic.issuer: set the `iss` that your tenant's tokens carry; no region implies it here")]
    Issuer,
    /// No client.
    #[error("mosaic.client_id: set the client of your Mosaic application")]
    ClientId,
    /// No place of the secret, or two.
    #[error("mosaic.client_secret_file: set this or `client_secret_env`, one of the two")]
    SecretPlace,
    /// The secret cannot be had from its place.
    #[error("mosaic.client_secret_{place}: cannot read the secret")]
    Secret {
        /// The end of the setting's name.
        place: &'static str,
        /// Why.
        #[source]
        source: BadSecret,
    },
    /// The method needs a file that is not named.
    #[error("mosaic.{setting}: set the file that `client_authentication` needs")]
    NoFile {
        /// The setting.
        setting: &'static str,
    },
    /// A file of keys or certificates is not what it must be.
    #[error("mosaic.{setting}: cannot use the file")]
    File {
        /// The setting.
        setting: &'static str,
        /// Why.
        #[source]
        source: BadFile,
    },
    /// A URL that secrets must not travel to.
    #[error("mosaic.{setting}: expected an https:// URL without user, query or fragment (http:// works for loopback)")]
    Url {
        /// The setting.
        setting: &'static str,
    },
}

impl Config {
    /// Completes the settings from the region and reads the secret.
    ///
    /// # Errors
    /// When something is missing, contradictory, or would send secrets over an open network.
    pub fn connection(&self) -> Result<Connection, BadConnection> {
        let base_url = match (&self.base_url, self.region) {
            (Some(base_url), _) => base_url.clone(),
            (None, Some(region)) => region.base_url(),
            (None, None) => return Err(BadConnection::Where),
        };
        let base_url = checked("base_url", base_url)?;
        let token_url = self.token_url.clone().unwrap_or_else(|| below(&base_url, &["oidc", "token"]));
        let key_set_url = self.key_set_url.clone().unwrap_or_else(|| below(&base_url, &["cis", "oidc", "jwks"]));
        let issuer = self.issuer.clone().or_else(|| self.region.and_then(Region::issuer).map(str::to_owned));
        Ok(Connection {
            token_url: checked("token_url", token_url)?,
            key_set_url: checked("key_set_url", key_set_url)?,
            issuer: issuer.filter(|issuer| !issuer.is_empty()).ok_or(BadConnection::Issuer)?,
            client_id: self.client_id.clone().filter(|id| !id.is_empty()).ok_or(BadConnection::ClientId)?,
            client_authentication: self.client_authentication()?,
            certificate_authorities: self.certificate_authorities()?,
            wording: self.wording(),
            base_url,
        })
    }

    /// The wording without the claims, which headers and rules decide.
    fn wording(&self) -> Wording {
        Wording {
            resource: self.resource.clone(),
            bearer_clients: self.bearer_clients.clone(),
            tenant_id: self.tenant_id.clone(),
            legacy_email: self.legacy_email_field,
            request_ids: self.request_ids,
            ..Wording::default()
        }
    }

    /// The method with its secret, key or certificate.
    ///
    /// # Errors
    /// When one of them is missing or cannot be used.
    pub fn client_authentication(&self) -> Result<ClientAuthentication, BadConnection> {
        let file = |setting, file: &Option<PathBuf>| file.clone().ok_or(BadConnection::NoFile { setting });
        Ok(match self.client_authentication {
            Method::ClientSecretPost => ClientAuthentication::SecretPost(self.client_secret()?),
            Method::ClientSecretBasic => ClientAuthentication::SecretBasic(self.client_secret()?),
            Method::PrivateKeyJwt => {
                let key = file("private_key_file", &self.private_key_file)?;
                ClientAuthentication::PrivateKeyJwt(AssertionKey::read(&key, self.private_key_id.as_deref())?)
            }
            Method::TlsClientAuth | Method::SelfSignedTlsClientAuth => {
                let certificate = file("certificate_file", &self.certificate_file)?;
                let key = file("certificate_key_file", &self.certificate_key_file)?;
                ClientAuthentication::Certificate(ClientCertificate::read(&certificate, &key)?)
            }
        })
    }

    /// The authorities of `certificate_authority_file`.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn certificate_authorities(&self) -> Result<Vec<Certificate>, BadConnection> {
        self.certificate_authority_file.as_deref().map_or(Ok(Vec::new()), read_authorities)
    }

    fn client_secret(&self) -> Result<Secret<String>, BadConnection> {
        let (place, source) = match (&self.client_secret_file, &self.client_secret_env) {
            (Some(file), None) => ("file", SecretSource::File(file.clone())),
            (None, Some(variable)) => ("env", SecretSource::Environment(variable.clone())),
            _ => return Err(BadConnection::SecretPlace),
        };
        source.read().map_err(|source| BadConnection::Secret { place, source })
    }
}

impl Connection {
    /// An HTTP client that goes straight to Mosaic, follows no redirect, always verifies whom it talks to and, where all
    /// addresses are HTTPS, speaks nothing else.
    pub(super) fn client(&self, timeouts: &Timeouts) -> Result<Client, Error> {
        let setup = |error| Error::Setup(Arc::new(error));
        let urls = [&self.base_url, &self.token_url, &self.key_set_url];
        let mut client = Client::builder()
            .user_agent(concat!("linkgate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(timeouts.connect)
            .timeout(timeouts.total)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .https_only(urls.iter().all(|url| url.scheme() == "https"))
            .tls_certs_merge(self.certificate_authorities.iter().cloned());
        if let ClientAuthentication::Certificate(certificate) = &self.client_authentication {
            client = client.identity(certificate.identity().map_err(setup)?);
        }
        client.build().map_err(setup)
    }
}

impl Region {
    fn base_url(self) -> Url {
        let host = match self {
            Self::Us => "https://api.transmitsecurity.io",
            Self::Eu => "https://api.eu.transmitsecurity.io",
            Self::Ca => "https://api.ca.transmitsecurity.io",
            Self::Au => "https://api.au.transmitsecurity.io",
            Self::Jp => "https://api.gasne1-ts01.transmitsecurity.io",
            Self::Sandbox => "https://api.sbx.transmitsecurity.io",
        };
        Url::parse(host).expect("a constant URL is well formed")
    }

    /// The `iss` of tokens in the default key set-up; Mosaic publishes none for the last two.
    pub const fn issuer(self) -> Option<&'static str> {
        match self {
            Self::Us => Some("https://userid.security"),
            Self::Eu => Some("https://eu.userid.security"),
            Self::Ca => Some("https://ca.userid.security"),
            Self::Au => Some("https://au.userid.security"),
            Self::Jp | Self::Sandbox => None,
        }
    }
}

/// `base` with `segments` after its path, each percent-encoded.
pub(super) fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

fn checked(setting: &'static str, url: Url) -> Result<Url, BadConnection> {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_private = url.scheme() == "https" || url.scheme() == "http" && is_loopback;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if is_private && is_plain { Ok(url) } else { Err(BadConnection::Url { setting }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A variable that every test run has.
    const VARIABLE: &str = "CARGO_PKG_NAME";

    fn config(settings: &str) -> Config {
        toml::from_str(settings).expect("the settings are well formed")
    }

    fn connection(settings: &str) -> Result<Connection, String> {
        let client = format!("client_id = \"c\"\nclient_secret_env = \"{VARIABLE}\"\n");
        config(&(client + settings)).connection().map_err(|error| error.to_string())
    }

    #[test]
    fn a_region_says_everything() {
        let check = |region: &str, host: &str, issuer: &str| {
            let connection = connection(&format!("region = \"{region}\"")).unwrap();
            assert_eq!(connection.base_url.as_str(), format!("https://{host}/"));
            assert_eq!(connection.token_url.as_str(), format!("https://{host}/oidc/token"));
            assert_eq!(connection.key_set_url.as_str(), format!("https://{host}/cis/oidc/jwks"));
            assert_eq!(connection.issuer, issuer);
        };
        check("us", "api.transmitsecurity.io", "https://userid.security");
        check("eu", "api.eu.transmitsecurity.io", "https://eu.userid.security");
        check("ca", "api.ca.transmitsecurity.io", "https://ca.userid.security");
        check("au", "api.au.transmitsecurity.io", "https://au.userid.security");
        for region in ["jp", "sandbox"] {
            let error = connection(&format!("region = \"{region}\"")).unwrap_err();
            assert!(error.starts_with("mosaic.issuer: "), "{error}");
        }
    }

    #[test]
    fn a_base_url_needs_an_issuer_and_may_have_a_path() {
        assert!(connection("base_url = \"https://id.example.com\"").unwrap_err().starts_with("mosaic.issuer: "));
        let found = connection("base_url = \"https://id.example.com/m/\"\nissuer = \"https://i.test\"").unwrap();
        assert_eq!(found.token_url.as_str(), "https://id.example.com/m/oidc/token");
        assert_eq!(found.key_set_url.as_str(), "https://id.example.com/m/cis/oidc/jwks");
        assert_eq!(found.issuer, "https://i.test");
        let both = connection("base_url = \"https://id.example.com\"\nregion = \"eu\"").unwrap();
        assert_eq!((both.base_url.as_str(), &*both.issuer), ("https://id.example.com/", "https://eu.userid.security"));
    }

    #[test]
    fn each_url_can_be_its_own() {
        let settings = "region = \"eu\"\ntoken_url = \"https://t.test/x\"\nkey_set_url = \"https://k.test/y\"";
        let found = connection(settings).unwrap();
        assert_eq!((found.token_url.as_str(), found.key_set_url.as_str()), ("https://t.test/x", "https://k.test/y"));
    }

    #[test]
    fn secrets_travel_over_https_or_not_at_all() {
        let check = |setting: &str, url: &str, fine: bool| {
            let found = connection(&format!("region = \"eu\"\n{setting} = \"{url}\"")).map(|_| ());
            let expected = Err(BadConnection::Url { setting: "" }.to_string());
            let found = found.map_err(|error| error.replacen(setting, "", 1));
            assert_eq!(found, if fine { Ok(()) } else { expected }, "{setting} {url}");
        };
        for setting in ["base_url", "token_url", "key_set_url"] {
            check(setting, "http://localhost:9000", true);
            check(setting, "http://127.0.0.1:9000", true);
            check(setting, "http://[::1]:9000", true);
            check(setting, "http://id.example.com", false);
            check(setting, "http://127.0.0.1.example.com", false);
            check(setting, "http://localhost.example.com", false);
            check(setting, "ftp://localhost", false);
            check(setting, "https://user:pass@id.example.com", false);
            check(setting, "https://id.example.com?x=1", false);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let check = |settings: &str, expected: &str| {
            let error = config(settings).connection().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        };
        check("", "mosaic.region: ");
        check("region = \"eu\"", "mosaic.client_id: ");
        check("region = \"eu\"\nclient_id = \"\"", "mosaic.client_id: ");
        check("region = \"eu\"\nclient_id = \"c\"", "mosaic.client_secret_file: ");
        let both = "region = \"eu\"\nclient_id = \"c\"\nclient_secret_env = \"A\"\nclient_secret_file = \"b\"";
        check(both, "mosaic.client_secret_file: ");
        check("region = \"eu\"\nclient_id = \"c\"\nclient_secret_file = \"/nowhere\"", "mosaic.client_secret_file: ");
        check("region = \"eu\"\nclient_id = \"c\"\nclient_secret_env = \"NO_SUCH_1\"", "mosaic.client_secret_env: ");
    }
}
