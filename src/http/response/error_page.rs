//! A problem as an HTML page for people in a browser: what happened, and what to do.

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT, Accept, Header as _, HeaderValue};
use uuid::Uuid;

use super::advice::advice;
use super::document::{self, Document};
use super::retry::{Retry, Wait};
use crate::texts::{Texts, escape, fill};

/// Tells whether a request is a navigation: `text/html` has the highest preference.
pub(in crate::http) fn is_navigation(request: &HttpRequest) -> bool {
    // Programs never name it; skips ranking their preferences.
    let names_html = |value: &HeaderValue| value.as_bytes().windows(9).any(|it| it == b"text/html");
    if !request.headers().get_all(ACCEPT).any(names_html) {
        return false;
    }
    let accepted = Accept::parse(request).ok();
    let ranked = accepted.map(|accepted| accepted.ranked());
    let first = ranked.and_then(|types| types.into_iter().next());
    first.is_some_and(|first| first.essence_str() == "text/html")
}

/// The content of a page.
pub(in crate::http) struct Page<'p> {
    pub(in crate::http) texts: &'p Texts,
    /// For how many seconds the link has been expired, if that is the problem.
    pub(in crate::http) expired_for: Option<u64>,
    /// The invalid fields, each with what is wrong, in English.
    pub(in crate::http) errors: Vec<(&'p str, &'p str)>,
    pub(in crate::http) status: u16,
    pub(in crate::http) code: &'p str,
    pub(in crate::http) request_id: Uuid,
    pub(in crate::http) next: NextSteps,
}

/// What a page offers to go on.
#[derive(Debug, Default)]
pub(in crate::http) struct NextSteps {
    /// The button "Try again".
    pub(in crate::http) retry: Option<Retry>,
    /// The target of the button that leads back.
    pub(in crate::http) return_url: Option<String>,
}

impl Page<'_> {
    /// Returns the policy. The page has no form.
    pub(in crate::http) fn content_security_policy(&self) -> String {
        let policy = document::content_security_policy(self.wait());
        format!("{policy}; form-action 'none'")
    }

    pub(in crate::http) fn render(&self) -> String {
        let (errors, advice, buttons) = (self.errors(), self.advice(), self.buttons());
        let report = self.report();
        let content = format!("{errors}{advice}{buttons}{report}");
        let document = Document {
            language: self.texts.language,
            heading: &self.heading(),
            wait: self.wait(),
            content: &content,
        };
        document.render()
    }

    fn wait(&self) -> Option<Wait> {
        self.next.retry.as_ref()?.wait()
    }

    fn heading(&self) -> String {
        let texts = &self.texts.error_page;
        match (self.expired_for, self.code) {
            (Some(seconds), _) => {
                let ago = self.texts.quantities.ago.in_words(seconds);
                fill(&texts.expired, &[("ago", &ago)])
            }
            (None, "link-used") => texts.used.clone(),
            (None, code) => self.texts.title(code).to_owned(),
        }
    }

    fn errors(&self) -> String {
        let item = |(field, message): &(&str, &str)| {
            let (field, message) = (escape(field), escape(message));
            format!("<li><code>{field}</code>: {message}</li>\n")
        };
        let items: String = self.errors.iter().map(item).collect();
        let language = match self.texts.is_english() {
            true => "",
            false => " lang=\"en\"",
        };
        match items.as_str() {
            "" => items,
            items => format!("<ul{language}>\n{items}</ul>\n"),
        }
    }

    fn advice(&self) -> String {
        let texts = self.texts;
        let advice = match &self.next.retry {
            Some(Retry::SameUrl(Some(wait))) => return wait.countdown(&texts.error_page),
            Some(Retry::NewLink(_)) => &texts.error_page.with_new_link,
            Some(Retry::SameUrl(None)) | None => advice(&texts.advice, self.code),
        };
        format!("<p>{}</p>\n", escape(advice))
    }

    /// Returns the buttons; if none leads to the file or the application, also in words how to go on.
    fn buttons(&self) -> String {
        let NextSteps { retry, return_url } = &self.next;
        let texts = &self.texts.error_page;
        let again = retry
            .as_ref()
            .map(|retry| button("button", retry.href(), &texts.try_again));
        let class = if again.is_some() {
            "button second"
        } else {
            "button"
        };
        let back = return_url.as_deref();
        let back = back.map(|url| button(class, url, &texts.back));
        let words = match (retry, &back) {
            (Some(Retry::SameUrl(_)), _) | (_, Some(_)) => String::new(),
            (Some(Retry::NewLink(_)) | None, None) => {
                format!("<p>{}</p>\n", escape(&texts.without_button))
            }
        };
        match [again, back].into_iter().flatten().collect::<String>() {
            none if none.is_empty() => words,
            buttons => format!("<p class=\"buttons\">\n{buttons}</p>\n{words}"),
        }
    }

    /// Returns what the operator needs to find the request in the log.
    fn report(&self) -> String {
        let code = format!("<code>{} {}</code>", self.status, escape(self.code));
        let request = format!("<code>{}</code>", self.request_id);
        let text = escape(&self.texts.error_page.report);
        let text = fill(&text, &[("code", &code), ("request", &request)]);
        format!("<p class=\"small\">{text}</p>\n")
    }
}

fn button(class: &str, href: &str, text: &str) -> String {
    let (href, text) = (escape(href), escape(text));
    format!("<a class=\"{class}\" href=\"{href}\">{text}</a>\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::{all, english};

    fn page(next: NextSteps) -> Page<'static> {
        Page {
            texts: english(),
            expired_for: None,
            errors: Vec::new(),
            status: 503,
            code: "replica-limit",
            request_id: Uuid::nil(),
            next,
        }
    }

    fn waiting(seconds: u64, reloads: bool) -> Page<'static> {
        page(NextSteps {
            retry: Some(Retry::SameUrl(Some(Wait { seconds, reloads }))),
            return_url: None,
        })
    }

    #[test]
    fn texts_and_targets_on_a_page_are_escaped() {
        let next = NextSteps {
            retry: Some(Retry::NewLink("?a=1&b='\"><script>".into())),
            return_url: Some("https://example.com/?a=1&b=\"><script>".into()),
        };
        let page = Page {
            code: "<script>alert(1)</script>",
            errors: vec![("<b>", "expected <i> & \"b\" 'c'")],
            ..page(next)
        };
        let html = page.render();
        assert!(!html.contains("<script"), "{html}");
        for expected in [
            "<li><code>&lt;b&gt;</code>: expected &lt;i&gt; &amp; &quot;b&quot; &#39;c&#39;</li>",
            "href=\"?a=1&amp;b=&#39;&quot;&gt;&lt;script&gt;\">Try again</a>",
            "href=\"https://example.com/?a=1&amp;b=&quot;&gt;&lt;script&gt;\">Back to the application</a>",
        ] {
            assert!(html.contains(expected), "no {expected} in {html}");
        }
    }

    #[test]
    fn a_page_says_in_words_how_to_go_on_unless_a_button_leads_there() {
        let shown = |retry: Option<Retry>, return_url: Option<&str>| {
            let return_url = return_url.map(str::to_owned);
            let html = page(NextSteps { retry, return_url }).render();
            [">Try again<", ">Back to the", "open the application where"]
                .map(|text| html.contains(text))
        };
        let again = || Some(Retry::SameUrl(None));
        let new_link = || Some(Retry::NewLink("?".into()));
        let back = Some("https://example.com/");
        assert_eq!(shown(None, None), [false, false, true]);
        assert_eq!(shown(None, back), [false, true, false]);
        assert_eq!(shown(again(), None), [true, false, false]);
        assert_eq!(shown(again(), back), [true, true, false]);
        assert_eq!(shown(new_link(), None), [true, false, true]);
        assert_eq!(shown(new_link(), back), [true, true, false]);
    }

    /// Returns pages with all their texts, in one language.
    fn pages(texts: &'static Texts) -> Vec<Page<'static>> {
        let retries = [
            None,
            Some(Retry::NewLink("?".into())),
            Some(Retry::SameUrl(None)),
            Some(Retry::SameUrl(Some(Wait {
                seconds: 7,
                reloads: true,
            }))),
            Some(Retry::SameUrl(Some(Wait {
                seconds: 7,
                reloads: false,
            }))),
        ];
        let page = |retry: Option<Retry>| Page {
            texts,
            expired_for: Some(12),
            errors: vec![("filters.from", "is required")],
            ..page(NextSteps {
                return_url: retry.is_some().then(|| "https://example.com/".into()),
                retry,
            })
        };
        retries.into_iter().map(page).collect()
    }

    #[test]
    fn a_page_of_each_language_has_all_its_texts_and_no_placeholder() {
        for texts in all() {
            for page in pages(texts) {
                let html = page.render();
                let (_, main) = html.split_once("<main>").expect("a main element");
                assert!(!main.contains('{'), "{main}");
                let start = format!("<!doctype html>\n<html lang=\"{}\">", texts.language);
                assert!(html.starts_with(&start), "{html}");
                let is_marked = main.contains("<ul lang=\"en\">");
                assert_eq!(is_marked, !texts.is_english(), "{main}");
            }
        }
    }

    #[test]
    fn a_german_page_is_german() {
        let german = all().iter().find(|texts| texts.language == "de");
        let german = german.expect("a language");
        let html: String = pages(german).iter().map(Page::render).collect();
        for expected in [
            "<h1>Dieser Download-Link ist vor 12 Sekunden abgelaufen</h1>",
            "Wenn es keine Seite gibt",
            "<p>Versuchen Sie es erneut: ",
            ">Erneut versuchen</a>",
            ">Zurück zur Anwendung</a>",
            "in <span class=\"wait\"><span>7</span></span> Sekunden erneut.",
            "Warten Sie <span class=\"wait\"><span>7</span></span> Sekunden",
            "dies: <code>503 replica-limit</code>, Anfrage <code>",
        ] {
            assert!(html.contains(expected), "no {expected} in {html}");
        }
        let used = Page {
            texts: german,
            code: "link-used",
            ..page(NextSteps::default())
        };
        assert!(used.render().contains("nur einmal und wurde schon benutzt"));
    }

    #[test]
    fn only_a_page_that_reloads_itself_has_a_refresh() {
        let html = waiting(7, true).render();
        assert!(
            html.contains("<meta http-equiv=\"refresh\" content=\"7\">"),
            "{html}"
        );
        assert!(
            html.contains("This page tries again in <span class=\"wait\"><span>7<"),
            "{html}"
        );
        let html = waiting(7, false).render();
        assert!(!html.contains("http-equiv"), "{html}");
        assert!(
            html.contains("Wait <span class=\"wait\"><span>7<"),
            "{html}"
        );
        let html = page(NextSteps::default()).render();
        assert!(
            !html.contains("http-equiv") && !html.contains("role=\"timer\""),
            "{html}"
        );
    }

    #[test]
    fn the_policy_allows_exactly_the_styles_of_the_page() {
        for page in [
            page(NextSteps::default()),
            waiting(5, true),
            waiting(60, false),
        ] {
            let (html, policy) = (page.render(), page.content_security_policy());
            let styles = html.split("<style>").skip(1);
            let styles = styles.filter_map(|rest| rest.split("</style>").next());
            let hashes: Vec<String> = styles.map(document::style_hash).collect();
            let expected = format!("; style-src {};", hashes.join(" "));
            assert!(policy.contains(&expected), "{policy}: {expected}");
            assert!(!html.contains(" style="), "{html}");
        }
    }
}
