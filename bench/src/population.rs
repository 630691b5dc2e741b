//! Sessions of many users, each made as a gateway makes it, by `Sessions::begin`.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use http::HeaderValue;
use linkgate::agent::Agent;
use linkgate::clock::Clock;
use linkgate::identity::headers::{self, Plan};
use linkgate::identity::{EmailAddress, Identity, Subject};
use linkgate::mosaic::{ClientAuthentication, Connection, Mosaic, SignedIn, Wording};
use linkgate::secret::{Secret, random_token};
use linkgate::session::cookie::Jar;
use linkgate::session::{self, Admission, Sessions, Whence};
use linkgate::setting::Span;
use linkgate::store::{self, Location};
use linkgate::telemetry::Metrics;
use tokio_util::task::TaskTracker;
use url::Url;

/// Sessions that are made at the same time: what SQLite writes in one transaction comes of them.
const TOGETHER: usize = 1024;

/// Long enough that no session is renewed or ends while it is measured.
const LIFETIME: Duration = Duration::from_secs(7 * 86_400);

/// What goes wrong.
pub type Failure = Box<dyn std::error::Error>;

/// Begins so many sessions, and gives the `Set-Cookie` of each.
pub fn begin<'a>(
    sessions: &'a Arc<Sessions>,
    clock: &Clock,
    count: usize,
) -> impl Stream<Item = Result<HeaderValue, Failure>> + 'a {
    let access_expires_at = clock.now().plus(LIFETIME);
    let begun = (0..count).map(move |number| async move {
        let visitor = SignedIn {
            identity: identity(number)?,
            session_id: random_token(),
            refresh_token: None,
            access_expires_at,
            access_lifetime: LIFETIME,
            authenticated_at: access_expires_at.minus(LIFETIME),
        };
        let whence = Whence { agent: Agent::default(), client: Ipv4Addr::LOCALHOST.into() };
        Ok(sessions.begin(&visitor, None, whence).await?)
    });
    stream::iter(begun).buffered(TOGETHER)
}

/// The sessions in a store.
///
/// # Errors
/// When the store cannot be used.
pub fn sessions(location: &Location, clock: &Clock) -> Result<Arc<Sessions>, Failure> {
    linkgate::gateway::install_crypto();
    let parts = session::Parts {
        store: store::open(location, Path::new("."), clock.clone())?,
        clock: clock.clone(),
        mosaic: Mosaic::new(nobody()?, clock.clone(), Arc::new(Metrics::new()?))?,
        plan: Plan::new(&headers::Config::default())?,
        jar: Jar::new(false),
        tasks: TaskTracker::new(),
    };
    let config =
        session::Config { lifetime: Span(LIFETIME), idle_timeout: Span(LIFETIME), ..session::Config::default() };
    Ok(Sessions::new(parts, &config, Admission::default()))
}

/// Making a session calls nobody.
fn nobody() -> Result<Connection, Failure> {
    let nowhere = Url::parse("http://127.0.0.1:9/")?;
    Ok(Connection {
        base_url: nowhere.clone(),
        token_url: nowhere.clone(),
        key_set_url: nowhere.clone(),
        issuer: nowhere.to_string(),
        client_id: "seed".to_owned(),
        client_authentication: ClientAuthentication::SecretPost(Secret::new(String::new())),
        certificate_authorities: Vec::new(),
        wording: Wording::default(),
    })
}

/// About 300 bytes of what is known of somebody, counting the session at Mosaic and what the gateway calls it.
fn identity(number: usize) -> Result<Identity, Failure> {
    let subject = Subject::try_from(format!("01890f3c-7a2e-7c4d-9b1a-{number:012}"))?;
    let groups = ["engineering", "operations", "release-managers", "wiki-editors", "on-call-europe"];
    Ok(Identity {
        email: Some(EmailAddress::parse(&format!("ada.lovelace.{number}@engineering.example.com"))?),
        email_verified: true,
        name: Some(format!("Ada Lovelace {number}")),
        username: Some(format!("ada-lovelace-{number}")),
        groups: groups.map(str::to_owned).into(),
        roles: vec!["member".to_owned()],
        ..Identity::new(subject)
    })
}
