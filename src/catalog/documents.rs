//! Exports of stored documents: `kind = "file"` or `"files"`, and their table `[file]`.

use std::collections::BTreeMap;

use bytesize::ByteSize;
use rowlink_link::{UserId, is_claim_name};
use serde::Deserialize;

use super::template::Template;

/// The columns of a statement that lists stored documents. Only the first is required.
pub const DOCUMENT_COLUMNS: [&str; 5] = ["object", "filename", "content_type", "size", "sha256"];

/// What the rows of an export are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportKind {
    /// The content of the file.
    #[default]
    Rows,
    /// One stored document, which is the file.
    File,
    /// Stored documents, which a ZIP archive contains.
    Files,
}

impl ExportKind {
    /// Returns its name in settings and in the list of exports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ExportKind::Rows => "rows",
            ExportKind::File => "file",
            ExportKind::Files => "files",
        }
    }
}

/// Where the documents of an export are, and how they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSettings {
    /// Whether a file is an archive of all documents, and not the only one.
    pub is_archive: bool,
    /// The name of their store in the configuration.
    pub store: String,
    /// What each object's key starts with.
    pub prefix: Option<KeyPrefix>,
    /// The largest document, in bytes, that is sent through the server. Clients are redirected to larger ones, if the store can
    /// sign URLs.
    pub proxy_up_to: u64,
    /// The line of the table `[file]`.
    pub line: usize,
}

/// The table `[file]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTable {
    store: String,
    prefix: Option<String>,
    proxy_up_to: Option<ByteSize>,
}

impl FileTable {
    /// Returns the settings of an export.
    ///
    /// # Errors
    /// Returns a message that names an invalid setting.
    pub(super) fn settings(
        self,
        is_archive: bool,
        line: usize,
    ) -> Result<DocumentSettings, String> {
        let prefix = self.prefix.as_deref().map(KeyPrefix::parse).transpose();
        let proxy_up_to = self.proxy_up_to.unwrap_or(ByteSize::mb(5));
        Ok(DocumentSettings {
            is_archive,
            store: self.store,
            prefix: prefix.map_err(|message| format!("`prefix` in [file]: {message}"))?,
            proxy_up_to: proxy_up_to.as_u64(),
            line,
        })
    }
}

/// A folder in a store that may depend on the link: `tenants/{claim.org_id}/`. An SQL statement that returns another tenant's
/// object by mistake then fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPrefix(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    User,
    Claim(String),
}

impl KeyPrefix {
    /// Parses a template with `{user}` and `{claim.NAME}`.
    ///
    /// # Errors
    /// Returns what was expected.
    fn parse(text: &str) -> Result<KeyPrefix, String> {
        // Otherwise `tenants/7` would include `tenants/70`.
        let folders = text.strip_suffix('/').ok_or("expected a `/` at its end")?;
        for folder in folders.split('/') {
            if matches!(folder, "" | "." | "..") || folder.chars().any(char::is_control) {
                return Err("expected folders, separated by one `/` each".into());
            }
            // Otherwise two pairs of values could give one name.
            if folder.matches('{').count() > 1 {
                return Err(format!("`{folder}`: expected at most one value per folder"));
            }
        }
        let mut parts = Vec::new();
        let Template { names, rest } = Template::parse(text)?;
        for (before, name) in names {
            parts.push(Part::Text(before.to_owned()));
            parts.push(match (name, name.strip_prefix("claim.")) {
                ("user", _) => Part::User,
                (_, Some(claim)) if is_claim_name(claim) => Part::Claim(claim.to_owned()),
                _ => return Err(format!("`{{{name}}}`: expected {{user}} or {{claim.NAME}}")),
            });
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(KeyPrefix(parts))
    }

    /// Returns the claims that it uses.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Claim(name) => Some(name.as_str()),
            Part::Text(_) | Part::User => None,
        })
    }

    /// Returns the prefix for a link.
    ///
    /// # Errors
    /// Returns a message if a value is not the name of one folder.
    pub fn render(
        &self,
        user: &UserId,
        claims: &BTreeMap<String, String>,
    ) -> Result<String, String> {
        let mut prefix = String::new();
        for part in &self.0 {
            let (name, value) = match part {
                Part::Text(text) => {
                    prefix.push_str(text);
                    continue;
                }
                Part::User => ("user", user.as_str()),
                Part::Claim(name) => (name.as_str(), claims.get(name).map_or("", String::as_str)),
            };
            if value.is_empty() || value == "." || value == ".." || value.contains('/') {
                return Err(format!("`{name}` is no name of a folder"));
            }
            prefix.push_str(value);
        }
        Ok(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_the_values_of_the_link() {
        let prefix = KeyPrefix::parse("tenants/{claim.org}/{user}/").expect("a prefix");
        assert_eq!(prefix.claims().collect::<Vec<_>>(), ["org"]);
        let render = |user: &str, org: &str| {
            let user = UserId::parse(user).expect("a user id");
            prefix.render(&user, &BTreeMap::from([("org".into(), org.into())]))
        };
        assert_eq!(render("42", "7").as_deref(), Ok("tenants/7/42/"));
        for (user, org) in [("a/b", "7"), ("..", "7"), ("42", "."), ("42", "../8")] {
            assert!(render(user, org).is_err(), "{user} {org}");
        }
        for bad in [
            "",
            "/",
            "/a/",
            "a//",
            "a/../",
            "./",
            "{user}{claim.a}/",
            "{claim.a}-{user}/",
            "a",
            "{user}",
            "{user/",
            "{name}/",
            "{claim.}/",
            "{claim.a-b}/",
        ] {
            assert!(KeyPrefix::parse(bad).is_err(), "{bad}");
        }
    }
}
