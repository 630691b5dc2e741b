//! The whole way in, through a linkgate with the built-in issuer and its mailbox: as a person with a browser who was never
//! there before, from the page that is protected to the page that is protected.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use url::{Position, Url};

use super::connection::{Connection, authority};
use super::{Failure, Report, Tally};

/// What `gateway.toml` must say beside addresses and routes, for nobody to be refused because so many ask.
pub const SETTINGS: &str = r#"[issuer]
mailbox = true

[sign_up]
allow = ["*"]

[sign_in]
links_per_peer = 1000000
links_in_all = 1000000
"#;

/// The pause after a failure, so that a gateway that refuses at once is not flooded.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the mailbox is looked into; a mail is made in the background within a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Signs people in at `url`, so many at a time.
///
/// # Errors
/// When the first one cannot be signed in.
pub async fn run(url: &Url, parallel: NonZeroU32, seconds: u32) -> Result<Report, Failure> {
    // Nobody of an earlier run is met again, whose account would be there.
    let run = RandomState::new().hash_one(url);
    sign_in(url, &format!("first-{run:x}@example.com")).await?;

    let tally = Tally::begin();
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let mut tasks = JoinSet::new();
    for task in 0..parallel.get() {
        tasks.spawn(one_after_another(url.clone(), format!("{run:x}-{task}"), until, tally.clone()));
    }
    tally.give_up(tally.join(tasks, seconds).await);
    Ok(tally.report())
}

async fn one_after_another(url: Url, name: String, until: Instant, tally: Tally) {
    let mut number = 0;
    while Instant::now() < until {
        number += 1;
        let since = Instant::now();
        let outcome = sign_in(&url, &format!("{name}-{number}@example.com")).await;
        let failed = outcome.is_err();
        tally.count(since, outcome);
        if failed {
            sleep(PAUSE).await;
        }
    }
}

async fn sign_in(url: &Url, address: &str) -> Result<(), Failure> {
    let mut visitor = Visitor::at(url);
    let asked = visitor.open(url.as_str()).await?;
    let sign_in = asked.location().ok_or(Failure::Step("be led to the sign-in page"))?;

    let page = visitor.open(sign_in).await?;
    let csrf = page.field("csrf").ok_or(Failure::Step("find the form to sign in"))?;
    let return_to = page.field("return_to").unwrap_or_else(|| "/".to_owned());
    let form = [("email", address), ("csrf", &csrf), ("return_to", &return_to)];
    let sent = visitor.post("/.linkgate/sign-in", &form).await?;
    let waiting = sent.location().ok_or(Failure::Step("have the link sent"))?;
    visitor.open(waiting).await?.is_a_page()?;

    let link = mailed_link(url, address).await?;
    let page = visitor.open(&link).await?;
    let token = page.field("token").ok_or(Failure::Step("find the button behind the link"))?;
    let pressed = visitor.post("/.linkgate/link", &[("token", &token)]).await?;
    let callback = pressed.location().ok_or(Failure::Step("be led back from the link"))?;
    let back = visitor.open(callback).await?;
    let there = back.location().ok_or(Failure::Step("be signed in"))?;
    visitor.open(there).await?.is_a_page()
}

/// The link in the newest mail to `address`, once there is one.
async fn mailed_link(url: &Url, address: &str) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Mail {
        link: String,
    }

    let mut reader = Visitor::at(url);
    let mut latest = url.clone();
    latest.set_path("/.linkgate/mailbox/latest");
    latest.query_pairs_mut().clear().append_pair("to", address);
    loop {
        let answer = reader.open(latest.as_str()).await?.0;
        match answer.status() {
            StatusCode::OK => {
                let mail: Result<Mail, _> = serde_json::from_slice(answer.body());
                return mail.map(|mail| mail.link).map_err(|_| Failure::Step("find the link in the mail"));
            }
            StatusCode::NOT_FOUND => sleep(LOOK_AGAIN).await,
            status => return Err(Failure::Status(status)),
        }
    }
}

/// Somebody with a browser, which keeps cookies and a connection.
struct Visitor<'a> {
    url: &'a Url,
    connection: Connection,
    cookies: BTreeMap<String, String>,
}

impl<'a> Visitor<'a> {
    fn at(url: &'a Url) -> Self {
        Self { url, connection: Connection::to(url), cookies: BTreeMap::new() }
    }

    /// Opens what a link or a redirect leads to, which is never another host.
    async fn open(&mut self, target: &str) -> Result<Answer, Failure> {
        self.send(Method::GET, target, String::new()).await
    }

    /// Sends a form.
    async fn post(&mut self, target: &str, form: &[(&str, &str)]) -> Result<Answer, Failure> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, target, body).await
    }

    async fn send(&mut self, method: Method, target: &str, body: String) -> Result<Answer, Failure> {
        let target = self.url.join(target).ok().filter(|target| target.origin() == self.url.origin());
        let target = target.ok_or(Failure::Step("stay on one host"))?;
        let mut request = Request::builder()
            .method(&method)
            .uri(&target[Position::BeforePath..Position::AfterQuery])
            .header(header::HOST, authority(self.url))
            .header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
            .header(header::USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        if method == Method::POST {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let request = request.body(Full::from(body)).map_err(|_| Failure::Step("make a request of a link"))?;
        let answer = self.connection.send(request).await?;
        self.keep_cookies(answer.headers());
        Ok(Answer(answer))
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(header::SET_COOKIE).iter().filter_map(|cookie| cookie.to_str().ok()) {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let Some((name, value)) = pair.split_once('=') else { continue };
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

struct Answer(Response<Bytes>);

impl Answer {
    /// Where a redirect leads.
    fn location(&self) -> Option<&str> {
        self.0.headers().get(header::LOCATION)?.to_str().ok()
    }

    /// The value of a form's field.
    fn field(&self, name: &str) -> Option<String> {
        let page = std::str::from_utf8(self.0.body()).ok()?;
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\""))?;
        let (value, _) = rest.split_once('"')?;
        Some(value.replace("&#x2f;", "/").replace("&#x3D;", "=").replace("&amp;", "&"))
    }

    fn is_a_page(&self) -> Result<(), Failure> {
        if self.0.status() == StatusCode::OK { Ok(()) } else { Err(Failure::Status(self.0.status())) }
    }
}
