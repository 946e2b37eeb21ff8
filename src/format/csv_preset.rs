//! Presets of CSV: how a spreadsheet with the settings of one country reads a file.

/// What a preset sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preset {
    pub(super) name: &'static str,
    pub(super) delimiter: u8,
    pub(super) bom: bool,
    pub(super) decimal_comma: bool,
    /// Whether timestamps are local times without an offset.
    pub(super) local_timestamps: bool,
    pub(super) date_form: DateForm,
    /// `false`, then `true`.
    pub(super) booleans: [&'static str; 2],
}

/// The options that a preset sets.
pub(super) const SET_OPTIONS: &[&str] = &["delimiter", "bom", "decimal_comma", "timestamps"];

/// The values of a file without a preset. A link has its name to undo the preset of an export.
const NONE: Preset = Preset {
    name: "none",
    delimiter: b',',
    bom: false,
    decimal_comma: false,
    local_timestamps: false,
    date_form: DateForm::Iso,
    booleans: ["false", "true"],
};

/// One row per preset. Excel reads UTF-8 only after a byte order mark.
const PRESETS: [Preset; 3] = [
    Preset {
        name: "excel-de",
        delimiter: b';',
        bom: true,
        decimal_comma: true,
        local_timestamps: true,
        date_form: DateForm::DayFirst(b'.'),
        booleans: ["FALSCH", "WAHR"],
    },
    Preset {
        name: "excel-fr",
        delimiter: b';',
        bom: true,
        decimal_comma: true,
        local_timestamps: true,
        date_form: DateForm::DayFirst(b'/'),
        booleans: ["FAUX", "VRAI"],
    },
    Preset {
        name: "excel-us",
        delimiter: b',',
        bom: true,
        decimal_comma: false,
        local_timestamps: true,
        date_form: DateForm::MonthFirst,
        booleans: ["FALSE", "TRUE"],
    },
];

impl Preset {
    /// Tells whether there is a preset of this name, or it stands for none.
    pub(super) fn exists(name: &str) -> bool {
        let mut presets = PRESETS.iter().chain([&NONE]);
        presets.any(|preset| preset.name == name)
    }

    /// Returns the preset of this name, or the values of a file without one.
    pub(super) fn of(name: Option<&str>) -> Preset {
        let mut presets = PRESETS.into_iter();
        let found = presets.find(|preset| Some(preset.name) == name);
        found.unwrap_or(NONE)
    }
}

/// How dates are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DateForm {
    /// `2026-01-31`.
    Iso,
    /// `31.01.2026`, with this separator.
    DayFirst(u8),
    /// `1/31/2026`.
    MonthFirst,
}

impl DateForm {
    /// Rewrites the date that is at `start`, perhaps with a time after it. Years before 1 and after 9999 and infinities, which
    /// spreadsheets do not read as dates, stay as they are.
    pub(super) fn rewrite(self, start: usize, out: &mut Vec<u8>) {
        let Some(&[a, b, c, d, b'-', m, n, b'-', e, f]) = out[start..].first_chunk::<10>() else {
            return;
        };
        if out.ends_with(b" BC") {
            return;
        }
        let date = start..start + 10;
        match self {
            DateForm::Iso => {}
            DateForm::DayFirst(separator) => {
                out[date].copy_from_slice(&[e, f, separator, m, n, separator, a, b, c, d]);
            }
            DateForm::MonthFirst => {
                let without_zero =
                    |tens, ones| [tens, ones].into_iter().skip(usize::from(tens == b'0'));
                let month = without_zero(m, n).chain([b'/']);
                let day = without_zero(e, f).chain([b'/']);
                out.splice(date, month.chain(day).chain([a, b, c, d]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rewritten_unless_no_spreadsheet_reads_them() {
        let rewrite = |form: DateForm, text: &str| {
            let mut out = format!("x,{text}").into_bytes();
            form.rewrite(2, &mut out);
            String::from_utf8(out).expect("ASCII").split_off(2)
        };
        let day_first = DateForm::DayFirst(b'.');
        for (text, german, american) in [
            ("2026-01-31", "31.01.2026", "1/31/2026"),
            ("2026-11-05", "05.11.2026", "11/5/2026"),
            (
                "2026-01-01 11:00:00",
                "01.01.2026 11:00:00",
                "1/1/2026 11:00:00",
            ),
            ("0001-12-31 BC", "0001-12-31 BC", "0001-12-31 BC"),
            ("10000-01-01", "10000-01-01", "10000-01-01"),
            ("-infinity", "-infinity", "-infinity"),
            ("11:00:00.123456", "11:00:00.123456", "11:00:00.123456"),
        ] {
            assert_eq!(rewrite(day_first, text), german);
            assert_eq!(rewrite(DateForm::MonthFirst, text), american);
            assert_eq!(rewrite(DateForm::Iso, text), text);
        }
    }
}
