//! Output options as they stand in a link: which columns, and how they are written.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::catalog::{Export, FieldFault};
use crate::format::CsvOptions;
use crate::row::Column;

/// The output options of one link, checked.
#[derive(Debug)]
pub(super) struct Output {
    /// The columns to read, in that order; all of them without.
    pub columns: Option<Vec<String>>,
    /// How CSV is written.
    pub csv: CsvOptions,
    /// What the header calls a column, by column name.
    pub labels: IndexMap<String, String>,
}

impl Output {
    /// What the export says, overridden by the `options` of a link. `columns` are the export's.
    pub fn parse(
        export: &Export,
        columns: &[Column],
        options: &BTreeMap<String, String>,
    ) -> Result<Output, Vec<FieldFault>> {
        let mut output = Output {
            columns: None,
            csv: export.csv.clone(),
            labels: export.labels.clone(),
        };
        let mut faults = Vec::new();
        for (option, value) in options {
            match option.strip_prefix("csv.") {
                None => match choose_columns(columns, value) {
                    Ok(chosen) => output.columns = Some(chosen),
                    Err(found) => faults.extend(found),
                },
                Some(name) => {
                    if let Err(fault) = output.csv.set(name, value) {
                        faults.push(FieldFault::new(option, fault.to_string()));
                    }
                }
            }
        }
        if faults.is_empty() {
            Ok(output)
        } else {
            Err(faults)
        }
    }
}

fn choose_columns(columns: &[Column], list: &str) -> Result<Vec<String>, Vec<FieldFault>> {
    let known: Vec<&str> = columns.iter().map(|it| it.name.as_str()).collect();
    let mut chosen: Vec<String> = Vec::new();
    let mut faults = Vec::new();
    for name in list.split(',') {
        if !known.contains(&name) {
            let message = format!("no column `{name}`; the columns are {}", known.join(", "));
            faults.push(FieldFault::new("columns", message));
        } else if chosen.iter().any(|other| other == name) {
            faults.push(FieldFault::new("columns", format!("`{name}` stands twice")));
        } else {
            chosen.push(name.to_owned());
        }
    }
    if faults.is_empty() {
        Ok(chosen)
    } else {
        Err(faults)
    }
}
