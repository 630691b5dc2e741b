//! The store: one record is written, read, and taken out again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Finding;
use crate::clock::Clock;
use crate::config::Config;
use crate::secret::random_token;
use crate::session::Chain;
use crate::store::{self, Location, Shared};

/// How long the record would stay if it could not be taken out.
const LIFETIME: Duration = Duration::from_secs(60);

/// Looks at `session.store`.
pub(super) async fn examine(config: &Config, clock: &Clock) -> Finding {
    let location = &config.session.store;
    match location {
        Location::Memory => {
            let message = "memory: sessions and users are gone when linkgate ends";
            Finding::warn("store", message).change("session.store")
        }
        Location::Sqlite(file) if !config.directory.join(file).exists() => {
            with_a_new_file(config, clock, &config.directory.join(file)).await
        }
        _ => judged(try_out(location, config, clock).await, location, "written and read"),
    }
}

/// The file is the gateway's to make, with its own user and rights, so another one beside it is tried.
async fn with_a_new_file(config: &Config, clock: &Clock, file: &Path) -> Finding {
    let folder = file.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let beside = folder.join(format!(".linkgate-doctor-{}", random_token().expose()));
    let tried = try_out(&Location::Sqlite(beside.clone()), config, clock).await;
    for end in ["", "-wal", "-shm"] {
        let mut name = beside.clone().into_os_string();
        name.push(end);
        // What was not made cannot be removed.
        std::fs::remove_file(PathBuf::from(name)).ok();
    }
    let named = |cause: String| cause.replace(&beside.display().to_string(), &file.display().to_string());
    judged(tried.map_err(named), &config.session.store, "not there yet, and can be made")
}

fn judged(tried: Result<(), String>, location: &Location, well: &str) -> Finding {
    match tried {
        Ok(()) => Finding::ok("store", format!("{location}: {well}")),
        Err(cause) => Finding::fail("store", format!("{location}: {cause}")).change("session.store"),
    }
}

async fn try_out(location: &Location, config: &Config, clock: &Clock) -> Result<(), String> {
    let opened = store::open(location, &config.directory, clock.clone());
    let store = opened.map_err(|error| format!("cannot {}", Chain(&error)))?;
    match write_and_read(&store, clock).await {
        Ok(true) => Ok(()),
        Ok(false) => Err("what is read is not what was written".to_owned()),
        Err(error) => Err(format!("cannot {}", Chain(&error))),
    }
}

async fn write_and_read(store: &Shared, clock: &Clock) -> Result<bool, store::Error> {
    let (key, value) = (format!("doctor:{}", random_token().expose()), b"well");
    store.put(&key, value, clock.now().plus(LIFETIME)).await?;
    let read = store.get(&key).await?;
    let taken = store.take(&key).await?;
    Ok(read.as_deref() == Some(value) && taken.as_deref() == Some(value))
}
