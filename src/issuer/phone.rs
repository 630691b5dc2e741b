//! Phone numbers in the one form that is compared, stored and texted.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number as E.164 has it: a plus sign and 7 to 15 digits, of which the first is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct PhoneNumber(String);

impl PhoneNumber {
    /// Reads a number; the blanks, hyphens, dots and brackets between its digits do not count.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let plain: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '(' | ')')).collect();
        let digits = plain.strip_prefix('+')?;
        let fine = (7..=15).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        fine.then_some(Self(plain))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<PhoneNumber> for String {
    fn from(number: PhoneNumber) -> Self {
        number.0
    }
}

impl TryFrom<String> for PhoneNumber {
    type Error = BadNumber;

    fn try_from(text: String) -> Result<Self, BadNumber> {
        Self::parse(&text).ok_or(BadNumber)
    }
}

/// Not a number in E.164 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a phone number is a plus sign and 7 to 15 digits, like \"+4930123456\"")]
pub(super) struct BadNumber;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_into_one_form() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(PhoneNumber::parse(text).as_ref().map(PhoneNumber::as_str), expected, "{text:?}");
        };
        check("+4930123456", Some("+4930123456"));
        check("+49 (30) 12.34-56", Some("+4930123456"));
        check("+123456789012345", Some("+123456789012345"));
        for wrong in
            ["", "+", "4930123456", "+0930123456", "+123456", "+1234567890123456", "+49x30123456", "+49\n30123"]
        {
            check(wrong, None);
        }
    }
}
