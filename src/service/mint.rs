//! From a request to an unsigned link: the one place that checks requests.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use indexmap::IndexMap;
use rowlink_link::{
    Conditions, FileName, Keyring, Link, RESERVED_PREFIX, Seal, UserId, check_text, is_export_name,
    sign,
};
use uuid::Uuid;

use super::documents::{UNKNOWN_MEDIA_TYPE, ZIP_MEDIA_TYPE};
use super::errors::IssueError;
use super::lifetime::Lifetimes;
use super::options::{LANGUAGE, Output, parse_language, unsupported_options};
use super::policy::Policy;
use super::request::LinkRequest;
use crate::catalog::{Catalog, Export, ExportKind, FieldError, Language};
use crate::format::Format;
use crate::row::Column;

/// Signs a link with a key only, without a server, database or credential; returns its URL. The holder
/// of the key answers for the user and the claims.
///
/// With `catalog`, requests are refused that its exports would refuse, except for unknown columns, which
/// only the database knows.
///
/// # Errors
/// Returns the [`IssueError`] that names what does not fit.
pub fn mint(
    mut request: LinkRequest,
    claims: BTreeMap<String, String>,
    catalog: Option<&Catalog>,
    keyring: &Keyring,
    policy: &Policy,
    now: u64,
) -> Result<String, IssueError> {
    check_names(&request, &claims).map_err(IssueError::Invalid)?;
    let name = request.export.clone();
    let find = |catalog: &'_ Catalog| {
        let export = catalog.get(&name).cloned();
        export.ok_or_else(|| IssueError::UnknownExport(name.clone()))
    };
    let export = catalog.map(find).transpose()?;
    let format = requested_format(&mut request, export.as_deref())?;
    let context = LinkContext {
        export: export.as_ref(),
        columns: None,
        format,
        policy,
    };
    if let Some(export) = &export {
        export.check_claims(&claims).map_err(IssueError::Invalid)?;
    }
    let user = request.user.clone();
    let unsigned = context.check(request, user, now)?;
    let seal = unsigned.seal;
    let link = unsigned.into_link(name, format, claims, now, Uuid::now_v7());
    Ok(sign(link, keyring, seal)?.url(&policy.public_url)?)
}

/// Checks what the grammar of links forbids for any export.
fn check_names(
    request: &LinkRequest,
    claims: &BTreeMap<String, String>,
) -> Result<(), Vec<FieldError>> {
    let mut errors = Vec::new();
    if !is_export_name(&request.export) {
        let message = "expected 1 to 64 of A-Z a-z 0-9 _ -";
        errors.push(FieldError::new("export", message));
    }
    let is_reserved = |name: &&String| name.is_empty() || name.starts_with(RESERVED_PREFIX);
    for name in request.filters.keys().filter(is_reserved) {
        let message = "expected a name that does not start with rl_";
        errors.push(FieldError::new(format!("filters.{name}"), message));
    }
    for (name, value) in claims {
        if let Err(error) = check_text(value) {
            errors.push(FieldError::new(format!("claims.{name}"), error.to_string()));
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

/// Returns the format of a request, if the export offers it; `None` for stored documents.
pub(super) fn requested_format(
    request: &mut LinkRequest,
    export: Option<&Export>,
) -> Result<Option<Format>, IssueError> {
    let is_absent = request.format.is_empty();
    let is_of_documents = export.map_or(is_absent, |export| export.documents.is_some());
    if is_of_documents {
        if !is_absent {
            let message = "unsupported: this export has stored documents; leave it out";
            request.add_error("format", message);
        }
        return Ok(None);
    }
    if is_absent {
        request.add_missing("format");
        return Err(IssueError::Invalid(mem::take(&mut request.field_errors)));
    }
    let known = export.map_or(&Format::ALL[..], |export| &export.formats);
    let format = request.format.parse().ok();
    let offered = format.filter(|format| known.contains(format));
    let offered = offered.ok_or_else(|| IssueError::UnknownFormat {
        name: request.format.clone(),
        known: known.to_vec(),
    })?;
    Ok(Some(offered))
}

/// What a request is checked against, as far as it is known.
pub(super) struct LinkContext<'a> {
    pub(super) export: Option<&'a Arc<Export>>,
    pub(super) columns: Option<&'a [Vec<Column>]>,
    /// `None` for stored documents.
    pub(super) format: Option<Format>,
    pub(super) policy: &'a Policy,
}

/// A checked link without id and signature.
pub(super) struct UnsignedLink {
    pub(super) user: UserId,
    pub(super) seal: Seal,
    /// The file's media type.
    pub(super) content_type: &'static str,
    ttl_seconds: u64,
    conditions: Conditions,
    filename: Option<FileName>,
    reveal: Vec<String>,
    options: BTreeMap<String, String>,
    filters: Vec<(String, String)>,
}

impl LinkContext<'_> {
    /// Checks a request.
    ///
    /// # Errors
    /// Returns [`IssueError::Invalid`] with every field that does not fit.
    pub(super) fn check(
        &self,
        mut request: LinkRequest,
        user: Option<UserId>,
        now: u64,
    ) -> Result<UnsignedLink, IssueError> {
        let mut errors = Vec::new();
        let filters = mem::take(&mut request.filters);
        let filters = match self.export {
            Some(export) => collect(&mut errors, export.resolve(&filters)),
            None => Some(flatten(filters)),
        };
        collect(&mut errors, self.check_reveal(&request.reveal));
        let language = collect(&mut errors, self.language(&mut request.options)).flatten();
        let content_type = self.content_type(&request.options, &request.reveal);
        let content_type = collect(&mut errors, content_type);
        let seals = self.policy.seals_always || self.export.is_some_and(|export| export.seal);
        let seal = match seals || request.seal {
            true => Seal::Sealed,
            false => Seal::Open,
        };
        let ttl_seconds = self.ttl_seconds(request.ttl_seconds, &request.conditions, seal);
        let ttl_seconds = collect(&mut errors, ttl_seconds);
        let message = "is required: this credential has no user of its own";
        let user = user.ok_or_else(|| vec![FieldError::new("user", message)]);
        let user = collect(&mut errors, user);
        collect(&mut errors, self.check_resume_seconds(&request.conditions));
        if let Some(export) = self.export {
            collect(&mut errors, export.reason.check(&request.conditions));
        }
        if request.binds_browser && request.conditions.bind.is_none() {
            let message = "unsupported: no browser sends this request";
            errors.push(FieldError::new("bind", message));
        }
        let conditions = check_conditions(request.conditions, ttl_seconds, now);
        let conditions = collect(&mut errors, conditions);
        // A field without its type was skipped, so that it seems to be missing too.
        let field_errors = request.field_errors;
        errors.retain(|error| !field_errors.iter().any(|other| other.field == error.field));
        errors.extend(field_errors);
        let (Some(filters), Some(content_type), Some(ttl_seconds), Some(user), Some(conditions)) =
            (filters, content_type, ttl_seconds, user, conditions)
        else {
            return Err(IssueError::Invalid(errors));
        };
        if !errors.is_empty() {
            return Err(IssueError::Invalid(errors));
        }
        let by_template = || {
            let export = self.export?;
            let template = export.file_name.as_ref()?;
            export.text(template, language.as_ref()).render(&filters)
        };
        let filename = request.filename.or_else(by_template);
        Ok(UnsignedLink {
            user,
            seal,
            content_type,
            ttl_seconds,
            conditions,
            filename,
            reveal: request.reveal,
            options: request.options,
            filters,
        })
    }

    fn content_type(
        &self,
        options: &BTreeMap<String, String>,
        reveal: &[String],
    ) -> Result<&'static str, Vec<FieldError>> {
        let Some(export) = self.export else {
            // Unused: without an export only a URL is made.
            return Ok(UNKNOWN_MEDIA_TYPE);
        };
        let Some(format) = self.format else {
            let errors = unsupported_options(options);
            let media_type = match export.kind() {
                ExportKind::Files => ZIP_MEDIA_TYPE,
                ExportKind::File | ExportKind::Rows => UNKNOWN_MEDIA_TYPE,
            };
            return errors.is_empty().then_some(media_type).ok_or(errors);
        };
        let output = Output::parse(export, format, self.columns, options, reveal)?;
        Ok(output.media_type())
    }

    /// Returns the language of a request, and spells it one way, so that links in one language share stored files. A link
    /// to documents does not have it: it only chooses the file name, which the link has.
    fn language(
        &self,
        options: &mut BTreeMap<String, String>,
    ) -> Result<Option<Language>, Vec<FieldError>> {
        let Some(text) = options.remove(LANGUAGE) else {
            return Ok(None);
        };
        let export = self.export.map(Arc::as_ref);
        let language = parse_language(&text, export).map_err(|error| vec![error])?;
        if self.format.is_some() {
            options.insert(LANGUAGE.to_owned(), language.to_string());
        }
        Ok(Some(language))
    }

    /// Checks that the columns to reveal have a scope.
    fn check_reveal(&self, reveal: &[String]) -> Result<(), Vec<FieldError>> {
        let Some(export) = self.export else {
            return Ok(());
        };
        let unknown = reveal
            .iter()
            .filter(|name| !export.restricted().any(|(key, _)| key == **name));
        let errors = unknown.map(|name| {
            let message = format!("`{name}` is no column with a scope");
            FieldError::new("reveal", message)
        });
        let errors: Vec<FieldError> = errors.collect();
        errors.is_empty().then_some(()).ok_or(errors)
    }

    fn ttl_seconds(
        &self,
        requested: Option<u64>,
        conditions: &Conditions,
        seal: Seal,
    ) -> Result<u64, Vec<FieldError>> {
        let lifetimes = self.lifetimes();
        let default = self.policy.ttl_seconds_default.min(lifetimes.normal_max);
        let seconds = requested.unwrap_or(default);
        lifetimes.check_request(seconds, conditions, seal)?;
        Ok(seconds)
    }

    fn lifetimes(&self) -> Lifetimes<'_> {
        let export = self.export.map(Arc::as_ref);
        Lifetimes::of(export, self.policy.ttl_seconds_max)
    }

    /// Checks how long a download may be continued after the expiry.
    fn check_resume_seconds(&self, conditions: &Conditions) -> Result<(), Vec<FieldError>> {
        let max = self.lifetimes().normal_max;
        match conditions.resume_seconds {
            Some(seconds) if seconds > max => {
                let message = format!("expected 1 to {max} seconds");
                Err(vec![FieldError::new("resume_seconds", message)])
            }
            _ => Ok(()),
        }
    }
}

impl UnsignedLink {
    pub(super) fn into_link(
        self,
        export: String,
        format: Option<Format>,
        claims: BTreeMap<String, String>,
        now: u64,
        id: Uuid,
    ) -> Link {
        Link {
            export,
            format: format.map(|format| format.to_string()),
            user: self.user,
            id,
            issued: now,
            expires: now + self.ttl_seconds,
            conditions: self.conditions,
            filename: self.filename,
            claims,
            reveal: self.reveal,
            options: self.options,
            filters: self.filters,
        }
    }
}

/// Refuses a link that expires before it becomes valid.
fn check_conditions(
    conditions: Conditions,
    ttl_seconds: Option<u64>,
    now: u64,
) -> Result<Conditions, Vec<FieldError>> {
    let valid_from = conditions.not_before.unwrap_or(now);
    if ttl_seconds.is_some_and(|seconds| valid_from >= now + seconds) {
        let message = "expected a time before the link expires";
        return Err(vec![FieldError::new("not_before", message)]);
    }
    Ok(conditions)
}

fn flatten(filters: IndexMap<String, Vec<String>>) -> Vec<(String, String)> {
    let pairs = filters
        .into_iter()
        .flat_map(|(name, values)| values.into_iter().map(move |value| (name.clone(), value)));
    pairs.collect()
}

/// Returns the value, or adds its errors to those of the other fields.
fn collect<T>(errors: &mut Vec<FieldError>, result: Result<T, Vec<FieldError>>) -> Option<T> {
    result.map_err(|found| errors.extend(found)).ok()
}
