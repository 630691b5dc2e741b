//! The gateway's own listeners, and the way that visitors take to it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;
use tokio::net::TcpStream;

use super::web::{self, Answer, Failure};
use super::{Finding, within};
use crate::config::Config;
use crate::origin::Origin;

/// How linkgate is told from other programs, and how it is asked.
struct Face<'a> {
    host: &'a str,
    authority: String,
    tls: bool,
    path: &'static str,
    is_ours: fn(&Answer) -> bool,
}

impl<'a> Face<'a> {
    /// A gateway refuses programs that are signed out with JSON that only linkgate writes. The issuer alone says who it
    /// is (OpenID Connect Discovery 1.0).
    fn of(config: &'a Config) -> Self {
        let (url, is_alone) = (&config.public_url, is_alone(config));
        Self {
            host: &url.host,
            authority: url.authority(),
            tls: is_alone && has_tls(config),
            path: if is_alone { DISCOVERY } else { "/.linkgate/session" },
            is_ours: if is_alone { is_issuer } else { is_linkgate },
        }
    }

    async fn ask(&self, stream: TcpStream) -> Result<Answer, Failure> {
        if self.tls {
            web::get(web::handshake(stream, self.host).await?, &self.authority, self.path).await
        } else {
            web::get(stream, &self.authority, self.path).await
        }
    }

    async fn is_at(&self, address: SocketAddr) -> Result<bool, Failure> {
        Ok((self.is_ours)(&self.ask(web::connect_to(address).await?).await?))
    }
}

const DISCOVERY: &str = "/cis/oidc/.well-known/openid-configuration";

/// Whether the file is for `linkgate issuer`: a gateway has routes.
fn is_alone(config: &Config) -> bool {
    config.route.is_empty()
}

fn has_tls(config: &Config) -> bool {
    config.issuer.as_ref().is_some_and(|issuer| issuer.tls.is_some())
}

/// Looks at `listen`, `admin.listen`, `issuer.listen` and `public_url`.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let face = Face::of(config);
    let (visitors, operators, programs) = tokio::join!(
        look("listen", config.listen, "listen", face.is_at(config.listen)),
        admin_listener(config),
        issuer_listener(config),
    );
    let is_running = visitors.1 || operators.1;
    let public = within("public address", public_address(config, is_running)).await;
    [visitors.0, operators.0].into_iter().chain(programs).chain([public]).collect()
}

/// What is on the listener, and whether it is linkgate.
type Seen = (Finding, bool);

/// Where other programs reach the issuer that runs in the gateway.
async fn issuer_listener(config: &Config) -> Option<Finding> {
    let issuer = config.issuer.as_ref().filter(|_| !is_alone(config))?;
    let address = issuer.listen?;
    let ip = address.ip().to_string();
    let face = Face {
        host: issuer.url.as_ref().map_or(&ip, |url| &url.host),
        authority: issuer.url.as_ref().map_or_else(|| address.to_string(), Origin::authority),
        tls: has_tls(config),
        path: DISCOVERY,
        is_ours: is_issuer,
    };
    Some(look("issuer listen", address, "issuer.listen", face.is_at(address)).await.0)
}

async fn admin_listener(config: &Config) -> Seen {
    let address = config.admin.listen;
    let mut reasons = Vec::new();
    let asked = async {
        let answer = web::get(web::connect_to(address).await?, "localhost", "/health/ready").await?;
        let health = answer.json();
        let texts = health["reasons"].as_array().into_iter().flatten();
        reasons = texts.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(matches!(health["status"].as_str(), Some("ready" | "not_ready")))
    };
    let (finding, is_linkgate) = look("admin", address, "admin.listen", asked).await;
    if reasons.is_empty() || !is_linkgate {
        return (finding, is_linkgate);
    }
    (Finding::warn("admin", format!("{address}: linkgate runs here and is not ready: {}", reasons.join("; "))), true)
}

/// Whether the gateway can have the address, or has it: `ask` tells linkgate from others.
async fn look(
    check: &'static str,
    address: SocketAddr,
    setting: &str,
    ask: impl Future<Output = Result<bool, Failure>>,
) -> Seen {
    let error = match TcpListener::bind(address) {
        Ok(_) if address.port() == 0 => return (Finding::ok(check, format!("{address}: any free port")), false),
        Ok(_) => return (Finding::ok(check, format!("{address}: free, linkgate does not run here")), false),
        Err(error) => error,
    };
    let finding = match error.kind() {
        io::ErrorKind::AddrInUse => match ask.await {
            Ok(true) => return (Finding::ok(check, format!("{address}: linkgate runs here")), true),
            Ok(false) => Finding::fail(check, format!("{address}: another program uses port {}", address.port())),
            Err(failure) => {
                let port = address.port();
                Finding::fail(check, format!("{address}: another program uses port {port}; asked who it is, {failure}"))
            }
        },
        io::ErrorKind::PermissionDenied => {
            Finding::fail(check, format!("{address}: ports below 1024 need a privilege that this user does not have"))
        }
        io::ErrorKind::AddrNotAvailable => {
            Finding::fail(check, format!("{address}: this machine does not have that address"))
        }
        _ => Finding::fail(check, format!("{address}: cannot listen: {error}")),
    };
    (finding.change(setting), false)
}

/// Whether an answer is of the kind that linkgate gives to programs.
fn is_linkgate(answer: &Answer) -> bool {
    let body = answer.json();
    ["error", "message", "request_id"].iter().all(|member| body[member].is_string())
}

/// Whether an answer is what an issuer says of itself.
fn is_issuer(answer: &Answer) -> bool {
    let body = answer.json();
    ["issuer", "jwks_uri"].iter().all(|member| body[member].is_string())
}

/// Goes the way of a visitor. While the gateway does not run, somebody before it may well refuse.
async fn public_address(config: &Config, is_running: bool) -> Finding {
    const CHECK: &str = "public address";
    let url = &config.public_url;
    let face = Face { tls: url.is_secure(), ..Face::of(config) };
    let asked = async { face.ask(web::connect(&url.host, url.port).await?).await };
    let (message, is_certain) = match asked.await {
        Ok(answer) if (face.is_ours)(&answer) && is_alone(config) => return of_issuer(config, &answer),
        Ok(answer) if (face.is_ours)(&answer) => return of_linkgate(config, &answer),
        Ok(Answer { status: status @ 500.., .. }) => {
            (format!("something before linkgate answers (status {status})"), false)
        }
        Ok(answer) => (format!("something that is not linkgate answers (status {})", answer.status), true),
        Err(failure @ (Failure::Name(_) | Failure::Certificate(_) | Failure::Tls(_))) => (failure.to_string(), true),
        Err(failure) => (failure.to_string(), false),
    };
    if is_running || is_certain {
        Finding::fail(CHECK, format!("{url}: {message}")).change("public_url")
    } else {
        Finding::warn(CHECK, format!("{url}: {message}; linkgate does not run, so this may be in order"))
    }
}

/// Whether the issuer behind the public address calls itself by it.
fn of_issuer(config: &Config, answer: &Answer) -> Finding {
    const CHECK: &str = "public address";
    let (url, body) = (&config.public_url, answer.json());
    let name = body["issuer"].as_str().unwrap_or_default();
    if name == url.to_string() {
        return Finding::ok(CHECK, format!("{url}: leads to the issuer"));
    }
    Finding::fail(CHECK, format!("{url}: leads to an issuer that calls itself {name}")).change("public_url")
}

/// Whether the linkgate behind the public address has that address itself.
fn of_linkgate(config: &Config, answer: &Answer) -> Finding {
    const CHECK: &str = "public address";
    let (url, body) = (&config.public_url, answer.json());
    let login_url = body["login_url"].as_str();
    match (answer.status, login_url) {
        (401, Some(login_url)) if login_url.starts_with(&url.join("/.linkgate/")) => {
            Finding::ok(CHECK, format!("{url}: leads to linkgate"))
        }
        (401, Some(login_url)) => {
            let message = format!("{url}: leads to a linkgate that sends visitors to {login_url}");
            Finding::fail(CHECK, message).change("public_url")
        }
        (421, _) => {
            let message = format!("{url}: leads to a linkgate that does not serve this host");
            Finding::fail(CHECK, message).change("public_url")
        }
        (status, _) => Finding::warn(CHECK, format!("{url}: leads to linkgate, which answers with status {status}")),
    }
}
