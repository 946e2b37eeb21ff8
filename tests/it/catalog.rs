//! Each kind of error in a catalog.

use rowlink::catalog::Catalog;

use crate::harness::sqlite;

fn errors(files: &[(&str, &str)]) -> Vec<String> {
    let catalog = Catalog::parse(files.iter().copied(), &sqlite());
    catalog.errors().iter().map(ToString::to_string).collect()
}

fn only_error(text: &str) -> String {
    let found = errors(&[("x.sql", text)]);
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn each_error_of_a_file_is_reported_with_its_line() {
    for (text, expected) in [
        ("", "x.sql:1: expected one statement, found none"),
        (
            "-- nothing\n",
            "x.sql:1: expected one statement, found none",
        ),
        (
            "select 1\nfrom t",
            "x.sql:1: every caller would get every row",
        ),
        (
            "/*---\nunscoped = true\n---*/\nselect :user",
            "x.sql:4: `unscoped = true`, but the SQL uses",
        ),
        (
            "select :user;\nselect 2",
            "x.sql:2: expected one statement; another starts here",
        ),
        (
            "select :user,\n 'never closed",
            "x.sql:2: Unterminated string literal",
        ),
        (
            "select :user,\n :status",
            "x.sql:2: `:status` is not declared; add [filters.status]",
        ),
        (
            "select 1,\n:claim.größe",
            "x.sql:2: `:claim.größe`: expected a claim name",
        ),
        (
            "\n/*---\ntitle = 'never closed'\nselect :user",
            "x.sql:2: `/*---`: not closed",
        ),
        ("/*---\ntitle = \n---*/\nselect :user", "x.sql:2: "),
        (
            "/*---\n\ncolour = 'red'\n---*/\nselect :user",
            "x.sql:3: unknown field `colour`",
        ),
        (
            "/*---\nformats = ['csv', 'pdf']\n---*/\nselect :user",
            "x.sql:2: `formats`: expected some of csv, xlsx, ndjson, json, tsv, parquet",
        ),
        (
            "/*---\nformats = ['csv',\n 'csv']\n---*/\nselect :user",
            "x.sql:3: `formats`: duplicate `csv`",
        ),
        (
            "/*---\nformats = []\n---*/\nselect :user",
            "x.sql:2: `formats`: expected at least one",
        ),
        (
            "/*---\n[filters.a]\ntype = 'money'\n---*/\nselect :user, :a",
            "x.sql:3: unknown variant `money`",
        ),
        (
            "/*---\n[filters.a]\nrequired = true\n---*/\nselect :user, :a",
            "x.sql:2: missing field `type`",
        ),
        (
            "/*---\n[filters.a]\ntype = 'text'\n---*/\nselect :user",
            "x.sql:2: filter `a`: the SQL has no `:a`",
        ),
        (
            "/*---\n[filters.rl_a]\ntype = 'text'\n---*/\nselect :user, :rl_a",
            "x.sql:2: filter `rl_a`: reserved name",
        ),
        (
            "/*---\n[filters.a]\ntype = 'date'\nmin = 'soon'\n---*/\nselect :user, :a",
            "x.sql:4: `min` of filter `a`: expected a date",
        ),
        (
            "/*---\n[filters.a]\ntype = 'text'\nvalues = ['x']\ndefault = 'y'\n---*/\nselect :user, :a",
            "x.sql:5: filter `a`: `default`: expected one of x",
        ),
        (
            "/*---\n[csv]\ndelimiter = '-'\n---*/\nselect :user",
            "x.sql:3: `delimiter` under [csv]: expected one of",
        ),
        (
            "/*---\n[csv]\nquote = '-'\n---*/\nselect :user",
            "x.sql:3: `quote` under [csv]: unknown option",
        ),
        (
            "/*---\n\n[zip]\nentries = 'json'\n---*/\nselect :user",
            "x.sql:3: [zip]: unsupported, because only books have these options; remove it",
        ),
        (
            "/*---\n\nzip.entries = 'json'\n---*/\nselect :user",
            "x.sql:3: [zip]: unsupported, because only books have these options; remove it",
        ),
        (
            "/*---\n[columns.a]\nlabel = 1\n---*/\nselect :user as a",
            "x.sql:3: invalid type: integer",
        ),
        (
            "/*---\n[columns.a]\nformat = 'percent'\nnumber_format = '0%'\n---*/\nselect :user as a",
            "x.sql:3: `a` has `number_format` and `format`; remove one of them",
        ),
        (
            "/*---\n[columns.a]\nformat = 'currency:euro'\n---*/\nselect :user as a",
            "x.sql:3: `format` of `a`: expected `percent`, or `currency:`",
        ),
        (
            "/*---\n[columns.a]\nlink = 'javascript:{a}'\n---*/\nselect :user as a",
            "x.sql:3: `link` of `a`: expected a URL that starts with http://",
        ),
        (
            "/*---\n[columns.a]\ntotal = 'mean'\n---*/\nselect :user as a",
            "x.sql:3: `total` of `a`: expected `sum`, `count`, `min` or `max`",
        ),
        (
            "/*---\n[columns.a]\nwidth = 256\n---*/\nselect :user as a",
            "x.sql:3: `width` of `a`: expected 1 to 255",
        ),
        (
            "/*---\n[xlsx]\ntotal_label = ''\n---*/\nselect :user as a",
            "x.sql:3: `total_label` under [xlsx]: expected 1 to 100 characters",
        ),
        (
            "/*---\n[columns.a]\nlabel.de = 'x'\nlabel.german = 'x'\n---*/\nselect :user as a",
            "x.sql:4: `german`: expected a language tag",
        ),
        (
            "/*---\n\ntitle = {}\n---*/\nselect :user as a",
            "x.sql:3: expected a text for at least one language",
        ),
        (
            "/*---\n[filters.a]\ntype = 'text'\ndescription.de = 1\n---*/\nselect :user, :a",
            "x.sql:4: invalid type: integer",
        ),
        (
            "/*---\n\nlanguage = 'de_AT'\n---*/\nselect :user as a",
            "x.sql:3: `de_AT`: expected a language tag",
        ),
        (
            "/*---\n\nfilename.de = 'a'\nfilename.en = '{b}'\n---*/\nselect :user as a",
            "x.sql:3: `filename.en`: `{b}`: no filter has this name",
        ),
        (
            "/*---\n[csv]\npreset = 'excel'\n---*/\nselect :user",
            "x.sql:3: `preset` under [csv]: expected `excel-de`, `excel-fr`, `excel-us` or `none`",
        ),
    ] {
        let found = only_error(text);
        assert!(found.starts_with(expected), "{found}\nfor {text}");
    }
}

#[test]
fn all_errors_of_all_files_are_reported_together() {
    let found = errors(&[
        ("a.sql", "select 1"),
        (
            "b.sql",
            "/*---\n[filters.x]\ntype='text'\nmin=1\n[filters.y]\ntype='boolean'\npattern='x'\n---*/\nselect 'open",
        ),
        ("c.sql", "select :user, :p, :q"),
        ("good.sql", "select :user"),
        ("bad name.sql", "select :user"),
    ]);
    let positions: Vec<&str> = found
        .iter()
        .map(|error| error.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        positions,
        [
            "a.sql:1",
            "b.sql:4",
            "b.sql:7",
            "b.sql:9",
            "c.sql:1",
            "c.sql:1",
            "bad name.sql:1"
        ]
    );
}

#[test]
fn a_file_with_bom_and_crlf_is_parsed_like_any_other() {
    let text = "\u{feff}/*---\r\ntitle = 'T'\r\n---*/\r\nselect 'é' as a,\r\n  :user as b\r\n";
    let catalog = Catalog::parse([("x.sql", text)], &sqlite());
    assert_eq!(catalog.errors(), []);
    let export = catalog.get("x").unwrap();
    assert_eq!(
        export.sheets[0].statement.sql,
        "select 'é' as a,\r\n  ?1 as b"
    );
    assert_eq!(
        (
            export.text(&export.title, None).as_str(),
            export.sheets[0].statement.line
        ),
        ("T", 4)
    );
}

#[test]
fn the_sample_exports_run_unchanged_in_an_sql_editor() {
    // SQLite supports `:name`, so the unchanged file is a statement.
    for text in [
        include_str!("../../exports/orders.sql"),
        include_str!("../../exports/customers.sql"),
    ] {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let schema = include_str!("../../src/demo/orders.sql");
        let tables: String = schema
            .split_inclusive(";")
            .filter(|part| part.contains("create "))
            .collect();
        connection.execute_batch(&tables).unwrap();
        let prepared = connection.prepare(text).unwrap();
        assert!(prepared.parameter_index(":user").unwrap().is_some());
    }
}
