//! Edits the text of a file of revocations, and keeps what people wrote in it: comments, order and spacing.

use std::collections::HashMap;

use rowlink_link::Revocations;
use toml::value::Datetime;
use toml_edit::{DocumentMut, Item, Table, TableLike, value};
use uuid::Uuid;

use super::revocations_file::{parse, unix_seconds};
use crate::toml_errors::LineError;
use crate::unix_time::rfc3339;

/// The text of a valid file of revocations that is being edited.
pub struct RevocationsEdit {
    document: DocumentMut,
    /// What the text says.
    revocations: Revocations,
}

/// Why an entry was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The time is beyond the year 9999, in which TOML ends.
    #[error("expected a time before the year 10000")]
    TooLate,
    /// The tables have a form that cannot be edited.
    #[error("[{0}]: the table cannot be edited; write it as a table of its own")]
    Unsupported(&'static str),
}

impl RevocationsEdit {
    /// Parses the text of a file.
    ///
    /// # Errors
    /// Returns the errors that [`parse`] returns.
    pub fn new(text: &str) -> Result<RevocationsEdit, Vec<LineError>> {
        let revocations = parse(text)?;
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![LineError::at(text, offset, error.message())]
        })?;
        Ok(RevocationsEdit {
            document,
            revocations,
        })
    }

    /// Returns what the text says now.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Revokes one link, which has expired at `until`, in Unix seconds. An entry is never made shorter. Returns the time of
    /// the entry.
    ///
    /// # Errors
    /// Returns the [`EditError`] if the entry cannot be written.
    pub fn revoke_link(&mut self, id: Uuid, until: u64) -> Result<u64, EditError> {
        let known = self.revocations.links.get(&id).copied();
        let until = self.raise("links", &id.to_string(), known, until)?;
        self.revocations.links.insert(id, until);
        Ok(until)
    }

    /// Revokes the links of a user that were issued before a time, in Unix seconds. A later time stays. Returns the time of
    /// the entry.
    ///
    /// # Errors
    /// Returns the [`EditError`] if the entry cannot be written.
    pub fn revoke_user(&mut self, user: &str, before: u64) -> Result<u64, EditError> {
        let known = self.revocations.users.get(user).copied();
        let before = self.raise("users", user, known, before)?;
        self.revocations.users.insert(user.to_owned(), before);
        Ok(before)
    }

    /// Revokes the links under a key that were issued before a time, in Unix seconds. A later time stays. Returns the time
    /// of the entry.
    ///
    /// # Errors
    /// Returns the [`EditError`] if the entry cannot be written.
    pub fn revoke_key(&mut self, key_id: &str, before: u64) -> Result<u64, EditError> {
        let known = self.revocations.keys.get(key_id).copied();
        let before = self.raise("keys", key_id, known, before)?;
        self.revocations.keys.insert(key_id.to_owned(), before);
        Ok(before)
    }

    /// Removes the entries of links that had expired before a time, in Unix seconds, with the comments above them. Returns
    /// their ids and times, sorted by id.
    pub fn sweep(&mut self, before: u64) -> Vec<(Uuid, u64)> {
        let is_expired = |until: u64| until < before;
        let links = &mut self.revocations.links;
        let mut swept: Vec<(Uuid, u64)> = links.extract_if(|_, until| is_expired(*until)).collect();
        swept.sort_unstable();
        let table = self.document.get_mut("links");
        if let Some(table) = table.and_then(Item::as_table_like_mut) {
            remove_ids(table, &swept.iter().copied().collect());
        }
        swept
    }

    /// Returns the text.
    ///
    /// # Errors
    /// Returns the errors of a text that is not valid or says something else, which would be a defect.
    pub fn finish(self) -> Result<String, Vec<LineError>> {
        let mut text = self.document.to_string();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        match parse(&text)? == self.revocations {
            true => Ok(text),
            false => Err(vec![LineError::new(
                1,
                "the edited text would say something else; edit the file by hand",
            )]),
        }
    }

    /// Returns an empty table to be added. A text of comments only begins with them.
    fn added_table(&mut self) -> Item {
        let mut table = Table::new();
        if self.document.is_empty() {
            let comments = self.document.trailing().as_str().unwrap_or_default();
            // The line end after the last comment is no part of it.
            let line_end = match comments.is_empty() || comments.ends_with('\n') {
                true => "",
                false => "\n",
            };
            table.decor_mut().set_prefix([comments, line_end].concat());
            self.document.set_trailing("");
        }
        Item::Table(table)
    }

    /// Sets the time of an entry, unless the known one is later; returns that of the entry.
    fn raise(
        &mut self,
        table: &'static str,
        name: &str,
        known: Option<u64>,
        time: u64,
    ) -> Result<u64, EditError> {
        if let Some(known) = known.filter(|known| *known >= time) {
            return Ok(known);
        }
        self.set(table, name, time)?;
        Ok(time)
    }

    /// Sets the time of an entry.
    fn set(&mut self, table: &'static str, name: &str, seconds: u64) -> Result<(), EditError> {
        let time = datetime(seconds).ok_or(EditError::TooLate)?;
        if !self.document.contains_key(table) {
            let empty = self.added_table();
            self.document.insert(table, empty);
        }
        let entries = self.document[table].as_table_like_mut();
        let entries = entries.ok_or(EditError::Unsupported(table))?;
        let spelling = spelling(entries, table, name);
        match entries.get_mut(&spelling).and_then(Item::as_value_mut) {
            // With the comment behind it.
            Some(known) => {
                let decor = known.decor().clone();
                *known = time.into();
                *known.decor_mut() = decor;
            }
            None => drop(entries.insert(&spelling, value(time))),
        }
        Ok(())
    }
}

/// Returns how a name is spelled in a table: a person may have written the id of a link in upper case.
fn spelling(entries: &dyn TableLike, table: &str, name: &str) -> String {
    let is_same = |key: &str| key == name || table == "links" && key.eq_ignore_ascii_case(name);
    let mut keys = entries.iter().map(|(key, _)| key);
    keys.find(|key| is_same(key)).unwrap_or(name).to_owned()
}

/// Removes all spellings of these ids.
fn remove_ids(table: &mut dyn TableLike, ids: &HashMap<Uuid, u64>) {
    let keys = table.iter().map(|(key, _)| key.to_owned());
    let is_removed = |key: &String| {
        let id = Uuid::try_parse(key);
        id.is_ok_and(|id| ids.contains_key(&id))
    };
    let removed: Vec<String> = keys.filter(is_removed).collect();
    for key in removed {
        table.remove(&key);
    }
}

/// Returns a time as TOML writes it; `None` if it cannot.
fn datetime(seconds: u64) -> Option<Datetime> {
    let time: Datetime = rfc3339(seconds)?.parse().ok()?;
    (unix_seconds(&time) == Some(seconds)).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::{btree_map, hash_map};
    use proptest::prelude::*;
    use uuid::uuid;

    const LINK: Uuid = uuid!("0198c2f4-6f3a-7cc1-9b2e-0242ac120002");
    const OTHER: Uuid = uuid!("0198c2f4-6f3a-7cc1-9b2e-0242ac120003");
    const NOW: u64 = 1_769_853_600;

    fn edit(text: &str) -> RevocationsEdit {
        RevocationsEdit::new(text).expect("a valid file")
    }

    #[test]
    fn comments_alone_stay_above_the_first_entry() {
        for comments in [
            "",
            "# Ask Ann first.\n",
            "# Ask Ann first.\n\n",
            "# Ann\n# Bob\n",
        ] {
            let mut edited = edit(comments);
            assert_eq!(edited.revoke_link(LINK, NOW), Ok(NOW));
            let text = edited.finish().expect("a valid text");
            let expected = format!("{comments}[links]\n{LINK} = 2026-01-31T10:00:00Z\n");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn an_entry_is_added_and_everything_else_stays_as_it_was() {
        let text = "# Revocations: ask Ann first.\nissued_before = 2026-01-01T00:00:00Z # the leak\n\n[users]\n\
                    # Left the company.\n\"42\" = 2026-01-02T00:00:00Z   # ticket 7\n\n[keys]\n2026a = 2026-01-03T01:00:00+01:00\n# end\n";
        let mut edited = edit(text);
        assert_eq!(edited.revoke_link(LINK, NOW), Ok(NOW));
        assert_eq!(edited.revoke_user("4 3", NOW), Ok(NOW));
        let expected = text
            .replace(
                "# ticket 7\n",
                "# ticket 7\n\"4 3\" = 2026-01-31T10:00:00Z\n",
            )
            .replace(
                "# end\n",
                &format!("\n[links]\n{LINK} = 2026-01-31T10:00:00Z\n# end\n"),
            );
        assert_eq!(edited.finish(), Ok(expected));
    }

    #[test]
    fn a_time_is_raised_in_its_place_and_never_lowered() {
        let text = format!(
            "[links] # by Ann\n{} = 2026-01-01T00:00:00Z # mailed\n[users]\na = 2026-01-01T00:00:00Z # gone\n",
            LINK.to_string().to_uppercase()
        );
        let mut edited = edit(&text);
        assert_eq!(edited.revoke_link(LINK, NOW), Ok(NOW));
        assert_eq!(edited.revoke_link(LINK, 5), Ok(NOW));
        assert_eq!(edited.revoke_user("a", NOW), Ok(NOW));
        assert_eq!(edited.revoke_user("a", 5), Ok(NOW));
        let raised = "2026-01-31T10:00:00Z";
        let expected = text.replace("2026-01-01T00:00:00Z", raised);
        assert_eq!(edited.finish(), Ok(expected));
    }

    #[test]
    fn only_links_that_have_expired_are_swept() {
        let text = format!(
            "[users]\na = 2020-01-01T00:00:00Z\n[links]\n# old\n{LINK} = 2026-01-31T09:59:59Z\n# new\n{OTHER} = 2026-01-31T10:00:00Z\n"
        );
        let mut edited = edit(&text);
        assert_eq!(edited.sweep(NOW), [(LINK, NOW - 1)]);
        assert!(edited.sweep(NOW).is_empty());
        let expected = format!(
            "[users]\na = 2020-01-01T00:00:00Z\n[links]\n# new\n{OTHER} = 2026-01-31T10:00:00Z\n"
        );
        assert_eq!(edited.finish(), Ok(expected));
    }

    #[test]
    fn what_cannot_be_edited_is_an_error() {
        assert!(RevocationsEdit::new("[links]\nx = 2026-01-31T10:00:00Z\n").is_err());
        assert!(RevocationsEdit::new("[users\n").is_err());
        assert_eq!(
            edit("").revoke_link(LINK, u64::MAX),
            Err(EditError::TooLate)
        );
        assert_eq!(
            edit("").revoke_link(LINK, 300_000_000_000),
            Err(EditError::TooLate)
        );
    }

    fn quoted(name: &str) -> String {
        // A JSON string without control characters is a TOML string.
        serde_json::to_string(name).expect("a text")
    }

    proptest! {
        #[test]
        fn an_edited_file_says_what_was_entered(
            users in btree_map("[^\\p{Cc}]{0,9}", 0..NOW, 0..4),
            links in hash_map(any::<u128>(), 0..2 * NOW, 0..4),
            form in 0..3,
            user in "[^\\p{Cc}]{0,9}",
            key in "[a-z0-9_-]{1,9}",
            (id, until, before) in (any::<u128>(), 0..2 * NOW, 0..2 * NOW),
        ) {
            let time = |seconds: &u64| rfc3339(*seconds).expect("a time");
            let entries = |separator: &str| -> (String, String) {
                let users = users.iter().map(|(user, at)| format!("{} = {}", quoted(user), time(at)));
                let links = links.iter().map(|(id, at)| format!("{} = {}", Uuid::from_u128(*id), time(at)));
                let join = |entries: Vec<String>| entries.join(separator);
                (join(users.collect()), join(links.collect()))
            };
            let text = match form {
                0 => {
                    let (users, links) = entries("\n");
                    format!("# c\n[users]\n{users}\n[links]\n{links}\n")
                }
                1 => {
                    let (users, links) = entries(", ");
                    format!("users = {{ {users} }}\nlinks = {{ {links} }}")
                }
                _ => {
                    let (users, links) = entries("\r\n");
                    format!("[links]\r\n{links}\r\n\r\n[users]\r\n{users}")
                }
            };
            let mut expected = parse(&text).expect("a valid file");
            let mut edited = edit(&text);
            let id = Uuid::from_u128(id);
            edited.revoke_link(id, until).expect("an entry");
            edited.revoke_user(&user, before).expect("an entry");
            edited.revoke_key(&key, before).expect("an entry");
            edited.sweep(before);
            let later = |known: Option<&u64>, at: u64| known.map_or(at, |known| at.max(*known));
            let link = later(expected.links.get(&id), until);
            expected.links.insert(id, link);
            let of_user = later(expected.users.get(&user), before);
            expected.users.insert(user, of_user);
            expected.keys.insert(key, before);
            expected.links.retain(|_, until| *until >= before);
            let text = edited.finish().expect("a valid text");
            prop_assert_eq!(parse(&text), Ok(expected));
        }
    }
}
