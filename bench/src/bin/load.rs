//! Puts load on a proxy and says in one line of JSON what came of it; `linkgate_bench::load` says how.

use std::num::NonZeroU32;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use linkgate_bench::load::{Failure, Field, Report, causes, login, rate, websocket};
use url::Url;

/// Load that wrk and h2load cannot make.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// So many requests a second; latency counts from when each was due.
    Rate {
        #[command(flatten)]
        requests: Requests,
        /// Requests a second.
        #[arg(long)]
        rate: NonZeroU32,
    },
    /// Messages that are echoed, one after another on each connection.
    Websocket {
        #[command(flatten)]
        requests: Requests,
        /// Bytes of a message.
        #[arg(long, default_value_t = 128)]
        bytes: usize,
    },
    /// The whole sign-in, by a new address each time.
    Login {
        /// `public_url` of a linkgate with the built-in issuer and its mailbox.
        #[arg(long)]
        url: Url,
        #[arg(long, default_value_t = 10)]
        seconds: u32,
        /// People at a time.
        #[arg(long, default_value = "8")]
        parallel: NonZeroU32,
    },
    /// What gateway.toml must say for `login`.
    LoginSettings,
}

#[derive(Args)]
struct Requests {
    /// What is asked for: http:// or ws://.
    #[arg(long)]
    url: Url,
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    #[arg(long, default_value = "64")]
    connections: NonZeroU32,
    /// A field of each request, as `NAME: VALUE`.
    #[arg(long = "header", value_parser = field)]
    fields: Vec<Field>,
}

fn field(text: &str) -> Result<Field, &'static str> {
    let (name, value) = text.split_once(':').ok_or("a colon is missing")?;
    let name = name.trim().parse().map_err(|_| "this is no name of a header field")?;
    let value = value.trim().parse().map_err(|_| "this is no value of a header field")?;
    Ok((name, value))
}

// One thread: the load must not take turns with itself on the cores that are left.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse().load).await {
        Ok(Some(report)) => println!("{}", serde_json::to_string(&report).expect("numbers are JSON")),
        Ok(None) => print!("{}", login::SETTINGS),
        Err(failure) => {
            eprintln!("error: {failure}{}", causes(&failure));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

async fn run(load: Load) -> Result<Option<Report>, Failure> {
    let report = match load {
        Load::Rate { requests: Requests { url, seconds, connections, fields }, rate } => {
            rate::run(&url, &fields, rate, connections, seconds).await?
        }
        Load::Websocket { requests: Requests { url, seconds, connections, fields }, bytes } => {
            websocket::run(&url, &fields, connections, bytes, seconds).await?
        }
        Load::Login { url, seconds, parallel } => login::run(&url, parallel, seconds).await?,
        Load::LoginSettings => return Ok(None),
    };
    Ok(Some(report))
}
