//! The arguments of `sign` and `export` that describe the file.

use std::collections::BTreeMap;

use clap::Args;
use indexmap::IndexMap;

use crate::catalog::Language;
use crate::format::{self, Format};
use crate::service::{LANGUAGE, LinkRequest};
use rowlink_link::{ConditionType, FileName, UserId, is_claim_name};

/// The requested file.
#[derive(Args)]
pub(super) struct RequestArgs {
    /// The export's name
    pub(super) export: String,
    #[arg(long, default_value = "csv", help = format!("Format: {}", format::names(&Format::ALL)))]
    format: Format,
    /// The export has stored documents, which have no format
    #[arg(long, conflicts_with = "format")]
    documents: bool,
    /// User whose rows are exported: the value of `:user`
    #[arg(long, value_parser = user_id)]
    user: UserId,
    /// Value of a filter; repeat it for a list
    #[arg(long = "filter", value_name = "NAME=VALUE", value_parser = pair)]
    filters: Vec<(String, String)>,
    /// Pinned claim; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, String)>,
    /// Columns of the file, separated by commas
    #[arg(long)]
    columns: Option<String>,
    /// Language of the file's titles and labels, for example de or de-AT
    #[arg(long, value_name = "TAG")]
    language: Option<Language>,
    /// Output option of a link, for example csv.delimiter=; or timezone=Europe/Berlin; repeatable
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
    /// Why the user wants the file: at most 200 characters
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
}

impl RequestArgs {
    /// Returns the request and its claims.
    pub(super) fn into_request(self) -> (LinkRequest, BTreeMap<String, String>) {
        let mut filters: IndexMap<String, Vec<String>> = IndexMap::new();
        for (name, value) in self.filters {
            filters.entry(name).or_default().push(value);
        }
        let format = (!self.documents).then_some(self.format);
        let mut request = LinkRequest::for_file(&self.export, format, filters);
        request.user = Some(self.user);
        request.conditions.reason = self.reason;
        request.options.extend(self.options);
        let columns = self.columns.map(|names| ("columns".to_owned(), names));
        request.options.extend(columns);
        let language = self
            .language
            .map(|tag| (LANGUAGE.to_owned(), tag.to_string()));
        request.options.extend(language);
        (request, self.claims.into_iter().collect())
    }
}

pub(super) fn file_name(text: &str) -> Result<FileName, String> {
    FileName::parse(text).map_err(|error| error.to_string())
}

pub(super) fn claim(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = pair(text)?;
    match is_claim_name(&name) {
        true => Ok((name, value)),
        false => Err("expected a name of 1 to 64 of A-Z a-z 0-9 _"),
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    ConditionType::Text.parse(text)?;
    Ok(text.to_owned())
}

pub(super) fn user_id(text: &str) -> Result<UserId, String> {
    UserId::parse(text).map_err(|error| error.to_string())
}

fn option(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = pair(text)?;
    match format::is_option(&name) {
        true => Ok((name, value)),
        false => Err("expected an option of a link, such as timezone, end_line or csv.delimiter"),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
