//! `email_content` of Mosaic's API: a caller's own texts in place of the built-in ones.

use minijinja::{Value, context};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::compose::one_line;
use crate::pages::Color;

/// The longest `base64logo`, in characters (Mosaic's limit).
const LONGEST_LOGO: usize = 20_000;
/// The longest name in `From`, in characters: as long as `theme.name` may be.
const LONGEST_NAME: usize = 60;

/// `email_content`: the caller's own texts. With it the default texts are not used; what it leaves out is empty.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::issuer) struct EmailContent {
    pub(super) subject: Option<String>,
    pub(super) primary_color: Option<String>,
    pub(super) base64logo: Option<String>,
    pub(super) header_text: Option<String>,
    pub(super) body_text: Option<String>,
    pub(super) link_text: Option<String>,
    pub(super) info_text: Option<String>,
    pub(super) footer_text: Option<String>,
    pub(super) sender_name: Option<String>,
}

impl EmailContent {
    pub(in crate::issuer) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.subject.as_deref().is_none_or(|subject| one_line(subject).is_empty()) {
            problems.push("email_content.subject should not be empty".to_owned());
        }
        if self.primary_color.clone().is_some_and(|color| Color::try_from(color).is_err()) {
            problems.push("email_content.primaryColor must be a hexadecimal color".to_owned());
        }
        if self.base64logo.as_deref().is_some_and(|logo| logo_source(logo).is_none()) {
            problems.push("email_content.base64logo must be a base64 image of at most 20000 characters".to_owned());
        }
        problems
    }

    /// The name that the mail comes from, where it is not the application's.
    pub(super) fn sender(&self) -> Option<String> {
        let name = one_line(self.sender_name.as_deref().unwrap_or_default());
        (!name.is_empty()).then(|| name.chars().take(LONGEST_NAME).collect())
    }

    pub(super) fn values(&self) -> Value {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        context! {
            subject => one_line(&text(&self.subject)),
            color => text(&self.primary_color),
            logo => self.base64logo.as_deref().and_then(logo_source).unwrap_or_default(),
            header => text(&self.header_text),
            body => text(&self.body_text),
            button => text(&self.link_text),
            info => text(&self.info_text),
            footer => text(&self.footer_text),
        }
    }
}

/// The logo as a `data:` URL; a bare base64 text counts as PNG.
fn logo_source(logo: &str) -> Option<String> {
    let kinds = ["png", "jpeg", "gif", "webp"];
    let known = kinds
        .into_iter()
        .find_map(|kind| logo.strip_prefix(&format!("data:image/{kind};base64,")).map(|data| (kind, data)));
    let (kind, data) = known.unwrap_or(("png", logo));
    let base64 = data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    (base64 && logo.len() <= LONGEST_LOGO).then(|| format!("data:image/{kind};base64,{data}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_checked() {
        let check = |content: EmailContent, field: &str| {
            let problems = content.problems();
            assert!(problems.len() == 1 && problems[0].contains(field), "{problems:?}");
        };
        let fine = EmailContent { subject: Some("Hi".to_owned()), ..EmailContent::default() };
        check(EmailContent::default(), "subject");
        check(EmailContent { subject: Some("\r\n".to_owned()), ..fine.clone() }, "subject");
        check(EmailContent { primary_color: Some("red;x".to_owned()), ..fine.clone() }, "primaryColor");
        check(EmailContent { base64logo: Some("https://evil.test/x.png".to_owned()), ..fine.clone() }, "base64logo");
        check(EmailContent { base64logo: Some("A".repeat(20_001)), ..fine }, "base64logo");
    }
}
