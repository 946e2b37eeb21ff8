//! "Try again" on an error page: its target, and a countdown without script.

use crate::texts::{ErrorPageTexts, escape, fill};

/// How a person gets the file after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) enum Retry {
    /// By a plain link, which issues a new link; relative to the page's URL.
    NewLink(String),
    /// By the page's own URL.
    SameUrl(Option<Wait>),
}

/// The time until another attempt may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Wait {
    /// From the arrival of the page.
    pub(in crate::http) seconds: u64,
    /// Whether the page then reloads itself.
    pub(in crate::http) reloads: bool,
}

impl Retry {
    /// Returns the target of the button. An empty one is the page itself, under whatever URL the browser knows it.
    pub(super) fn href(&self) -> &str {
        match self {
            Retry::NewLink(plain_link) => plain_link,
            Retry::SameUrl(_) => "",
        }
    }

    pub(super) fn wait(&self) -> Option<Wait> {
        match self {
            Retry::NewLink(_) => None,
            Retry::SameUrl(wait) => *wait,
        }
    }
}

impl Wait {
    /// Returns the style sheet with the number that the countdown starts from. Attributes cannot have it: the page's policy
    /// allows styles by their hash.
    pub(super) fn style(self) -> String {
        format!(":root{{--wait:{}}}", self.seconds)
    }

    /// Returns the element that reloads the page; empty if it does not.
    pub(super) fn refresh(self) -> String {
        match self.reloads {
            true => format!(
                "<meta http-equiv=\"refresh\" content=\"{}\">\n",
                self.seconds
            ),
            false => String::new(),
        }
    }

    /// Returns the countdown of a page that tries a refused request again.
    pub(super) fn countdown(self, texts: &ErrorPageTexts) -> String {
        match self.reloads {
            true => self.paragraph(&texts.reloads_in),
            false => self.paragraph(&texts.wait),
        }
    }

    /// Returns the paragraph with the countdown in the place of `{seconds}`. Screen readers read it once: the role is announced only
    /// on request (WAI-ARIA 1.2, `timer`), and the number that they find does not change.
    pub(super) fn paragraph(self, text: &str) -> String {
        let number = format!("<span class=\"wait\"><span>{}</span></span>", self.seconds);
        let text = fill(&escape(text), &[("seconds", &number)]);
        format!("<p role=\"timer\">{text}</p>\n")
    }
}
