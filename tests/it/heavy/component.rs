//! `<rowlink-export>` in Firefox: `make e2e`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::button::Site;
use crate::harness::command::run;
use crate::harness::{client_package, exports, tool};

#[test]
#[ignore = "needs Firefox and a driver of downloads: make e2e"]
fn the_element_exports_by_enter_and_by_keyboard_in_firefox() {
    client_package();
    let site = Site::start(&exports());
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = script.join("tests/it/browser/element_in_firefox.mjs");
    let printed = run(Command::new("node")
        .arg(script)
        .arg(site.task.to_string())
        .arg(tool("browser"))
        .arg(folder.path()))
    .stdout;
    let seen: Value = serde_json::from_slice(&printed).unwrap();
    let started = json!(["Exportieren", "Download gestartet"]);
    assert_eq!(seen["byEnter"], started);
    assert_eq!(seen["names"], json!(["orders.csv", "orders.xlsx"]));
    let filters = json!({"from": "2026-01-06"});
    let request = json!({"export": "orders", "format": "csv", "filters": filters});
    let saved = std::fs::read(folder.path().join("orders.csv")).unwrap();
    assert_eq!(saved, site.download(request));
    let [label, failed, error] = seen["failed"].as_array().unwrap().as_slice() else {
        panic!("{seen}");
    };
    assert_eq!(
        (label, failed),
        (
            &json!("Exportieren"),
            &json!("Export fehlgeschlagen. Erneut versuchen")
        )
    );
    assert!(error.as_str().unwrap().starts_with("filters.limit: "));
    let exported = "rowlink-link rowlink-done";
    assert_eq!(
        seen["events"],
        format!("{exported} {exported} rowlink-error")
    );
    assert_eq!(seen["hasStayed"], true);
    // The colour of the shadow DOM's style.
    assert_eq!(seen["color"], "rgb(11, 95, 191)");
}
