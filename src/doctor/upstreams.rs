//! The applications: whether there is somebody at their addresses. None of them gets a request.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{Finding, web, within};
use crate::config::Config;
use crate::proxy::upstream::Upstream;

const CHECK: &str = "upstream";

/// Looks at each application once.
pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let named = config.route.iter().enumerate().filter_map(|(at, route)| Some((at, route.upstream.as_deref()?)));
    let looks = named.filter(|(_, upstream)| *upstream != "demo" && seen.insert(*upstream));
    join_all(looks.map(|(at, upstream)| within(CHECK, look(at, upstream)))).await
}

async fn look(at: usize, upstream: &str) -> Finding {
    let found = match Upstream::parse(upstream) {
        Ok(upstream) => reach(&upstream).await.map_err(|failure| failure.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(how) => Finding::ok(CHECK, format!("{upstream}: {how}")),
        Err(cause) => Finding::fail(CHECK, format!("{upstream}: {cause}")).change(format!("route[{at}].upstream")),
    }
}

async fn reach(upstream: &Upstream) -> Result<&'static str, web::Failure> {
    let stream = web::connect(&upstream.host, upstream.port).await?;
    if !upstream.tls {
        return Ok("takes connections");
    }
    web::handshake(stream, &upstream.host).await.map(|_| "takes TLS connections")
}
