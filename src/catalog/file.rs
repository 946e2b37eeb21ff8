//! Parses an export's `.sql` file: TOML settings in the leading comment, then one statement.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::documents::FileTable;
use super::feed::FeedSettings;
use super::filter::FilterSettings;
use super::format_settings::{parse_formats, take_options};
use super::restricted::{masked_statements, variables_of_masks};
use super::settings_comment::split_settings;
use super::{
    DEFAULT_DATABASE, Dialects, DocumentSettings, Export, ExportKind, ExportLimits,
    FileNameTemplate, Filter, KeyPrefix, Mask, ReasonSetting, RestrictedColumn, SESSION_CLAIMS,
    SqlDialect, Statement, StoreMode, StoreSettings, Variable,
};
use crate::format::{Format, FormatOptions, is_number_format};
use crate::row::{TimeZone, UnknownTimeZone};
use crate::toml_errors::LineError;
use rowlink_link::is_claim_name;

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
    estimate: Option<Spanned<bool>>,
    #[serde(default)]
    seal: bool,
    #[serde(default)]
    reason: ReasonSetting,
    heartbeat_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    limits: ExportLimits,
    feed: Option<Spanned<FeedSettings>>,
    store: Option<Spanned<StoreSettings>>,
    kind: Option<Spanned<ExportKind>>,
    file: Option<Spanned<FileTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnSettings {
    label: Option<String>,
    scope: Option<Spanned<String>>,
    mask: Option<Spanned<String>>,
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
    let mut reader = Reader {
        settings_text,
        first_line,
        errors: Vec::new(),
    };
    let mut table = DeTable::parse(settings_text).map_err(|error| reader.toml_error(&error))?;
    let format_options = reader.format_options(table.get_mut());
    let settings = Settings::deserialize(Deserializer::from(table));
    let mut settings = settings.map_err(|error| reader.toml_error(&error))?;
    let documents = reader.documents(&mut settings, &format_options);
    let (filters, declared) = reader.filters(settings.filters);
    let formats = match &documents {
        None => reader.formats(settings.formats.as_ref()),
        Some(_) => Vec::new(),
    };
    let time_zone = reader.time_zone(settings.timezone.as_ref());
    let file_name = reader.file_name(settings.filename.as_ref(), &declared);
    let columns = reader.columns(settings.columns);
    reader.check_feed(settings.feed.as_ref(), settings.store.as_ref());
    reader.check_claim_names(&settings.claims);
    let Some((database, dialect)) = reader.database(settings.database, dialects) else {
        return Err(reader.errors);
    };
    if dialect != SqlDialect::Postgres && (settings.role.is_some() || settings.row_security) {
        let message = "`role` and `row_security`: supported only by PostgreSQL";
        reader.errors.push(LineError::new(first_line, message));
    }
    let is_list = |name: &str| filters.iter().any(|it| it.list && it.name == name);
    let statement = match Statement::parse(text, dialect, is_list) {
        Ok(statement) => statement,
        Err(error) => {
            reader.errors.push(error);
            return Err(reader.errors);
        }
    };
    let masked = masked_statements(text, dialect, is_list, &columns.restricted);
    let masked = masked.unwrap_or_else(|errors| {
        reader.errors.extend(errors);
        Vec::new()
    });
    let in_masks = variables_of_masks(&statement, &masked);
    let used = statement.variables.iter();
    let used: Vec<&Variable> = used.chain(in_masks.iter().map(|(_, it)| *it)).collect();
    reader.check_claim_uses(&settings.claims, &used, dialect);
    let row_access = RowAccess {
        unscoped: settings.unscoped,
        row_security: settings.row_security,
    };
    check_variables(
        &statement,
        &in_masks,
        &declared,
        row_access,
        &mut reader.errors,
    );
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    Ok(Export {
        name: name.to_owned(),
        title: settings.title.unwrap_or_else(|| default_title(name)),
        description: settings.description,
        scope: settings.scope,
        filters,
        formats,
        claims: required_claims(&used, settings.claims, documents.as_ref()),
        documents,
        labels: columns.labels,
        number_formats: columns.number_formats,
        column_lines: columns.lines,
        restricted: columns.restricted,
        masked_statements: masked,
        time_zone,
        format_options,
        database,
        role: settings.role,
        row_security: settings.row_security,
        is_estimated: settings.estimate.is_none_or(Spanned::into_inner),
        seal: settings.seal,
        reason: settings.reason,
        file_name,
        heartbeat_seconds: settings.heartbeat_seconds.map(Spanned::into_inner),
        limits: settings.limits,
        feed: settings.feed.map(Spanned::into_inner),
        store: settings.store.map(Spanned::into_inner).unwrap_or_default(),
        statement,
        text: file.to_owned(),
    })
}

/// Reads the settings, and collects their errors.
struct Reader<'t> {
    settings_text: &'t str,
    /// The line of the file on which the settings start.
    first_line: usize,
    errors: Vec<LineError>,
}

/// What `[columns.NAME]` says, by column name.
#[derive(Default)]
struct Columns {
    labels: IndexMap<String, String>,
    number_formats: IndexMap<String, String>,
    lines: BTreeMap<String, usize>,
    restricted: BTreeMap<String, RestrictedColumn>,
}

impl Reader<'_> {
    fn line_at(&self, offset: usize) -> usize {
        self.first_line + self.settings_text[..offset].matches('\n').count()
    }

    fn add_error<T>(&mut self, setting: &Spanned<T>, message: String) {
        let line = self.line_at(setting.span().start);
        self.errors.push(LineError::new(line, message));
    }

    fn toml_error(&self, error: &toml::de::Error) -> Vec<LineError> {
        let line = error.span().map(|span| self.line_at(span.start));
        let line = line.unwrap_or(self.first_line);
        vec![LineError::new(line, error.message())]
    }

    fn format_options(&mut self, table: &mut DeTable<'_>) -> BTreeMap<&'static str, FormatOptions> {
        let mut found = Vec::new();
        let options = take_options(table, &mut found);
        for (offset, message) in found {
            let line = self.line_at(offset);
            self.errors.push(LineError::new(line, message));
        }
        options
    }

    /// Returns the settings of stored documents, if the export has some, and refuses those that only rows have.
    fn documents(
        &mut self,
        settings: &mut Settings,
        format_options: &BTreeMap<&'static str, FormatOptions>,
    ) -> Option<DocumentSettings> {
        let kind = settings.kind.take();
        let file = settings.file.take();
        let is_archive = match (kind.as_ref().map(Spanned::get_ref), &file) {
            (None | Some(ExportKind::Rows), None) => return None,
            (None | Some(ExportKind::Rows), Some(file)) => {
                let message = "[file] has no effect without `kind = \"file\"` or \"files\"";
                self.add_error(file, message.into());
                return None;
            }
            (Some(kind), _) => *kind == ExportKind::Files,
        };
        self.refuse_settings_of_rows(settings, format_options);
        let Some(file) = file else {
            let message = "`kind`: stored documents need the table [file] with `store`";
            kind.inspect(|kind| self.add_error(kind, message.into()));
            return None;
        };
        let line = self.line_at(file.span().start);
        let parsed = file.into_inner().settings(is_archive, line);
        parsed
            .map_err(|message| self.errors.push(LineError::new(line, message)))
            .ok()
    }

    fn refuse_settings_of_rows(
        &mut self,
        settings: &Settings,
        format_options: &BTreeMap<&'static str, FormatOptions>,
    ) {
        fn start<T>(setting: Option<&Spanned<T>>) -> Option<usize> {
            setting.map(|setting| setting.span().start)
        }
        let found = [
            ("formats", start(settings.formats.as_ref())),
            ("timezone", start(settings.timezone.as_ref())),
            ("estimate", start(settings.estimate.as_ref())),
            (
                "heartbeat_seconds",
                start(settings.heartbeat_seconds.as_ref()),
            ),
            ("columns", start(settings.columns.keys().next())),
            ("store", start(settings.store.as_ref())),
        ];
        let found = found.into_iter();
        let options = format_options.keys().map(|format| (*format, Some(0)));
        for (name, offset) in found.chain(options) {
            if let Some(offset) = offset {
                let line = self.line_at(offset);
                let message = format!("`{name}`: unsupported for stored documents; remove it");
                self.errors.push(LineError::new(line, message));
            }
        }
    }

    /// Returns the valid filters, and the lines and names of all.
    fn filters(
        &mut self,
        settings: IndexMap<Spanned<String>, FilterSettings>,
    ) -> (Vec<Filter>, Vec<(usize, String)>) {
        let (mut filters, mut declared) = (Vec::new(), Vec::new());
        for (name, declaration) in settings {
            let line = self.line_at(name.span().start);
            match Filter::new(name.get_ref(), declaration) {
                Ok(filter) => filters.push(filter),
                Err(found) => {
                    for error in found {
                        let line = error.offset.map_or(line, |offset| self.line_at(offset));
                        self.errors.push(LineError::new(line, error.message));
                    }
                }
            }
            declared.push((line, name.into_inner()));
        }
        (filters, declared)
    }

    fn formats(&mut self, listed: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<Format> {
        let Some(listed) = listed else {
            return Format::defaults();
        };
        parse_formats(listed).unwrap_or_else(|(offset, message)| {
            let line = self.line_at(offset);
            self.errors.push(LineError::new(line, message));
            Vec::new()
        })
    }

    fn time_zone(&mut self, name: Option<&Spanned<String>>) -> TimeZone {
        let Some(name) = name else {
            return TimeZone::default();
        };
        name.get_ref()
            .parse()
            .unwrap_or_else(|error: UnknownTimeZone| {
                self.add_error(name, format!("`timezone`: {error}"));
                TimeZone::default()
            })
    }

    fn file_name(
        &mut self,
        template: Option<&Spanned<String>>,
        declared: &[(usize, String)],
    ) -> Option<FileNameTemplate> {
        let template = template?;
        let is_filter = |name: &str| declared.iter().any(|(_, declared)| declared == name);
        let parsed = FileNameTemplate::parse(template.get_ref(), is_filter);
        parsed
            .map_err(|error| self.add_error(template, format!("`filename`: {error}")))
            .ok()
    }

    fn columns(&mut self, settings: IndexMap<Spanned<String>, ColumnSettings>) -> Columns {
        let mut columns = Columns::default();
        for (spanned, column) in settings {
            let line = self.line_at(spanned.span().start);
            let name = spanned.into_inner();
            if let Some(format) = column.number_format {
                if !is_number_format(format.get_ref()) {
                    let message = format!("`number_format` of `{name}`: {NUMBER_FORMAT}");
                    self.add_error(&format, message);
                }
                let format = format.into_inner();
                columns.number_formats.insert(name.clone(), format);
            }
            if let Some(label) = column.label {
                columns.labels.insert(name.clone(), label);
            }
            if let Some(restricted) = self.restricted(&name, line, column.scope, column.mask) {
                columns.restricted.insert(name.clone(), restricted);
            }
            columns.lines.insert(name, line);
        }
        columns
    }

    /// Refuses a feed whose files are stored: a stored file belongs to its link, so every fetch would return the first one.
    fn check_feed(
        &mut self,
        feed: Option<&Spanned<FeedSettings>>,
        store: Option<&Spanned<StoreSettings>>,
    ) {
        let is_stored = store.is_some_and(|store| store.get_ref().mode != StoreMode::Never);
        if let Some(feed) = feed.filter(|_| is_stored) {
            let message = "[feed]: unsupported with [store], which would return the same file again; remove one";
            self.add_error(feed, message.to_owned());
        }
    }

    /// Returns the scope and the mask of a column, if it has a scope.
    fn restricted(
        &mut self,
        name: &str,
        line: usize,
        scope: Option<Spanned<String>>,
        mask: Option<Spanned<String>>,
    ) -> Option<RestrictedColumn> {
        let mask = mask.map(|mask| Mask {
            line: self.line_at(mask.span().start),
            expression: mask.into_inner(),
        });
        match scope {
            Some(scope) if scope.get_ref().is_empty() => {
                self.add_error(&scope, format!("`scope` of `{name}`: expected a scope"));
                None
            }
            Some(scope) => Some(RestrictedColumn {
                scope: scope.into_inner(),
                mask,
            }),
            None => {
                let message =
                    format!("`mask` of `{name}`: has no effect without `scope`; add the scope");
                mask.inspect(|_| self.errors.push(LineError::new(line, message)));
                None
            }
        }
    }

    fn check_claim_names(&mut self, claims: &[Spanned<String>]) {
        for claim in claims {
            let name = claim.get_ref();
            if !is_claim_name(name) {
                self.add_error(claim, format!("`{name}` in `claims`: {CLAIM_NAME}"));
            }
        }
    }

    /// Checks the claims that are listed: policies of PostgreSQL read them, other databases need them in the SQL.
    fn check_claim_uses(
        &mut self,
        claims: &[Spanned<String>],
        used: &[&Variable],
        dialect: SqlDialect,
    ) {
        let has_policies = dialect == SqlDialect::Postgres;
        for claim in claims {
            let name = claim.get_ref();
            let is_used = used.contains(&&Variable::Claim(name.clone()));
            if has_policies && SESSION_CLAIMS.contains(&name.as_str()) {
                let message = format!(
                    "`{name}` in `claims`: in `request.jwt.claims` it is set by Rowlink; use `:claim.{name}` in the SQL"
                );
                self.add_error(claim, message);
            } else if !has_policies && !is_used {
                let message = format!(
                    "`{name}` in `claims`: the SQL has no `:claim.{name}`; use it or remove the claim"
                );
                self.add_error(claim, message);
            }
        }
    }

    fn database(
        &mut self,
        setting: Option<Spanned<String>>,
        dialects: &Dialects,
    ) -> Option<(String, SqlDialect)> {
        let (name, line) = match setting {
            None => (DEFAULT_DATABASE.to_owned(), self.first_line),
            Some(name) => (name.get_ref().clone(), self.line_at(name.span().start)),
        };
        if let Some(dialect) = dialects.get(&name) {
            return Some((name, *dialect));
        }
        let known: Vec<&str> = dialects.keys().map(String::as_str).collect();
        let known = known.join(", ");
        let message = format!("`database`: unknown database `{name}`; expected one of {known}");
        self.errors.push(LineError::new(line, message));
        None
    }
}

const NUMBER_FORMAT: &str =
    "expected one that Excel knows, such as #,##0.00, with texts in quotes: 0.0 \"kg\"";

/// Returns the claims that a link must pin: those used in the SQL and in masks, those listed in the settings, then those in the keys of
/// documents.
fn required_claims(
    used: &[&Variable],
    listed: Vec<Spanned<String>>,
    documents: Option<&DocumentSettings>,
) -> Vec<String> {
    let prefix = documents.and_then(|documents| documents.prefix.as_ref());
    let in_keys = prefix.into_iter().flat_map(KeyPrefix::claims);
    let used = used.iter().filter_map(|it| match it {
        Variable::Claim(name) => Some(name.clone()),
        _ => None,
    });
    let listed = listed.into_iter().map(Spanned::into_inner);
    used.chain(listed)
        .chain(in_keys.map(str::to_owned))
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

/// Checks that placeholders, also `in_masks`, and declared filters match, and that the export either restricts rows per
/// caller or is `unscoped`.
fn check_variables(
    statement: &Statement,
    in_masks: &[(usize, &Variable)],
    declared: &[(usize, String)],
    row_access: RowAccess,
    errors: &mut Vec<LineError>,
) {
    let mut is_pinned = row_access.row_security;
    let in_statement = statement.variables.iter();
    let in_statement = in_statement.map(|variable| (statement.line_of(variable), variable));
    let in_masks = in_masks.iter().copied();
    for (line, variable) in in_statement.chain(in_masks.clone()) {
        let message = match variable {
            Variable::Claim(name) if !is_claim_name(name) => format!("`{variable}`: {CLAIM_NAME}"),
            Variable::Filter(name) if !declared.iter().any(|(_, other)| other == name) => {
                format!("`:{name}` is not declared; add [filters.{name}]")
            }
            Variable::User | Variable::Claim(_) | Variable::Filter(_) => continue,
        };
        errors.push(LineError::new(line, message));
    }
    // A mask restricts no rows.
    is_pinned |= statement
        .variables
        .iter()
        .any(|it| matches!(it, Variable::User | Variable::Claim(_)));
    for (line, name) in declared {
        let used = |variable: &Variable| matches!(variable, Variable::Filter(it) if it == name);
        if !statement.variables.iter().any(used) && !in_masks.clone().any(|(_, it)| used(it)) {
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
