//! Large workbooks and archives: `make test-large`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::libreoffice::{CellText, by_libreoffice};
use crate::harness::process::Rowlink;
use crate::harness::python;

/// Downloads the file of an export; returns its path.
fn download(server: &Rowlink, export: &str, format: &str, folder: &Path) -> PathBuf {
    let file = folder.join(format!("book.{format}"));
    let link = server.link(json!({"export": export, "format": format}));
    let curl = Command::new("curl")
        .arg("-sf")
        .arg("-o")
        .arg(&file)
        .arg(link)
        .status();
    assert!(curl.unwrap().success());
    file
}

const ROWS: u64 = 2_200_000;

/// Some gigabytes take longer than a minute on a slow machine.
const SLOW: (&str, &str) = ("ROWLINK_SQLITE_LOCK_SECONDS", "900");

#[test]
#[ignore = "takes minutes and needs LibreOffice: make test-large"]
fn two_million_rows_continue_on_further_sheets_in_each_reader() {
    let sql = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS}) \
         select i as id, 'row ' || i as note, i / 4.0 as share from n where :user = 'alice'"
    );
    let server = Rowlink::serve(&[("orders.sql", &sql)]);
    let folder = tempfile::tempdir().unwrap();
    let workbook = download(&server, "orders", "xlsx", folder.path());
    server.stop();
    for reader in ["openpyxl", "calamine"] {
        let file = folder.path().join(format!("{reader}.csv"));
        let arguments = [
            "csv".as_ref(),
            workbook.as_ref(),
            file.as_ref(),
            reader.as_ref(),
        ];
        python("read_workbook.py", &arguments);
        expect_rolled_over(&[file], reader);
    }
    let sheets = by_libreoffice(&workbook, CellText::Value);
    let names = sheets
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap());
    let expected = [
        "book-Orders (2).csv",
        "book-Orders (3).csv",
        "book-Orders.csv",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let [second, third, first] = sheets.try_into().unwrap();
    expect_rolled_over(&[first, second, third], "LibreOffice");
}

fn expect_rolled_over(files: &[PathBuf], reader: &str) {
    let open = |path| {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .from_path(path)
            .unwrap()
    };
    let records = files.iter().flat_map(|path| open(path).into_records());
    let mut found = records.map(Result::unwrap);
    for row in 1..=ROWS {
        if (row - 1) % 1_048_575 == 0 {
            assert_eq!(
                found.next().unwrap(),
                ["id", "note", "share"][..],
                "{reader}"
            );
        }
        let share = (row as f64 / 4.0).to_string();
        let expected = [row.to_string(), format!("row {row}"), share];
        assert_eq!(found.next().unwrap(), expected[..], "{reader}");
    }
    assert!(found.next().is_none(), "{reader}");
}

#[test]
#[ignore = "takes minutes and 7 GB of disk: make test-large"]
fn each_unpacker_extracts_more_than_four_gibibytes_from_a_file_and_a_pipe() {
    let sql = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 400000) \
               select i as id, hex(randomblob(8000)) as noise from n where :user = 'alice'";
    let server = Rowlink::serve_with(&[("noise.sql", sql)], &[SLOW]);
    let folder = tempfile::tempdir().unwrap();
    let workbook = download(&server, "noise", "xlsx", folder.path());
    server.stop();
    assert!(fs::metadata(&workbook).unwrap().len() > 4 << 30);

    let archive: Value = serde_json::from_str(&python(
        "read_workbook.py",
        &["zip".as_ref(), workbook.as_ref()],
    ))
    .unwrap();
    assert_eq!(archive["first_bad_part"], Value::Null);
    let sheets = archive["sheets"].as_array().unwrap();
    let sizes: Vec<u64> = sheets.iter().map(|size| size.as_u64().unwrap()).collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size < 4 << 30) && sizes.iter().sum::<u64>() > 4 << 30);

    let total = archive["total"].to_string();
    expect_unpacked(&workbook, &total);
    let piped = shell("cat \"$1\" | bsdtar -xOf - | wc -c", &workbook);
    assert_eq!(piped.trim(), total);
}

#[test]
#[ignore = "takes minutes and 7 GB of disk: make test-large"]
fn each_unpacker_extracts_a_file_of_more_than_four_gibibytes_and_the_next_one() {
    let rows = |count: u32| {
        format!(
            "with recursive n(i) as (select 1 union all select i + 1 from n where i < {count}) \
             select i as id, hex(randomblob(8000)) as noise from n where :user = 'alice'"
        )
    };
    let (large, small) = (rows(340_000), rows(3));
    let book = [
        ("noise/book.toml", "title = 'Noise'"),
        ("noise/1_large.sql", &*large),
        ("noise/2_small.sql", &*small),
    ];
    let server = Rowlink::serve_with(&book, &[SLOW]);
    let folder = tempfile::tempdir().unwrap();
    let archive = download(&server, "noise", "zip", folder.path());
    server.stop();
    assert!(fs::metadata(&archive).unwrap().len() > 4 << 30);
    let found = python("read_archive.py", &[archive.as_os_str()]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let files = found.as_array().unwrap().iter();
    let files: Vec<(&str, u64)> = files
        .map(|file| (file[0].as_str().unwrap(), file[1].as_u64().unwrap()))
        .collect();
    let [("large.csv", large), ("small.csv", small)] = files[..] else {
        panic!("{files:?}");
    };
    assert!(large > 4 << 30);
    expect_unpacked(&archive, &(large + small).to_string());
}

/// Checks that unpackers find this number of bytes in an archive.
fn expect_unpacked(archive: &Path, total: &str) {
    assert!(shell("unzip -tq \"$1\"", archive).contains("No errors detected"));
    assert_eq!(shell("bsdtar -xOf \"$1\" | wc -c", archive).trim(), total);
}

/// Runs a Bash command with a file as `$1`; returns its output.
fn shell(command: &str, file: &Path) -> String {
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-ec", command, "bash"])
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{command}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}
