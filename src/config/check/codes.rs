//! The checks of `[issuer.codes]`.

use super::Check;
use crate::issuer::Config;
use crate::setting::Span;

impl Check<'_> {
    pub(super) fn codes(&mut self, issuer: &Config) {
        let codes = &issuer.codes;
        // What could not be read stands as its default, which is in order.
        if !(4..=8).contains(&codes.length) {
            self.refuse("issuer.codes.length", "must be between 4 and 8", "6 suits most");
        }
        if !(1..=20).contains(&codes.tries) {
            self.refuse("issuer.codes.tries", "must be between 1 and 20", "5 suits most");
        }
        let bounds = Span::minutes(1)..=Span::hours(24);
        if !bounds.contains(&codes.lifetime) {
            self.refuse("issuer.codes.lifetime", "must be between 1m and 24h", "10m suits most");
        }
        if !bounds.contains(&codes.lockout) {
            self.refuse("issuer.codes.lockout", "must be between 1m and 24h", "15m suits most");
        }
    }
}
