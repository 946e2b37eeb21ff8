//! Settings that restrict callers in one version of an export, and that a later version lacks.

use super::{DEFAULT_DATABASE, Export, ExportLimits, Filter, ReasonSetting};

/// The name of a setting, and whether the earlier and the later version have it.
type InVersions = (&'static str, bool, bool);

impl Export {
    /// Returns a setting that restricts callers, and that a later version of the export lacks.
    #[must_use]
    pub fn setting_lost_in(&self, later: &Export) -> Option<String> {
        let reads_other = |export: &Export| export.database != DEFAULT_DATABASE;
        let needs_reason = |export: &Export| export.reason == ReasonSetting::Required;
        let lost = first_lost(&[
            ("scope", self.scope.is_some(), later.scope.is_some()),
            ("database", reads_other(self), reads_other(later)),
            ("role", self.role.is_some(), later.role.is_some()),
            ("row_security", self.row_security, later.row_security),
            ("seal", self.seal, later.seal),
            ("reason", needs_reason(self), needs_reason(later)),
        ]);
        lost.map(|name| format!("`{name}`"))
            .or_else(|| self.claim_lost_in(later))
            .or_else(|| self.limits.lost_in(&later.limits))
            .or_else(|| self.feed_condition_lost_in(later))
            .or_else(|| self.filter_setting_lost_in(later))
    }

    fn claim_lost_in(&self, later: &Export) -> Option<String> {
        let mut claims = self.claims.iter();
        let lost = claims.find(|claim| !later.claims.contains(claim))?;
        Some(format!("`{lost}` in `claims`"))
    }

    /// Without its table [feed] an export has no links that live long.
    fn feed_condition_lost_in(&self, later: &Export) -> Option<String> {
        let (before, later) = (self.feed.as_ref()?, later.feed.as_ref()?);
        let mut conditions = before.requires.iter();
        let is_lost = conditions.any(|condition| !later.requires.contains(condition));
        is_lost.then(|| "a condition in `requires` of [feed]".to_owned())
    }

    /// The SQL lacks a filter that is gone, which is another error.
    fn filter_setting_lost_in(&self, later: &Export) -> Option<String> {
        self.filters.iter().find_map(|before| {
            let later = later.filter(&before.name)?;
            let lost = before.setting_lost_in(later)?;
            Some(format!("`{lost}` of filter `{}`", before.name))
        })
    }
}

impl ExportLimits {
    fn lost_in(&self, later: &ExportLimits) -> Option<String> {
        let lost = first_lost(&[
            (
                "max_rows",
                self.max_rows.is_some(),
                later.max_rows.is_some(),
            ),
            (
                "max_bytes",
                self.max_bytes.is_some(),
                later.max_bytes.is_some(),
            ),
            (
                "max_seconds",
                self.max_seconds.is_some(),
                later.max_seconds.is_some(),
            ),
            (
                "max_ttl_seconds",
                self.max_ttl_seconds.is_some(),
                later.max_ttl_seconds.is_some(),
            ),
            (
                "max_downloads",
                self.max_downloads.is_some(),
                later.max_downloads.is_some(),
            ),
        ]);
        lost.map(|name| format!("`{name}` of [limits]"))
    }
}

impl Filter {
    fn setting_lost_in(&self, later: &Filter) -> Option<&'static str> {
        let is_listed = |filter: &Filter| !filter.values.is_empty();
        first_lost(&[
            ("required", self.required, later.required),
            ("values", is_listed(self), is_listed(later)),
            ("min", self.min.is_some(), later.min.is_some()),
            ("max", self.max.is_some(), later.max.is_some()),
            (
                "max_length",
                self.max_length.is_some(),
                later.max_length.is_some(),
            ),
            ("pattern", self.pattern.is_some(), later.pattern.is_some()),
        ])
    }
}

fn first_lost(settings: &[InVersions]) -> Option<&'static str> {
    let mut settings = settings.iter();
    let lost = settings.find(|(_, before, later)| *before && !later);
    lost.map(|(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::catalog::{Catalog, Dialects, SqlDialect};

    fn book(settings: &str) -> Arc<Export> {
        let names = [DEFAULT_DATABASE, "other"].map(str::to_owned);
        let dialects: Dialects = names.map(|name| (name, SqlDialect::Postgres)).into();
        let sheet = "select 1 where :user = '' and :from = '' and :claim.used = ''";
        let filter = match settings.contains("[filters.from]") {
            true => "",
            false => "\n[filters.from]\ntype = 'text'",
        };
        let settings = format!("{settings}{filter}");
        let files = [("year/book.toml", &*settings), ("year/01_a.sql", sheet)];
        let catalog = Catalog::parse(files, &dialects);
        assert_eq!(catalog.errors(), [], "{settings}");
        catalog.get("year").expect("an export").clone()
    }

    #[test]
    fn each_setting_that_restricts_callers_is_missed_in_a_version_without_it() {
        let without = book("title = 'Next'");
        for (settings, lost) in [
            ("scope = 'a'", "`scope`"),
            ("database = 'other'", "`database`"),
            ("role = 'reader'", "`role`"),
            ("row_security = true", "`row_security`"),
            ("seal = true", "`seal`"),
            ("reason = 'required'", "`reason`"),
            ("claims = ['tenant']", "`tenant` in `claims`"),
            ("[limits]\nmax_rows = 1", "`max_rows` of [limits]"),
            ("[limits]\nmax_bytes = 1", "`max_bytes` of [limits]"),
            ("[limits]\nmax_seconds = 1", "`max_seconds` of [limits]"),
            (
                "[limits]\nmax_ttl_seconds = 1",
                "`max_ttl_seconds` of [limits]",
            ),
            ("[limits]\nmax_downloads = 1", "`max_downloads` of [limits]"),
            (
                "[filters.from]\ntype = 'text'\nrequired = true",
                "`required` of filter `from`",
            ),
            (
                "[filters.from]\ntype = 'text'\nvalues = ['a']",
                "`values` of filter `from`",
            ),
            (
                "[filters.from]\ntype = 'text'\nmax_length = 1",
                "`max_length` of filter `from`",
            ),
            (
                "[filters.from]\ntype = 'text'\npattern = 'a'",
                "`pattern` of filter `from`",
            ),
        ] {
            let before = book(settings);
            assert_eq!(before.setting_lost_in(&without).as_deref(), Some(lost));
            assert_eq!(before.setting_lost_in(&before), None, "{settings}");
            assert_eq!(without.setting_lost_in(&before), None, "{settings}");
        }
    }

    #[test]
    fn a_feed_may_end_but_not_lose_a_condition() {
        let feed =
            |requires: &str| book(&format!("[feed]\nmax_ttl = '90d'\nrequires = [{requires}]"));
        let before = feed("'ip', 'sealed'");
        let lost = before.setting_lost_in(&feed("'sealed'"));
        assert_eq!(lost.as_deref(), Some("a condition in `requires` of [feed]"));
        assert_eq!(before.setting_lost_in(&feed("'sealed', 'ip'")), None);
        assert_eq!(before.setting_lost_in(&book("")), None);
    }

    #[test]
    fn a_setting_may_get_another_value_and_a_listed_claim_may_move_into_the_sql() {
        let before = book("scope = 'a'\nclaims = ['used']\n[limits]\nmax_rows = 1");
        let later = book("scope = 'b'\n[limits]\nmax_rows = 2");
        assert_eq!(before.setting_lost_in(&later), None);
    }
}
