//! `linkgate login`: signs this terminal in at a gateway, by a code that its user types into a browser, and prints a
//! personal token. Nothing is kept on disk.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use reqwest::{Client, Response, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::output::{fail, plain, print, refuse, say};
use super::{FAILED, WRONG};
use crate::gateway;
use crate::setting::Span;

/// How a token is wanted.
#[derive(Args)]
pub(super) struct Login {
    /// The address of the site, like https://app.example.com
    #[arg(value_name = "URL", value_parser = site)]
    url: Url,
    /// What the token is called in the list of your tokens
    #[arg(long, default_value = "linkgate login")]
    name: String,
    /// A part of the site that the token is good for, like app.example.com/git; can be said again. Without: all of it
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// How long the token is good for, like 12h or 30d
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    lifetime: Option<Span>,
}

/// What the gateway says to begin with.
#[derive(Deserialize)]
struct Begun {
    device_code: String,
    user_code: String,
    verification_uri: String,
    interval: u64,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
    expires_at: String,
}

/// What the gateway answers where it gives nothing.
#[derive(Deserialize)]
struct Refused {
    error: String,
    message: String,
}

fn span(text: &str) -> Result<Span, String> {
    Span::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// A token must not travel in the clear.
fn site(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        "https" if !has_user => Ok(url),
        "http" if !has_user && is_here => Ok(url),
        _ => Err("expected https:// and a host (http:// works for localhost)".to_owned()),
    }
}

/// Signs the terminal in.
pub(super) fn login(login: &Login) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error, None, FAILED),
    };
    runtime.block_on(run(login)).unwrap_or_else(|code| code)
}

async fn run(login: &Login) -> Result<ExitCode, ExitCode> {
    let client = client(&login.url)?;
    let minutes = login.lifetime.map(|Span(span)| span.as_secs() / 60);
    let wanted = json!({ "name": login.name, "routes": login.routes, "minutes": minutes });
    let answer = post(&client, below(&login.url, "/.linkgate/device/code")?, &wanted).await?;
    // Another host of the gateway sends on to the one where visitors sign in.
    let site = answer.url().clone();
    let Begun { device_code, user_code, verification_uri, interval } = read(answer).await?;
    let (page, code) = (plain(&verification_uri), plain(&user_code));
    say(&format!("Open {page} in a browser and type the code {code}\nwaiting ...\n"));
    let asked = json!({ "device_code": device_code });
    let mut pause = Duration::from_secs(interval.clamp(1, 60));
    loop {
        tokio::time::sleep(pause).await;
        let answer = post(&client, below(&site, "/.linkgate/device/token")?, &asked).await?;
        if answer.status().is_success() {
            let Token { access_token, expires_at } = read(answer).await?;
            print(&format!("{}\n", plain(&access_token)));
            let expires_at = plain(&expires_at);
            say(&format!(
                "the token is good until {expires_at}; nothing was saved. Use it like this:\n  {}\n",
                usage(&login.url)
            ));
            return Ok(ExitCode::SUCCESS);
        }
        match refused(answer).await? {
            Refused { error, .. } if error == "authorization_pending" => {}
            // RFC 8628 section 3.5.
            Refused { error, .. } if error == "slow_down" => pause += Duration::from_secs(5),
            Refused { message, .. } => return Err(refuse(&plain(&message), None, FAILED)),
        }
    }
}

fn usage(url: &Url) -> String {
    format!("curl -H \"Authorization: Bearer $TOKEN\" {}", plain(url.as_str()))
}

fn client(url: &Url) -> Result<Client, ExitCode> {
    gateway::install_crypto();
    let client = Client::builder()
        .user_agent(concat!("linkgate/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .timeout(Duration::from_secs(30))
        .redirect(redirect::Policy::limited(2))
        .referer(false)
        .https_only(url.scheme() == "https");
    client.build().map_err(|error| fail(&error, None, FAILED))
}

fn below(site: &Url, path: &str) -> Result<Url, ExitCode> {
    site.join(path).map_err(|error| fail(&error, None, WRONG))
}

async fn post(client: &Client, url: Url, body: &Value) -> Result<Response, ExitCode> {
    let sent = client.post(url).header("accept", "application/json").json(body).send().await;
    let hint = "is this the address of a site behind linkgate?";
    sent.map_err(|error| refuse(&format!("failed to reach the site: {}", causes(&error)), Some(hint), FAILED))
}

/// The causes alone: the error itself repeats the whole URL.
fn causes(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    plain(&innermost.to_string())
}

async fn read<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, ExitCode> {
    if !answer.status().is_success() {
        return Err(refuse(&plain(&refused(answer).await?.message), None, FAILED));
    }
    answer.json().await.map_err(|_| not_a_gateway())
}

async fn refused(answer: Response) -> Result<Refused, ExitCode> {
    answer.json().await.map_err(|_| not_a_gateway())
}

fn not_a_gateway() -> ExitCode {
    let hint = "it must be a site behind a linkgate that has personal tokens turned on";
    refuse("the site answers something else than a linkgate would", Some(hint), FAILED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_not_travel_in_the_clear() {
        for text in [
            "https://app.example.com",
            "https://app.example.com:8443/x",
            "http://localhost:8080",
            "http://127.0.0.1",
            "http://[::1]:80/",
        ] {
            assert!(site(text).is_ok(), "{text}");
        }
        for text in [
            "http://app.example.com",
            "http://localhost.example.com",
            "ftp://localhost",
            "app.example.com",
            "https://u:p@app.example.com",
        ] {
            assert!(site(text).is_err(), "{text}");
        }
    }
}
