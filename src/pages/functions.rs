//! What templates can call: messages, moments, spans of time, links, and the isolation of visitors' text.
//!
//! In HTML the results are escaped; in `.txt` templates (the text part of mail) they are plain.

use std::sync::Arc;

use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, escape_formatter};
use url::form_urlencoded;

use super::Language;
use super::catalogue::{Catalogue, Piece, pieces};
use crate::clock::Timestamp;

pub(super) fn add_to(environment: &mut Environment<'static>, catalogue: &Arc<Catalogue>) {
    environment.set_formatter(escape);
    let messages = Arc::clone(catalogue);
    environment
        .add_function("t", move |state: &mut State, key: &str, values: Kwargs| text(&messages, state, key, &values));
    let messages = Arc::clone(catalogue);
    environment.add_function("span", move |state: &mut State, minutes: i64| span(&messages, state, minutes));
    environment.add_function("clock", clock);
    environment.add_function("bdi", bdi);
    environment.add_function("reference", reference);
    environment.add_function("anchor", anchor);
    environment.add_function("href", |target: &str| href(target).to_owned());
    environment
        .add_function("query", |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
    environment.add_function("seconds_until", seconds_until);
}

/// As minijinja does, but a slash stays a slash: paths in links and hidden fields are read by simple programs too.
fn escape(out: &mut Output<'_>, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if is_html(state) && !value.is_safe() => {
            out.write_str(&HtmlEscape(text).to_string().replace("&#x2f;", "/"))?;
            Ok(())
        }
        _ => escape_formatter(out, state, value),
    }
}

fn is_html(state: &State) -> bool {
    matches!(state.auto_escape(), AutoEscape::Html)
}

/// Text that is already fit for the template's format.
fn finished(state: &State, text: String) -> Value {
    if is_html(state) { Value::from_safe_string(text) } else { Value::from(text) }
}

/// `t(key, name=value, …)`: the message with its values in place of its placeholders.
fn text(catalogue: &Catalogue, state: &mut State, key: &str, values: &Kwargs) -> Result<Value, Error> {
    let language = language(state);
    let count = values.get::<Option<i64>>("n").ok().flatten();
    let mut text = String::new();
    for piece in pieces(catalogue.message(language, key, count)) {
        let value = match piece {
            // Attributes are in double quotes, so that an apostrophe of ours can stay one.
            Piece::Text(text) => state.format(Value::from(text))?.replace("&#x27;", "'"),
            Piece::Placeholder(name) => state.format(values.get(name)?)?,
        };
        text.push_str(&value);
    }
    Ok(finished(state, text))
}

/// The language of the page or mail.
fn language(state: &State) -> Language {
    let tag = state.lookup("lang");
    let tag = tag.as_ref().and_then(Value::as_str).unwrap_or_default();
    Language::of_page(tag)
}

/// `span(minutes)`: "12 hours", "10 minutes", in the largest unit that fits.
fn span(catalogue: &Catalogue, state: &mut State, minutes: i64) -> Result<Value, Error> {
    let (key, count) = match minutes {
        whole if whole > 0 && whole % (24 * 60) == 0 => ("span.days", whole / (24 * 60)),
        whole if whole > 0 && whole % 60 == 0 => ("span.hours", whole / 60),
        _ => ("span.minutes", minutes),
    };
    let values = Kwargs::from_iter([("n", Value::from(count))]);
    text(catalogue, state, key, &values)
}

/// `clock(moment)`: the time of day in UTC, with the date where it is another day; page.js turns it into the
/// visitor's own.
fn clock(state: &mut State, moment: i64) -> Result<Value, Error> {
    let moment = Timestamp::from_unix_millis(moment);
    let written = moment.to_string();
    let Some((date, time)) = written.split_once('T') else {
        return Err(Error::new(ErrorKind::InvalidOperation, "this moment has no time of day"));
    };
    let time = time.get(..5).unwrap_or(time);
    let today = present(state).map(|now| now.to_string());
    let same_day = today.is_none_or(|today| today.starts_with(date));
    let shown = if same_day { format!("{time} UTC") } else { format!("{date} {time} UTC") };
    if !is_html(state) {
        return Ok(Value::from(shown));
    }
    Ok(Value::from_safe_string(format!("<time datetime=\"{written}\">{shown}</time>")))
}

/// `seconds_until(moment)`: how long a visitor still has to wait, rounded up.
fn seconds_until(state: &mut State, moment: i64) -> u64 {
    let moment = Timestamp::from_unix_millis(moment);
    present(state).map_or(0, |now| moment.since(now).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

fn present(state: &State) -> Option<Timestamp> {
    state.lookup("now")?.as_i64().map(Timestamp::from_unix_millis)
}

/// `bdi(text)`: keeps the direction of someone's text away from the sentence around it (UAX 9).
fn bdi(state: &mut State, text: Value) -> Result<Value, Error> {
    wrapped(state, "bdi", text)
}

/// `reference(id)`: what a visitor may be asked to read out.
fn reference(state: &mut State, id: Value) -> Result<Value, Error> {
    wrapped(state, "code", id)
}

fn wrapped(state: &mut State, element: &str, text: Value) -> Result<Value, Error> {
    let text = state.format(text)?;
    let html = is_html(state);
    Ok(finished(state, if html { format!("<{element}>{text}</{element}>") } else { text }))
}

/// `anchor(text, target)`: a link inside a sentence; just its text where there is no HTML.
fn anchor(state: &mut State, text: Value, target: &str) -> Result<Value, Error> {
    let text = state.format(text)?;
    if !is_html(state) {
        return Ok(Value::from(text));
    }
    let target = if target.starts_with("mailto:") { target } else { href(target) };
    let target = state.format(Value::from(target))?;
    Ok(Value::from_safe_string(format!("<a href=\"{target}\">{text}</a>")))
}

/// Return targets were checked where they came in; a page still links to nothing but a path or a web address.
fn href(target: &str) -> &str {
    let is_path = target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\");
    let is_web = target.starts_with("https://") || target.starts_with("http://");
    if is_path || is_web { target } else { "/" }
}

#[cfg(test)]
mod tests {
    use minijinja::context;

    use super::*;

    fn check(template: &str, html: &str, plain: &str) {
        let catalogue = Arc::new(Catalogue::embedded().expect("the catalogue is well formed"));
        let mut environment = Environment::new();
        add_to(&mut environment, &catalogue);
        let values = context! {
            lang => "en",
            now => 1_777_890_030_000_i64,
            moment => 1_777_890_630_000_i64,
            tomorrow => 1_777_976_430_000_i64,
            text => "<a & b>",
            script => "javascript:alert(1)",
        };
        let render = |name| environment.render_named_str(name, template, &values).expect("the template renders");
        assert_eq!(render("x.html"), html, "{template}");
        assert_eq!(render("x.txt"), plain, "{template}");
    }

    #[test]
    fn values_are_escaped_in_html_and_plain_in_text() {
        check("{{ t('sign_in.title', app=text) }}", "Sign in to &lt;a &amp; b&gt;", "Sign in to <a & b>");
        check(
            "{{ t('sign_in.title', app=bdi(text)) }}",
            "Sign in to <bdi>&lt;a &amp; b&gt;</bdi>",
            "Sign in to <a & b>",
        );
    }

    #[test]
    fn moments_are_times_of_day() {
        check("{{ clock(moment) }}", "<time datetime=\"2026-05-04T10:30:30Z\">10:30 UTC</time>", "10:30 UTC");
        check(
            "{{ clock(tomorrow) }}",
            "<time datetime=\"2026-05-05T10:20:30Z\">2026-05-05 10:20 UTC</time>",
            "2026-05-05 10:20 UTC",
        );
        check("{{ seconds_until(moment) }} {{ seconds_until(0) }} {{ seconds_until(now + 1) }}", "600 0 1", "600 0 1");
    }

    #[test]
    fn spans_have_the_largest_unit_that_fits() {
        check(
            "{{ span(1) }}, {{ span(90) }}, {{ span(60) }}",
            "1 minute, 90 minutes, 1 hour",
            "1 minute, 90 minutes, 1 hour",
        );
        check(
            "{{ span(720) }}, {{ span(10080) }}, {{ span(0) }}",
            "12 hours, 7 days, 0 minutes",
            "12 hours, 7 days, 0 minutes",
        );
    }

    #[test]
    fn links_lead_to_paths_and_web_pages_only() {
        check("{{ href('/a?b=c#d') }}", "/a?b=c#d", "/a?b=c#d");
        check("{{ href('https://a.example/') }}", "https://a.example/", "https://a.example/");
        for wrong in ["//evil.test", "/\\\\evil.test", "javascript:alert(1)", "data:text/html,x", "", "evil"] {
            check(&format!("{{{{ href('{wrong}') }}}}"), "/", "/");
        }
        check("{{ anchor(text, script) }}", "<a href=\"/\">&lt;a &amp; b&gt;</a>", "<a & b>");
        check("{{ query('/a?b=c&d #e') }}", "%2Fa%3Fb%3Dc%26d+%23e", "%2Fa%3Fb%3Dc%26d+%23e");
    }
}
