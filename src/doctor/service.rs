//! Who signs visitors in: Mosaic, as the gateway's client meets it, or the built-in issuer.

use std::time::Duration;

use super::{Finding, within};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::gateway::administration::{Service, Users};
use crate::identity::{EmailAddress, Identifier};
use crate::mosaic::{ClientClaims, Device, Error, KeySetFound, MadeUpToken, Method, Mosaic, SendMagicLink};
use crate::portal;
use crate::session::Chain;

/// Whom no mail can reach (RFC 2606 section 2), and who is nobody's user.
const NOBODY: &str = "linkgate-doctor@example.invalid";
/// Clocks may differ by so much without a word, and by so much without harm.
const CLOCKS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Looks at `[mosaic]`, or at `[issuer]`.
pub(super) async fn examine(config: &Config, clock: &Clock) -> Vec<Finding> {
    let users = match Users::on_trial(config, clock.clone()).await {
        Ok(users) => users,
        Err(error) => {
            let (check, setting) = if config.mosaic.is_some() { ("mosaic", "mosaic") } else { ("issuer", "issuer") };
            return vec![Finding::fail(check, format!("cannot {}", Chain(&error))).change(setting)];
        }
    };
    match users.service {
        Service::Mosaic => Tenant { config, clock, mosaic: &users.mosaic }.examine().await,
        Service::Issuer => vec![within("issuer", issuer(&users.mosaic)).await],
    }
}

async fn issuer(mosaic: &Mosaic) -> Finding {
    match mosaic.probe().await {
        Ok(()) => Finding::ok("issuer", "built in: it starts, and gives tokens that hold"),
        Err(error) => Finding::fail("issuer", format!("cannot {}", Chain(&error))).change("issuer"),
    }
}

/// Looks at the mail server of the built-in issuer; there is nothing to look at where mail goes to the mailbox page or
/// is Mosaic's to send.
pub(super) async fn check_mail(config: &Config) -> Option<Finding> {
    const CHECK: &str = "mail";
    let mail = config.issuer.as_ref()?.mail.as_ref()?;
    let server = mail.server.as_ref()?;
    let look = async {
        match mail.probe(&config.public_url.host).await {
            Ok(()) if mail.username.is_some() => Finding::ok(CHECK, format!("{server}: reached, and logged in")),
            Ok(()) => Finding::ok(CHECK, format!("{server}: reached")),
            Err(cause) => {
                let setting = match &mail.password_file {
                    _ if is_distrust(&cause) => "issuer.mail.certificate_authority_file",
                    _ if cause.starts_with("failed to start TLS") => "issuer.mail.security",
                    _ if !cause.starts_with("failed to log in") => "issuer.mail.server",
                    Some(_) => "issuer.mail.password_file",
                    None => "issuer.mail.password_env",
                };
                Finding::fail(CHECK, format!("{server}: {cause}")).change(setting)
            }
        }
    };
    Some(within(CHECK, look).await)
}

/// Whether a certificate is from an authority that this machine does not know, in the words of the TLS stack.
fn is_distrust(cause: &str) -> bool {
    cause.contains("UnknownIssuer")
}

/// A tenant of Mosaic.
struct Tenant<'a> {
    config: &'a Config,
    clock: &'a Clock,
    mosaic: &'a Mosaic,
}

impl Tenant<'_> {
    async fn examine(&self) -> Vec<Finding> {
        let (token, made_up, keys) = tokio::join!(
            within_patience(self.client_claims()),
            within_patience(self.timed(self.mosaic.try_made_up_token())),
            within("keys", self.keys()),
        );
        let redirect = match &token {
            Ok(_) => within("redirect URI", self.redirect_uri()).await,
            Err(_) => not_tried("redirect URI"),
        };
        vec![
            self.client_token(&token),
            self.clocks(&token, &made_up),
            self.issuer(&token),
            self.wrong_token(&made_up),
            keys,
            redirect,
        ]
    }

    async fn client_claims(&self) -> Result<Timed<Option<ClientClaims>>, Error> {
        self.timed(self.mosaic.client_claims()).await
    }

    /// What a call gave, and between which moments it ran.
    async fn timed<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<Timed<T>, Error> {
        let began = self.clock.now();
        let value = call.await?;
        Ok(Timed { value, began, ended: self.clock.now() })
    }

    fn client_token(&self, token: &Result<Timed<Option<ClientClaims>>, Error>) -> Finding {
        const CHECK: &str = "client token";
        let client = self.mosaic.client_id();
        let Err(error) = token else { return Finding::ok(CHECK, format!("Mosaic accepts the client {client}")) };
        match error {
            Error::ClientCredentials { message } => {
                let message = format!("Mosaic does not accept the client {client} ({message})");
                let change = format!("mosaic.client_id, {} or mosaic.client_authentication", self.proof());
                Finding::fail(CHECK, message).change(change)
            }
            Error::RateLimited { .. } => Finding::warn(CHECK, "Mosaic limits the rate of calls for now"),
            error => Finding::fail(CHECK, format!("cannot {}", Chain(error))).change(self.way("token_url", error)),
        }
    }

    /// Compares Mosaic's clock with ours, by whatever it said.
    fn clocks(
        &self,
        token: &Result<Timed<Option<ClientClaims>>, Error>,
        made_up: &Result<Timed<MadeUpToken>, Error>,
    ) -> Finding {
        const CHECK: &str = "clock";
        let token = token.as_ref().ok();
        let by_token = token.and_then(|token| Some(token.off(token.value.as_ref()?.issued_at()?)));
        let by_answer = made_up.as_ref().ok().and_then(|answer| Some(answer.off(answer.value.date?)));
        let Some((off, is_ahead)) = by_token.into_iter().chain(by_answer).max() else {
            return Finding::warn(CHECK, "Mosaic did not say what time it is");
        };
        let seconds = off.as_secs();
        let behind_or_ahead = if is_ahead { "ahead of" } else { "behind" };
        let message = format!("this machine's clock is {seconds} s {behind_or_ahead} Mosaic's; set it (NTP)");
        match off {
            off if off > CLOCKS.1 => Finding::fail(CHECK, message),
            off if off > CLOCKS.0 => Finding::warn(CHECK, message),
            _ => Finding::ok(CHECK, "agrees with Mosaic's"),
        }
    }

    /// Compares who signs with who is expected to.
    fn issuer(&self, token: &Result<Timed<Option<ClientClaims>>, Error>) -> Finding {
        const CHECK: &str = "token issuer";
        let Ok(Timed { value: claims, .. }) = token else { return not_tried(CHECK) };
        let claims = claims.clone().unwrap_or_default();
        let expected = self.mosaic.expected_issuer();
        let Some(issuer) = claims.issuer else {
            let message = format!("the client token does not say who signs; expected is `{expected}`");
            return Finding::warn(CHECK, message);
        };
        if issuer != expected {
            let message = format!("tokens come from `{issuer}`, and `{expected}` is expected: set it to \"{issuer}\"");
            return Finding::fail(CHECK, message).change("mosaic.issuer");
        }
        if let Some(client) = claims.client_id.filter(|client| client != self.mosaic.client_id()) {
            let message = format!("the client token was given to another client, `{client}`");
            return Finding::fail(CHECK, message).change("mosaic.client_id");
        }
        let wanted = self.config.mosaic.as_ref().and_then(|mosaic| mosaic.tenant_id.as_ref());
        match (wanted, claims.tenant_id) {
            (Some(wanted), Some(tenant)) if *wanted != tenant => {
                let message = format!("tokens are of the tenant `{tenant}`, and `{wanted}` is expected");
                Finding::fail(CHECK, message).change("mosaic.tenant_id")
            }
            _ => Finding::ok(CHECK, format!("`{expected}`, as expected")),
        }
    }

    /// Whoever takes any token is not Mosaic.
    fn wrong_token(&self, made_up: &Result<Timed<MadeUpToken>, Error>) -> Finding {
        const CHECK: &str = "wrong token";
        let finding = match made_up {
            Ok(Timed { value: MadeUpToken { status: status @ (401 | 403), .. }, .. }) => {
                return Finding::ok(CHECK, format!("refused (status {status})"));
            }
            Ok(Timed { value: MadeUpToken { status: 429, .. }, .. }) => {
                return Finding::warn(CHECK, "Mosaic limits the rate of calls for now");
            }
            Ok(Timed { value: MadeUpToken { status: status @ 500.., .. }, .. }) => {
                Finding::fail(CHECK, format!("Mosaic has a fault of its own (status {status})"))
            }
            Ok(Timed { value: MadeUpToken { status, .. }, .. }) => {
                let message = format!("a made-up token is not refused (status {status}): this is not Mosaic's API");
                Finding::fail(CHECK, message)
            }
            Err(error) => {
                return Finding::fail(CHECK, format!("cannot {}", Chain(error))).change(self.way("base_url", error));
            }
        };
        finding.change(self.address("base_url"))
    }

    async fn keys(&self) -> Finding {
        const CHECK: &str = "keys";
        let cause = match self.mosaic.look_at_keys().await {
            Ok(KeySetFound::KeySet { usable: 1.., signed: Some(false), .. }) => {
                "no key in the set signed the client token; an application with signing keys of its own has a key set of \
                 its own"
                    .to_owned()
            }
            Ok(KeySetFound::KeySet { usable: usable @ 1.., .. }) => {
                return Finding::ok(CHECK, format!("{usable} that can verify tokens"));
            }
            Ok(KeySetFound::NoKeySet) => "what is at the address is not a key set".to_owned(),
            Ok(KeySetFound::KeySet { weak: 0, all, .. }) => {
                format!("none of the {all} keys in the set is an RSA key that can verify tokens")
            }
            Ok(KeySetFound::KeySet { weak, .. }) => {
                format!("no key can verify tokens: RSA keys need 2048 bits, and {weak} have less")
            }
            Err(Error::Unexpected { status, .. }) => format!("there is no key set (status {status})"),
            Err(error) => {
                let setting = self.way("key_set_url", &error);
                return Finding::fail(CHECK, format!("cannot {}", Chain(&error))).change(setting);
            }
        };
        Finding::fail(CHECK, cause).change("mosaic.key_set_url")
    }

    /// Has a link sent to nobody: Mosaic refuses a redirect URI that it does not know before it looks for the user.
    async fn redirect_uri(&self) -> Finding {
        const CHECK: &str = "redirect URI";
        let uri = self.config.public_url.join(portal::CALLBACK);
        let nobody = Identifier::Email(EmailAddress::parse(NOBODY).expect("the constant is an address"));
        let link = SendMagicLink {
            identifier: &nobody,
            redirect_uri: &uri,
            state: "linkgate-doctor",
            link_lifetime: Duration::from_secs(60),
            device: Device::default(),
            email_content: None,
        };
        match self.mosaic.send_magic_link(&link).await {
            Ok(_) => Finding::ok(CHECK, format!("Mosaic accepts {uri}")),
            Err(error) if error.is_about_the_user() => Finding::ok(CHECK, format!("Mosaic accepts {uri}")),
            Err(Error::RedirectUriNotAllowed) => {
                let message = format!("Mosaic does not accept {uri}: add it to the redirect URIs of the application");
                Finding::fail(CHECK, message).change("public_url")
            }
            Err(error) if error.is_transient() => Finding::warn(CHECK, format!("cannot {}", Chain(&error))),
            Err(error) => Finding::fail(CHECK, format!("cannot {}", Chain(&error))).change("mosaic.client_id"),
        }
    }

    /// The setting to change where `setting`'s address cannot be reached: who vouches for it, if that is not known here.
    fn way(&self, setting: &str, error: &Error) -> String {
        if is_distrust(&Chain(error).to_string()) {
            return "mosaic.certificate_authority_file".to_owned();
        }
        self.address(setting)
    }

    /// The setting that names an address of Mosaic: the one for it alone, or the one that it follows from.
    fn address(&self, setting: &str) -> String {
        let mosaic = self.config.mosaic.clone().unwrap_or_default();
        let own = match setting {
            "token_url" => mosaic.token_url,
            "key_set_url" => mosaic.key_set_url,
            _ => mosaic.base_url.clone(),
        };
        match (own, mosaic.base_url) {
            (Some(_), _) => format!("mosaic.{setting}"),
            (None, Some(_)) => "mosaic.base_url".to_owned(),
            (None, None) => "mosaic.region".to_owned(),
        }
    }

    /// The setting that names what the client proves itself with.
    fn proof(&self) -> &'static str {
        let mosaic = self.config.mosaic.as_ref();
        match mosaic.map(|mosaic| (mosaic.client_authentication, mosaic.client_secret_env.is_some())) {
            Some((Method::PrivateKeyJwt, _)) => "mosaic.private_key_file",
            Some((Method::TlsClientAuth | Method::SelfSignedTlsClientAuth, _)) => "mosaic.certificate_file",
            Some((_, true)) => "mosaic.client_secret_env",
            _ => "mosaic.client_secret_file",
        }
    }
}

/// What a call gave, and between which of our moments.
struct Timed<T> {
    value: T,
    began: Timestamp,
    ended: Timestamp,
}

impl<T> Timed<T> {
    /// How far our clock is from one that showed `theirs`, a whole second, during the call; and whether it is ahead.
    fn off(&self, theirs: Timestamp) -> (Duration, bool) {
        let theirs_at_most = theirs.plus(Duration::from_millis(999));
        let (ahead, behind) = (self.began.since(theirs_at_most), theirs.since(self.ended));
        (ahead.max(behind), !ahead.is_zero())
    }
}

async fn within_patience<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(super::PATIENCE, call).await.unwrap_or(Err(Error::TimedOut))
}

fn not_tried(check: &'static str) -> Finding {
    Finding::warn(check, "not tried: there is no client token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_what_the_call_does_not_explain() {
        let at = Timestamp::from_unix_millis;
        let off = |theirs| Timed { value: (), began: at(100_500), ended: at(102_500) }.off(at(theirs));
        let millis = |millis, is_ahead| (Duration::from_millis(millis), is_ahead);
        assert_eq!(off(100_000), millis(0, false), "the second in which the call began");
        assert_eq!(off(102_000), millis(0, false));
        assert_eq!(off(110_000), millis(7_500, false), "ours is behind");
        assert_eq!(off(90_000), millis(9_501, true), "ours is ahead");
    }
}
