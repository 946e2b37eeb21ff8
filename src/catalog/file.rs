//! Parses an export's `.sql` file: TOML settings in the leading comment, then one statement.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::filter::FilterSettings;
use super::format_settings::{parse_formats, take_options};
use super::{
    DEFAULT_DATABASE, Dialects, Export, ExportLimits, FileNameTemplate, Filter, SESSION_CLAIMS,
    SqlDialect, Statement, Variable,
};
use crate::format::{Format, is_number_format};
use crate::row::TimeZone;
use crate::toml_errors::LineError;
use rowlink_link::is_claim_name;

const OPEN: &str = "/*---";
const CLOSE: &str = "---*/";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    title: Option<String>,
    description: Option<String>,
    scope: Option<String>,
    #[serde(default)]
    unscoped: bool,
    database: Option<Spanned<String>>,
    role: Option<String>,
    #[serde(default)]
    row_security: bool,
    #[serde(default)]
    claims: Vec<Spanned<String>>,
    #[serde(default)]
    filters: IndexMap<Spanned<String>, FilterSettings>,
    #[serde(default)]
    columns: IndexMap<Spanned<String>, ColumnSettings>,
    formats: Option<Spanned<Vec<Spanned<String>>>>,
    timezone: Option<Spanned<String>>,
    filename: Option<Spanned<String>>,
    estimate: Option<bool>,
    #[serde(default)]
    seal: bool,
    #[serde(default)]
    limits: ExportLimits,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnSettings {
    label: Option<String>,
    number_format: Option<Spanned<String>>,
}

/// Parses the export `name` from the text of its file.
///
/// # Errors
/// Returns every error in the file.
pub(super) fn parse(name: &str, file: &str, dialects: &Dialects) -> Result<Export, Vec<LineError>> {
    // Windows editors add a byte order mark, which databases reject.
    let text = file.trim_start_matches('\u{feff}');
    let (settings_text, first_line) = split_settings(text).map_err(|error| vec![error])?;
    let line_at = |offset: usize| first_line + settings_text[..offset].matches('\n').count();
    let toml_error = |error: toml::de::Error| {
        let line = error.span().map_or(first_line, |span| line_at(span.start));
        vec![LineError::new(line, error.message())]
    };
    let mut table = DeTable::parse(settings_text).map_err(toml_error)?;
    let mut option_errors = Vec::new();
    let format_options = take_options(table.get_mut(), &mut option_errors);
    let settings = Settings::deserialize(Deserializer::from(table)).map_err(toml_error)?;

    let mut errors: Vec<LineError> = option_errors
        .into_iter()
        .map(|(offset, message)| LineError::new(line_at(offset), message))
        .collect();
    let mut declared = Vec::new();
    let mut filters = Vec::new();
    for (name, declaration) in settings.filters {
        let line = line_at(name.span().start);
        match Filter::new(name.get_ref(), declaration) {
            Ok(filter) => filters.push(filter),
            Err(found) => errors.extend(
                found
                    .into_iter()
                    .map(|error| LineError::new(error.offset.map_or(line, line_at), error.message)),
            ),
        }
        declared.push((line, name.into_inner()));
    }
    let formats = match &settings.formats {
        None => Format::defaults(),
        Some(listed) => parse_formats(listed).unwrap_or_else(|(offset, message)| {
            errors.push(LineError::new(line_at(offset), message));
            Vec::new()
        }),
    };
    let mut time_zone = TimeZone::default();
    if let Some(name) = &settings.timezone {
        match name.get_ref().parse() {
            Ok(parsed) => time_zone = parsed,
            Err(error) => {
                let message = format!("`timezone`: {error}");
                errors.push(LineError::new(line_at(name.span().start), message));
            }
        }
    }
    let mut file_name = None;
    if let Some(text) = &settings.filename {
        let is_filter = |name: &str| declared.iter().any(|(_, declared)| declared == name);
        match FileNameTemplate::parse(text.get_ref(), is_filter) {
            Ok(template) => file_name = Some(template),
            Err(error) => {
                let message = format!("`filename`: {error}");
                errors.push(LineError::new(line_at(text.span().start), message));
            }
        }
    }
    let (mut labels, mut number_formats) = (IndexMap::new(), IndexMap::new());
    let mut column_lines = BTreeMap::new();
    for (name, column) in settings.columns {
        column_lines.insert(name.get_ref().clone(), line_at(name.span().start));
        let name = name.into_inner();
        if let Some(format) = column.number_format {
            let line = line_at(format.span().start);
            if !is_number_format(format.get_ref()) {
                let message = format!("`number_format` of `{name}`: {NUMBER_FORMAT}");
                errors.push(LineError::new(line, message));
            }
            number_formats.insert(name.clone(), format.into_inner());
        }
        if let Some(label) = column.label {
            labels.insert(name, label);
        }
    }
    for claim in &settings.claims {
        if !is_claim_name(claim.get_ref()) {
            let message = format!("`{}` in `claims`: {CLAIM_NAME}", claim.get_ref());
            errors.push(LineError::new(line_at(claim.span().start), message));
        }
    }
    let (database, line) = match settings.database {
        None => (DEFAULT_DATABASE.to_owned(), first_line),
        Some(name) => (name.get_ref().clone(), line_at(name.span().start)),
    };
    let Some(dialect) = dialects.get(&database) else {
        let known: Vec<&str> = dialects.keys().map(String::as_str).collect();
        let known = known.join(", ");
        let message = format!("`database`: unknown database `{database}`; expected one of {known}");
        errors.push(LineError::new(line, message));
        return Err(errors);
    };
    if *dialect != SqlDialect::Postgres && (settings.role.is_some() || settings.row_security) {
        let message = "`role` and `row_security`: supported only by PostgreSQL";
        errors.push(LineError::new(first_line, message));
    }
    let lists: Vec<&str> = {
        let lists = filters.iter().filter(|filter: &&Filter| filter.list);
        lists.map(|filter| filter.name.as_str()).collect()
    };
    let statement = match Statement::parse(text, *dialect, |name| lists.contains(&name)) {
        Ok(statement) => statement,
        Err(error) => {
            errors.push(error);
            return Err(errors);
        }
    };
    if *dialect == SqlDialect::Postgres {
        let listed = settings.claims.iter();
        for claim in listed.filter(|claim| SESSION_CLAIMS.contains(&claim.get_ref().as_str())) {
            let name = claim.get_ref();
            let message = format!(
                "`{name}` in `claims`: in `request.jwt.claims` it is set by Rowlink; use `:claim.{name}` in the SQL"
            );
            errors.push(LineError::new(line_at(claim.span().start), message));
        }
    }
    if *dialect != SqlDialect::Postgres {
        let listed = settings.claims.iter();
        let unused = listed.filter(|claim| {
            let used = Variable::Claim(claim.get_ref().clone());
            !statement.variables.contains(&used)
        });
        for claim in unused {
            let claim_name = claim.get_ref();
            let message = format!(
                "`{claim_name}` in `claims`: the SQL has no `:claim.{claim_name}`; use it or remove the claim"
            );
            errors.push(LineError::new(line_at(claim.span().start), message));
        }
    }
    let row_access = RowAccess {
        unscoped: settings.unscoped,
        row_security: settings.row_security,
    };
    check_variables(&statement, &declared, row_access, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Export {
        name: name.to_owned(),
        title: settings.title.unwrap_or_else(|| default_title(name)),
        description: settings.description,
        scope: settings.scope,
        filters,
        formats,
        labels,
        number_formats,
        column_lines,
        time_zone,
        format_options,
        database,
        role: settings.role,
        row_security: settings.row_security,
        is_estimated: settings.estimate.unwrap_or(true),
        seal: settings.seal,
        file_name,
        limits: settings.limits,
        claims: required_claims(&statement, settings.claims),
        statement,
        text: file.to_owned(),
    })
}

const NUMBER_FORMAT: &str =
    "expected one that Excel knows, such as #,##0.00, with texts in quotes: 0.0 \"kg\"";

/// Returns the claims that a link must pin: those used in the SQL, then those listed in the settings.
fn required_claims(statement: &Statement, listed: Vec<Spanned<String>>) -> Vec<String> {
    let used = statement.variables.iter().filter_map(|it| match it {
        Variable::Claim(name) => Some(name.clone()),
        _ => None,
    });
    let listed = listed.into_iter().map(Spanned::into_inner);
    used.chain(listed)
        .collect::<IndexSet<String>>()
        .into_iter()
        .collect()
}

/// The settings that control which rows a caller gets, together with the SQL's variables.
struct RowAccess {
    unscoped: bool,
    row_security: bool,
}

const CLAIM_NAME: &str = "expected a claim name of 1 to 64 of A-Z a-z 0-9 _";

/// Returns the TOML of the leading comment, and the line on which it starts. Without a comment the
/// TOML is empty.
///
/// # Errors
/// Returns an error if the comment is not closed or is interrupted by `*/`, or if settings stand
/// elsewhere. Ignoring them could drop the `scope` and open the export to all callers.
fn split_settings(text: &str) -> Result<(&str, usize), LineError> {
    let line_at = |offset: usize| 1 + text[..offset].matches('\n').count();
    let (settings, end) = match text.trim_start().strip_prefix(OPEN) {
        None => ("", 0),
        Some(rest) => {
            let offset = text.len() - rest.len();
            let Some(length) = rest.find(CLOSE) else {
                let message = format!("`{OPEN}`: not closed; add `{CLOSE}`");
                return Err(LineError::new(line_at(offset), message));
            };
            (&rest[..length], offset + length + CLOSE.len())
        }
    };
    let start = end.saturating_sub(CLOSE.len() + settings.len());
    if let Some(offset) = settings.find("*/") {
        let message = "`*/`: ends the SQL comment early; remove it from the settings";
        return Err(LineError::new(line_at(start + offset), message));
    }
    let misplaced = [OPEN, CLOSE]
        .iter()
        .filter_map(|delimiter| text[end..].find(delimiter))
        .min();
    if let Some(offset) = misplaced {
        let message = format!(
            "misplaced settings; put them between `{OPEN}` and `{CLOSE}` at the start of the file"
        );
        return Err(LineError::new(line_at(end + offset), message));
    }
    Ok((settings, line_at(start)))
}

/// Checks that placeholders and declared filters match, and that the export either restricts rows per
/// caller or is `unscoped`.
fn check_variables(
    statement: &Statement,
    declared: &[(usize, String)],
    row_access: RowAccess,
    errors: &mut Vec<LineError>,
) {
    let mut is_pinned = row_access.row_security;
    for variable in &statement.variables {
        match variable {
            Variable::Claim(name) if !is_claim_name(name) => {
                let line = statement.line_of(variable);
                let message = format!("`{variable}`: {CLAIM_NAME}");
                errors.push(LineError::new(line, message));
                is_pinned = true;
            }
            Variable::User | Variable::Claim(_) => is_pinned = true,
            Variable::Filter(name) if declared.iter().any(|(_, other)| other == name) => {}
            Variable::Filter(name) => {
                let line = statement.line_of(variable);
                let message = format!("`:{name}` is not declared; add [filters.{name}]");
                errors.push(LineError::new(line, message));
            }
        }
    }
    for (line, name) in declared {
        let used = |variable: &Variable| matches!(variable, Variable::Filter(it) if it == name);
        if !statement.variables.iter().any(used) {
            let message = format!(
                "filter `{name}`: the SQL has no `:{name}`; use it or remove [filters.{name}]"
            );
            errors.push(LineError::new(*line, message));
        }
    }
    if !is_pinned && !row_access.unscoped {
        errors.push(LineError::new(
            statement.line,
            "every caller would get every row; use `:user` or `:claim.NAME`, rely on policies with \
             `row_security = true`, or set `unscoped = true`",
        ));
    }
    if is_pinned && row_access.unscoped {
        errors.push(LineError::new(
            statement.line,
            "`unscoped = true`, but the SQL uses `:user` or `:claim.NAME`, or `row_security` is set; \
             remove one of them",
        ));
    }
}

/// Derives a title from an export's name: `daily_orders` → `Daily orders`.
fn default_title(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(letters).collect()
}
