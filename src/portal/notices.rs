//! Notices by mail: somebody signed in by a browser that they had not used before, or signed out everywhere.
//!
//! They are for whoever did not do it themselves. A visitor never waits for them.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::return_to::ACCOUNT;
use super::{Portal, Visit, text};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::Identity;
use crate::pages::{Letter, NoticeFacts};
use crate::session::Chain;

/// A browser counts as known for so long after it was last signed in with, as long as browsers keep a cookie.
const KNOWN: Duration = Duration::from_secs(400 * 86_400);
/// A notice is tried for so long.
const MAILED: Duration = Duration::from_secs(86_400);

/// `sign_in.notices`: what users get a mail about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// A sign-in by a browser or on a system that the user has not signed in with before.
    NewBrowser,
    /// A sign-out on all devices.
    SignedOutEverywhere,
}

impl Portal {
    /// Tells a user of a sign-in by a browser that is new for them. Their first one is new to nobody.
    pub(super) fn note_browser(self: &Arc<Self>, identity: &Identity, visit: &Visit, headers: &HeaderMap) {
        if !self.sign_in.notices.contains(&Occasion::NewBrowser) {
            return;
        }
        let agent = Agent::well_known(text(headers, "user-agent"));
        let (portal, identity, client) = (Arc::clone(self), identity.clone(), visit.client.to_string());
        let (now, link) = (self.clock.now(), self.public_url.join(ACCOUNT));
        self.tasks.spawn(async move {
            let set = format!("browsers_of:{}", identity.subject);
            let name = agent.to_string();
            let known = match portal.store.index_members(&set).await {
                Ok(known) => known,
                Err(error) => return tracing::warn!(error = %Chain(&error), "failed to look for known browsers"),
            };
            if let Err(error) = portal.store.index_add(&set, &name, now.plus(KNOWN)).await {
                tracing::warn!(error = %Chain(&error), "failed to note a browser");
            }
            if !known.is_empty() && !known.contains(&name) {
                let (browser, system) = (agent.browser.as_str(), agent.system.as_deref());
                let facts = NoticeFacts { browser, system, client: &client, at: now, link: &link };
                portal.notify(&identity, portal.pages.new_browser(facts), now).await;
            }
        });
    }

    /// Tells a user that they were signed out on all devices.
    pub(super) fn note_sign_out_everywhere(self: &Arc<Self>, identity: &Identity, visit: &Visit) {
        if !self.sign_in.notices.contains(&Occasion::SignedOutEverywhere) {
            return;
        }
        let (portal, identity, client) = (Arc::clone(self), identity.clone(), visit.client.to_string());
        let now = self.clock.now();
        self.tasks.spawn(async move {
            portal.notify(&identity, portal.pages.signed_out_everywhere(&client, now), now).await;
        });
    }

    async fn notify(&self, identity: &Identity, letter: Letter, now: Timestamp) {
        let (Some(post), Some(address)) = (&self.post, identity.proven_address()) else { return };
        if post.send(address, letter, now.plus(MAILED)).await.is_err() {
            tracing::warn!(subject = %identity.subject, "failed to send a notice");
        }
    }
}
