//! The page on which a person confirms a download: what the file is, until when the link works, and a button.

use super::document::{self, Document};
use super::retry::Wait;
use crate::texts::{Texts, escape, fill};
use crate::unix_time::rfc3339;

/// The time after which the page of a file that is being prepared reloads itself. The page of a link ends with the link.
const RELOAD: Wait = Wait {
    seconds: 5,
    reloads: true,
};

/// The content of a page.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct ConfirmPage<'p> {
    pub(in crate::http) texts: &'p Texts,
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
        let texts = &self.texts.confirm_page;
        let document = Document {
            language: self.texts.language,
            heading: match self.file {
                FileOnPage::NotPrepared => &texts.not_prepared,
                FileOnPage::Preparing { .. } => &texts.preparing,
                FileOnPage::Ready { .. } => &texts.ready,
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
        let quantities = &self.texts.quantities;
        let mut facts = vec![self.file_type.to_owned()];
        match self.file {
            FileOnPage::NotPrepared => {}
            FileOnPage::Preparing { rows } => {
                let rows = quantities.rows(rows);
                let so_far = &self.texts.confirm_page.rows_so_far;
                facts.push(fill(so_far, &[("rows", &rows)]));
            }
            FileOnPage::Ready { bytes, rows } => {
                facts.push(quantities.size(bytes));
                facts.extend(rows.map(|rows| quantities.rows(rows)));
            }
        }
        let (filename, facts) = (escape(self.filename), escape(&facts.join(", ")));
        // The name may be written from right to left.
        format!("<p><strong><bdi>{filename}</bdi></strong><br>{facts}</p>\n")
    }

    /// Returns the button. A file that is being prepared has none: a click would run its query a second time.
    fn action(&self) -> String {
        let texts = &self.texts.confirm_page;
        match self.wait() {
            Some(wait) => {
                let countdown = wait.paragraph(&texts.reloads_in);
                let reload = escape(&texts.reload);
                format!(
                    "{countdown}<p class=\"buttons\"><a class=\"button\" href=\"\">{reload}</a></p>\n"
                )
            }
            // Without an action the target is the page's own URL, under whatever name the browser knows it.
            None => {
                let download = escape(&texts.download);
                format!(
                    "<form method=\"post\"><p class=\"buttons\"><button class=\"button\">{download}</button></p></form>\n"
                )
            }
        }
    }

    fn lifetime(&self) -> String {
        let Texts {
            quantities,
            confirm_page: texts,
            ..
        } = self.texts;
        let left = self.expires.saturating_sub(self.now);
        let left = escape(&quantities.left.in_words(left));
        let machine_readable = rfc3339(self.expires).unwrap_or_default();
        let instant = escape(&quantities.instant(self.expires));
        let instant = format!("<time datetime=\"{machine_readable}\">{instant}</time>");
        let text = escape(&texts.lifetime);
        let text = fill(&text, &[("left", &left), ("instant", &instant)]);
        let once = match self.is_single_use {
            true => format!(" {}", escape(&texts.works_once)),
            false => String::new(),
        };
        format!("<p class=\"small\">{text}{once}</p>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::{all, english};

    fn page(file: FileOnPage) -> ConfirmPage<'static> {
        ConfirmPage {
            texts: english(),
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
    fn a_page_of_each_language_has_all_its_texts_and_no_placeholder() {
        let files = [
            FileOnPage::NotPrepared,
            FileOnPage::Preparing { rows: 3000 },
            FileOnPage::Ready {
                bytes: 1_234_567,
                rows: Some(20_000),
            },
        ];
        for texts in all() {
            let page = |file| ConfirmPage {
                texts,
                is_single_use: true,
                ..page(file)
            };
            let html = files.map(|file| page(file).render());
            for html in &html {
                let (_, main) = html.split_once("<main>").expect("a main element");
                assert!(!main.contains('{'), "{main}");
                let language = format!("<html lang=\"{}\">", texts.language);
                assert!(html.contains(&language), "{html}");
            }
            if texts.language != "de" {
                continue;
            }
            for (html, expected) in [
                (&html[0], "<h1>Diese Datei herunterladen?</h1>"),
                (&html[0], ">Herunterladen</button>"),
                (&html[0], "<br>CSV</p>"),
                (
                    &html[0],
                    "Der Link ist noch 60 Minuten gültig, bis <time datetime=\"2026-01-31T11:00:00Z\">\
                     31.01.2026, 11:00 Uhr (UTC)</time>. Er funktioniert einmal.</p>",
                ),
                (&html[1], "<br>CSV, bisher 3.000 Zeilen</p>"),
                (&html[1], ">Neu laden</a>"),
                (&html[2], "<br>CSV, 1,2 MB, 20.000 Zeilen</p>"),
            ] {
                assert!(html.contains(expected), "no {expected} in {html}");
            }
        }
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
