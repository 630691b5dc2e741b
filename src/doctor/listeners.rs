//! The gateway's own listeners, and the way that visitors take to it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use serde_json::Value;

use super::web::{self, Answer, Failure};
use super::{Finding, within};
use crate::config::Config;

/// What answers signed-out programs with JSON that only linkgate writes.
const SESSION: &str = "/.linkgate/session";

/// Looks at `listen`, `admin.listen` and `public_url`.
pub(super) async fn examine(config: &Config) -> [Finding; 3] {
    let (visitors, operators) = tokio::join!(public_listener(config), admin_listener(config));
    let is_running = visitors.1 || operators.1;
    let public = within("public address", public_address(config, is_running)).await;
    [visitors.0, operators.0, public]
}

/// What is on the listener, and whether it is linkgate.
type Seen = (Finding, bool);

async fn public_listener(config: &Config) -> Seen {
    let address = config.listen;
    look("listen", address, "listen", async {
        let answer = web::get(web::connect_to(address).await?, &config.public_url.authority(), SESSION).await?;
        Ok(is_linkgate(&answer))
    })
    .await
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

/// Goes the way of a visitor. While the gateway does not run, somebody before it may well refuse.
async fn public_address(config: &Config, is_running: bool) -> Finding {
    const CHECK: &str = "public address";
    let url = &config.public_url;
    let asked = async {
        let stream = web::connect(&url.host, url.port).await?;
        if url.is_secure() {
            web::get(web::handshake(stream, &url.host).await?, &url.authority(), SESSION).await
        } else {
            web::get(stream, &url.authority(), SESSION).await
        }
    };
    let (message, is_certain) = match asked.await {
        Ok(answer) if is_linkgate(&answer) => return of_linkgate(config, &answer),
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
