//! The first line of the file: what each column holds.

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Email,
    FirstName,
    LastName,
    Name,
    PhoneNumber,
    Username,
    ExternalUserId,
    Language,
    Groups,
    Roles,
    CustomData(String),
    CustomAppData(String),
}

const PLAIN: [(&str, Column); 10] = [
    ("email", Column::Email),
    ("first_name", Column::FirstName),
    ("last_name", Column::LastName),
    ("name", Column::Name),
    ("phone_number", Column::PhoneNumber),
    ("username", Column::Username),
    ("external_user_id", Column::ExternalUserId),
    ("language", Column::Language),
    ("groups", Column::Groups),
    ("roles", Column::Roles),
];

/// Why the first line does not name columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum BadHeader {
    #[error("the file is empty")]
    Empty,
    #[error("the first line is not UTF-8")]
    NotUtf8,
    #[error("the first line names one column, `{0}`, which looks like several")]
    Separator(String),
    #[error("unknown column `{name}`, did you mean `{nearest}`?")]
    Unknown { name: String, nearest: &'static str },
    #[error("the column `{0}` is there twice")]
    Twice(String),
    #[error("there is no column `email`, and none `phone_number`: Mosaic needs one of them")]
    Nobody,
}

impl BadHeader {
    /// One thing to do about it.
    pub(in super::super) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Empty => Some("the first line names the columns, like `email,first_name,last_name`"),
            Self::NotUtf8 => Some("save the file as UTF-8"),
            Self::Separator(_) => Some("separate columns by commas"),
            Self::Unknown { .. } | Self::Twice(_) | Self::Nobody => None,
        }
    }
}

/// Reads the names in the first line.
pub(super) fn columns(header: &csv::ByteRecord) -> Result<Vec<Column>, BadHeader> {
    if header.iter().all(<[u8]>::is_empty) {
        return Err(BadHeader::Empty);
    }
    let mut columns = Vec::new();
    for name in header {
        let name = str::from_utf8(name).map_err(|_| BadHeader::NotUtf8)?;
        if header.len() == 1 && name.contains([';', '\t', '|']) {
            return Err(BadHeader::Separator(name.to_owned()));
        }
        let column =
            column(name).ok_or_else(|| BadHeader::Unknown { name: name.to_owned(), nearest: nearest(name) })?;
        if columns.contains(&column) {
            return Err(BadHeader::Twice(name.to_owned()));
        }
        columns.push(column);
    }
    let names_users = columns.iter().any(|column| matches!(column, Column::Email | Column::PhoneNumber));
    if names_users { Ok(columns) } else { Err(BadHeader::Nobody) }
}

fn column(name: &str) -> Option<Column> {
    let keyed = |prefix| name.strip_prefix(prefix).filter(|key: &&str| !key.is_empty()).map(str::to_owned);
    if let Some(key) = keyed("custom_data.") {
        return Some(Column::CustomData(key));
    }
    if let Some(key) = keyed("custom_app_data.") {
        return Some(Column::CustomAppData(key));
    }
    PLAIN.iter().find(|(plain, _)| plain.eq_ignore_ascii_case(name)).map(|(_, column)| column.clone())
}

/// The name that was most probably meant.
fn nearest(name: &str) -> &'static str {
    let keyed = ["custom_data.KEY", "custom_app_data.KEY"];
    let names = PLAIN.iter().map(|(name, _)| *name).chain(keyed);
    let distance = |known: &&str| strsim::damerau_levenshtein(&name.to_ascii_lowercase(), known);
    names.min_by_key(distance).unwrap_or("email")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_columns() {
        let check = |names: &[&str], expected: Result<&[Column], &str>| {
            let found = columns(&csv::ByteRecord::from(names)).map_err(|error| error.to_string());
            assert_eq!(found.as_deref(), expected.map_err(str::to_owned).as_ref().copied(), "{names:?}");
        };
        let data = [Column::Email, Column::CustomData("a.b".to_owned()), Column::CustomAppData("x".to_owned())];
        check(&["Email", "custom_data.a.b", "custom_app_data.x"], Ok(&data));
        check(&["phone_number"], Ok(&[Column::PhoneNumber]));
        check(&["email", "frist_name"], Err("unknown column `frist_name`, did you mean `first_name`?"));
        check(&["e-mail"], Err("unknown column `e-mail`, did you mean `email`?"));
        check(&["email", "custom_data."], Err("unknown column `custom_data.`, did you mean `custom_data.KEY`?"));
        check(&["email", "groups", "Groups"], Err("the column `Groups` is there twice"));
        check(&["email;name"], Err("the first line names one column, `email;name`, which looks like several"));
        check(&["name"], Err("there is no column `email`, and none `phone_number`: Mosaic needs one of them"));
        check(&[""], Err("the file is empty"));
        check(&[], Err("the file is empty"));
    }
}
