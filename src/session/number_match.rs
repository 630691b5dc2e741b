//! The link opened on another device: three numbers are shown there, one of them where sign-in began, and who chooses that
//! one lets the waiting browser in.
//!
//! What the other device is shown opens by the link's `state` alone. What it chooses is kept until the waiting browser comes
//! for it, which is the only one that can finish. An attempt takes one choice, whoever makes it and how many at once.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, AttemptKey, Attempts, Browser};
use crate::agent::Agent;
use crate::clock::Timestamp;
use crate::identity::Identifier;
use crate::secret::{self, Seal};
use crate::store;

/// Numbers that the other device is shown.
const SHOWN: usize = 3;
/// How long after a wrong choice no link to the mailbox offers numbers: who guesses is not to guess again and again.
const PAUSE: Duration = Duration::from_secs(24 * 3600);
/// A code has 1 KB at most; this leaves room for the rest and for its encoding.
const MOST_BYTES: usize = 4096;

/// Three two-digit numbers, one of which is right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// All of them, in the order in which they are shown.
    pub shown: [u8; SHOWN],
    right: u8,
}

impl Numbers {
    fn draw() -> Self {
        Self::by(|| secret::random_bytes::<1>()[0])
    }

    /// Each number and each place is as likely as any other: a draw that would favour some is made again.
    fn by(mut draw: impl FnMut() -> u8) -> Self {
        let mut below = |limit: u8| loop {
            let drawn = draw();
            if drawn < u8::MAX - u8::MAX % limit {
                break drawn % limit;
            }
        };
        let (mut shown, mut drawn) = ([0; SHOWN], 0);
        while drawn < SHOWN {
            let number = 10 + below(90);
            if !shown[..drawn].contains(&number) {
                shown[drawn] = number;
                drawn += 1;
            }
        }
        let right = shown[usize::from(below(3))];
        Self { shown, right }
    }
}

/// What the waiting browser shows, and what it needs to come for the choice.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The right number.
    pub number: u8,
    state: String,
}

/// Without number and `state`.
impl fmt::Debug for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a sign-in was asked for, as the other device is shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// When.
    pub at: Timestamp,
    /// With which browser: well-known names only.
    pub agent: Agent,
    /// From which address.
    pub address: IpAddr,
    /// The numbers to choose from.
    pub numbers: Numbers,
    expires_at: Timestamp,
    forgotten_at: Timestamp,
    paused_name: String,
}

/// What the numbers of an attempt came to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Choice {
    /// The right one was chosen; the code of the link waits for the browser that asked.
    Right {
        /// The code.
        code: String,
    },
    /// A wrong one was chosen.
    Wrong,
    /// None: a newer mail was asked for.
    Replaced {
        /// When.
        at: Timestamp,
    },
}

/// What became of one number that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// It is the right one, and the waiting browser goes on.
    Right,
    /// It is not, and the attempt is over.
    Wrong,
    /// It is none of those that were shown.
    NotShown,
    /// The attempt has its choice already, or is finished in another way.
    Decided,
    /// The link works no more.
    Expired,
}

/// How far the attempts of a waiting browser are.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing was chosen.
    Waiting,
    /// The right number was: the browser can finish.
    Chosen {
        /// What the link would have brought.
        opened: Opened,
        /// The attempt.
        attempt: Attempt,
    },
    /// A wrong number ended its newest attempt.
    Stopped(Attempt),
}

/// What a link brings to the browser that it is opened in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// What Mosaic takes for a sign-in.
    pub code: String,
    /// The attempt.
    pub state: String,
}

/// Without code and `state`.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Opened {
    /// What the form of the other device carries, so that looking at it keeps nothing here: only its own cookie opens it.
    pub fn seal(&self, browser: &Browser) -> String {
        let record = serde_json::to_vec(self).expect("what a link brings has string keys only");
        secret::base64url(&browser.seal_for("number_match").close("opened", &record))
    }

    /// What the form that was shown to `browser` says.
    pub fn unseal(text: &str, browser: &Browser) -> Option<Self> {
        let sealed = secret::from_base64url(text).filter(|_| text.len() <= MOST_BYTES)?;
        let record = browser.seal_for("number_match").open("opened", &sealed).ok()?;
        serde_json::from_slice(&record).ok()
    }
}

impl Attempts {
    /// Gives an attempt its numbers: the waiting browser gets the right one, and who opens the link can choose.
    ///
    /// The waiting browser is shown one in any case, so that it learns nothing of what others chose for the mailbox.
    ///
    /// # Errors
    /// When the store cannot keep them.
    pub async fn offer_numbers(
        &self,
        browser: &Browser,
        state: &str,
        attempt: Attempt,
        agent: Agent,
        address: IpAddr,
    ) -> Result<Attempt, store::Error> {
        let numbers = Numbers::draw();
        let number_match = Match { number: numbers.right, state: state.to_owned() };
        let attempt = Attempt { number_match: Some(number_match), ..attempt };
        self.rewrite(browser, &AttemptKey::of(state), &attempt).await?;
        let paused_name = paused_name(&attempt.identifier);
        if self.store.get(&paused_name).await?.is_none() {
            let (at, expires_at, forgotten_at) = (attempt.begun_at, attempt.expires_at, attempt.forgotten_at());
            let asked = Asked { at, agent, address, numbers, expires_at, forgotten_at, paused_name };
            let record = serde_json::to_vec(&asked).expect("where a sign-in was asked for has string keys only");
            let name = asked_name(state);
            self.store.put(&name, &seal(state).close(&name, &record), expires_at).await?;
        }
        Ok(attempt)
    }

    /// Where the sign-in was asked for, while its link works and numbers are offered.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn asked(&self, state: &str) -> Result<Option<Asked>, store::Error> {
        let name = asked_name(state);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let opened = seal(state).open(&name, &record).ok();
        let asked: Option<Asked> = opened.and_then(|record| serde_json::from_slice(&record).ok());
        Ok(asked.filter(|asked| self.clock.now() < asked.expires_at))
    }

    /// What the numbers came to.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn choice(&self, state: &str) -> Result<Option<Choice>, store::Error> {
        let name = choice_name(state);
        let Some(record) = self.store.get(&name).await? else { return Ok(None) };
        let opened = seal(state).open(&name, &record).ok();
        Ok(opened.and_then(|record| serde_json::from_slice(&record).ok()))
    }

    /// Decides the attempt; `false` where it was decided before.
    async fn decide(&self, state: &str, choice: &Choice, until: Timestamp) -> Result<bool, store::Error> {
        let name = choice_name(state);
        let record = serde_json::to_vec(choice).expect("a choice has string keys only");
        self.store.put_if_absent(&name, &seal(state).close(&name, &record), until).await
    }

    /// Takes one number for the attempt.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn choose(&self, opened: &Opened, number: u8) -> Result<Chosen, store::Error> {
        let (state, key) = (&opened.state, AttemptKey::of(&opened.state));
        let Some(asked) = self.asked(state).await? else { return Ok(Chosen::Expired) };
        if !asked.numbers.shown.contains(&number) {
            return Ok(Chosen::NotShown);
        }
        if self.is_claimed(&key).await? {
            return Ok(Chosen::Decided);
        }
        if number == asked.numbers.right {
            let choice = Choice::Right { code: opened.code.clone() };
            let is_first = self.decide(state, &choice, asked.expires_at).await?;
            return Ok(if is_first { Chosen::Right } else { Chosen::Decided });
        }
        if !self.decide(state, &Choice::Wrong, asked.forgotten_at).await? {
            return Ok(Chosen::Decided);
        }
        self.store.put(&asked.paused_name, &[], self.clock.now().plus(PAUSE)).await?;
        self.claim_until(&key, asked.forgotten_at).await?;
        Ok(Chosen::Wrong)
    }

    /// Notes that the numbers of an attempt count no more, because a newer mail was asked for.
    pub(super) async fn withdraw_numbers(&self, attempt: &Attempt) -> Result<(), store::Error> {
        if let Some(number_match) = &attempt.number_match {
            let choice = Choice::Replaced { at: self.clock.now() };
            self.decide(&number_match.state, &choice, attempt.forgotten_at()).await?;
        }
        Ok(())
    }

    /// Whether a wrong number ended the attempt, even if that could not be noted in every place.
    pub(super) async fn is_stopped(&self, attempt: &Attempt) -> Result<bool, store::Error> {
        match &attempt.number_match {
            Some(number_match) => Ok(self.choice(&number_match.state).await? == Some(Choice::Wrong)),
            None => Ok(false),
        }
    }

    /// How far the browser's attempts are.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn progress(&self, browser: &Browser) -> Result<Progress, store::Error> {
        let mut is_newest = true;
        for (_, fingerprint) in self.members(browser).await?.into_iter().rev() {
            let Some(attempt) = self.read(browser, &fingerprint).await? else { continue };
            let can_finish = attempt.is_open(self.clock.now()) && attempt.superseded_at.is_none();
            if let Some(number_match) = &attempt.number_match {
                let state = number_match.state.clone();
                match self.choice(&state).await? {
                    Some(Choice::Right { code }) if can_finish && !self.is_claimed(&AttemptKey::of(&state)).await? => {
                        return Ok(Progress::Chosen { opened: Opened { code, state }, attempt });
                    }
                    Some(Choice::Wrong) if is_newest => return Ok(Progress::Stopped(attempt)),
                    _ => {}
                }
            }
            is_newest = false;
        }
        Ok(Progress::Waiting)
    }
}

/// Whoever has the link has its `state`; the store alone opens nothing.
fn seal(state: &str) -> Seal {
    Seal::new(state.as_bytes(), "number_match")
}

fn asked_name(state: &str) -> String {
    format!("attempt_numbers:{}", secret::fingerprint(state))
}

fn choice_name(state: &str) -> String {
    format!("attempt_choice:{}", secret::fingerprint(state))
}

fn paused_name(identifier: &Identifier) -> String {
    format!("numbers_paused:{}", secret::fingerprint(&format!("{}:{}", identifier.kind(), identifier.value())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_distinct_have_two_digits_and_one_is_right() {
        let mut places = [0_u32; SHOWN];
        for _ in 0..3000 {
            let Numbers { shown, right } = Numbers::draw();
            assert!(shown.iter().all(|number| (10..=99).contains(number)), "{shown:?}");
            assert!(shown[0] != shown[1] && shown[1] != shown[2] && shown[0] != shown[2], "{shown:?}");
            places[shown.iter().position(|number| *number == right).expect("the right one is shown")] += 1;
        }
        assert!(places.iter().all(|count| (800..1200).contains(count)), "{places:?}");
    }

    #[test]
    fn what_would_favour_a_number_or_a_place_is_drawn_again() {
        let check = |drawn: &[u8], expected: [u8; SHOWN], right: u8| {
            let mut draws = drawn.iter().copied();
            let numbers = Numbers::by(|| draws.next().expect("no more is drawn"));
            assert_eq!(numbers, Numbers { shown: expected, right }, "{drawn:?}");
            assert_eq!(draws.next(), None, "{drawn:?}");
        };
        check(&[0, 1, 2, 0], [10, 11, 12], 10);
        check(&[89, 90, 179, 4, 2], [99, 10, 14], 14);
        check(&[180, 255, 5, 5, 95, 6, 7, 255, 254], [15, 16, 17], 17);
    }

    #[test]
    fn only_the_browser_that_opened_the_link_can_say_what_it_brought() {
        let opened = Opened { code: "abc".to_owned(), state: "x".repeat(43) };
        let browser = Browser::new();
        let sealed = opened.seal(&browser);
        assert!(!sealed.contains("abc") && !sealed.contains("xxx"));
        assert_eq!(Opened::unseal(&sealed, &browser), Some(opened));
        assert_eq!(Opened::unseal(&sealed, &Browser::new()), None);
        for wrong in [String::new(), sealed[1..].to_owned(), format!("{sealed}A"), "%00".to_owned(), "A".repeat(5000)] {
            assert_eq!(Opened::unseal(&wrong, &browser), None, "{wrong:.40}");
        }
    }
}
