//! From the text to [`Settings`]: every mistake of form and type in one run.
//!
//! serde stops at its first error, so the setting at fault is taken out of the parsed table and the rest is read
//! again, until nothing is wrong any more.

use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer, Error};

use super::Settings;
use super::place::{Entry, Places, Prefer, line_and_column};
use super::problem::Problem;

/// A file with more mistakes than this is not a configuration.
const MOST_PROBLEMS: usize = 100;

/// The parsed text with its mistakes of syntax; without a table where what follows them would be guesswork.
pub(super) fn parse<'t>(text: &'t str, file: &Path) -> (Option<Spanned<DeTable<'t>>>, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    // A second setting of one name leaves the first as it is, so the rest of the file can still be read.
    let is_whole = errors.iter().all(is_duplicate);
    let problems = errors.iter().take(MOST_PROBLEMS).map(|error| syntax_problem(error, text, file)).collect();
    (is_whole.then_some(table), problems)
}

fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key"
}

fn syntax_problem(error: &Error, text: &str, file: &Path) -> Problem {
    let place = error.span().map(|span| line_and_column(text, span.start));
    let mut problem = Problem::of_file(file.to_owned(), error.message().to_owned(), None);
    (problem.line, problem.column) = place.unzip();
    if is_duplicate(error) {
        problem.key = error.span().and_then(|span| text.get(span)).unwrap_or_default().to_owned();
        "is set twice".clone_into(&mut problem.message);
        problem.hint = Some("keep one of the two".to_owned());
    }
    problem
}

/// Reads the settings and adds what is wrong with them to `problems`. What was wrong keeps its default;
/// `None` when that is not possible.
pub(super) fn settings(
    mut table: Spanned<DeTable<'_>>,
    places: &Places<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    while problems.len() < MOST_PROBLEMS {
        let error = match Settings::deserialize(Deserializer::from(table.clone())) {
            Ok(settings) => return Some(settings),
            Err(error) => error,
        };
        // A list of tables and its first element begin at the same header.
        let prefer = if error.message().starts_with(A_LIST) { Prefer::Outer } else { Prefer::Inner };
        let span = error.span();
        let Some((path, entry, is_name)) = span.as_ref().and_then(|span| places.find(span, prefer)) else {
            problems.push(places.at(None, "", error.message(), None));
            return None;
        };
        let (path, entry) = wrong_element(&table, places, path, &error).unwrap_or((path, entry));
        let problem = in_our_words(error.message(), places, path, is_name);
        // What was taken out may be missed now.
        if problems.iter().all(|known| known.key != problem.key) {
            problems.push(problem);
        }
        if !take_out(table.get_mut(), entry, 0) {
            return None;
        }
    }
    None
}

/// The element of the list `path` that `error` is about. A `try_from` knows no place, so toml gives that of the list:
/// the element is the last of the shortest list that goes wrong in the same way.
fn wrong_element<'p>(
    table: &Spanned<DeTable<'_>>,
    places: &'p Places<'_>,
    path: &str,
    error: &Error,
) -> Option<(&'p str, &'p Entry)> {
    let elements = places.elements(path);
    let goes_wrong = |length: usize| {
        let mut shorter = table.clone();
        for (_, entry) in &elements[length..] {
            take_out(shorter.get_mut(), entry, 0);
        }
        let again = Settings::deserialize(Deserializer::from(shorter)).err();
        again.is_some_and(|again| again.span() == error.span() && again.message() == error.message())
    };
    if elements.is_empty() || goes_wrong(0) {
        return None;
    }
    (1..=elements.len()).find(|length| goes_wrong(*length)).map(|length| elements[length - 1])
}

const A_LIST: &str = "invalid type: sequence, ";
const A_TABLE: &str = "invalid type: map, ";

/// Takes the setting at `doomed` out, and says whether it was there.
fn take_out(table: &mut DeTable<'_>, doomed: &Entry, depth: usize) -> bool {
    let mut is_found = false;
    for (name, mut value) in std::mem::take(table) {
        if is_at(&value, doomed, depth) {
            is_found = true;
        } else {
            is_found |= take_out_below(&mut value, doomed, depth + 1);
            table.insert(name, value);
        }
    }
    is_found
}

fn take_out_below(value: &mut Spanned<DeValue<'_>>, doomed: &Entry, depth: usize) -> bool {
    let items = match value.get_mut() {
        DeValue::Table(table) => return take_out(table, doomed, depth),
        DeValue::Array(items) => items,
        _ => return false,
    };
    let mut is_found = false;
    for mut item in std::mem::replace(items, DeArray::new()) {
        if is_at(&item, doomed, depth) {
            is_found = true;
        } else {
            is_found |= take_out_below(&mut item, doomed, depth + 1);
            items.push(item);
        }
    }
    is_found
}

fn is_at(value: &Spanned<DeValue<'_>>, doomed: &Entry, depth: usize) -> bool {
    depth == doomed.depth && value.span() == doomed.value
}

/// A problem for serde's `message`. Only what was expected is taken from it, never the value it quotes.
fn in_our_words(message: &str, places: &Places<'_>, path: &str, is_name: bool) -> Problem {
    if message.starts_with("unknown ") {
        let names = names(message);
        if is_name {
            let name = path.rsplit('.').next().unwrap_or(path);
            let problem = places.problem_of_name(path, format!("unknown setting `{name}`"));
            return match nearest(name, &names) {
                Some(nearest) => {
                    let section = path.strip_suffix(name).unwrap_or_default();
                    problem.hint(format!("did you mean `{nearest}`?")).meant(format!("{section}{nearest}"))
                }
                None => problem.hint(valid_names(name, &names)),
            };
        }
        return places.problem(path, format!("expected {}", one_of(&names)));
    }
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return places.problem(&format!("{path}.{name}"), "is missing");
    }
    let expected = match message.rsplit_once(", expected ") {
        Some((_, expected)) if message.starts_with("invalid ") => format!("expected {}", plain(expected)),
        _ => plain_whole(message),
    };
    let problem = places.problem(path, expected);
    let name = path.rsplit('.').next().unwrap_or(path);
    if places.is_header(path) && message.starts_with(A_TABLE) {
        return problem.hint(format!("write `[[{name}]]`, with two brackets: there may be several"));
    }
    if places.is_header(path) && message.starts_with(A_LIST) {
        return problem.hint(format!("write `[{name}]`, with one bracket: there is only one"));
    }
    if message.ends_with("a table") {
        return problem.hint("a table is a [section] of its own, or `{ name = value }`");
    }
    problem
}

/// What serde or a type expected, for people.
fn plain(expected: &str) -> &str {
    match expected {
        "a boolean" => "true or false",
        "a string" | "string or table" => "a text in quotes",
        "path string" => "a path in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, not negative",
        "socket address" => "an address with its port, like \"127.0.0.1:8080\"",
        "IPv4 or IPv6 network address" => "a range of addresses, like \"10.0.0.0/8\" or \"127.0.0.1/32\"",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The same for messages that are not built like serde's own.
fn plain_whole(message: &str) -> String {
    match message {
        "invalid socket address syntax" => format!("expected {}", plain("socket address")),
        "invalid IP address syntax" => format!("expected {}", plain("IPv4 or IPv6 network address")),
        "wanted string or table" => format!("expected {}", plain("a string")),
        // `url` quotes what it could not read.
        _ => match message.split_once(": \"") {
            Some((reason, _)) => format!("expected a URL like \"https://api.example.com\": {reason}"),
            None => message.to_owned(),
        },
    }
}

/// The names that serde lists behind "expected".
fn names(message: &str) -> Vec<&str> {
    let list = message.rsplit_once("`, expected ").map_or("", |(_, list)| list);
    list.split('`').skip(1).step_by(2).collect()
}

fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The valid name that was probably meant.
fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let spelled = name.to_ascii_lowercase().replace('-', "_");
    let similar = names
        .iter()
        .map(|candidate| (strsim::jaro_winkler(&spelled, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    similar.map(|(_, candidate)| *candidate)
}

/// Where a name belongs, or else every name that is valid in its place.
fn valid_names(name: &str, names: &[&str]) -> String {
    // In TOML a line belongs to the header above it, whatever blank lines are between.
    if top_level_names().iter().any(|top| top == name) {
        return format!("`{name}` belongs at the top of the file, above the first [section]");
    }
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("known here: {}", quoted.join(", "))
}

fn top_level_names() -> Vec<String> {
    let error = toml::from_str::<Settings>("'' = 0").err();
    error.map(|error| names(error.message()).into_iter().map(str::to_owned).collect()).unwrap_or_default()
}
