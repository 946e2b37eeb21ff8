//! Texts of exports in several languages, and presets of CSV.

use std::io::Cursor;
use std::time::Duration;

use calamine::{Data, Reader as _, Xlsx};
use rowlink::spool::Spool;
use rowlink_link::{Keyring, Link, Seal, UserId, sign};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Answer, Call, SIGNING_KEY, TestServer, token, wait_for};
use crate::stored::directory;

/// One row; labels, title, description and file name in German and English.
const ORDERS: &str = "/*---
title.de = 'Bestellungen'
title.en = 'Orders'
description = { en = 'All orders', de = 'Alle Bestellungen' }
filename.de = 'bestellungen-{least}'
filename.en = 'orders-{least}'
[filters.least]
type = 'integer'
default = 1
description.de = 'Kleinste Nummer'
description.en = 'Least number'
[columns.amount]
label = { de = 'Betrag', en = 'Amount' }
[columns.note]
label = 'Note'
---*/
select 1 as id, -1.5 as amount, '=x' as note where :user <> '' and :least > 0";

/// An export with texts in one language only.
const ONE_LANGUAGE: &str = "/*---
title.de = 'Rechnungen'
---*/
select 1 as id where :user <> ''";

const BOOK: &str = "title.de = 'Jahr'\ntitle.en = 'Year'\nlanguage = 'de'\nfilename = 'y'\n";
const SALES: &str = "/*---
title.de = 'Verkäufe'
title.en = 'Sales'
[columns.n]
label.de = 'Anzahl'
label.en = 'Number'
---*/
select 3 as n where :user <> ''";
const RETURNS: &str = "/*---
title.fr = 'Retours'
title.en = 'Returns'
---*/
select 4 as n where :user <> ''";

fn server() -> TestServer {
    TestServer::with_exports(vec![
        ("orders.sql", ORDERS),
        ("bills.sql", ONE_LANGUAGE),
        ("year/book.toml", BOOK),
        ("year/1_sales.sql", SALES),
        ("year/2_returns.sql", RETURNS),
    ])
}

fn orders(language: Option<&str>) -> Value {
    json!({"export": "orders", "format": "csv", "language": language})
}

/// Requests a link as alice, who accepts these languages.
fn link_accepting(server: &TestServer, accepted: &str, request: &Value) -> String {
    let call = server.call("POST", "/v1/links");
    let call = call.bearer(&token(server.now())).json(request);
    let answer = call.header("accept-language", accepted).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["url"].as_str().unwrap().to_owned()
}

fn disposition(filename: &str) -> String {
    format!("attachment; filename=\"{filename}\"; filename*=UTF-8''{filename}")
}

/// Returns the names of the sheets of a workbook, each with its header.
fn sheets(workbook: Vec<u8>) -> Vec<(String, Vec<String>)> {
    let mut workbook = Xlsx::new(Cursor::new(workbook)).unwrap();
    let sheets = workbook.worksheets().into_iter();
    let header = |(name, cells): (String, calamine::Range<Data>)| {
        let header = cells.rows().next().unwrap();
        (name, header.iter().map(ToString::to_string).collect())
    };
    sheets.map(header).collect()
}

const GERMAN: &str = "id,Betrag,Note\r\n1,-1.5,'=x\r\n";
const ENGLISH: &str = "id,Amount,Note\r\n1,-1.5,'=x\r\n";

#[test]
fn a_file_has_its_labels_and_its_name_in_the_language_of_the_link() {
    let server = server();
    for (language, text, filename) in [
        (Some("de"), GERMAN, "bestellungen-1.csv"),
        (Some("DE-at"), GERMAN, "bestellungen-1.csv"),
        (Some("en-GB"), ENGLISH, "orders-1.csv"),
        (Some("fr"), ENGLISH, "orders-1.csv"),
        (None, ENGLISH, "orders-1.csv"),
    ] {
        let file = server.download(orders(language));
        assert_eq!(file.text(), text, "{language:?}");
        assert_eq!(file.header("content-disposition"), disposition(filename));
    }
    let mut named = orders(Some("de"));
    named["filename"] = json!("mine");
    let file = server.download(named);
    assert_eq!(file.header("content-disposition"), disposition("mine.csv"));
}

#[test]
fn a_workbook_has_its_labels_and_the_names_of_its_sheets_in_the_language_of_the_link() {
    let server = server();
    let workbook = |export: &str, language: Option<&str>| {
        let request = json!({"export": export, "format": "xlsx", "language": language});
        sheets(server.download(request).body)
    };
    let sheet = |name: &str, header: &[&str]| {
        let header = header.iter().map(ToString::to_string).collect();
        (name.to_owned(), header)
    };
    assert_eq!(
        workbook("orders", Some("de-CH")),
        [sheet("Bestellungen", &["id", "Betrag", "Note"])]
    );
    assert_eq!(
        workbook("orders", None),
        [sheet("Orders", &["id", "Amount", "Note"])]
    );
    // The language of the book is German, which the second sheet lacks: it has its first language.
    for language in [Some("de"), None] {
        assert_eq!(
            workbook("year", language),
            [sheet("Verkäufe", &["Anzahl"]), sheet("Retours", &["n"])]
        );
    }
    assert_eq!(
        workbook("year", Some("en")),
        [sheet("Sales", &["Number"]), sheet("Returns", &["n"])]
    );
}

#[test]
fn the_best_language_that_the_caller_accepts_is_signed_unless_the_request_names_one() {
    let server = server();
    for (accepted, language, signed, text) in [
        ("fr;q=0.9, de-AT;q=0.8", None, Some("de"), GERMAN),
        ("de;q=0.2, en;q=0.7", None, Some("en"), ENGLISH),
        ("de;q=0, en", None, Some("en"), ENGLISH),
        ("fr, *;q=0.5", None, None, ENGLISH),
        ("de", Some("en-US"), Some("en-US"), ENGLISH),
        ("en", Some("de"), Some("de"), GERMAN),
    ] {
        let url = link_accepting(&server, accepted, &orders(language));
        let found = url
            .split('&')
            .find_map(|it| it.strip_prefix("rl_language="));
        assert_eq!(found, signed, "{accepted} {language:?}");
        // Another header at the download changes nothing.
        let file = Call::new("GET", url).header("accept-language", "de, en;q=0.9");
        assert_eq!(file.send().text(), text, "{accepted} {language:?}");
    }
    let bills = json!({"export": "bills", "format": "csv"});
    let url = link_accepting(&server, "de", &bills);
    assert!(!url.contains("rl_language"), "{url}");
}

#[test]
fn a_plain_link_has_the_language_that_the_browser_accepts() {
    let server = server();
    for (accepted, filename) in [("de-DE,de;q=0.9", "bestellungen-5"), ("fr", "orders-5")] {
        let call = server.call("GET", "/v1/exports/orders.csv?least=5");
        let call = call.header("accept-language", accepted);
        let answer = call.bearer(&token(server.now())).send();
        assert_eq!(answer.status, 303, "{}", answer.text());
        let file = Call::new("GET", answer.header("location")).send();
        let filename = format!("{filename}.csv");
        assert_eq!(file.header("content-disposition"), disposition(&filename));
    }
}

#[test]
fn a_link_whose_language_was_changed_is_refused() {
    let server = server();
    let url = server.link(orders(Some("de")));
    let changed = [
        url.replace("rl_language=de", "rl_language=en"),
        url.replace("rl_language=de&", ""),
    ];
    for changed in changed {
        assert_ne!(changed, url);
        let answer = Call::new("GET", changed).send();
        assert_eq!(answer.problem(), (403, "bad-signature".into()));
    }
    let sealed = server.link(json!({
        "export": "orders", "format": "csv", "language": "de", "seal": true,
    }));
    assert!(!sealed.contains("rl_language"), "{sealed}");
    assert_eq!(Call::new("GET", sealed).send().text(), GERMAN);
}

#[test]
fn a_language_that_is_no_tag_is_an_error_that_lists_those_of_the_export() {
    let server = server();
    for wrong in [json!("xx-!"), json!(""), json!("de_AT"), json!("*")] {
        let mut request = orders(None);
        request["language"] = wrong.clone();
        let answer = server.issue(request);
        assert_eq!(answer.problem(), (422, "invalid-values".into()), "{wrong}");
        assert_eq!(answer.fields(), ["language"], "{wrong}");
        let message =
            "expected a language tag such as de or de-AT; the texts of this export are in de, en";
        assert!(answer.text().contains(message), "{}", answer.text());
    }
    let mut request = orders(None);
    request["language"] = json!(7);
    assert_eq!(server.issue(request).fields(), ["language"]);

    // Signed by a back end, which does not know the exports.
    let download = |language: &str| {
        let alice = UserId::parse("alice").unwrap();
        let mut link = Link::new("orders", "csv", alice, server.now(), 60);
        link.options.insert("language".into(), language.into());
        link.filters.push(("least".into(), "1".into()));
        let signed = sign(link, &Keyring::parse(SIGNING_KEY).unwrap(), Seal::Open);
        server.call("GET", signed.unwrap().path_and_query()).send()
    };
    assert_eq!(download("de-at").text(), GERMAN);
    let refused = download("xx-!");
    assert_eq!(refused.problem(), (422, "invalid-values".into()));
    assert_eq!(refused.fields(), ["language"]);
}

#[test]
fn the_list_of_exports_is_in_the_language_that_the_caller_accepts() {
    let server = server();
    let ask = |path: &str, accepted: Option<&str>| -> Answer {
        let call = server.call("GET", path).bearer(&token(server.now()));
        let answer = match accepted {
            Some(accepted) => call.header("accept-language", accepted).send(),
            None => call.send(),
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("vary"), "Accept-Language");
        answer
    };
    for (accepted, language, texts) in [
        (
            Some("fr;q=0.9, de-AT;q=0.8"),
            "de",
            [
                "Bestellungen",
                "Alle Bestellungen",
                "Betrag",
                "Kleinste Nummer",
            ],
        ),
        (
            None,
            "en",
            ["Orders", "All orders", "Amount", "Least number"],
        ),
    ] {
        let answer = ask("/v1/exports/orders", accepted);
        assert_eq!(answer.header("content-language"), language);
        let export = answer.json();
        let found = [
            &export["title"],
            &export["description"],
            &export["columns"][1]["label"],
            &export["filters"][0]["description"],
        ];
        assert_eq!(found.map(|text| text.as_str().unwrap()), texts);
        assert_eq!(export["columns"][2]["label"], "Note");
        assert_eq!(export["columns"][0]["label"], "id");
    }
    let listed = ask("/v1/exports", Some("en"));
    assert_eq!(listed.header("content-language"), "de, en");
    let listed = listed.json();
    let titles = listed["exports"].as_array().unwrap().iter();
    let titles: Vec<&Value> = titles.map(|export| &export["title"]).collect();
    assert_eq!(titles, ["Rechnungen", "Orders", "Year"]);
    let year = ask("/v1/exports/year", None).json();
    let sheets = year["sheets"].as_array().unwrap().iter();
    let sheets: Vec<&Value> = sheets.map(|sheet| &sheet["title"]).collect();
    assert_eq!(sheets, ["Verkäufe", "Retours"]);

    let server = TestServer::start();
    let call = server
        .call("GET", "/v1/exports")
        .header("accept-language", "de");
    let listed = call.bearer(&token(server.now())).send();
    assert!(!listed.headers.contains_key("content-language"));
}

#[test]
fn files_in_two_languages_are_two_stored_files() {
    let sql = "/*---\n[store]\nmode = 'always'\nreuse_seconds = 3600\n[columns.n]\n\
               label = { de = 'Zahl', en = 'Number' }\n---*/\n\
               select hex(randomblob(8)) as n where :user <> ''";
    let (store, folder) = (directory(), tempfile::tempdir().unwrap());
    let server = TestServer::with(|deployment| {
        deployment.exports = vec![("it.sql", sql)];
        deployment.spool = Some(Spool::new(folder.path().to_owned(), 1 << 20));
        deployment.store = Some(store.store());
    });
    let link = |language: &str| {
        server.link(json!({"export": "it", "format": "csv", "language": language}))
    };
    let german = Call::new("GET", link("de")).send().text();
    assert!(german.starts_with("Zahl\r\n"), "{german}");
    wait_for("the upload", Duration::from_secs(60), || {
        let head = Call::new("HEAD", link("DE")).send();
        head.headers.contains_key("etag")
    });
    assert_eq!(Call::new("GET", link("de")).send().text(), german);
    let english = Call::new("GET", link("en")).send().text();
    assert!(english.starts_with("Number\r\n"), "{english}");
}

#[test]
fn a_preset_of_csv_writes_what_a_spreadsheet_reads_and_its_integrity_line_is_right() {
    let server = server();
    let file = |csv: Value| {
        let mut request = orders(Some("de"));
        request["csv"] = csv;
        server.download(request).text()
    };
    let german = "\u{feff}id;Betrag;Note\r\n1;-1,5;'=x\r\n";
    for (csv, expected) in [
        (json!({"preset": "excel-de"}), german),
        (json!({"preset": "excel-fr"}), german),
        (
            json!({"preset": "excel-us"}),
            "\u{feff}id,Betrag,Note\r\n1,-1.5,'=x\r\n",
        ),
        (
            json!({"preset": "excel-de", "bom": false, "delimiter": ","}),
            "id,Betrag,Note\r\n1,\"-1,5\",'=x\r\n",
        ),
        // A language alone changes no number.
        (json!({}), GERMAN),
    ] {
        assert_eq!(file(csv.clone()), expected, "{csv}");
    }
    let mut request = orders(Some("de"));
    request["csv"] = json!({"preset": "excel-de"});
    request["end_line"] = json!(true);
    let hash = hex::encode(Sha256::digest(german));
    assert_eq!(
        server.download(request.clone()).text(),
        format!("{german}#rowlink-end,rows=1,sha256={hash}\r\n")
    );
    request["csv"] = json!({"preset": "excel-xx"});
    let answer = server.issue(request);
    assert_eq!(
        (answer.status, answer.fields()),
        (422, vec!["csv.preset".to_owned()])
    );
    assert!(answer.text().contains("excel-us"), "{}", answer.text());
}

#[test]
fn the_preset_of_a_request_replaces_what_the_export_sets() {
    let sql = "/*---\n[csv]\ndelimiter = '|'\nheader = false\nnull = 'NULL'\n---*/\n\
               select 1.5 as amount, null as note where :user <> ''";
    let preset = "/*---\n[csv]\npreset = 'excel-de'\nbom = false\n---*/\n\
                  select 1.5 as amount, null as note where :user <> ''";
    let server = TestServer::with_exports(vec![("plain.sql", sql), ("german.sql", preset)]);
    for (export, csv, expected) in [
        ("plain", json!({}), "1.5|NULL\r\n"),
        (
            "plain",
            json!({"preset": "excel-de"}),
            "\u{feff}1,5;NULL\r\n",
        ),
        ("german", json!({}), "amount;note\r\n1,5;\r\n"),
        (
            "german",
            json!({"decimal_comma": false}),
            "amount;note\r\n1.5;\r\n",
        ),
        (
            "german",
            json!({"preset": "excel-us"}),
            "\u{feff}amount,note\r\n1.5,\r\n",
        ),
    ] {
        let request = json!({"export": export, "format": "csv", "csv": csv});
        assert_eq!(server.download(request).text(), expected, "{export} {csv}");
    }
}
