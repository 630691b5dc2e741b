//! All rules of a route together, and what they come to.

use std::net::IpAddr;
use std::time::Duration;

use http::Method;
use serde::{Deserialize, Serialize};

use super::public::{PublicRule, is_browser_file};
use super::rule::Rule;
use super::{Access, Who};
use crate::clock::Timestamp;
use crate::proxy::canonical::CanonicalPath;
use crate::proxy::route::Config;

/// `route.mode`: what comes of it when the rules object to a visitor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They may not pass.
    #[default]
    Enforce,
    /// They pass all the same, and it is counted and logged: for trying rules out.
    Observe,
}

/// Who may pass a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    access: Access,
    allow: Option<Vec<Rule>>,
    deny: Vec<Rule>,
    mode: Mode,
    public: Vec<PublicRule>,
    /// The path of the route, where files that browsers fetch without credentials are public.
    browser_files: Option<String>,
    show_reason: bool,
    no_access_text: Option<String>,
}

/// Why rules keep a visitor out, the farthest from passing first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A deny rule fits.
    Denied,
    /// No allow rule names them.
    NotNamed,
    /// An allow rule that names them is for other networks.
    Network,
    /// An allow rule that names them is for other hours.
    Hours,
    /// An allow rule fits but for the age of their sign-in.
    SignInTooOld,
}

impl Reason {
    /// The stable name for programs, logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::NotNamed => "not_named",
            Self::Network => "network",
            Self::Hours => "hours",
            Self::SignInTooOld => "sign_in_too_old",
        }
    }

    /// Whether one more allow rule would let the visitor pass, and so a grant does. Whose sign-in is too old has a rule
    /// already, and signs in once more.
    pub const fn yields_to_grants(self) -> bool {
        matches!(self, Self::NotNamed | Self::Network | Self::Hours)
    }
}

/// What the rules have against a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Objection {
    /// Why.
    pub reason: Reason,
    /// The place of the rule in its list: the deny rule that fits, or of the allow rules that name the visitor the one that
    /// comes nearest.
    pub rule: Option<usize>,
}

/// What a visitor who may not pass is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told<'a> {
    /// Why, where the route says so.
    pub reason: Option<Reason>,
    /// The operator's own words.
    pub text: Option<&'a str>,
}

/// What makes a part of a route public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// The rule at this place of `public`.
    Rule(usize),
    /// `public_browser_files`.
    BrowserFiles,
}

/// What the rules come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The visitor may pass; with what would be held against them, where the route only observes.
    Pass(Option<Objection>),
    /// The visitor must sign in.
    SignIn,
    /// The visitor must have signed in no longer ago than this.
    StepUp(Objection, Duration),
    /// The visitor may not pass.
    Refuse(Objection),
}

impl Policy {
    /// The policy of a route that serves `path`, which is written without a slash at its end.
    pub fn new(config: &Config, path: &str) -> Self {
        let canonical = |rules: &Vec<Rule>| rules.iter().cloned().map(Rule::canonical).collect();
        Self {
            access: config.access,
            allow: config.allow.as_ref().map(canonical),
            deny: canonical(&config.deny),
            mode: config.mode,
            public: config.public.clone(),
            browser_files: config.public_browser_files.then(|| path.to_owned()),
            show_reason: config.show_reason,
            no_access_text: config.no_access_text.clone(),
        }
    }

    /// The access to one path by one method: that of the route, or public where a public rule opens it.
    pub fn access_to(&self, method: &Method, path: &CanonicalPath) -> Access {
        if self.opening(method, path).is_some() { Access::Public } else { self.access }
    }

    /// What opens a path to everybody.
    pub fn opening(&self, method: &Method, path: &CanonicalPath) -> Option<Opening> {
        let rule = self.public.iter().position(|rule| rule.opens(method, path)).map(Opening::Rule);
        let is_file = |base: &String| is_browser_file(base, method, path);
        rule.or_else(|| self.browser_files.as_ref().filter(|base| is_file(base)).map(|_| Opening::BrowserFiles))
    }

    /// The place of the first allow rule that lets somebody pass.
    pub fn allowing(&self, client: IpAddr, who: Who<'_>, now: Timestamp) -> Option<usize> {
        self.allow.as_ref()?.iter().position(|rule| rule.objection(client, who, now).is_none())
    }

    /// What comes of a request from `client` by somebody or, where nobody is signed in, by anybody. Where access is
    /// public, who they are makes no difference.
    pub fn judge(&self, access: Access, client: IpAddr, who: Option<Who<'_>>, now: Timestamp) -> Judgement {
        let who = who.filter(|_| access != Access::Public);
        let objection = self.objection(access, client, who, now);
        match (objection, self.mode) {
            (Some(objection), Mode::Enforce) => match self.max_age(objection) {
                Some(max_age) => Judgement::StepUp(objection, max_age),
                None => Judgement::Refuse(objection),
            },
            // Observing opens nothing to somebody who is not signed in.
            _ if access == Access::SignedIn && who.is_none() => Judgement::SignIn,
            (observed, _) => Judgement::Pass(observed),
        }
    }

    fn objection(&self, access: Access, client: IpAddr, who: Option<Who<'_>>, now: Timestamp) -> Option<Objection> {
        if let Some(at) = self.deny.iter().position(|rule| rule.denies(client, who, now)) {
            return Some(Objection { reason: Reason::Denied, rule: Some(at) });
        }
        let (Access::SignedIn, Some(who), Some(allow)) = (access, who, &self.allow) else { return None };
        let mut nearest = Objection { reason: Reason::NotNamed, rule: None };
        for (at, rule) in allow.iter().enumerate() {
            // A rule without an objection is enough.
            let objection = Objection { reason: rule.objection(client, who, now)?, rule: Some(at) };
            // Of rules that fit but for the age of the sign-in, the one that asks least.
            if (objection.reason, self.max_age(objection)) > (nearest.reason, self.max_age(nearest)) {
                nearest = objection;
            }
        }
        Some(nearest)
    }

    /// How long ago the sign-in may have been, where nothing else is objected to.
    fn max_age(&self, objection: Objection) -> Option<Duration> {
        let allow = self.allow.as_ref().filter(|_| objection.reason == Reason::SignInTooOld)?;
        allow.get(objection.rule?)?.max_sign_in_age.map(|age| age.0)
    }

    /// Whether there are deny rules, so that even what is public can come to an end.
    pub const fn denies(&self) -> bool {
        !self.deny.is_empty()
    }

    /// What a visitor is told about an objection. The words of the rule come before those of the route.
    pub fn told(&self, objection: Objection) -> Told<'_> {
        let rules = if objection.reason == Reason::Denied { Some(&self.deny) } else { self.allow.as_ref() };
        let rule = objection.rule.and_then(|at| rules?.get(at));
        let text = rule.and_then(|rule| rule.no_access_text.as_ref()).or(self.no_access_text.as_ref());
        Told { reason: Some(objection.reason).filter(|_| self.show_reason), text: text.map(String::as_str) }
    }
}

#[cfg(test)]
mod tests;
