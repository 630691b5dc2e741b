//! Fills a text in: `{{name}}` is a place for a value, and a line with a place for the name of a header is repeated for
//! every such name.

/// What a text is filled in with.
pub(super) struct Values {
    /// Values by the names of their places.
    pub(super) places: Vec<(String, String)>,
    /// The headers that the gateway says about a visitor.
    pub(super) identity: Vec<String>,
    /// Other headers that no visitor may send.
    pub(super) managed: Vec<String>,
}

impl Values {
    /// The names that a line is repeated for; `None` for a line without such a place.
    fn names(&self, line: &str) -> Option<Vec<&String>> {
        let says = |word: &str| line.contains(word);
        if says("{{identity}}") || says("{{lower_identity}}") || says("{{variable}}") {
            return Some(self.identity.iter().collect());
        }
        if says("{{removed}}") || says("{{lower_removed}}") {
            return Some(self.identity.iter().chain(&self.managed).collect());
        }
        says("{{managed}}").then(|| self.managed.iter().collect())
    }
}

/// The text with all places filled in.
pub(super) fn fill(text: &str, values: &Values) -> String {
    let mut filled = String::with_capacity(text.len() * 2);
    // Lines with names that follow one another belong together, and go on name by name.
    let mut group: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        if values.names(line).is_some() && group.first().is_none_or(|first| kind(first) == kind(line)) {
            group.push(line);
            continue;
        }
        flush(&mut filled, &group, values);
        group.clear();
        if values.names(line).is_some() {
            group.push(line);
        } else {
            filled.push_str(line);
            filled.push('\n');
        }
    }
    // The line that was added at the end.
    filled.pop();
    values.places.iter().fold(filled, |text, (place, value)| text.replace(&format!("{{{{{place}}}}}"), value))
}

fn flush(filled: &mut String, group: &[&str], values: &Values) {
    let names = group.first().and_then(|line| values.names(line)).unwrap_or_default();
    for name in names {
        for line in group {
            filled.push_str(&with_name(line, name));
            filled.push('\n');
        }
    }
}

/// Whether a line is repeated for the identity headers, for others, or for all.
fn kind(line: &str) -> u8 {
    match () {
        () if line.contains("removed}}") => 2,
        () if line.contains("{{managed}}") => 1,
        () => 0,
    }
}

fn with_name(line: &str, name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let variable = lower.replace(|sign: char| !sign.is_ascii_alphanumeric(), "_");
    let mut line = line.to_owned();
    for place in ["identity", "removed", "managed"] {
        line = line.replace(&format!("{{{{{place}}}}}"), name);
        line = line.replace(&format!("{{{{lower_{place}}}}}"), &lower);
    }
    line.replace("{{variable}}", &variable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_names_are_repeated_together() {
        let values = Values {
            places: vec![("listen".to_owned(), "127.0.0.1:80".to_owned())],
            identity: vec!["X-User".to_owned(), "X-Mail".to_owned()],
            managed: vec!["Forwarded".to_owned()],
        };
        let text = "at {{listen}}\nset {{variable}}\nsay {{identity}}\n\nhide {{managed}}\nnone {{lower_removed}}\n";
        assert_eq!(
            fill(text, &values),
            "at 127.0.0.1:80\nset x_user\nsay X-User\nset x_mail\nsay X-Mail\n\nhide Forwarded\nnone x-user\nnone x-mail\nnone \
             forwarded\n"
        );
    }
}
