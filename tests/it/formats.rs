//! TSV and JSON arrays over HTTP, and into the databases that read them.

use flate2::read::GzDecoder;
use rowlink::format::check;
use serde_json::{Value, json};
use std::io::{Cursor, Read as _};

use crate::harness::mariadb::MariaDb;
use crate::harness::postgres::Cluster;
use crate::harness::{Call, Deployment, TestServer};

const EXPORT: &str = "select 1 as id, 'a\tb\r\nc\\' as text, null as absent, '' as empty, '=1+1' as formula, \
    9007199254740993 as big where :user = 'alice'";

fn server() -> TestServer {
    TestServer::with_exports(vec![("it.sql", EXPORT)])
}

#[test]
fn a_tsv_escapes_its_separators_and_has_the_registered_media_type() {
    let server = server();
    let file = server.download(json!({"export": "it", "format": "tsv"}));
    assert_eq!(
        file.header("content-type"),
        "text/tab-separated-values; charset=utf-8"
    );
    let disposition = file.header("content-disposition");
    assert!(disposition.starts_with("attachment; filename=\"it.tsv\""));
    assert_eq!(
        file.text(),
        "id\ttext\tabsent\tempty\tformula\tbig\n1\ta\\tb\\r\\nc\\\\\t\\N\t\t'=1+1\t9007199254740993\n"
    );
    let options = json!({"header": false, "formula_guard": false});
    let bare =
        json!({"export": "it", "format": "tsv", "tsv": options, "columns": ["formula", "id"]});
    assert_eq!(server.download(bare).text(), "=1+1\t1\n");
    let wrong = json!({"export": "it", "format": "tsv", "tsv": {"delimiter": ","}});
    assert_eq!(server.issue(wrong).fields(), ["tsv.delimiter"]);
}

#[test]
fn a_json_array_has_the_values_of_ndjson_and_an_option_for_large_numbers() {
    let server = server();
    let file = server.download(json!({"export": "it", "format": "json"}));
    assert_eq!(file.header("content-type"), "application/json");
    let lines = server.download(json!({"export": "it", "format": "ndjson"}));
    assert_eq!(file.text(), format!("[\n{}\n]\n", lines.text().trim_end()));
    let exact = json!({"export": "it", "format": "json", "json": {"large_numbers": "string"}});
    let rows: Value = serde_json::from_str(&server.download(exact).text()).unwrap();
    assert_eq!(rows[0]["big"], "9007199254740993");
    assert_eq!(rows[0]["id"], 1);
}

#[test]
fn empty_results_are_complete_files() {
    let server =
        TestServer::with_exports(vec![("it.sql", "select 1 as id where :user = 'nobody'")]);
    for (format, expected) in [("tsv", "id\n"), ("json", "[]\n")] {
        let file = server.download(json!({"export": "it", "format": format}));
        assert_eq!(file.text(), expected);
        assert_eq!(file.header("content-length"), expected.len().to_string());
    }
}

#[test]
fn both_are_compressed_measured_and_estimated_like_other_text() {
    let server = TestServer::start();
    for format in ["tsv", "json"] {
        let request = json!({"export": "numbers", "format": format, "filters": {"n": 50_000}});
        let plain = server.download(request.clone()).body;
        let link = server.link(request.clone());
        let coded = Call::new("GET", &link)
            .header("Accept-Encoding", "gzip")
            .send();
        assert_eq!(coded.header("content-encoding"), "gzip");
        let mut decoded = Vec::new();
        let mut decoder = GzDecoder::new(coded.body.as_slice());
        decoder.read_to_end(&mut decoded).unwrap();
        assert!(decoded == plain, "{format}");

        let mut measured = request.clone();
        measured["length"] = json!("exact");
        let file = server.download(measured);
        assert_eq!(file.header("content-length"), plain.len().to_string());
        assert!(file.body == plain, "{format}");

        let mut estimated = request;
        estimated["estimate"] = json!(true);
        let answer = server.issue(estimated).json();
        assert_eq!(answer["estimated_rows"], 50_000);
        assert_eq!(answer["estimated_bytes"], plain.len());
    }
}

#[test]
fn a_tsv_can_end_with_an_integrity_line_and_a_json_array_detects_truncation_itself() {
    let server = TestServer::start();
    let request = |format| json!({"export": "numbers", "format": format, "filters": {"n": 3}, "end_line": true});
    let file = server.download(request("tsv")).body;
    assert_eq!(check(Cursor::new(&file)).unwrap(), 3);
    assert!(check(Cursor::new(&file[..file.len() - 1])).is_err());
    assert_eq!(server.issue(request("json")).fields(), ["end_line"]);
}

#[test]
#[ignore = "needs PostgreSQL and MariaDB: make test"]
fn postgresql_and_mariadb_load_a_tsv_unchanged() {
    const TEXTS: &str =
        r"('tab\t, line\r\n, back\\slash, \\N'), ('Zürich 😀'), (''), (null), ('=1+1'), ('\\.')";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.tsv");
    let save = |url: String| {
        let export = "select t from it where :user = 'alice'";
        let server = Deployment::over(url, vec![("it.sql", export)]).start();
        let request = json!({"export": "it", "format": "tsv", "tsv": {"formula_guard": false}});
        std::fs::write(&path, server.download(request).body).unwrap();
    };
    let file = path.display();

    let cluster = Cluster::shared();
    let values = TEXTS.replace("('", "(e'");
    let tables = format!(
        "create table it (t text); insert into it values {values}; create table loaded (t text);"
    );
    save(cluster.database("tsv", &tables));
    let copy = format!(r"\copy loaded from '{file}' with (format text, header)");
    cluster.psql("tsv", &copy);
    let compare = "select (select count(*) from loaded),
        (select count(*) from (select t from it except all select t from loaded) as missing)";
    assert_eq!(cluster.psql("tsv", compare), "6|0");

    let mariadb = MariaDb::shared();
    let tables = format!(
        "create table it (t text) character set utf8mb4 collate utf8mb4_bin;
         insert into it values {TEXTS}; create table loaded like it"
    );
    save(mariadb.database("tsv", &tables));
    let load = format!(
        "load data local infile '{file}' into table loaded character set utf8mb4 ignore 1 lines"
    );
    mariadb.query("tsv", &load);
    let compare = "select (select count(*) from loaded) as loaded,
        (select count(*) from it where not exists (select 1 from loaded where loaded.t <=> it.t)) as missing";
    assert_eq!(mariadb.query("tsv", compare), "loaded\tmissing\n6\t0\n");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn postgresql_loads_a_csv_unchanged_also_what_it_could_take_for_the_end() {
    let cluster = Cluster::shared();
    let values =
        r#"(e'\\.'), ('ID'), (''), (e'a;b\t|"c"'), (e'a\r\nb'), (e'\\N'), ('#'), ('=1+1')"#;
    let tables = format!(
        "create table it (t text); insert into it values {values};
         create table loaded (t text); create table loaded_wide (n int, t text)"
    );
    let export = "select t, 1 as n from it where :user = 'alice'";
    let url = cluster.database("csv_load", &tables);
    let server = Deployment::over(url, vec![("it.sql", export)]).start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.csv");
    for (columns, table) in [("t", "loaded"), ("n,t", "loaded_wide")] {
        let csv = json!({"formula_guard": false, "header": false});
        let columns: Vec<&str> = columns.split(',').collect();
        let request = json!({"export": "it", "format": "csv", "csv": csv, "columns": columns});
        std::fs::write(&path, server.download(request).body).unwrap();
        let copy = format!(r"\copy {table} from '{}' with (format csv)", path.display());
        cluster.psql("csv_load", &copy);
        let compare = format!(
            "select (select count(*) from {table}),
             (select count(*) from (select t from it except all select t from {table}) as missing)"
        );
        assert_eq!(cluster.psql("csv_load", &compare), "8|0", "{table}");
    }
}
