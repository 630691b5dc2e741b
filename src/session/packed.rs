//! Whom a session in memory is of, in one piece in which no text stands twice: as strings and header values of its own
//! each, it would take up several times its text.

use bytes::Bytes;
use http::HeaderValue;

use crate::identity::{EmailAddress, Identity, Subject};

/// An identity, and the header values that tell it.
///
/// First how long the places are, then the places, then the texts. A place is the length of a text and how far it begins
/// before the end of those that the places until then name, which is zero for a text that stands nowhere else; a list is
/// its length and the places in it. The length is one more than it is, and zero where there is no text. Zeros at the end
/// of the places are left out.
#[derive(PartialEq, Eq)]
pub(super) struct Packed(Bytes);

impl Packed {
    pub(super) fn new(identity: &Identity, headers: &[Option<HeaderValue>]) -> Self {
        // Every field is named, so that none can be added and forgotten here.
        let Identity {
            subject,
            email,
            email_verified,
            name,
            username,
            groups,
            roles,
            phone_number,
            permissions,
            organization,
            claims,
        } = identity;
        let mut packing = Packing::default();
        packing.text(Some(subject.as_str().as_bytes()));
        // Lists joined by commas come first, and their elements are found in them.
        for value in headers {
            packing.text(value.as_ref().map(HeaderValue::as_bytes));
        }
        packing.text(email.as_ref().map(|email| email.as_str().as_bytes()));
        packing.number(usize::from(*email_verified));
        packing.text(name.as_ref().map(String::as_bytes));
        packing.text(username.as_ref().map(String::as_bytes));
        packing.list(groups);
        packing.list(roles);
        packing.text(phone_number.as_ref().map(String::as_bytes));
        packing.list(permissions);
        packing.text(organization.as_ref().map(String::as_bytes));
        let claims = (!claims.is_empty()).then(|| serde_json::to_vec(claims).expect("claims have string keys only"));
        packing.text(claims.as_deref());
        Self(Bytes::from(packing.finish()))
    }

    pub(super) fn subject(&self) -> Subject {
        Unpacking::new(&self.0).subject()
    }

    /// The header values that it was packed with.
    pub(super) fn header_values(&self) -> impl Iterator<Item = Option<HeaderValue>> {
        let mut unpacking = Unpacking::new(&self.0);
        unpacking.text();
        std::iter::from_fn(move || {
            let text = unpacking.text();
            Some(text.and_then(|text| HeaderValue::from_maybe_shared(self.0.slice_ref(text)).ok()))
        })
    }

    /// The identity; there were `headers` header values.
    pub(super) fn identity(&self, headers: usize) -> Identity {
        let mut unpacking = Unpacking::new(&self.0);
        let subject = unpacking.subject();
        for _ in 0..headers {
            unpacking.text();
        }
        Identity {
            subject,
            email: unpacking.string().map(|email| EmailAddress::parse(&email).expect("it was one")),
            email_verified: unpacking.number() == 1,
            name: unpacking.string(),
            username: unpacking.string(),
            groups: unpacking.list(),
            roles: unpacking.list(),
            phone_number: unpacking.string(),
            permissions: unpacking.list(),
            organization: unpacking.string(),
            claims: unpacking
                .text()
                .map(|claims| serde_json::from_slice(claims).expect("what was written can be read"))
                .unwrap_or_default(),
        }
    }
}

#[derive(Default)]
struct Packing {
    places: Vec<u8>,
    texts: Vec<u8>,
}

impl Packing {
    /// In as few bytes as it takes, seven bits in each, the lowest first (LEB128).
    fn number(&mut self, number: usize) {
        put_number(&mut self.places, number);
    }

    fn text(&mut self, text: Option<&[u8]>) {
        let Some(text) = text else { return self.number(0) };
        let end = self.texts.len();
        let known = self.texts.windows(text.len().max(1)).rposition(|known| known.starts_with(text));
        if known.is_none() {
            self.texts.extend_from_slice(text);
        }
        self.number(text.len() + 1);
        self.number(known.map_or(0, |start| end - start));
    }

    fn list(&mut self, texts: &[String]) {
        self.number(texts.len());
        texts.iter().for_each(|text| self.text(Some(text.as_bytes())));
    }

    /// One piece of the exact size: what grew has room to spare.
    fn finish(mut self) -> Vec<u8> {
        while self.places.pop_if(|last| *last == 0).is_some() {}
        let mut start = Vec::with_capacity(2);
        put_number(&mut start, self.places.len());
        [&*start, &self.places, &self.texts].concat()
    }
}

fn put_number(bytes: &mut Vec<u8>, mut number: usize) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

struct Unpacking<'a> {
    places: &'a [u8],
    texts: &'a [u8],
    /// Where the texts end that were named until now.
    end: usize,
}

impl<'a> Unpacking<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut start = Self { places: bytes, texts: &[], end: 0 };
        let length = start.number();
        let (places, texts) = start.places.split_at(length);
        Self { places, texts, end: 0 }
    }

    /// The next number; zero behind the last one.
    fn number(&mut self) -> usize {
        let mut number = 0;
        let mut shift = 0;
        while let Some((&byte, rest)) = self.places.split_first() {
            self.places = rest;
            number |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        number
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number().checked_sub(1)?;
        let start = self.end - self.number();
        self.end = self.end.max(start + length);
        Some(&self.texts[start..start + length])
    }

    fn subject(&mut self) -> Subject {
        let text = self.string().expect("everybody has a subject");
        Subject::try_from(text).expect("it was one")
    }

    fn string(&mut self) -> Option<String> {
        self.text().map(|text| String::from_utf8(text.to_vec()).expect("it was text"))
    }

    fn list(&mut self) -> Vec<String> {
        (0..self.number()).filter_map(|_| self.string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn somebody() -> Identity {
        Identity::new(Subject::try_from("u1".to_owned()).unwrap())
    }

    fn check(identity: &Identity, headers: &[Option<&'static str>]) {
        let headers: Vec<_> = headers.iter().map(|value| value.map(HeaderValue::from_static)).collect();
        let packed = Packed::new(identity, &headers);
        let values: Vec<_> = packed.header_values().take(headers.len()).collect();
        assert_eq!(values, headers);
        assert_eq!(packed.subject(), identity.subject);
        let unpacked = packed.identity(headers.len());
        assert_eq!(serde_json::to_value(&unpacked).unwrap(), serde_json::to_value(identity).unwrap());
    }

    #[test]
    fn what_is_packed_comes_back_whole() {
        check(&somebody(), &[]);
        check(&somebody(), &[None, Some("u1")]);
        let list = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        let claims = json!({"custom_data": {"team": "R&D", "level": 3, "sites": ["a", null], "share": 0.1}});
        let mut full = Identity {
            email: Some(EmailAddress::parse("ada@example.com").unwrap()),
            email_verified: true,
            name: Some("Ada \"山田\" Lovelace".to_owned()),
            username: Some("ada".to_owned()),
            groups: list(["ops", "on, call"]),
            roles: list(["admin", ""]),
            phone_number: Some("+49 1".to_owned()),
            permissions: list(["read", "write"]),
            organization: Some("org-1".to_owned()),
            claims: claims.as_object().unwrap().clone(),
            ..somebody()
        };
        check(&full, &[Some("u1"), None, Some("ada@example.com"), Some("ops,on%2C call")]);
        full.name = Some("s".repeat(70_000));
        check(&full, &[None]);
    }

    #[test]
    fn a_text_stands_there_once() {
        let email = "ada@example.com";
        let mut identity = somebody();
        identity.email = Some(EmailAddress::parse(email).unwrap());
        identity.groups = ["ops", "staff"].map(str::to_owned).to_vec();
        let headers = ["u1", email, "ops,staff"].map(|value| Some(HeaderValue::from_static(value)));
        let packed = Packed::new(&identity, &headers);
        let texts = Unpacking::new(&packed.0).texts;
        assert_eq!(String::from_utf8_lossy(texts), "u1ada@example.comops,staff");
    }
}
