//! What several targets need: routes as an operator writes them.

use linkgate::origin::Origin;
use linkgate::proxy::route::{Config, Table};
use serde_json::Value;

/// Where every target's gateway is.
pub const PUBLIC_URL: &str = "https://app.example.test";

/// The table of `routes`, each of them with the settings of a `[[route]]` but for the upstream, or `None` where there
/// is no such setting.
pub fn table(routes: impl IntoIterator<Item = Value>) -> Option<Table> {
    let public_url = Origin::try_from(PUBLIC_URL.to_owned()).expect("an origin");
    let routes = routes.into_iter().map(|mut route| {
        route["upstream"] = "http://127.0.0.1:9".into();
        serde_json::from_value(route)
    });
    let routes: Vec<Config> = routes.collect::<Result<_, _>>().ok()?;
    Table::new(&routes, &public_url, None).ok()
}
