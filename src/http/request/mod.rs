//! What a request says: languages, credential, browser, body, client address, path, query, file, the page it came from.

pub(super) mod accept_language;
pub(super) mod authenticate;
pub(super) mod browser_cookie;
pub(super) mod client_ip;
pub(super) mod continuation;
mod cross_site;
mod forwarded;
pub(super) mod json_body;
pub(super) mod page_language;
pub(super) mod path;
pub(super) mod plain_query;
pub(super) mod requested_file;
pub(super) mod return_url;
