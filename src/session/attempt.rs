//! Sign-in attempts: what a browser asked for, until the link comes back.
//!
//! An attempt is found by its `state` and opened by the secret in the browser's own cookie: neither alone proves
//! anything, and the store alone opens nothing. It is claimed by one caller, and can be given back when Mosaic
//! could not be asked.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::cookie::{Jar, Kind};
use super::number_match::Match;
use crate::agent::Agent;
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identifier, Subject};
use crate::secret::{self, Seal, Secret};
use crate::store::{self, Shared};

/// Attempts that one browser may have open; beyond them the oldest goes.
const MOST_PER_BROWSER: usize = 8;
/// How long a browser's cookie is kept: longer than any link works.
const COOKIE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// How long an attempt is remembered after its link works no more.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// One sign-in in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Who was asked for: the identity that comes back must have this address, or be this user.
    #[serde(alias = "address")]
    pub identifier: Identifier,
    /// Where the visitor goes on.
    pub return_to: String,
    /// The browser that asked.
    pub agent: Agent,
    /// When it was asked for.
    pub begun_at: Timestamp,
    /// When the link stops working.
    pub expires_at: Timestamp,
    /// When another link may be asked for.
    pub resend_at: Timestamp,
    /// Until when the mailbox gets no further link.
    pub limit_until: Option<Timestamp>,
    /// Whether it was begun by "Send again".
    pub sent_again: bool,
    /// When a newer mail was asked for in its place.
    pub superseded_at: Option<Timestamp>,
    /// The organisation to sign in to.
    #[serde(default)]
    pub organization: Option<String>,
    /// Whether it is a further proof by somebody who is signed in.
    #[serde(default)]
    pub step_up: bool,
    /// When a code to type was last asked for, beside the link.
    #[serde(default)]
    pub code_asked_at: Option<Timestamp>,
    /// The number that lets another device finish it for this browser.
    #[serde(default)]
    pub number_match: Option<Match>,
}

/// How an attempt is named in the store: the fingerprint of its `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptKey(String);

impl AttemptKey {
    /// The attempt that `state` names.
    pub fn of(state: &str) -> Self {
        Self(secret::fingerprint(state))
    }

    /// The name of what is counted about the attempt.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One of the two ways to finish an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By following the mailed link.
    Link,
    /// By typing the code.
    Code,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Code => "code",
        }
    }
}

/// What is known once a link or a code was sent, and is needed when it comes back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Whom Mosaic knows by the identifier, where that is no address.
    pub subject: Option<Subject>,
    /// What the login must give back.
    pub request_id: Option<String>,
}

/// What a callback's `state` and browser say together.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// The attempt of this browser, not used yet.
    Open(Attempt),
    /// The attempt of this browser, whose link was followed before.
    Used(Attempt),
    /// The attempt of this browser, whose link works no more.
    Expired(Attempt),
    /// There is such an attempt, and it is another browser's.
    OtherBrowser,
    /// There is none: it expired long ago, or never was.
    Unknown,
}

impl Attempt {
    /// Whether it can still be finished at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// What came too late can be asked for again at once, as long as the attempt is remembered.
    pub(super) fn forgotten_at(&self) -> Timestamp {
        self.expires_at.plus(REMEMBERED)
    }
}

/// A browser, as its cookie names it.
#[derive(Clone)]
pub struct Browser(Secret<String>);

impl Browser {
    /// A browser that has no cookie yet.
    pub fn new() -> Self {
        Self(secret::random_token())
    }

    /// The browser that the request's cookies name; none where they name several.
    pub fn find(jar: Jar, headers: &HeaderMap) -> Option<Self> {
        match jar.values(Kind::Browser, headers).as_slice() {
            [value] if is_token(value) => Some(Self(Secret::new((*value).to_owned()))),
            _ => None,
        }
    }

    /// The cookie that names the browser.
    pub fn cookie(&self, jar: Jar) -> HeaderValue {
        jar.set(Kind::Browser, self.0.expose(), COOKIE_LIFETIME)
    }

    /// The cookie that makes the browser forget its name.
    pub fn clearing_cookie(jar: Jar) -> HeaderValue {
        jar.clear(Kind::Browser)
    }

    /// A token that only pages shown to this browser can carry.
    pub fn csrf_token(&self) -> String {
        secret::base64url(&secret::mac(self.0.expose().as_bytes(), b"csrf"))
    }

    fn seal(&self) -> Seal {
        self.seal_for("attempt")
    }

    /// A seal that only this browser's cookie opens.
    pub(super) fn seal_for(&self, purpose: &str) -> Seal {
        Seal::new(self.0.expose().as_bytes(), purpose)
    }

    fn index_name(&self) -> String {
        format!("attempts_of:{}", secret::fingerprint(self.0.expose()))
    }
}

impl Default for Browser {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a text has the form of [`secret::random_token`].
pub fn is_token(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Every attempt.
#[derive(Clone)]
pub struct Attempts {
    pub(super) store: Shared,
    pub(super) clock: Clock,
}

impl Attempts {
    /// The attempts in `store`.
    pub fn new(store: &Shared, clock: &Clock) -> Self {
        Self { store: Arc::clone(store), clock: clock.clone() }
    }

    /// Keeps a new attempt of `browser` and gives its `state`.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn begin(&self, browser: &Browser, attempt: &Attempt) -> Result<Secret<String>, store::Error> {
        let state = secret::random_token();
        let fingerprint = secret::fingerprint(state.expose());
        self.write(browser, &fingerprint, attempt).await?;
        let member = format!("{:020}:{fingerprint}", attempt.begun_at.unix_millis());
        self.store.index_add(&browser.index_name(), &member, attempt.forgotten_at()).await?;
        let mut members = self.members(browser).await?;
        while members.len() > MOST_PER_BROWSER {
            let (member, fingerprint) = members.remove(0);
            self.store.remove(&record_name(&fingerprint)).await?;
            self.store.index_remove(&browser.index_name(), &member).await?;
        }
        Ok(state)
    }

    /// Writes what has become of an attempt in the place of what was known.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn rewrite(&self, browser: &Browser, key: &AttemptKey, attempt: &Attempt) -> Result<(), store::Error> {
        self.write(browser, &key.0, attempt).await
    }

    async fn write(&self, browser: &Browser, fingerprint: &str, attempt: &Attempt) -> Result<(), store::Error> {
        let name = record_name(fingerprint);
        let record = serde_json::to_vec(attempt).expect("an attempt has string keys only");
        self.store.put(&name, &browser.seal().close(&name, &record), attempt.forgotten_at()).await
    }

    /// Notes that from now on the newest code for `identifier` is this attempt's: an older one is no way into it.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn own_code(
        &self,
        identifier: &Identifier,
        key: &AttemptKey,
        until: Timestamp,
    ) -> Result<(), store::Error> {
        self.store.put(&code_owner_name(identifier), key.0.as_bytes(), until).await
    }

    /// Whether the newest code for `identifier` is this attempt's.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn owns_code(&self, identifier: &Identifier, key: &AttemptKey) -> Result<bool, store::Error> {
        let owner = self.store.get(&code_owner_name(identifier)).await?;
        Ok(owner.as_deref() == Some(key.0.as_bytes()))
    }

    /// Keeps what is known of a sending, apart from the attempt: link and code are sent in tasks of their own.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn note(
        &self,
        browser: &Browser,
        key: &AttemptKey,
        way: Way,
        sending: &Sending,
        until: Timestamp,
    ) -> Result<(), store::Error> {
        let name = sending_name(key, way);
        let record = serde_json::to_vec(sending).expect("a sending has string keys only");
        self.store.put(&name, &browser.seal().close(&name, &record), until).await
    }

    /// What is known of a sending; nothing where nothing was sent.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn noted(&self, browser: &Browser, key: &AttemptKey, way: Way) -> Result<Option<Sending>, store::Error> {
        let name = sending_name(key, way);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let opened = browser.seal().open(&name, &record).ok();
        Ok(opened.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// Members of the browser's index with the fingerprints of their states, oldest first.
    pub(super) async fn members(&self, browser: &Browser) -> Result<Vec<(String, String)>, store::Error> {
        let mut members = self.store.index_members(&browser.index_name()).await?;
        members.sort_unstable();
        let split = members.into_iter().filter_map(|member| {
            let fingerprint = member.split_once(':')?.1.to_owned();
            Some((member, fingerprint))
        });
        Ok(split.collect())
    }

    pub(super) async fn read(&self, browser: &Browser, fingerprint: &str) -> Result<Option<Attempt>, store::Error> {
        let name = record_name(fingerprint);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let opened = browser.seal().open(&name, &record).ok();
        Ok(opened.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    async fn read_open(&self, browser: &Browser, fingerprint: &str) -> Result<Option<Attempt>, store::Error> {
        let attempt = self.read(browser, fingerprint).await?;
        Ok(attempt.filter(|attempt| attempt.is_open(self.clock.now())))
    }

    /// The browser's newest attempt: what its waiting page is about.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn newest(&self, browser: &Browser) -> Result<Option<Attempt>, store::Error> {
        for (_, fingerprint) in self.members(browser).await?.into_iter().rev() {
            if let Some(attempt) = self.read_open(browser, &fingerprint).await? {
                return Ok(Some(attempt));
            }
        }
        Ok(None)
    }

    /// The browser's newest attempt with its name, whether or not it can still be finished.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn latest(&self, browser: &Browser) -> Result<Option<(AttemptKey, Attempt)>, store::Error> {
        for (_, fingerprint) in self.members(browser).await?.into_iter().rev() {
            if let Some(attempt) = self.read(browser, &fingerprint).await? {
                return Ok(Some((AttemptKey(fingerprint), attempt)));
            }
        }
        Ok(None)
    }

    /// Marks the browser's attempts for `identifier` as replaced by a newer mail.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn supersede(&self, browser: &Browser, identifier: &Identifier) -> Result<(), store::Error> {
        for (_, fingerprint) in self.members(browser).await? {
            if let Some(attempt) = self.read(browser, &fingerprint).await?
                && attempt.identifier == *identifier
            {
                self.withdraw_numbers(&attempt).await?;
                let superseded = Attempt { superseded_at: Some(self.clock.now()), ..attempt };
                self.write(browser, &fingerprint, &superseded).await?;
            }
        }
        Ok(())
    }

    /// What `state` is worth in the hands of `browser`.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn standing(&self, state: &str, browser: Option<&Browser>) -> Result<Standing, store::Error> {
        let fingerprint = secret::fingerprint(state);
        if self.store.get(&record_name(&fingerprint)).await?.is_none() {
            return Ok(Standing::Unknown);
        }
        let Some(browser) = browser else { return Ok(Standing::OtherBrowser) };
        let Some(attempt) = self.read(browser, &fingerprint).await? else { return Ok(Standing::OtherBrowser) };
        let used = self.store.get(&claim_name(&fingerprint)).await?.is_some();
        Ok(match used {
            true => Standing::Used(attempt),
            false if attempt.is_open(self.clock.now()) => Standing::Open(attempt),
            false => Standing::Expired(attempt),
        })
    }

    /// Claims the attempt: of many callers one is told `true`, and none once a wrong number ended it.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn claim(&self, key: &AttemptKey, attempt: &Attempt) -> Result<bool, store::Error> {
        Ok(!self.is_stopped(attempt).await? && self.claim_until(key, attempt.forgotten_at()).await?)
    }

    pub(super) async fn claim_until(&self, key: &AttemptKey, until: Timestamp) -> Result<bool, store::Error> {
        self.store.put_if_absent(&claim_name(&key.0), &[], until).await
    }

    /// Whether the attempt was claimed.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn is_claimed(&self, key: &AttemptKey) -> Result<bool, store::Error> {
        Ok(self.store.get(&claim_name(&key.0)).await?.is_some())
    }

    /// Remembers where a used link led, so that following it again leads there too.
    ///
    /// # Errors
    /// When the store cannot keep it.
    pub async fn finish(&self, state: &str, attempt: &Attempt) -> Result<(), store::Error> {
        let name = claim_name(&secret::fingerprint(state));
        let landing = landing_seal(state).close(&name, attempt.return_to.as_bytes());
        self.store.put(&name, &landing, attempt.forgotten_at()).await
    }

    /// Where a used link led.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn landing(&self, state: &str) -> Result<Option<String>, store::Error> {
        let name = claim_name(&secret::fingerprint(state));
        let Some(claim) = self.store.get(&name).await? else { return Ok(None) };
        let landing = landing_seal(state).open(&name, &claim).ok();
        Ok(landing.and_then(|landing| String::from_utf8(landing).ok()))
    }

    /// Whether the browser has attempts whose links were not followed yet.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn has_open(&self, browser: &Browser) -> Result<bool, store::Error> {
        for (_, fingerprint) in self.members(browser).await? {
            let claimed = self.store.get(&claim_name(&fingerprint)).await?.is_some();
            if !claimed && self.read_open(browser, &fingerprint).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives a claimed attempt back: the link was not spent, because Mosaic could not be asked.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn give_back(&self, key: &AttemptKey) -> Result<(), store::Error> {
        self.store.remove(&claim_name(&key.0)).await
    }
}

fn code_owner_name(identifier: &Identifier) -> String {
    format!("code_of:{}", secret::fingerprint(&format!("{}:{}", identifier.kind(), identifier.value())))
}

fn sending_name(key: &AttemptKey, way: Way) -> String {
    format!("attempt_{}:{}", way.name(), key.0)
}

fn record_name(fingerprint: &str) -> String {
    format!("attempt:{fingerprint}")
}

/// Whoever follows the link again has its `state`, and may have no cookie of the attempt any more.
fn landing_seal(state: &str) -> Seal {
    Seal::new(state.as_bytes(), "landing")
}

fn claim_name(fingerprint: &str) -> String {
    format!("attempt_claimed:{fingerprint}")
}
