//! Texts for people, in one file per language: error pages, the confirmation page, the page of exports, an Export button, the
//! demo.
//!
//! Logs and the problems of the API are English.

mod escape;
mod fill;
mod quantities;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub(crate) use escape::escape;
pub(crate) use fill::fill;
pub(crate) use quantities::Quantities;

/// Pairs tags with the files of this folder.
macro_rules! files {
    ($($tag:literal),+) => {
        &[$(($tag, include_str!(concat!($tag, ".toml")))),+]
    };
}

/// The files, by the BCP 47 tag of their language. The first one is the default.
const FILES: &[(&str, &str)] = files!["en", "de"];

static LANGUAGES: LazyLock<Vec<Texts>> = LazyLock::new(|| {
    let parsed = FILES
        .iter()
        .map(|(language, file)| Texts::parse(language, file));
    let parsed: Result<_, _> = parsed.collect();
    parsed.expect("a test parses every file")
});

/// The code whose title stands for those that have none.
const INTERNAL: &str = "internal";

/// The texts of one language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    /// The BCP 47 tag.
    #[serde(skip)]
    pub(crate) language: &'static str,
    pub(crate) quantities: Quantities,
    pub(crate) confirm_page: ConfirmPageTexts,
    pub(crate) error_page: ErrorPageTexts,
    pub(crate) advice: AdviceTexts,
    pub(crate) button: ButtonTexts,
    pub(crate) exports_page: ExportsPageTexts,
    pub(crate) demo: DemoTexts,
    file_types: BTreeMap<String, String>,
    titles: BTreeMap<String, String>,
}

/// The page on which a person confirms a download.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfirmPageTexts {
    pub(crate) not_prepared: String,
    pub(crate) preparing: String,
    pub(crate) ready: String,
    pub(crate) rows_so_far: String,
    pub(crate) reloads_in: String,
    pub(crate) reload: String,
    pub(crate) download: String,
    pub(crate) lifetime: String,
    pub(crate) works_once: String,
}

/// The page of a problem.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorPageTexts {
    pub(crate) expired: String,
    pub(crate) used: String,
    pub(crate) try_again: String,
    pub(crate) back: String,
    pub(crate) with_new_link: String,
    pub(crate) without_button: String,
    pub(crate) reloads_in: String,
    pub(crate) wait: String,
    pub(crate) report: String,
}

/// What a person can do about a problem.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdviceTexts {
    pub(crate) export_again: String,
    pub(crate) changed_link: String,
    pub(crate) change_values: String,
    pub(crate) open_later: String,
    pub(crate) sign_in: String,
    pub(crate) reload: String,
    pub(crate) fewer_rows: String,
    pub(crate) shorter_rows: String,
    pub(crate) from_application: String,
    pub(crate) from_network: String,
    pub(crate) in_browser: String,
    pub(crate) whole_file: String,
    pub(crate) use_link: String,
    pub(crate) proxy: String,
    pub(crate) ask_for_access: String,
    pub(crate) other: String,
}

/// An Export button, by its status, and what stands beside it. `clients/js` has these texts, too.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ButtonTexts {
    pub(crate) idle: String,
    pub(crate) issuing: String,
    pub(crate) preparing: String,
    pub(crate) downloading: String,
    pub(crate) started: String,
    pub(crate) done: String,
    pub(crate) failed: String,
    pub(crate) cancel: String,
    pub(crate) format: String,
    pub(crate) differs: String,
}

/// The page of exports. Its script has texts of its own, by the names that it uses.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportsPageTexts {
    pub(crate) signed_in_as: String,
    pub(crate) sign_out: String,
    pub(crate) heading: String,
    pub(crate) no_exports: String,
    pub(crate) search_label: String,
    pub(crate) search: String,
    pub(crate) found: String,
    pub(crate) found_one: String,
    pub(crate) found_none: String,
    pub(crate) all_exports: String,
    pub(crate) optional: String,
    pub(crate) any: String,
    pub(crate) choose: String,
    pub(crate) yes: String,
    pub(crate) no: String,
    pub(crate) value: String,
    pub(crate) range: String,
    pub(crate) at_least: String,
    pub(crate) at_most: String,
    pub(crate) max_length: String,
    pub(crate) timestamp: String,
    pub(crate) columns: String,
    pub(crate) prepare: String,
    pub(crate) reason: String,
    pub(crate) reason_hint: String,
    pub(crate) reason_needs_script: String,
    pub(crate) download: String,
    pub(crate) tools: String,
    pub(crate) preview: String,
    pub(crate) preview_heading: String,
    pub(crate) copy_format: String,
    pub(crate) copy_link: String,
    pub(crate) copy_curl: String,
    pub(crate) copy_python: String,
    pub(crate) sign_in_heading: String,
    pub(crate) session_ended: String,
    pub(crate) sign_in_application: String,
    pub(crate) sign_in_account: String,
    pub(crate) token_heading: String,
    pub(crate) token_label: String,
    pub(crate) token_hint: String,
    pub(crate) token_needs_script: String,
    pub(crate) sign_in: String,
    pub(crate) script: BTreeMap<String, String>,
}

/// The page of `rowlink demo`, by the names that its files use.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DemoTexts {
    pub(crate) page: BTreeMap<String, String>,
    pub(crate) script: BTreeMap<String, String>,
}

/// Returns the texts of all languages; first those of the default.
pub(crate) fn all() -> &'static [Texts] {
    &LANGUAGES
}

/// Returns the texts of the default language.
pub(crate) fn english() -> &'static Texts {
    all().first().expect("there is a file")
}

impl Texts {
    fn parse(language: &'static str, file: &str) -> Result<Texts, toml::de::Error> {
        let texts = toml::from_str(file)?;
        Ok(Texts { language, ..texts })
    }

    pub(crate) fn is_english(&self) -> bool {
        self.language == english().language
    }

    /// Returns the title of a problem with this code.
    pub(crate) fn title(&self, code: &str) -> &str {
        let title = self.titles.get(code).or_else(|| self.titles.get(INTERNAL));
        title.map(String::as_str).unwrap_or_default()
    }

    /// Returns the name of a type of files.
    pub(crate) fn file_type(&self, extension: &str) -> String {
        let name = self.file_types.get(extension).cloned();
        name.unwrap_or_else(|| extension.to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use toml::Value;

    use super::*;

    /// Returns the texts of a file, by their keys.
    fn flat(file: &str) -> BTreeMap<String, String> {
        fn collect(path: &str, value: &Value, texts: &mut BTreeMap<String, String>) {
            match value {
                Value::Table(table) => {
                    for (key, value) in table {
                        collect(&format!("{path}.{key}"), value, texts);
                    }
                }
                value => {
                    let text = value.as_str().expect(path).to_owned();
                    texts.insert(path.to_owned(), text);
                }
            }
        }
        let mut texts = BTreeMap::new();
        let table = Value::Table(file.parse().expect("a TOML table"));
        collect("", &table, &mut texts);
        texts
    }

    fn placeholders(text: &str) -> BTreeSet<&str> {
        let after = text.split('{').skip(1);
        after
            .map(|after| after.split_once('}').expect(text).0)
            .collect()
    }

    #[test]
    fn every_file_of_the_folder_is_a_language() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/texts");
        let files = fs::read_dir(folder).expect("the folder");
        let names = files.map(|file| file.expect("a file").file_name());
        let names = names.filter_map(|name| {
            let name = name.into_string().expect("a name");
            name.strip_suffix(".toml").map(str::to_owned)
        });
        let languages = all().iter().map(|texts| texts.language.to_owned());
        assert_eq!(
            names.collect::<BTreeSet<_>>(),
            languages.collect::<BTreeSet<_>>()
        );
        assert_eq!(english().language, "en");
    }

    #[test]
    fn every_language_has_the_same_keys_and_placeholders() {
        let english = flat(FILES[0].1);
        for (language, file) in FILES {
            let texts = flat(file);
            let keys = |texts: &BTreeMap<String, String>| texts.keys().cloned().collect::<Vec<_>>();
            assert_eq!(keys(&texts), keys(&english), "{language}");
            for (key, text) in &texts {
                assert_eq!(
                    placeholders(text),
                    placeholders(&english[key]),
                    "{language}: {key}"
                );
                assert!(!text.trim().is_empty(), "{language}: {key}");
            }
        }
    }

    #[test]
    fn an_unknown_and_a_missing_key_are_errors() {
        let (language, file) = FILES[0];
        assert!(Texts::parse(language, file).is_ok());
        for changed in [
            file.replace("works_once =", "works_twice ="),
            file.replace("works_once =", "# works_once ="),
            format!("{file}\n[buttons]\nidle = \"Export\"\n"),
        ] {
            assert!(Texts::parse(language, &changed).is_err());
        }
    }

    #[test]
    fn every_code_of_the_api_has_a_title() {
        let api: serde_json::Value =
            serde_saphyr::from_str(include_str!("../../openapi.yaml")).expect("YAML");
        let codes = &api["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        let codes = codes.as_array().expect("a list").iter();
        let mut codes: BTreeSet<_> = codes.filter_map(serde_json::Value::as_str).collect();
        // It answers a request without a path.
        codes.insert("request-too-slow");
        let titles: BTreeSet<_> = english().titles.keys().map(String::as_str).collect();
        assert_eq!(titles, codes);
    }

    #[test]
    fn a_file_type_without_a_text_is_named_by_its_extension() {
        assert_eq!(english().file_type("xlsx"), "Excel workbook");
        assert_eq!(english().file_type("csv"), "CSV");
    }
}
