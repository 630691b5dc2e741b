//! What a rule asks of a claim.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::identity::Claimed;

/// What a claim must say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ClaimTest {
    /// `"sales"`: this one value, and not a list.
    Equals(String),
    /// `["sales", "support"]`: one of these values, or a list that has one of them.
    OneOf(Vec<String>),
    /// `{ contains = "sales" }`.
    Contains(Part),
}

/// `{ contains = "sales" }`: a list that has this value, whole, or a text that has it anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The value.
    pub contains: String,
}

impl ClaimTest {
    /// Whether `claimed` is what is asked for.
    pub fn accepts(&self, claimed: &Claimed) -> bool {
        match (self, claimed) {
            (Self::Equals(wanted), Claimed::One(value)) => value == wanted,
            (Self::Equals(_), Claimed::Many(_)) => false,
            (Self::OneOf(wanted), claimed) => wanted.iter().any(|value| claimed.says(value)),
            // Every text contains the empty one.
            (Self::Contains(Part { contains }), Claimed::One(text)) => {
                !contains.is_empty() && text.contains(contains.as_str())
            }
            (Self::Contains(Part { contains }), list) => list.says(contains),
        }
    }
}

// Not derived: `untagged` would lose the place of what is wrong inside.
impl<'de> Deserialize<'de> for ClaimTest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ClaimTestVisitor)
    }
}

struct ClaimTestVisitor;

impl<'de> Visitor<'de> for ClaimTestVisitor {
    type Value = ClaimTest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list of values, or { contains = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ClaimTest, E> {
        Ok(ClaimTest::Equals(text.to_owned()))
    }

    // Claims are read as text, numbers and truth values too.
    fn visit_i64<E: Error>(self, number: i64) -> Result<ClaimTest, E> {
        Ok(ClaimTest::Equals(number.to_string()))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<ClaimTest, E> {
        Ok(ClaimTest::Equals(flag.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<ClaimTest, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(ClaimTest::OneOf)
    }

    fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ClaimTest, A::Error> {
        Part::deserialize(MapAccessDeserializer::new(table)).map(ClaimTest::Contains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_equals_is_one_of_or_contains() {
        #[derive(Deserialize)]
        struct Written {
            test: ClaimTest,
        }
        let one = |text: &str| Claimed::One(text.to_owned());
        let many = |texts: &[&str]| Claimed::Many(texts.iter().map(|text| (*text).to_owned()).collect());
        let check = |test: &str, claimed: Claimed, expected: bool| {
            let Written { test } = toml::from_str(&format!("test = {test}")).unwrap();
            assert_eq!(test.accepts(&claimed), expected, "{test:?} {claimed:?}");
        };
        check("'sales'", one("sales"), true);
        check("'sales'", one("Sales"), false);
        check("'sales'", one("presales"), false);
        check("'sales'", many(&["sales"]), false);
        check("3", one("3"), true);
        check("true", one("true"), true);
        check("['sales', 'support']", one("support"), true);
        check("['sales', 'support']", many(&["it", "support"]), true);
        check("['sales', 'support']", one("presales"), false);
        check("[]", one(""), false);
        check("{ contains = 'sales' }", one("presales team"), true);
        check("{ contains = 'sales' }", many(&["it", "sales"]), true);
        check("{ contains = 'sales' }", many(&["presales"]), false);
        check("{ contains = '' }", one("sales"), false);
        for wrong in ["1.5", "[1]", "{}", "{ contains = 1 }", "{ contains = 'x', y = 1 }"] {
            assert!(toml::from_str::<Written>(&format!("test = {wrong}")).is_err(), "{wrong}");
        }
    }
}
