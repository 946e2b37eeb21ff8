//! Files of books that change while a server runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::process::{FAR_FUTURE, Rowlink};
use crate::harness::{Call, metric, token_for, wait_for};

const LATER: &str = "/*---\ntitle = 'Later'\n---*/\nselect 1 as n where :user = 'alice'";
const ANSWER: &str = "select 1 as n where :user = 'alice'";
const OF_TENANT: &str = "select 1 as n where :user = 'alice' and :claim.tenant = '7'";
const OF_SHOP: &str = "select 1 as n where :user = 'alice' and :claim.shop = '7'";
const TORN: &str = "select 2 as n where :user = 'alice'";

fn soon(what: &str, condition: impl FnMut() -> bool) {
    wait_for(what, Duration::from_secs(20), condition);
}

/// Writes a file in place: it may be read when only a part of it is there.
fn overwrite(rowlink: &Rowlink, name: &str, text: &str) {
    fs::write(rowlink.folder().join("exports").join(name), text).unwrap();
}

/// Replaces a file by a rename.
fn replace(rowlink: &Rowlink, name: &str, text: &str) {
    let part = rowlink.folder().join("part");
    fs::write(&part, text).unwrap();
    fs::rename(part, rowlink.folder().join("exports").join(name)).unwrap();
}

fn get(rowlink: &Rowlink, path: &str) -> Value {
    let token = json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"});
    let call = Call::new("GET", format!("{}{path}", rowlink.origin()));
    call.bearer(&token_for(&token)).send().json()
}

fn title(rowlink: &Rowlink, export: &str) -> Value {
    get(rowlink, &format!("/v1/exports/{export}"))["title"].clone()
}

/// Waits until as many reloads have failed.
fn failed(rowlink: &Rowlink, count: u64) {
    let name = "rowlink_reloads_failed_total{what=\"exports\"} ";
    soon("the refusal", || metric(rowlink.origin(), name) == count);
}

/// Waits until the changes so far have been applied: `z.sql` is read after them.
fn wait_for_changes(rowlink: &Rowlink) {
    replace(rowlink, "z.sql", LATER);
    soon("the changes", || title(rowlink, "z") == "Later");
}

/// Asserts that only the previous version of the book is served.
fn assert_is_previous(rowlink: &Rowlink) {
    let failed = &get(rowlink, "/readyz")["failed_exports"];
    let expected = json!([{"export": "year", "code": "invalid-export", "serves": "previous"}]);
    assert_eq!(*failed, expected);
}

fn wait_for_readiness(rowlink: &Rowlink) {
    soon("the new version", || {
        get(rowlink, "/readyz") == json!({"status": "ready"})
    });
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_book_toml_written_in_place_without_a_setting_is_refused_until_it_is_renamed() {
    let rowlink = Rowlink::serve(&[
        (
            "year/book.toml",
            "title = 'One'\nscope = 'orders:read'\nseal = true",
        ),
        ("year/01_a.sql", ANSWER),
    ]);
    let whole = "title = 'Second'\nseal = true\nscope = 'orders:read'";
    overwrite(&rowlink, "year/book.toml", whole);
    soon("the whole file", || title(&rowlink, "year") == "Second");
    overwrite(&rowlink, "year/book.toml", "title = 'Third'\nseal = true");
    failed(&rowlink, 1);
    overwrite(
        &rowlink,
        "year/book.toml",
        "title = 'Third'\nscope = 'orders:read'",
    );
    failed(&rowlink, 2);
    assert_eq!(title(&rowlink, "year"), "Second");
    assert_is_previous(&rowlink);
    replace(&rowlink, "year/book.toml", "title = 'Third'");
    soon("the renamed file", || title(&rowlink, "year") == "Third");
    let log = rowlink.stop();
    for lost in ["scope", "seal"] {
        let refusal = format!("year/book.toml:1: written in place without `{lost}`; rename");
        assert!(log.contains(&refusal), "{log}");
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn each_torn_file_of_a_book_is_refused_until_it_is_renamed() {
    let rowlink = Rowlink::serve(&[
        ("year/book.toml", ""),
        ("year/01_a.sql", OF_TENANT),
        ("year/02_b.sql", OF_SHOP),
        ("z.sql", ANSWER),
    ]);
    overwrite(&rowlink, "year/01_a.sql", TORN);
    failed(&rowlink, 1);
    overwrite(&rowlink, "year/02_b.sql", TORN);
    failed(&rowlink, 2);
    replace(&rowlink, "year/01_a.sql", TORN);
    wait_for_changes(&rowlink);
    assert_is_previous(&rowlink);
    replace(&rowlink, "year/02_b.sql", TORN);
    wait_for_readiness(&rowlink);
    let log = rowlink.stop();
    for lost in [
        "01_a.sql:1: written in place without `:claim.tenant`",
        "02_b.sql:1: written in place without `:claim.shop`",
    ] {
        assert!(log.contains(lost), "{log}");
    }
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_torn_file_of_a_book_is_refused_although_another_file_was_invalid_when_it_was_written() {
    let rowlink = Rowlink::serve(&[
        ("year/book.toml", ""),
        ("year/01_a.sql", OF_TENANT),
        ("year/02_b.sql", OF_SHOP),
        ("z.sql", ANSWER),
    ]);
    replace(&rowlink, "year/01_a.sql", "select 1 as n");
    failed(&rowlink, 1);
    overwrite(&rowlink, "year/02_b.sql", TORN);
    wait_for_changes(&rowlink);
    replace(&rowlink, "year/01_a.sql", OF_TENANT);
    failed(&rowlink, 2);
    assert_is_previous(&rowlink);
    replace(&rowlink, "year/02_b.sql", TORN);
    wait_for_readiness(&rowlink);
    let log = rowlink.stop();
    let refusal = "year/02_b.sql:1: written in place without `:claim.shop`";
    assert!(log.contains(refusal), "{log}");
}

#[test]
#[ignore = "takes seconds: make test"]
fn a_book_that_cannot_be_read_keeps_its_previous_version_and_one_that_is_gone_is_removed() {
    let rowlink = Rowlink::serve(&[
        ("year/book.toml", ""),
        ("year/01_a.sql", ANSWER),
        ("z.sql", ANSWER),
    ]);
    let (book, away) = (
        rowlink.folder().join("exports/year"),
        rowlink.folder().join("away"),
    );
    fs::rename(&book, &away).unwrap();
    // Leads to itself.
    symlink("year", &book).unwrap();
    failed(&rowlink, 1);
    assert_is_previous(&rowlink);
    fs::remove_file(&book).unwrap();
    fs::rename(&away, &book).unwrap();
    wait_for_readiness(&rowlink);
    fs::rename(book.join("book.toml"), book.join("Book.toml")).unwrap();
    failed(&rowlink, 2);
    assert_is_previous(&rowlink);
    fs::remove_dir_all(&book).unwrap();
    wait_for_readiness(&rowlink);
    let listed = get(&rowlink, "/v1/exports")["exports"].clone();
    let names = listed.as_array().unwrap().iter();
    assert_eq!(names.map(|it| &it["name"]).collect::<Vec<_>>(), ["z"]);
    let log = rowlink.stop();
    for cause in [
        "year/book.toml:1: cannot read the folder: ",
        "year/book.toml:1: missing; add the file with the settings of the book",
        "removed exports exports=\"year\"",
    ] {
        assert!(log.contains(cause), "{log}");
    }
}
