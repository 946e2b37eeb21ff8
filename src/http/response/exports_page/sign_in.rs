//! The page for a browser without a valid credential.

use uuid::Uuid;

use super::{Frame, POLICY};
use crate::http::config::OidcClient;
use crate::texts::{escape, fill};

/// Tells how to sign in.
pub(in crate::http) struct SignInPage<'p> {
    pub(in crate::http) frame: Frame<'p>,
    /// Whether the request had a credential that is not valid.
    pub(in crate::http) is_refused: bool,
    /// Whether the application's cookie can be the credential.
    pub(in crate::http) has_cookie: bool,
    /// The provider at which people can sign in.
    pub(in crate::http) provider: Option<&'p OidcClient>,
    /// The application.
    pub(in crate::http) return_url: Option<&'p str>,
    pub(in crate::http) code: &'p str,
    pub(in crate::http) request_id: Uuid,
}

impl SignInPage<'_> {
    /// Returns the policy, which allows requests to the provider, too.
    pub(in crate::http) fn content_security_policy(&self) -> String {
        match self.provider.map(OidcClient::origin) {
            None => POLICY.to_owned(),
            Some(origin) => POLICY.replacen("'self'; img", &format!("'self' {origin}; img"), 1),
        }
    }

    pub(in crate::http) fn render(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let heading = match self.is_refused {
            true => &texts.session_ended,
            false => &texts.sign_in_heading,
        };
        let by_cookie = match self.has_cookie {
            true => format!("<p>{}</p>\n", escape(&texts.sign_in_application)),
            false => String::new(),
        };
        let (application, account) = (self.application(), self.account());
        let (form, report) = (self.form(), self.report());
        let main = format!(
            "<h1>{}</h1>\n{by_cookie}{application}{account}{form}{report}",
            escape(heading)
        );
        self.frame.document(heading, "", &main)
    }

    fn application(&self) -> String {
        let back = escape(&self.frame.texts.error_page.back);
        let link = self.return_url.map(|url| {
            let url = escape(url);
            format!("<p class=\"buttons\"><a class=\"button\" href=\"{url}\">{back}</a></p>\n")
        });
        link.unwrap_or_default()
    }

    /// Returns the button that leads to the provider, which the script shows.
    fn account(&self) -> String {
        let text = escape(&self.frame.texts.exports_page.sign_in_account);
        let button = self.provider.map(|provider| {
            let (issuer, client) = (escape(&provider.issuer), escape(&provider.client_id));
            format!(
                "<div id=\"account\" data-issuer=\"{issuer}\" data-client=\"{client}\" hidden>\n\
                 <p class=\"buttons\"><button type=\"button\" class=\"button\" id=\"account-button\">{text}</button></p>\n\
                 <p id=\"account-error\" class=\"error\" role=\"alert\"></p>\n</div>\n"
            )
        });
        button.unwrap_or_default()
    }

    /// Returns the form for a token, which the script shows. Its field has no name, so that no browser puts the token into a
    /// URL.
    fn form(&self) -> String {
        let texts = &self.frame.texts.exports_page;
        let [heading, label, hint, button, without] = [
            &texts.token_heading,
            &texts.token_label,
            &texts.token_hint,
            &texts.sign_in,
            &texts.token_needs_script,
        ]
        .map(|text| escape(text));
        let without = match self.has_cookie {
            true => String::new(),
            false => format!("<noscript><p>{without}</p></noscript>\n"),
        };
        format!(
            "{without}<form id=\"sign-in\" method=\"post\" hidden>\n<h2>{heading}</h2>\n\
             <div class=\"field\">\n<label for=\"token\">{label}</label>\n\
             <input type=\"password\" id=\"token\" required autocomplete=\"off\" spellcheck=\"false\" \
             aria-describedby=\"token-hint token-error\">\n\
             <p id=\"token-hint\" class=\"hint\">{hint}</p>\n\
             <p id=\"token-error\" class=\"error\" role=\"alert\"></p>\n</div>\n\
             <p class=\"buttons\"><button class=\"button\">{button}</button></p>\n</form>\n"
        )
    }

    /// Returns what the operator needs to find a refused credential in the log.
    fn report(&self) -> String {
        if !self.is_refused {
            return String::new();
        }
        let code = format!("<code>401 {}</code>", escape(self.code));
        let request = format!("<code>{}</code>", self.request_id);
        let text = escape(&self.frame.texts.error_page.report);
        let text = fill(&text, &[("code", &code), ("request", &request)]);
        format!("<p class=\"small\">{text}</p>\n")
    }
}
