//! The applications: whether there is somebody at their addresses. None of them gets a request.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::join_all;
use tokio::net::UnixStream;

use super::{Finding, web, within};
use crate::config::Config;
use crate::proxy::upstream::setting::TlsSetting;
use crate::proxy::upstream::url::UpstreamUrl;

const CHECK: &str = "upstream";

/// Looks at each server of each application once.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let routes = config.route.iter().enumerate();
    let named = routes.flat_map(|(at, route)| {
        let servers = route.upstream.iter().flat_map(|servers| &servers.0);
        servers.map(move |server| (at, &server.url, route.upstream_tls.as_ref()))
    });
    let looks = named.filter(|(_, url, _)| **url != UpstreamUrl::Demo && seen.insert(url.to_string()));
    join_all(looks.map(|(at, url, tls)| within(CHECK, look(at, url, tls)))).await
}

async fn look(at: usize, url: &UpstreamUrl, tls: Option<&TlsSetting>) -> Finding {
    let found = match url {
        UpstreamUrl::Demo => return Finding::ok(CHECK, "demo: is built in"),
        UpstreamUrl::FrontProxy => return Finding::ok(CHECK, "front-proxy: forwards the requests itself"),
        UpstreamUrl::Unix(path) => knock(path).await,
        UpstreamUrl::Network { tls: false, host, port } => {
            web::connect(host, *port).await.map(|_| "takes connections").map_err(|failure| failure.to_string())
        }
        UpstreamUrl::Network { tls: true, host, port } => {
            shake_hands(host, *port, tls).await.map_err(|failure| failure.to_string())
        }
    };
    match found {
        Ok(how) => Finding::ok(CHECK, format!("{url}: {how}")),
        Err(cause) => Finding::fail(CHECK, format!("{url}: {cause}")).change(format!("route[{at}].upstream")),
    }
}

async fn knock(socket: &Path) -> Result<&'static str, String> {
    UnixStream::connect(socket).await.map(|_| "takes connections").map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        std::io::ErrorKind::ConnectionRefused => "nothing listens on the socket".to_owned(),
        std::io::ErrorKind::PermissionDenied => "the gateway's user may not connect to the socket".to_owned(),
        _ => format!("the connection fails ({error})"),
    })
}

async fn shake_hands(host: &str, port: u16, tls: Option<&TlsSetting>) -> Result<&'static str, web::Failure> {
    let stream = web::connect(host, port).await?;
    // What the files of `upstream_tls` make of the handshake only the proxy can tell.
    if tls.is_some() {
        return Ok("takes connections; its certificate is for the authority in `upstream_tls` to judge");
    }
    web::handshake(stream, host).await.map(|_| "takes TLS connections")
}
