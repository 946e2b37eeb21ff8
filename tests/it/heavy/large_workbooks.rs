//! Large workbooks: `make test-large`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::libreoffice::{CellText, by_libreoffice};
use crate::harness::process::Rowlink;
use crate::harness::python;

/// Downloads the workbook of an export; returns its path.
fn download(server: &Rowlink, export: &str, folder: &Path) -> PathBuf {
    let file = folder.join("book.xlsx");
    let link = server.link(json!({"export": export, "format": "xlsx"}));
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

#[test]
#[ignore = "takes minutes and needs LibreOffice: make test-large"]
fn two_million_rows_continue_on_further_sheets_in_each_reader() {
    let sql = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {ROWS}) \
         select i as id, 'row ' || i as note, i / 4.0 as share from n where :user = 'alice'"
    );
    let server = Rowlink::serve(&[("orders.sql", &sql)]);
    let folder = tempfile::tempdir().unwrap();
    let workbook = download(&server, "orders", folder.path());
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
    let server = Rowlink::serve(&[("noise.sql", sql)]);
    let folder = tempfile::tempdir().unwrap();
    let workbook = download(&server, "noise", folder.path());
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
    assert!(shell("unzip -tq \"$1\"", &workbook).contains("No errors detected"));
    assert_eq!(shell("bsdtar -xOf \"$1\" | wc -c", &workbook).trim(), total);
    assert_eq!(
        shell("cat \"$1\" | bsdtar -xOf - | wc -c", &workbook).trim(),
        total
    );
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
