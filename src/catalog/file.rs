//! Parses an export's `.sql` file: TOML settings in the leading comment, then one statement.

use std::collections::BTreeMap;
use std::{iter, mem};

use indexmap::{IndexMap, IndexSet};
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::columns::ColumnSettings;
use super::documents::FileTable;
use super::feed::FeedSettings;
use super::filter::FilterSettings;
use super::format_settings::{parse_formats, take_options};
use super::settings_comment::split_settings;
use super::sheet::{CLAIM_NAME, RowAccess, SheetSource};
use super::{
    DEFAULT_DATABASE, Dialects, DocumentSettings, Export, ExportKind, ExportLimits,
    FileNameTemplate, Filter, KeyPrefix, Language, Languages, ParallelKey, ReasonSetting,
    SESSION_CLAIMS, Sheet, SqlDialect, StoreMode, StoreSettings, Text, Variable,
};
use crate::format::{Format, FormatOptions};
use crate::row::{TimeZone, UnknownTimeZone};
use crate::toml_errors::LineError;
use rowlink_link::is_claim_name;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) title: Option<Text>,
    description: Option<Text>,
    #[serde(default)]
    language: Language,
    scope: Option<String>,
    #[serde(default)]
    pub(super) unscoped: bool,
    pub(super) database: Option<Spanned<String>>,
    role: Option<String>,
    #[serde(default)]
    pub(super) row_security: bool,
    #[serde(default)]
    pub(super) claims: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) filters: IndexMap<Spanned<String>, FilterSettings>,
    #[serde(default)]
    pub(super) columns: IndexMap<Spanned<String>, ColumnSettings>,
    pub(super) formats: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) timezone: Option<Spanned<String>>,
    pub(super) filename: Option<Spanned<Text>>,
    estimate: Option<Spanned<bool>>,
    #[serde(default)]
    seal: bool,
    #[serde(default)]
    reason: ReasonSetting,
    heartbeat_seconds: Option<Spanned<u64>>,
    #[serde(default)]
    limits: ExportLimits,
    pub(super) feed: Option<Spanned<FeedSettings>>,
    pub(super) store: Option<Spanned<StoreSettings>>,
    pub(super) parallel: Option<Spanned<String>>,
    pub(super) kind: Option<Spanned<ExportKind>>,
    pub(super) file: Option<Spanned<FileTable>>,
}

/// Parses the export `name` from the text of its file.
///
/// # Errors
/// Returns every error in the file.
pub(super) fn parse(name: &str, file: &str, dialects: &Dialects) -> Result<Export, Vec<LineError>> {
    // Windows editors add a byte order mark, which databases reject.
    let text = file.trim_start_matches('\u{feff}');
    let (settings_text, first_line) = split_settings(text).map_err(|error| vec![error])?;
    let mut reader = Reader::new(settings_text, first_line);
    let (mut settings, format_options) = reader.settings(false)?;
    let documents = reader.documents(&mut settings, &format_options);
    let (filters, declared) = reader.filters(mem::take(&mut settings.filters));
    let formats = match &documents {
        None => reader.formats(settings.formats.as_ref(), false),
        Some(_) => Vec::new(),
    };
    let time_zone = reader.time_zone(settings.timezone.as_ref());
    let file_name = reader.file_name(settings.filename.as_ref(), &declared);
    let columns = reader.columns(mem::take(&mut settings.columns));
    reader.check_feed(settings.feed.as_ref(), settings.store.as_ref());
    reader.check_claim_names(&settings.claims);
    let Some((database, dialect)) = reader.database(settings.database.take(), dialects) else {
        return Err(reader.errors);
    };
    reader.check_dialect(&settings, dialect);
    let title = settings.title.clone();
    let source = SheetSource {
        file: format!("{name}.sql"),
        name: name.to_owned(),
        title: title.unwrap_or_else(|| default_title(name)),
        text,
        dialect,
        columns,
        filters: &filters,
        declared: &declared,
        shared: &[],
        row_access: RowAccess {
            unscoped: settings.unscoped,
            row_security: settings.row_security,
        },
    };
    let Some(sheet) = Sheet::parse(source, &mut reader.errors) else {
        return Err(reader.errors);
    };
    let sheets = vec![sheet];
    let parallel = reader.parallel(settings.parallel.take(), dialect);
    reader.check_claim_uses(&settings.claims, &sheets, dialect);
    if !reader.errors.is_empty() {
        return Err(reader.errors);
    }
    let checked = CheckedSettings {
        filters,
        formats,
        time_zone,
        format_options,
        database,
        file_name,
        claims: required_claims(&sheets, &settings.claims, documents.as_ref()),
        documents,
        parallel,
        sheets,
        text: file.to_owned(),
    };
    Ok(checked.into_export(name, settings))
}

/// What was checked of an export, and what was found in its statements.
pub(super) struct CheckedSettings {
    pub(super) filters: Vec<Filter>,
    pub(super) documents: Option<DocumentSettings>,
    pub(super) parallel: Option<ParallelKey>,
    pub(super) formats: Vec<Format>,
    pub(super) time_zone: TimeZone,
    pub(super) format_options: BTreeMap<&'static str, FormatOptions>,
    pub(super) database: String,
    pub(super) file_name: Option<Text<FileNameTemplate>>,
    pub(super) claims: Vec<String>,
    pub(super) sheets: Vec<Sheet>,
    pub(super) text: String,
}

impl CheckedSettings {
    /// Adds the settings that need no check.
    pub(super) fn into_export(self, name: &str, settings: Settings) -> Export {
        let title = settings.title.unwrap_or_else(|| default_title(name));
        let languages = self.languages(&title, settings.description.as_ref());
        Export {
            name: name.to_owned(),
            title,
            description: settings.description,
            language: settings.language,
            languages,
            scope: settings.scope,
            filters: self.filters,
            documents: self.documents,
            formats: self.formats,
            time_zone: self.time_zone,
            format_options: self.format_options,
            database: self.database,
            role: settings.role,
            row_security: settings.row_security,
            is_estimated: settings.estimate.is_none_or(Spanned::into_inner),
            seal: settings.seal,
            reason: settings.reason,
            file_name: self.file_name,
            heartbeat_seconds: settings.heartbeat_seconds.map(Spanned::into_inner),
            limits: settings.limits,
            feed: settings.feed.map(Spanned::into_inner),
            store: settings.store.map(Spanned::into_inner).unwrap_or_default(),
            parallel: self.parallel,
            claims: self.claims,
            sheets: self.sheets,
            text: self.text,
        }
    }

    /// Returns the languages of all texts.
    fn languages(&self, title: &Text, description: Option<&Text>) -> Languages {
        let mut languages = Languages::default();
        let descriptions = self.filters.iter().flat_map(|it| &it.description);
        let of_sheets = self.sheets.iter();
        let of_sheets = of_sheets.flat_map(|it| it.labels.values().chain([&it.title]));
        let texts = iter::once(title).chain(description).chain(descriptions);
        texts.chain(of_sheets).for_each(|text| languages.add(text));
        self.file_name.iter().for_each(|name| languages.add(name));
        languages
    }
}

/// Reads the settings, and collects their errors.
pub(super) struct Reader<'t> {
    settings_text: &'t str,
    /// The line of the file on which the settings start.
    first_line: usize,
    pub(super) errors: Vec<LineError>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(settings_text: &'t str, first_line: usize) -> Reader<'t> {
        Reader {
            settings_text,
            first_line,
            errors: Vec::new(),
        }
    }

    /// Parses the settings of an export, and the options of formats among them.
    ///
    /// # Errors
    /// Returns the first syntax or type error.
    pub(super) fn settings(
        &mut self,
        is_book: bool,
    ) -> Result<(Settings, BTreeMap<&'static str, FormatOptions>), Vec<LineError>> {
        let table = DeTable::parse(self.settings_text);
        let mut table = table.map_err(|error| self.toml_error(&error))?;
        let format_options = self.format_options(table.get_mut(), is_book);
        let settings = Settings::deserialize(Deserializer::from(table));
        let settings = settings.map_err(|error| self.toml_error(&error))?;
        Ok((settings, format_options))
    }

    pub(super) fn line_at(&self, offset: usize) -> usize {
        self.first_line + self.settings_text[..offset].matches('\n').count()
    }

    pub(super) fn add_error<T>(&mut self, setting: &Spanned<T>, message: String) {
        let line = self.line_at(setting.span().start);
        self.errors.push(LineError::new(line, message));
    }

    pub(super) fn toml_error(&self, error: &toml::de::Error) -> Vec<LineError> {
        let line = error.span().map(|span| self.line_at(span.start));
        let line = line.unwrap_or(self.first_line);
        vec![LineError::new(line, error.message())]
    }

    fn format_options(
        &mut self,
        table: &mut DeTable<'_>,
        is_book: bool,
    ) -> BTreeMap<&'static str, FormatOptions> {
        let mut found = Vec::new();
        let options = take_options(table, is_book, &mut found);
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
            ("parallel", start(settings.parallel.as_ref())),
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
    pub(super) fn filters(
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

    pub(super) fn formats(
        &mut self,
        listed: Option<&Spanned<Vec<Spanned<String>>>>,
        is_book: bool,
    ) -> Vec<Format> {
        let Some(listed) = listed else {
            return Format::defaults(is_book);
        };
        parse_formats(listed, is_book).unwrap_or_else(|(offset, message)| {
            let line = self.line_at(offset);
            self.errors.push(LineError::new(line, message));
            Vec::new()
        })
    }

    pub(super) fn time_zone(&mut self, name: Option<&Spanned<String>>) -> TimeZone {
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

    pub(super) fn file_name(
        &mut self,
        template: Option<&Spanned<Text>>,
        declared: &[(usize, String)],
    ) -> Option<Text<FileNameTemplate>> {
        let template = template?;
        let is_filter = |name: &str| declared.iter().any(|(_, declared)| declared == name);
        let parse = |language: Option<&Language>, text: &String| {
            let parsed = FileNameTemplate::parse(text, is_filter);
            parsed.map_err(|error| match language {
                Some(language) => format!("`filename.{language}`: {error}"),
                None => format!("`filename`: {error}"),
            })
        };
        let parsed = template.get_ref().try_map(parse);
        parsed
            .map_err(|message| self.add_error(template, message))
            .ok()
    }

    /// Refuses a feed whose files are stored: a stored file belongs to its link, so every fetch would return the first one.
    pub(super) fn check_feed(
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

    pub(super) fn check_claim_names(&mut self, claims: &[Spanned<String>]) {
        for claim in claims {
            let name = claim.get_ref();
            if !is_claim_name(name) {
                self.add_error(claim, format!("`{name}` in `claims`: {CLAIM_NAME}"));
            }
        }
    }

    /// Checks the claims that are listed: policies of PostgreSQL read them, other databases need them in the SQL.
    pub(super) fn check_claim_uses(
        &mut self,
        claims: &[Spanned<String>],
        sheets: &[Sheet],
        dialect: SqlDialect,
    ) {
        let has_policies = dialect == SqlDialect::Postgres;
        for claim in claims {
            let name = claim.get_ref();
            let variable = Variable::Claim(name.clone());
            let mut variables = sheets.iter().flat_map(Sheet::variables);
            let is_used = variables.any(|used| *used == variable);
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

    /// Refuses settings that only PostgreSQL has.
    pub(super) fn check_dialect(&mut self, settings: &Settings, dialect: SqlDialect) {
        if dialect != SqlDialect::Postgres && (settings.role.is_some() || settings.row_security) {
            let message = "`role` and `row_security`: supported only by PostgreSQL";
            self.errors.push(LineError::new(self.first_line, message));
        }
    }

    pub(super) fn database(
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

/// Returns the claims that a link must pin: those used in the SQL and in masks, those listed in the settings, then those in the keys of
/// documents.
pub(super) fn required_claims(
    sheets: &[Sheet],
    listed: &[Spanned<String>],
    documents: Option<&DocumentSettings>,
) -> Vec<String> {
    let prefix = documents.and_then(|documents| documents.prefix.as_ref());
    let in_keys = prefix.into_iter().flat_map(KeyPrefix::claims);
    let variables = sheets.iter().flat_map(Sheet::variables);
    let used = variables.filter_map(|it| match it {
        Variable::Claim(name) => Some(name.clone()),
        _ => None,
    });
    let listed = listed.iter().map(|claim| claim.get_ref().clone());
    used.chain(listed)
        .chain(in_keys.map(str::to_owned))
        .collect::<IndexSet<String>>()
        .into_iter()
        .collect()
}

/// Derives a title from an export's name: `daily_orders` → `Daily orders`.
pub(super) fn default_title(name: &str) -> Text {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    let first = letters.next().map(char::to_uppercase);
    let title: String = first.into_iter().flatten().chain(letters).collect();
    Text::from(title)
}
