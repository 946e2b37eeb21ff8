//! `<rowlink-export>` in Chromium: on a page of an application, with grids, and in the pages of frameworks.

use std::process::Command;

use serde_json::{Value, json};

use crate::button::{Site, sha256};
use crate::harness::command::{free_port, run};
use crate::harness::{browse, client_example, client_package, exports};

/// What the element says if the file differs from the table.
const DIFFERS: &str =
    "The file differs from the table: it has another order, or not all of its filters.";

/// Returns the file that the element must have downloaded, as the browser's script describes it.
fn csv(site: &Site, filters: Value, columns: Option<&[&str]>) -> Value {
    let request =
        json!({"export": "orders", "format": "csv", "filters": filters, "columns": columns});
    let file = site.download(request);
    json!({"name": "orders.csv", "sha256": sha256(&file), "size": file.len()})
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_element_exports_with_the_filters_of_its_form_by_keyboard_and_after_a_refusal() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"element": site.task}));
    assert_eq!(seen["errors"], json!([]));
    // The policy of the page blocks other styles.
    assert_eq!(seen["color"], "rgb(11, 95, 191)");
    assert_eq!(seen["formats"], json!(["CSV", "Excel workbook"]));
    assert_eq!(seen["fallback"], false, "the button without scripts shows");
    // A required field is empty: nothing is requested.
    assert_eq!(seen["invalid"], json!(["from", "idle"]));
    let filters = json!({"from": "2026-01-06", "status": ["paid", "refunded"]});
    let request = json!({"export": "orders", "format": "csv", "filters": filters});
    assert_eq!(seen["link"], request);
    assert_eq!(seen["csv"], csv(&site, filters.clone(), None));
    let started = json!({"status": "Download started", "error": "", "differs": ""});
    assert_eq!(seen["started"], started);
    assert_eq!(
        seen["done"],
        json!({"status": "started", "progress": Value::Null})
    );
    assert_eq!(seen["focus"], "button");
    assert_eq!(seen["xlsx"]["name"], "orders.xlsx");
    let failed = &seen["failed"];
    assert_eq!(failed["status"], "Export failed. Try again");
    let error = failed["error"].as_str().unwrap();
    assert!(error.starts_with("filters.limit: "), "{error}");
    assert_eq!(seen["code"], "invalid-values");
    let limited =
        json!({"from": filters["from"].clone(), "status": filters["status"].clone(), "limit": 2});
    assert_eq!(seen["again"], csv(&site, limited, None));
    // The page has refused the link.
    assert_eq!(seen["afterCancel"], json!(["/links"]));
    let exported = "rowlink-link rowlink-done";
    let events = format!("{exported} {exported} rowlink-error {exported} rowlink-link");
    assert_eq!(seen["events"], events);
    assert_eq!(
        (&seen["hasToken"], &seen["hasStayed"]),
        (&json!(false), &json!(true))
    );
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_element_takes_properties_set_before_it_is_defined_and_refuses_what_is_no_link() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"element_properties": site.task}));
    assert_eq!(seen["errors"], json!([]));
    let at = seen["request"]["filters"]["at"].clone();
    let request = json!({
        "export": "orders", "format": "xlsx", "columns": ["id", "status"],
        "filters": {"limit": 5, "status": ["paid", "pending"], "at": at},
    });
    assert_eq!(seen["request"], request);
    assert_eq!(seen["isInstant"], true, "{at}");
    let of_source = json!({
        "export": "orders", "format": "xlsx", "columns": ["id"],
        "filters": {"limit": 5, "status": "paid", "at": at},
    });
    assert_eq!(seen["ofSource"], of_source);
    let codes = [
        "invalid-response",
        "invalid-response",
        "no-endpoint",
        "invalid-attribute",
    ];
    assert_eq!(seen["codes"], json!(codes));
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_element_saves_a_file_with_progress_and_cancels_another_one() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"element_saves": site.task}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["invalid"], 0, "an invalid control was exported");
    let saved = json!({"status": "Datei gespeichert", "error": "", "differs": ""});
    assert_eq!(seen["done"], saved);
    let numbers = json!({"export": "numbers", "format": "csv", "filters": {"n": 50_000}});
    let file = site.download(numbers);
    assert_eq!(seen["sha256"], sha256(&file));
    let progress = &seen["progress"];
    assert_eq!(
        (&progress["rows"], &progress["bytes"]),
        (&json!(50_000), &json!(file.len()))
    );
    let last = &seen["last"];
    assert_eq!(
        (&last[0], &last[2]),
        (&json!(false), &json!("50.000 Zeilen")),
        "{last}"
    );
    assert!(seen["count"].as_u64().unwrap() > 1, "{seen}");
    assert_eq!(
        seen["afterCancel"],
        json!(["NotFoundError", false, "button"])
    );
}

#[test]
#[ignore = "needs Chromium, Node packages and an object store: make test"]
fn the_element_shows_the_progress_of_a_prepared_file_and_downloads_it() {
    client_package();
    let rows = "/*---\n[store]\nmode = 'auto'\n---*/
        with recursive m(i) as (select 1 union all select i + 1 from m where i < 130000)
        select i, hex(randomblob(30)) as word from m where :user = 'alice'";
    let (site, _folder) = Site::start_with_store(&[("it.sql", rows)], "component");
    let seen = browse(&json!({"element_prepares": site.task}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["file"]["name"], "Bestellungen März.csv");
    assert!(seen["file"]["size"].as_u64().unwrap() > 8 << 20, "{seen}");
    assert_eq!(seen["states"], json!(["issuing", "preparing", "started"]));
    assert_eq!(seen["status"], "Download gestartet");
    assert_eq!(seen["progress"]["rows"], 130_000);
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_page_with_the_element_exports_without_scripts() {
    client_package();
    let site = Site::start_with(&exports(), &[("ROWLINK_JWT_COOKIE", "session")]);
    let seen = browse(&json!({"element_without_script": site.task}));
    let filters = json!({"from": "2026-01-06", "status": "paid"});
    assert_eq!(seen, csv(&site, filters, None));
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_element_is_accessible_and_themed_in_light_and_dark_mode_and_moves_only_if_allowed() {
    client_package();
    let site = Site::start(&exports());
    let mut task = site.task.clone();
    task["ports"] = json!([free_port(), free_port()]);
    let seen = browse(&json!({"element_looks": task}));
    let [light, dark] = seen.as_array().unwrap().as_slice() else {
        panic!("{seen}");
    };
    for look in [light, dark] {
        for (state, found) in look["states"].as_object().unwrap() {
            assert!(found["rules"].as_u64().unwrap() > 5, "{state}: {found}");
            assert_eq!(found["serious"], json!([]), "{state}");
        }
        assert_eq!(look["states"].as_object().unwrap().len(), 3);
        assert_eq!(
            (&look["themed"], &look["borderRadius"]),
            (&json!("rgb(1, 2, 3)"), &json!("9px"))
        );
    }
    assert_ne!(light["backgroundColor"], dark["backgroundColor"]);
    let motion = |look: &Value| {
        (
            look["transitionDuration"].clone(),
            look["indeterminate"].clone(),
        )
    };
    assert_eq!(motion(light), (json!("0.15s"), json!("block")));
    assert_eq!(motion(dark), (json!("0s"), json!("none")));
}

/// Exports what a grid shows: all, filtered, and sorted in a way that the export lacks.
fn export_a_grid(example: &str, task: &str, filters: Value, unsupported: &[(&str, &str)]) {
    client_example(example);
    let site = Site::start(&exports());
    let seen = browse(&json!({ task: site.task }));
    assert_eq!(seen["errors"], json!([]));
    let columns = ["id", "created_at", "status", "amount", "note"];
    let shown = &columns[..4];
    let (all, filtered, sorted) = (&seen["all"], &seen["filtered"], &seen["sorted"]);
    let from = json!({"from": "2026-01-01"});
    assert_eq!(all["file"], csv(&site, from, Some(&columns)));
    assert_eq!(filtered["file"], csv(&site, filters, Some(shown)));
    for exported in [all, filtered] {
        assert_eq!(
            (&exported["unsupported"], &exported["differs"]),
            (&json!([]), &json!(""))
        );
    }
    assert_eq!(sorted["file"], filtered["file"]);
    let parts = sorted["unsupported"].as_array().unwrap().iter();
    let parts: Vec<_> = parts
        .map(|part| {
            (
                part["kind"].as_str().unwrap(),
                part["column"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(parts, unsupported);
    assert_eq!(sorted["differs"], DIFFERS);
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn ag_grid_is_exported_as_it_is_filtered_and_what_cannot_be_expressed_is_listed() {
    let filters = json!({"from": "2026-01-06", "status": "paid"});
    let unsupported = [("filter", "amount"), ("sort", "amount")];
    export_a_grid("ag-grid", "ag_grid", filters, &unsupported);
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn tanstack_table_is_exported_as_it_is_filtered_and_what_cannot_be_expressed_is_listed() {
    let filters = json!({"from": "2026-01-06", "status": ["pending", "refunded"]});
    let unsupported = [("filter", "note"), ("sort", "amount")];
    export_a_grid("tanstack-table", "tanstack_table", filters, &unsupported);
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn mui_data_grid_is_exported_as_it_is_filtered_and_what_cannot_be_expressed_is_listed() {
    let filters = json!({"from": "2026-01-01", "status": "paid"});
    export_a_grid(
        "mui-data-grid",
        "mui_data_grid",
        filters,
        &[("sort", "amount")],
    );
}

/// Exports on the page of a framework that sets the filters of the element and handles its events.
fn export_in_framework(example: &str) {
    client_example(example);
    let site = Site::start(&exports());
    let mut task = site.task.clone();
    task["example"] = json!(example);
    let seen = browse(&json!({"framework": task}));
    assert_eq!(seen["errors"], json!([]));
    let filters = json!({"from": "2026-01-06", "status": ["paid"]});
    assert_eq!(seen["request"]["filters"], filters);
    assert_eq!(seen["file"], csv(&site, filters, None));
    assert_eq!(seen["done"], "Your browser is downloading the file.");
    assert_eq!(seen["refused"], "Code: invalid-values");
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_vue_page_exports_with_the_element() {
    export_in_framework("vue");
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_svelte_page_exports_with_the_element() {
    export_in_framework("svelte");
}

#[test]
#[ignore = "needs Node packages: make test"]
fn the_readers_of_grids_map_what_they_can_and_list_the_rest() {
    let folder = client_package();
    for zone in ["UTC", "America/New_York", "Asia/Tokyo"] {
        run(Command::new("node")
            .args(["--test", "tests/"])
            .env("TZ", zone)
            .current_dir(folder));
    }
}

#[test]
#[ignore = "needs Node packages: make test"]
fn the_readers_of_grids_accept_the_types_of_the_grids() {
    let modules = client_package().join("node_modules");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&modules, folder.path().join("node_modules")).unwrap();
    let consumer = r#"
        import type { GridApi } from "ag-grid-community";
        import type { GridApi as MuiGridApi } from "@mui/x-data-grid";
        import { columnFilteringFeature, tableFeatures, type ReactTable } from "@tanstack/react-table";
        import { readAgGrid, type GridMapping } from "@rowlink/client/ag-grid";
        import { RowlinkExport } from "@rowlink/client/element";
        import { readMuiDataGrid } from "@rowlink/client/mui-data-grid";
        import { readTanStackTable } from "@rowlink/client/tanstack-table";
        const features = tableFeatures({ columnFilteringFeature });
        declare const ag: GridApi<{ id: number }>;
        declare const mui: MuiGridApi;
        declare const table: ReactTable<typeof features, { id: number }>;
        const mapping: GridMapping = { filters: { created_at: { ">=": "from" }, status: "status" }, search: "text" };
        const element: RowlinkExport = document.createElement("rowlink-export");
        element.source = () => readAgGrid(ag, mapping);
        element.source = () => readMuiDataGrid(mui, mapping);
        element.source = () => readTanStackTable(table, mapping);
        element.addEventListener("rowlink-link", ({ detail }) => detail.unsupported.map(({ message }) => message));
        element.addEventListener("rowlink-error", ({ detail }) => detail.code.length);
        // @ts-expect-error: there is no such comparison
        readAgGrid(ag, { filters: { id: { "~": "x" } } });
    "#;
    std::fs::write(folder.path().join("consumer.mts"), consumer).unwrap();
    run(Command::new(modules.join(".bin/tsc"))
        .args([
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--target",
            "es2022",
        ])
        .args(["--module", "nodenext", "--types", ""])
        .args([
            "--lib",
            "es2022,dom,dom.iterable,dom.asynciterable",
            "consumer.mts",
        ])
        .current_dir(folder.path()));
}
