//! Health checks: each server is asked now and then whether it works, for as long as its upstream is in use.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use http::{StatusCode, Uri, Version, header};
use pingora::connectors::http::Connector as HttpConnector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Upstream;
use super::server::Server;
use super::setting::HealthSetting;

/// Makes the connections of all health checks, once there is one.
#[derive(Clone, Default)]
pub(super) struct Connector(Arc<OnceLock<HttpConnector>>);

/// Asks the servers of `upstream` until it is dropped, or the gateway stops.
pub(super) fn begin(
    upstream: &Arc<Upstream>,
    setting: HealthSetting,
    connector: Connector,
    mut stopping: watch::Receiver<bool>,
) {
    let mut rows = vec![Row::default(); upstream.servers.len()];
    let upstream = Arc::downgrade(upstream);
    tokio::spawn(async move {
        let asking = async {
            let mut turns = interval(setting.interval.0);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                if ask(&upstream, &setting, &connector, &mut rows).await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            () = asking => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    });
}

/// Asks each server once; `None` where the upstream is in use no more.
async fn ask(
    upstream: &Weak<Upstream>,
    setting: &HealthSetting,
    connector: &Connector,
    rows: &mut [Row],
) -> Option<()> {
    let upstream = upstream.upgrade()?;
    let connector = connector.0.get_or_init(|| HttpConnector::new(None));
    let answers = join_all(upstream.servers.iter().map(|server| look(server, setting, connector))).await;
    for ((server, row), answer) in upstream.servers.iter().zip(rows).zip(answers) {
        match (row.grown(answer.is_ok(), setting), answer) {
            (Some(Change::Comes), _) => server.health.is_well(),
            (Some(Change::Goes), Err(why)) => server.health.ails(&why),
            _ => {}
        }
    }
    Some(())
}

/// Asks one server, and says what is wrong with its answer.
async fn look(server: &Server, setting: &HealthSetting, connector: &HttpConnector) -> Result<(), String> {
    let asked = timeout(setting.timeout.0, status(server, setting, connector)).await;
    let status =
        asked.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.etype().as_str().to_owned())?;
    let is_good = match setting.status.as_slice() {
        [] => status.is_success(),
        good => good.contains(&status.as_u16()),
    };
    if is_good { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

async fn status(server: &Server, setting: &HealthSetting, connector: &HttpConnector) -> pingora::Result<StatusCode> {
    let no_address = |_| pingora::Error::new_str("the upstream has no address");
    let addresses = server.addresses().await.map_err(no_address)?;
    let mut peer = server.peer_at(&addresses, server.preferred())?;
    // A connection of its own each time: whether there can be one is half of the question.
    peer.options.idle_timeout = Some(Duration::ZERO);
    let (mut session, _) = connector.get_http_session(&*peer).await?;
    let mut request = Box::new(RequestHeader::build("GET", setting.path.as_str().as_bytes(), None)?);
    let authority = setting.host.as_ref().map_or_else(|| server.url.authority(), ToString::to_string);
    if matches!(session, HttpSession::H2(_)) {
        let scheme = if server.url.is_tls() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(setting.path.as_str()).build();
        request.set_uri(uri.map_err(|_| pingora::Error::new_str("the path of the health check is none"))?);
        request.set_version(Version::HTTP_2);
    } else {
        request.insert_header(header::HOST, authority)?;
    }
    request.insert_header(header::USER_AGENT, concat!("linkgate-health/", env!("CARGO_PKG_VERSION")))?;
    session.write_request_header(request).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    session.response_header().map(|header| header.status).ok_or_else(|| pingora::Error::new_str("no answer"))
}

/// Equal answers of one server in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    is_good: bool,
    length: u32,
}

/// What a row of answers means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Comes,
    Goes,
}

impl Row {
    /// One answer more. Says what it means, once for each row.
    fn grown(&mut self, is_good: bool, setting: &HealthSetting) -> Option<Change> {
        let length = if self.is_good == is_good { self.length.saturating_add(1) } else { 1 };
        *self = Self { is_good, length };
        match is_good {
            true => (length == setting.healthy_after).then_some(Change::Comes),
            false => (length == setting.unhealthy_after).then_some(Change::Goes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_equal_answers_in_a_row_mean_something_once() {
        let setting = HealthSetting { healthy_after: 2, unhealthy_after: 3, ..HealthSetting::default() };
        let mut row = Row::default();
        let mut told = String::new();
        for answer in "bbbbbgggbgbbgbbbg".chars() {
            told.push(match row.grown(answer == 'g', &setting) {
                Some(Change::Comes) => 'C',
                Some(Change::Goes) => 'G',
                None => '.',
            });
        }
        assert_eq!(told, "..G...C........G.");
    }
}
