//! The name in a certificate, compared with one that an operator wrote (RFC 4514).

use std::collections::BTreeMap;

use x509_parser::x509::X509Name;

/// A name as its attributes, from the most particular to the most general, as RFC 4514 writes them. The attributes of
/// one step have no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::issuer) struct DistinguishedName(Vec<BTreeMap<String, String>>);

/// The short names of RFC 4514 section 3, and the one for mail addresses that tools write.
const SHORT_NAMES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

impl DistinguishedName {
    /// Reads a name like `CN=intranet,O=Example\, Inc.,C=DE`; a blank after a comma is nothing.
    pub(in crate::issuer) fn parse(text: &str) -> Option<Self> {
        let mut steps = vec![BTreeMap::new()];
        let mut rest = text;
        loop {
            let (kind, after) = rest.split_once('=')?;
            let (value, end, after) = value(after)?;
            let step = steps.last_mut()?;
            if step.insert(object_identifier(kind.trim())?, value).is_some() {
                return None;
            }
            match end {
                None => return Some(Self(steps)),
                Some('+') => {}
                Some(_) => steps.push(BTreeMap::new()),
            }
            rest = after;
        }
    }

    /// The name in a certificate; `None` when it is not text.
    pub(in crate::issuer) fn of(name: &X509Name<'_>) -> Option<Self> {
        let step = |attributes: &x509_parser::x509::RelativeDistinguishedName<'_>| {
            let one = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
                Some((attribute.attr_type().to_id_string(), attribute.as_str().ok()?.to_owned()))
            };
            attributes.iter().map(one).collect::<Option<BTreeMap<_, _>>>()
        };
        let mut steps = name.iter().map(step).collect::<Option<Vec<_>>>()?;
        steps.reverse();
        (!steps.is_empty()).then_some(Self(steps))
    }
}

fn object_identifier(kind: &str) -> Option<String> {
    if let Some((_, identifier)) = SHORT_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(kind)) {
        return Some((*identifier).to_owned());
    }
    let is_dotted = kind.contains('.') && kind.split('.').all(|arc| !arc.is_empty() && is_number(arc));
    is_dotted.then(|| kind.to_owned())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value with its escapes undone (RFC 4514 section 2.4), the separator that ends it, and what comes after.
fn value(text: &str) -> Option<(String, Option<char>, &str)> {
    let bytes = text.trim_start_matches(' ').as_bytes();
    let offset = text.len() - bytes.len();
    let (mut value, mut at, mut blanks) = (Vec::new(), 0, 0);
    let end = loop {
        match bytes.get(at) {
            None => break None,
            Some(separator @ (b',' | b'+')) => break Some(char::from(*separator)),
            Some(b'\\') => {
                let escaped = bytes.get(at + 1)?;
                let (byte, length) = match bytes.get(at + 1..at + 3).and_then(hexadecimal) {
                    Some(byte) => (byte, 3),
                    None if b" \"#+,;<=>\\".contains(escaped) => (*escaped, 2),
                    None => return None,
                };
                value.push(byte);
                (at, blanks) = (at + length, 0);
            }
            // These stand for themselves only with a backslash.
            Some(b'"' | b';' | b'<' | b'>' | 0) => return None,
            Some(byte) => {
                blanks = if *byte == b' ' { blanks + 1 } else { 0 };
                value.push(*byte);
                at += 1;
            }
        }
    };
    value.truncate(value.len() - blanks);
    let value = String::from_utf8(value).ok().filter(|value| !value.is_empty())?;
    // `#` begins a value in BER, which nobody writes by hand.
    let is_encoded = bytes.first() == Some(&b'#');
    let after = text.get((offset + at + usize::from(end.is_some())).min(text.len())..)?;
    (!is_encoded).then_some((value, end, after))
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(steps: &[&[(&str, &str)]]) -> Option<DistinguishedName> {
        let step = |step: &&[(&str, &str)]| {
            step.iter().map(|(kind, value)| ((*kind).to_owned(), (*value).to_owned())).collect()
        };
        Some(DistinguishedName(steps.iter().map(step).collect()))
    }

    #[test]
    fn names_are_read_as_rfc_4514_writes_them() {
        let check = |text: &str, expected: &[&[(&str, &str)]]| {
            assert_eq!(DistinguishedName::parse(text), name(expected), "{text}");
        };
        let (cn, o, ou, uid) = ("2.5.4.3", "2.5.4.10", "2.5.4.11", "0.9.2342.19200300.100.1.1");
        check("CN=intranet", &[&[(cn, "intranet")]]);
        check("CN=intranet,O=Example", &[&[(cn, "intranet")], &[(o, "Example")]]);
        check("cn = intranet , o = Two Words ", &[&[(cn, "intranet")], &[(o, "Two Words")]]);
        check("2.5.4.3=intranet", &[&[(cn, "intranet")]]);
        check("OU=Sales+CN=J.  Smith", &[&[(ou, "Sales"), (cn, "J.  Smith")]]);
        check(r"O=Example\, Inc.,UID=x\+y", &[&[(o, "Example, Inc.")], &[(uid, "x+y")]]);
        check(r"CN=Lu\C4\8Di\C4\87", &[&[(cn, "Lučić")]]);
        check(r"CN=\20x\20", &[&[(cn, " x ")]]);
        check("CN=a=b", &[&[(cn, "a=b")]]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in [
            "",
            "intranet",
            "CN",
            "CN=",
            "CN=a,",
            "XX=a",
            "CN=a;O=b",
            "CN=\"a\"",
            r"CN=a\",
            r"CN=\x",
            "CN=#0403",
            "1.=a",
            "CN=a+CN=b",
        ] {
            assert_eq!(DistinguishedName::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_none(text in "([CNOUL=,+ \\\\#0-9a-f;é]|\\PC){0,40}") {
            DistinguishedName::parse(&text);
        }
    }
}
