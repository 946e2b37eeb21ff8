//! The page on which a person confirms a download: what the file is, until when the link works, and a button.

use super::document::{self, Document, escape};
use super::error_page::in_words;
use super::retry::Wait;
use crate::unix_time::rfc3339;

/// The time after which the page of a file that is being prepared reloads itself. The page of a link ends with the link.
const RELOAD: Wait = Wait {
    seconds: 5,
    reloads: true,
};

/// The content of a page.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct ConfirmPage<'p> {
    pub(in crate::http) filename: &'p str,
    /// The type of the file, in words.
    pub(in crate::http) file_type: &'p str,
    /// The end of the link, in Unix seconds.
    pub(in crate::http) expires: u64,
    /// In Unix seconds.
    pub(in crate::http) now: u64,
    /// Whether the link works only once.
    pub(in crate::http) is_single_use: bool,
    pub(in crate::http) file: FileOnPage,
}

/// What is known about a file before it is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum FileOnPage {
    /// It is made when it is downloaded.
    NotPrepared,
    /// It is being prepared, with the rows so far.
    Preparing { rows: u64 },
    /// It is complete. A stored document has no rows.
    Ready { bytes: u64, rows: Option<u64> },
}

impl ConfirmPage<'_> {
    /// Returns the policy. It does not restrict the targets of forms: the response to the button's request may be a redirect
    /// to the store, and browsers apply `form-action` to redirects, too. Only this server writes the page, and all that
    /// comes from a link is escaped.
    pub(in crate::http) fn content_security_policy(&self) -> String {
        document::content_security_policy(self.wait())
    }

    pub(in crate::http) fn render(&self) -> String {
        let (description, action) = (self.description(), self.action());
        let lifetime = self.lifetime();
        let content = format!("{description}{action}{lifetime}");
        let document = Document {
            heading: match self.file {
                FileOnPage::NotPrepared => "Download this file?",
                FileOnPage::Preparing { .. } => "Your file is being prepared",
                FileOnPage::Ready { .. } => "Your file is ready",
            },
            wait: self.wait(),
            content: &content,
        };
        document.render()
    }

    fn wait(&self) -> Option<Wait> {
        matches!(self.file, FileOnPage::Preparing { .. }).then_some(RELOAD)
    }

    fn description(&self) -> String {
        let (filename, file_type) = (escape(self.filename), escape(self.file_type));
        let rows = |rows: u64| format!(", {}", count(rows, "row"));
        let size = match self.file {
            FileOnPage::NotPrepared => String::new(),
            FileOnPage::Preparing { rows: so_far } => format!("{} so far", rows(so_far)),
            FileOnPage::Ready { bytes, rows: all } => {
                let all = all.map(rows).unwrap_or_default();
                format!(", {}{all}", size(bytes))
            }
        };
        // The name may be written from right to left.
        format!("<p><strong><bdi>{filename}</bdi></strong><br>{file_type}{size}</p>\n")
    }

    /// Returns the button. A file that is being prepared has none: a click would run its query a second time.
    fn action(&self) -> String {
        match self.wait() {
            Some(wait) => {
                let countdown = wait.paragraph("This page reloads in", "seconds.");
                format!(
                    "{countdown}<p class=\"buttons\"><a class=\"button\" href=\"\">Reload</a></p>\n"
                )
            }
            // Without an action the target is the page's own URL, under whatever name the browser knows it.
            None => {
                "<form method=\"post\"><p class=\"buttons\"><button class=\"button\">Download</button></p></form>\n"
                    .to_owned()
            }
        }
    }

    fn lifetime(&self) -> String {
        let left = in_words(self.expires.saturating_sub(self.now));
        let instant = rfc3339(self.expires).unwrap_or_default();
        let minute = instant.get(..16).unwrap_or_default().replace('T', " ");
        let once = if self.is_single_use {
            " It works once."
        } else {
            ""
        };
        format!(
            "<p class=\"small\">The link works for another {left}, until \
             <time datetime=\"{instant}\">{minute} UTC</time>.{once}</p>\n"
        )
    }
}

/// Returns a number of bytes in the unit that people would use, with decimal prefixes.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return count(bytes, "byte");
    };
    let (whole, tenths) = (bytes / unit, bytes % unit * 10 / unit);
    match whole {
        0..10 => format!("{whole}.{tenths} {name}"),
        _ => format!("{whole} {name}"),
    }
}

/// Returns a number with commas between its thousands, and what is counted.
fn count(number: u64, what: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let plural = if number == 1 { "" } else { "s" };
    format!("{text} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(file: FileOnPage) -> ConfirmPage<'static> {
        ConfirmPage {
            filename: "orders.csv",
            file_type: "CSV",
            // 2026-01-31T11:00:00Z.
            expires: 1_769_857_200,
            now: 1_769_853_600,
            is_single_use: false,
            file,
        }
    }

    #[test]
    fn a_size_is_in_the_unit_that_people_use() {
        let said = [0, 1, 999, 1000, 1999, 12_345, 4_560_000, 78_900_000_000].map(size);
        let expected = [
            "0 bytes",
            "1 byte",
            "999 bytes",
            "1.0 kB",
            "1.9 kB",
            "12 kB",
            "4.5 MB",
            "78 GB",
        ];
        assert_eq!(said, expected);
        let said = [0, 1, 999, 1000, 1_234_567].map(|it| count(it, "row"));
        let expected = [
            "0 rows",
            "1 row",
            "999 rows",
            "1,000 rows",
            "1,234,567 rows",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn a_page_tells_what_is_known_about_the_file_and_the_link() {
        let html = page(FileOnPage::NotPrepared).render();
        for expected in [
            "<h1>Download this file?</h1>",
            "<bdi>orders.csv</bdi></strong><br>CSV</p>",
            "<form method=\"post\">",
            "The link works for another 60 minutes, until <time datetime=\"2026-01-31T11:00:00Z\">2026-01-31 11:00 UTC</time>",
        ] {
            assert!(html.contains(expected), "no {expected} in {html}");
        }
        let ready = page(FileOnPage::Ready {
            bytes: 1_234_567,
            rows: Some(20_000),
        });
        let html = ready.render();
        assert!(html.contains("<h1>Your file is ready</h1>"), "{html}");
        assert!(html.contains("<br>CSV, 1.2 MB, 20,000 rows</p>"), "{html}");
        let once = ConfirmPage {
            is_single_use: true,
            ..ready
        };
        assert!(once.render().contains("UTC</time>. It works once.</p>"));
        assert!(!html.contains("once"), "{html}");
    }

    #[test]
    fn only_the_page_of_a_file_that_is_being_prepared_reloads_itself_and_has_no_form() {
        let preparing = page(FileOnPage::Preparing { rows: 3000 }).render();
        assert!(preparing.contains("<meta http-equiv=\"refresh\" content=\"5\">"));
        assert!(preparing.contains("<br>CSV, 3,000 rows so far</p>"));
        assert!(!preparing.contains("<form"), "{preparing}");
        let ready = FileOnPage::Ready {
            bytes: 1,
            rows: None,
        };
        for file in [FileOnPage::NotPrepared, ready] {
            let html = page(file).render();
            assert!(
                !html.contains("http-equiv") && html.contains("<form"),
                "{html}"
            );
        }
    }

    #[test]
    fn texts_are_escaped_and_the_policy_allows_only_the_styles_of_the_page() {
        let html = ConfirmPage {
            filename: "\"><script>.csv",
            file_type: "<b>",
            ..page(FileOnPage::NotPrepared)
        }
        .render();
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        for file in [FileOnPage::NotPrepared, FileOnPage::Preparing { rows: 0 }] {
            let page = page(file);
            let (html, policy) = (page.render(), page.content_security_policy());
            let styles = html.split("<style>").skip(1);
            let styles = styles.filter_map(|rest| rest.split("</style>").next());
            let hashes: Vec<String> = styles.map(document::style_hash).collect();
            assert!(policy.contains(&format!("style-src {};", hashes.join(" "))));
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            // A redirect of the form's response would be blocked.
            assert!(!policy.contains("form-action"), "{policy}");
        }
    }
}
