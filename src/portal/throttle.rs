//! Budgets for asking for links: per mailbox, per client address, and in all.
//!
//! Every request counts, whether or not the address exists, so that limits say nothing about anybody.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::sign_in::Config;
use crate::clock::Timestamp;
use crate::identity::{Identifier, Subject};
use crate::secret;
use crate::store::{self, Shared};

const HOUR: Duration = Duration::from_secs(3600);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const QUARTER_HOUR: Duration = Duration::from_secs(900);
/// People behind one address try codes for as many accounts.
const PEER_FACTOR: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// The budgets.
pub(super) struct Throttle {
    store: Shared,
    per_mailbox: u64,
    pause: Duration,
    per_peer: u64,
    in_all: u64,
    code_tries: u64,
}

/// What a mailbox may still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mailbox {
    /// A link may go out; the next one after `next_at`.
    Free {
        /// When the pause is over.
        next_at: Timestamp,
    },
    /// One just went out.
    Pausing {
        /// When the pause is over.
        until: Timestamp,
    },
    /// As many went out as may in an hour.
    Exhausted {
        /// When the hour is over.
        until: Timestamp,
    },
}

impl Throttle {
    /// The budgets of a configuration, counted in `store` for all instances together.
    pub(super) fn new(store: &Shared, config: &Config) -> Self {
        Self {
            store: Arc::clone(store),
            per_mailbox: config.links_per_mailbox.into(),
            pause: config.resend_pause.0,
            per_peer: config.links_per_peer.into(),
            in_all: config.links_in_all.into(),
            code_tries: config.code_tries.into(),
        }
    }

    /// Counts a request of `peer`. The moment at which it may ask again, if it asked too often.
    ///
    /// # Errors
    /// When the store cannot count: nobody is let through uncounted.
    pub(super) async fn admit(&self, peer: IpAddr) -> Result<Option<Timestamp>, store::Error> {
        let by_peer = self.store.count(&format!("links_by:{}", network(peer)), TEN_MINUTES).await?;
        if by_peer.events > self.per_peer {
            return Ok(Some(by_peer.resets_at));
        }
        let in_all = self.store.count("links_in_all", MINUTE).await?;
        Ok((in_all.events > self.in_all).then_some(in_all.resets_at))
    }

    /// Counts a link to the mailbox behind `identifier`.
    ///
    /// # Errors
    /// When the store cannot count.
    pub(super) async fn mail(&self, identifier: &Identifier) -> Result<Mailbox, store::Error> {
        self.message("link_pause", identifier).await
    }

    /// Counts a code to the mailbox or phone behind `identifier`. It has a pause of its own, so that it can follow the
    /// link at once, and shares the hour with links.
    ///
    /// # Errors
    /// When the store cannot count.
    pub(super) async fn code(&self, identifier: &Identifier) -> Result<Mailbox, store::Error> {
        self.message("code_pause", identifier).await
    }

    async fn message(&self, kind: &str, identifier: &Identifier) -> Result<Mailbox, store::Error> {
        let mailbox = secret::fingerprint(&identifier.budget());
        let pause = self.store.count(&format!("{kind}:{mailbox}"), self.pause).await?;
        if pause.events > 1 {
            return Ok(Mailbox::Pausing { until: pause.resets_at });
        }
        let hour = self.store.count(&format!("links_to:{mailbox}"), HOUR).await?;
        if hour.events > self.per_mailbox {
            return Ok(Mailbox::Exhausted { until: hour.resets_at });
        }
        Ok(Mailbox::Free { next_at: pause.resets_at })
    }

    /// Counts a try at a code. The moment at which the next may be made, if there were too many: for one account,
    /// whichever browsers they came from, or from one peer, for whichever accounts.
    ///
    /// # Errors
    /// When the store cannot count: nothing is compared uncounted.
    pub(super) async fn try_code(
        &self,
        peer: IpAddr,
        identifier: &Identifier,
    ) -> Result<Option<Timestamp>, store::Error> {
        let by_peer = self.store.count(&format!("codes_by:{}", network(peer)), QUARTER_HOUR).await?;
        if by_peer.events > self.code_tries.saturating_mul(PEER_FACTOR) {
            return Ok(Some(by_peer.resets_at));
        }
        let account = secret::fingerprint(&identifier.budget());
        let tries = self.store.count(&format!("codes_for:{account}"), QUARTER_HOUR).await?;
        Ok((tries.events > self.code_tries).then_some(tries.resets_at))
    }

    /// Counts a terminal of `peer` that wants to be signed in. The moment at which the next may, if there were too many.
    ///
    /// # Errors
    /// When the store cannot count.
    pub(super) async fn admit_terminal(&self, peer: IpAddr) -> Result<Option<Timestamp>, store::Error> {
        let by_peer = self.store.count(&format!("terminals_by:{}", network(peer)), TEN_MINUTES).await?;
        Ok((by_peer.events > self.per_peer).then_some(by_peer.resets_at))
    }

    /// Counts a try of a user at the code of a terminal, for which each needs two. The moment at which the next may be
    /// made, if there were too many.
    ///
    /// # Errors
    /// When the store cannot count: nothing is compared uncounted.
    pub(super) async fn try_terminal(&self, subject: &Subject) -> Result<Option<Timestamp>, store::Error> {
        let tries = self.store.count(&format!("terminal_tries:{subject}"), QUARTER_HOUR).await?;
        Ok((tries.events > self.code_tries.saturating_mul(2)).then_some(tries.resets_at))
    }
}

/// One IPv6 subscriber has a whole /64 (RFC 6177), so that counts as one.
fn network(peer: IpAddr) -> String {
    match peer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::identity::IdentifierKind;
    use crate::store::memory::Memory;

    fn read(address: &str) -> Identifier {
        IdentifierKind::Email.read(address).unwrap()
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_peer() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), "192.0.2.1");
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[tokio::test]
    async fn a_mailbox_has_a_pause_and_an_hourly_budget() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let throttle = Throttle::new(&store, &Config::default());
        let ada = read("ada@example.com");
        let tagged = read("ada+x@example.com");
        let start = clock.now();
        let until = start.plus(Duration::from_secs(30));
        assert_eq!(throttle.mail(&ada).await.unwrap(), Mailbox::Free { next_at: until });
        assert_eq!(throttle.mail(&tagged).await.unwrap(), Mailbox::Pausing { until });
        for _ in 0..4 {
            clock.advance(Duration::from_secs(30));
            assert!(matches!(throttle.mail(&ada).await.unwrap(), Mailbox::Free { .. }));
        }
        clock.advance(Duration::from_secs(30));
        let until = start.plus(HOUR);
        assert_eq!(throttle.mail(&ada).await.unwrap(), Mailbox::Exhausted { until });
        clock.set(until);
        assert!(matches!(throttle.mail(&ada).await.unwrap(), Mailbox::Free { .. }));
    }

    #[tokio::test]
    async fn an_account_has_a_few_tries_at_codes_and_a_peer_some_more() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let throttle = Throttle::new(&store, &Config { code_tries: 2, ..Config::default() });
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let account = |number: u32| read(&format!("user{number}@example.com"));
        let until = Some(clock.now().plus(QUARTER_HOUR));
        for (peer, expected) in [(one, None), (two, None), (one, until), (two, until)] {
            assert_eq!(throttle.try_code(peer, &account(0)).await.unwrap(), expected);
        }
        for number in 1..=18 {
            assert_eq!(throttle.try_code(one, &account(number)).await.unwrap(), None, "{number}");
        }
        assert_eq!(throttle.try_code(one, &account(19)).await.unwrap(), until, "the peer");
        assert_eq!(throttle.try_code(two, &account(19)).await.unwrap(), None);
        clock.advance(QUARTER_HOUR);
        assert_eq!(throttle.try_code(one, &account(0)).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_code_may_follow_the_link_at_once_and_shares_its_hour() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let throttle = Throttle::new(&store, &Config { links_per_mailbox: 2, ..Config::default() });
        let ada = read("ada@example.com");
        assert!(matches!(throttle.mail(&ada).await.unwrap(), Mailbox::Free { .. }));
        assert!(matches!(throttle.code(&ada).await.unwrap(), Mailbox::Free { .. }));
        assert!(matches!(throttle.code(&ada).await.unwrap(), Mailbox::Pausing { .. }));
        clock.advance(Duration::from_secs(30));
        assert!(matches!(throttle.code(&ada).await.unwrap(), Mailbox::Exhausted { .. }));
    }

    #[tokio::test]
    async fn a_peer_has_a_budget_of_its_own() {
        let clock = Clock::manual(Timestamp::from_unix_seconds(1_000));
        let store: Shared = Arc::new(Memory::new(clock.clone()));
        let throttle = Throttle::new(&store, &Config { links_per_peer: 2, links_in_all: 4, ..Config::default() });
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(throttle.admit(one).await.unwrap(), None);
        assert_eq!(throttle.admit(one).await.unwrap(), None);
        let until = clock.now().plus(TEN_MINUTES);
        assert_eq!(throttle.admit(one).await.unwrap(), Some(until));
        assert_eq!(throttle.admit(two).await.unwrap(), None);
        assert_eq!(throttle.admit(two).await.unwrap(), None);
        let third = "192.0.2.3".parse().unwrap();
        assert_eq!(throttle.admit(third).await.unwrap(), Some(clock.now().plus(MINUTE)), "all together");
    }
}
