//! Texts for people, which may have a translation per language: `label.de = "Betrag"`.

use std::borrow::Borrow;
use std::fmt;
use std::iter;
use std::str::FromStr;

use icu_locale_core::LanguageIdentifier;
use indexmap::{IndexMap, IndexSet};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The language of exports that set none.
const DEFAULT_LANGUAGE: &str = "en";

/// A language tag of BCP 47: a language, perhaps with a script and a region. Tags that differ only in case are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Language(String);

/// The text is not a language tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a language tag such as de or de-AT")]
pub struct NotALanguage;

impl FromStr for Language {
    type Err = NotALanguage;

    /// Parses the reduced grammar of RFC 5646, section 2.1: `language[-script][-region]`.
    fn from_str(text: &str) -> Result<Language, NotALanguage> {
        let tag = LanguageIdentifier::try_from_str(text).map_err(|_| NotALanguage)?;
        let has_variants = !tag.variants.is_empty();
        (!has_variants)
            .then(|| Language(tag.to_string()))
            .ok_or(NotALanguage)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for Language {
    fn default() -> Language {
        Language(DEFAULT_LANGUAGE.to_owned())
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Language, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.parse();
        parsed.map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

impl Language {
    /// Returns the tag in its usual spelling: `zh-Hant-TW`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Iterates over the tag and those that are more general, `zh-Hant-TW`, `zh-Hant`, `zh`: the lookup of RFC 4647, section
    /// 3.4.
    pub fn with_general(&self) -> impl Iterator<Item = &str> {
        iter::successors(Some(self.as_str()), |tag| {
            tag.rsplit_once('-').map(|(general, _)| general)
        })
    }
}

/// Lets a map be searched by a more general tag.
impl Borrow<str> for Language {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The languages of texts, in the order in which a file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages(IndexSet<Language>);

impl Languages {
    pub(super) fn add<T>(&mut self, text: &Text<T>) {
        self.0.extend(text.by_language.keys().cloned());
    }

    /// Tells whether there are several, so that a reader may choose.
    #[must_use]
    pub fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Returns the one that a reader prefers, who accepts these languages, the best one first.
    pub fn best<'a>(&self, accepted: impl IntoIterator<Item = &'a Language>) -> Option<&Language> {
        let mut tags = accepted.into_iter().flat_map(Language::with_general);
        tags.find_map(|tag| self.0.get(tag))
    }

    /// Returns the first one, unless no text has a language.
    #[must_use]
    pub fn first(&self) -> Option<&Language> {
        self.0.first()
    }
}

/// Writes the tags as a list: `de, en`.
impl fmt::Display for Languages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tags: Vec<&str> = self.0.iter().map(Language::as_str).collect();
        f.write_str(&tags.join(", "))
    }
}

/// A text for people: one for all languages, or one per language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<T = String> {
    /// For languages without one of their own: the first one in the file.
    first: T,
    /// Empty if the text is for all languages.
    by_language: IndexMap<Language, T>,
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text {
            first: text,
            by_language: IndexMap::new(),
        }
    }
}

impl<T> Text<T> {
    /// Returns the text in a language, else in the `default` one, else the first one.
    #[must_use]
    pub fn get(&self, language: Option<&Language>, default: &Language) -> &T {
        let languages = language.into_iter().chain([default]);
        let mut tags = languages.flat_map(Language::with_general);
        let found = tags.find_map(|tag| self.by_language.get(tag));
        found.unwrap_or(&self.first)
    }

    /// Converts the text of each language.
    ///
    /// # Errors
    /// Returns the first error of `convert`, which gets the language, too; `None` for a text for all languages.
    pub(super) fn try_map<U, E>(
        &self,
        convert: impl Fn(Option<&Language>, &T) -> Result<U, E>,
    ) -> Result<Text<U>, E> {
        let texts = self.by_language.iter();
        let converted = texts.map(|(language, text)| {
            let converted = convert(Some(language), text)?;
            Ok((language.clone(), converted))
        });
        Ok(Text {
            by_language: converted.collect::<Result<_, E>>()?,
            first: convert(None, &self.first)?,
        })
    }
}

/// Reads a string, or a table with a string per language.
impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a table with a text per language")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text::from(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Text, A::Error> {
        let mut by_language = IndexMap::new();
        while let Some((language, text)) = table.next_entry::<Language, String>()? {
            if by_language.contains_key(&language) {
                let message = format!("duplicate language `{language}`");
                return Err(A::Error::custom(message));
            }
            by_language.insert(language, text);
        }
        let message = "expected a text for at least one language";
        let first = by_language.values().next().cloned();
        let first = first.ok_or_else(|| A::Error::custom(message))?;
        Ok(Text { first, by_language })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn language(tag: &str) -> Language {
        tag.parse().expect("a language")
    }

    fn text(toml: &str) -> Result<Text, String> {
        #[derive(Deserialize)]
        struct Settings {
            label: Text,
        }
        let settings: Result<Settings, _> = toml::from_str(toml);
        let settings = settings.map_err(|error| error.message().to_owned());
        settings.map(|settings| settings.label)
    }

    #[test]
    fn a_tag_is_a_language_perhaps_with_a_script_and_a_region() {
        for (given, expected) in [
            ("de", Some("de")),
            ("DE-at", Some("de-AT")),
            ("zh-hant-tw", Some("zh-Hant-TW")),
            ("es-419", Some("es-419")),
            ("yue", Some("yue")),
            ("", None),
            ("d", None),
            ("*", None),
            ("xx-!", None),
            ("de_AT", None),
            ("de-", None),
            ("de--AT", None),
            (" de", None),
            ("de-AT-1996", None),
            ("de-u-co-phonebk", None),
            ("x-private", None),
            ("deutsch-sprache", None),
        ] {
            let parsed: Result<Language, _> = given.parse();
            assert_eq!(
                parsed.ok().as_ref().map(Language::as_str),
                expected,
                "{given:?}"
            );
        }
    }

    #[test]
    fn a_text_falls_back_to_a_more_general_language_then_the_default_then_the_first() {
        let text = text("label.de = 'Betrag'\nlabel.en = 'Amount'\nlabel.zh-Hant = '金額'");
        let text = text.expect("a text");
        for (wanted, default, expected) in [
            (Some("de"), "en", "Betrag"),
            (Some("de-AT"), "en", "Betrag"),
            (Some("zh-Hant-TW"), "en", "金額"),
            (Some("zh"), "en", "Amount"),
            (Some("fr"), "en", "Amount"),
            (Some("fr"), "en-GB", "Amount"),
            (None, "en", "Amount"),
            (None, "fr", "Betrag"),
            (Some("pt-BR"), "fr", "Betrag"),
        ] {
            let found = text.get(wanted.map(language).as_ref(), &language(default));
            assert_eq!(found, expected, "{wanted:?} {default}");
        }
        let same = Text::from("Total".to_owned());
        assert_eq!(same.get(Some(&language("de")), &language("en")), "Total");
    }

    #[test]
    fn a_table_has_a_text_for_each_of_its_languages() {
        for (toml, expected) in [
            ("label = {}", "expected a text for at least one language"),
            ("label.german = 'x'", "`german`: expected a language tag"),
            ("label.xx_y = 'x'", "`xx_y`: expected a language tag"),
            (
                "label.de-at = 'x'\nlabel.de-AT = 'y'",
                "duplicate language `de-AT`",
            ),
            (
                "label = 1",
                "invalid type: integer `1`, expected a text, or a table",
            ),
            (
                "label.de = 1",
                "invalid type: integer `1`, expected a string",
            ),
            ("label = ['x']", "invalid type: sequence, expected a text"),
        ] {
            let error = text(toml).expect_err("an error");
            assert!(error.starts_with(expected), "{error}\nfor {toml}");
        }
    }

    #[test]
    fn a_reader_gets_the_first_language_of_their_list_that_there_is() {
        let mut languages = Languages::default();
        languages.add(&text("label.de = ''\nlabel.pt-BR = ''").expect("a text"));
        languages.add(&text("label.fr = ''\nlabel.de = ''").expect("a text"));
        assert_eq!(languages.to_string(), "de, pt-BR, fr");
        for (accepted, expected) in [
            (&["fr", "de-AT"][..], Some("fr")),
            (&["it", "de-AT", "fr"], Some("de")),
            (&["pt-BR", "de"], Some("pt-BR")),
            // Nothing tells that a reader of Portuguese accepts that of Brazil.
            (&["pt", "fr"], Some("fr")),
            (&["it"], None),
            (&[], None),
        ] {
            let accepted: Vec<Language> = accepted.iter().map(|tag| language(tag)).collect();
            let best = languages.best(&accepted);
            assert_eq!(best.map(Language::as_str), expected, "{accepted:?}");
        }
    }

    proptest! {
        #[test]
        fn each_well_formed_tag_is_accepted_in_any_case_and_spelled_one_way(
            tag in "[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?",
        ) {
            let parsed = language(&tag);
            prop_assert_eq!(parsed.as_str(), &tag);
            prop_assert_eq!(&language(&tag.to_uppercase()), &parsed);
            prop_assert_eq!(&language(&tag.to_lowercase()), &parsed);
            let general: Vec<&str> = parsed.with_general().collect();
            prop_assert_eq!(general[0], &tag);
            prop_assert_eq!(general.len(), tag.split('-').count());
        }

        #[test]
        fn any_text_is_refused_or_has_one_short_spelling(text in "\\PC{0,12}|[a-zA-Z0-9_-]{0,20}") {
            if let Ok(parsed) = text.parse::<Language>() {
                prop_assert!(parsed.as_str().eq_ignore_ascii_case(&text));
                prop_assert!(parsed.as_str().len() <= 17);
                prop_assert_eq!(language(parsed.as_str()), parsed);
            }
        }
    }
}
