//! `linkgate assertion`: an assertion to try an application with, and those that it must refuse.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::administration::with_loaded;
use super::output::{fail, print, print_json, refuse};
use super::{FAILED, Purpose, WRONG, load};
use crate::assertion::{Error, Wrong, somebody};
use crate::clock::Clock;
use crate::config::Config;
use crate::credential::Visitor;
use crate::gateway::administration;
use crate::identity::{EmailAddress, Subject};

/// What is to be printed.
#[derive(Args)]
pub(super) struct Arguments {
    /// The route that it is for, by its name: host and path, like app.example.com/ [default: the first]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Whom it is about
    #[arg(long = "as", value_name = "ADDRESS", default_value = "ada@example.com")]
    address: String,
    /// Print those that an application must refuse
    #[arg(long)]
    bad: bool,
    /// Print JSON instead of lines
    #[arg(long)]
    json: bool,
}

/// Prints what is asked for, signed by the keys of the store that the configuration names.
pub(super) fn assertion(file: &Path, arguments: &Arguments) -> ExitCode {
    match load(file, Purpose::Gateway) {
        Ok(config) => with_loaded(&config, async |config| show(config, arguments).await),
        Err(code) => code,
    }
}

async fn show(config: &Config, arguments: &Arguments) -> Result<ExitCode, ExitCode> {
    let route = route(config, arguments.route.as_deref())?;
    let clock = Clock::system();
    let visitor = visitor(&arguments.address, &clock)?;
    let assertions = administration::assertions(config, &clock).map_err(|error| {
        let code = if error.is_wrong_configuration() { WRONG } else { FAILED };
        fail(&error, error.hint().as_deref(), code)
    })?;
    let failed = |error: Error| fail(&error, None, FAILED);
    if arguments.bad {
        let wrong = assertions.wrong_ones(&visitor, &route).await.map_err(failed)?;
        print_wrong(&wrong, arguments.json);
        return Ok(ExitCode::SUCCESS);
    }
    let value = assertions.of(&visitor, &route).await.map_err(failed)?;
    let value = String::from_utf8_lossy(value.as_bytes());
    if arguments.json {
        print_json(&json!({ "route": route, "header": assertions.header().as_str(), "assertion": value }));
    } else {
        print(&format!("{value}\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_wrong(wrong: &[Wrong], as_json: bool) {
    if as_json {
        let wrong = wrong
            .iter()
            .map(|Wrong { name, why, assertion }| json!({ "name": name, "why": why, "assertion": assertion }));
        return print_json(&wrong.collect());
    }
    for Wrong { name, assertion, .. } in wrong {
        print(&format!("{name}\t{assertion}\n"));
    }
}

/// The name of a route that there is.
fn route(config: &Config, wanted: Option<&str>) -> Result<String, ExitCode> {
    let names: Vec<String> = config.route.iter().map(|route| route.name(&config.public_url.host)).collect();
    let found = names.iter().find(|name| wanted.is_none_or(|wanted| wanted == name.as_str()));
    found.cloned().ok_or_else(|| {
        let wanted = wanted.unwrap_or_default();
        refuse(&format!("there is no route `{wanted}`"), Some(&format!("there are: {}", names.join(", "))), WRONG)
    })
}

fn visitor(address: &str, clock: &Clock) -> Result<Visitor, ExitCode> {
    let wrong = |error: &dyn std::fmt::Display| refuse(&format!("`--as {address}`: {error}"), None, WRONG);
    let address = EmailAddress::parse(address).map_err(|error| wrong(&error))?;
    let subject = Subject::try_from(address.as_str().to_owned()).map_err(|error| wrong(&error))?;
    Ok(somebody(address, subject, clock.now()))
}
