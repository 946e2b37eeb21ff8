//! The Export button in Chromium: the demo page, and pages of other origins that use the client package.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::faults::BreakingProxy;
use crate::harness::command::{free_port, run};
use crate::harness::object_store::ObjectStore;
use crate::harness::process::{Demo, FAR_FUTURE, Rowlink};
use crate::harness::{Call, browse, client_package, exports, metric, token_for, wait_for};

/// A Rowlink server and another origin that its CORS configuration allows.
pub struct Site {
    rowlink: Rowlink,
    /// The task for the browser script.
    pub task: Value,
}

impl Site {
    pub fn start(exports: &[(&str, &str)]) -> Site {
        Site::start_with(exports, &[])
    }

    pub fn start_with(exports: &[(&str, &str)], further: &[(&str, &str)]) -> Site {
        let (port, page_port) = (free_port(), free_port());
        let base_url = format!("http://127.0.0.1:{port}");
        let (bind, page) = (
            format!("127.0.0.1:{port}"),
            format!("http://127.0.0.1:{page_port}"),
        );
        let variables = [
            ("ROWLINK_BIND", bind.as_str()),
            ("ROWLINK_PUBLIC_URL", &base_url),
            ("ROWLINK_CORS_ORIGINS", &page),
        ];
        let rowlink = Rowlink::serve_with(exports, &[&variables, further].concat());
        let claims = json!({"sub": "alice", "exp": FAR_FUTURE, "scope": "orders:read"});
        let task = json!({"port": page_port, "baseUrl": base_url, "token": token_for(&claims)});
        Site { rowlink, task }
    }

    /// Like [`Site::start`], with an object store and a spool. The folder is that of the spool.
    pub fn start_with_store(exports: &[(&str, &str)], bucket: &str) -> (Site, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let spool = folder.path().display().to_string();
        let store = ObjectStore::seaweedfs().bucket(bucket);
        let store = store.iter();
        let mut variables: Vec<(&str, &str)> =
            store.map(|(name, value)| (&**name, &**value)).collect();
        variables.extend([
            ("ROWLINK_SPOOL_DIR", spool.as_str()),
            ("ROWLINK_SPOOL_BYTES", "100000000"),
        ]);
        (Site::start_with(exports, &variables), folder)
    }

    /// Returns the bytes of a file, downloaded without a browser.
    pub fn download(&self, request: Value) -> Vec<u8> {
        Call::new("GET", self.rowlink.link(request)).send().body
    }
}

pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_demo_page_exports_explains_the_link_and_names_a_missing_filter() {
    let demo = Demo::start();
    let seen = browse(&json!({"demo": demo.origin()}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["name"], "Bestellungen März.csv");
    assert!(seen["rows"].as_u64().unwrap() > 1000, "{seen}");
    assert_eq!(
        seen["refusal"],
        "403 bad-signature: the signature does not match the link"
    );
    let estimate = seen["estimate"].as_str().unwrap();
    assert!(
        estimate.contains(" rows, ") && estimate.ends_with("B"),
        "{estimate}"
    );
    let parts = seen["parts"].as_str().unwrap();
    for part in [
        "bob",
        "orders.csv",
        "2026-06-01",
        "paid",
        "Bestellungen März",
        "exact",
    ] {
        assert!(parts.contains(part), "no {part} in {parts}");
    }
    assert_eq!(
        (&seen["error"], &seen["invalid"]),
        (&json!("from: is required"), &json!("filter-from"))
    );
    assert_eq!(seen["overflows"], false);
    demo.stop();
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_demo_page_prepares_a_file_and_downloads_it_with_its_length() {
    let demo = Demo::start();
    let seen = browse(&json!({"demo_prepared": demo.origin()}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(
        (&seen["file"]["name"], &seen["file"]["failure"]),
        (&json!("orders.csv"), &Value::Null)
    );
    assert!(seen["length"].as_str().is_some(), "{seen}");
    let states = seen["states"].as_array().unwrap();
    assert_eq!(states.last(), Some(&json!("ready")), "{seen}");
    let said = seen["said"].as_str().unwrap();
    assert!(
        said.starts_with("Your browser downloads orders.csv"),
        "{said}"
    );
    demo.stop();
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_demo_page_keeps_its_place_and_its_form_and_shows_what_happened() {
    let demo = Demo::start();
    let seen = browse(&json!({"layout": demo.origin()}));
    let (desktop, phone) = (&seen["desktop"], &seen["phone"]);
    assert_eq!(desktop["before"]["form"], desktop["after"]["form"]);
    let number = |value: &Value| value.as_f64().unwrap();
    for (page, height) in [(desktop, 757.0), (phone, 844.0)] {
        let button = &page["before"]["button"];
        assert!(
            number(&button["y"]) + number(&button["height"]) <= height,
            "{page}"
        );
        let heading = number(&page["after"]["heading"]["y"]);
        assert!((0.0..height).contains(&heading), "{page}");
        assert_eq!(page["endsSoon"], 0);
    }
    assert_eq!(desktop["estimate"], phone["estimate"]);
    assert_eq!(seen["back"], format!("{}/", demo.origin()));
    let kept = json!(["2026-06-01", "bob", "orders", "paid", "xlsx"]);
    assert_eq!(seen["kept"], kept);
    demo.stop();
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn the_demo_page_is_filled_in_by_the_button_of_an_error_page() {
    let demo = Demo::start();
    let file = "export=orders&format=xlsx&filter.from=2026-06-01&filter.status=paid&filter.status=refunded";
    let seen = browse(&json!({"prefilled": format!("{}/?{file}", demo.origin())}));
    let form = json!({
        "query": "",
        "from": "2026-06-01",
        "checked": ["alice", "orders", "paid", "refunded", "xlsx"],
    });
    assert_eq!(seen, json!({"opened": form, "reloaded": form}));
    demo.stop();
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_react_page_of_another_origin_exports_and_shows_errors_and_a_progress_bar() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"react": site.task}));
    let file = site
        .download(json!({"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["name"], "orders.csv");
    assert_eq!(seen["sha256"], sha256(&file));
    assert_eq!(seen["saved"], sha256(&file));
    assert_eq!(seen["status"], "Your browser is downloading the file.");
    assert_eq!(seen["hasStayed"], true, "the page navigated away");
    let refusal = seen["refusal"].as_str().unwrap();
    assert!(refusal.starts_with("filters.from: "), "{refusal}");
    let bar = seen["bar"].as_str().unwrap();
    assert!(bar.contains(&format!("{} bytes", file.len())), "{bar}");
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_client_package_saves_complete_files_previews_rows_and_throws_typed_errors() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"client_package": site.task}));
    let numbers = json!({"export": "numbers", "format": "csv", "filters": {"n": 50_000}});
    let length = site.download(numbers).len();
    assert_eq!(seen["size"], length);
    assert_eq!(
        (&seen["done"]["bytes"], &seen["done"]["expectedBytes"]),
        (&json!(length), &json!(length))
    );
    assert_eq!(seen["done"]["rows"], 50_000);
    assert_eq!(seen["steps"], true);
    assert_eq!(seen["workbook"]["rows"], Value::Null);
    assert_eq!(
        seen["preview"],
        json!({"columns": ["user", "text", "bytes"], "rows": [["alice", "a, \"b\"\r\nc", "9"]], "more": false})
    );
    let rows = json!([["1", "", "row 1 of alice"], ["2", "", "row 2 of alice"]]);
    assert_eq!(
        seen["more"],
        json!({"columns": ["n", "failure", "text"], "rows": rows, "more": true})
    );
    assert_eq!(seen["broken"], json!(["IncompleteError", "incomplete", 0]));
    assert_eq!(seen["kept"], "what was there before");
    assert_eq!(seen["confirmed"], 5);
    let listed = seen["exports"].as_array().unwrap();
    assert!(listed.contains(&json!("orders: 5")), "{listed:?}");
    assert_eq!(seen["suggested"], "picked.csv");
    assert_eq!(seen["picked"], seen["broken"]);
    assert_eq!(seen["removed"][0], "NotFoundError");
    assert_eq!(
        (&seen["throwing"], &seen["reported"]),
        (&json!(5), &json!("an error of the page"))
    );
    assert_eq!(
        seen["invalid"],
        json!(["InvalidError", "invalid-values", 422])
    );
    assert_eq!(
        seen["unknown"],
        json!(["SignInError", "credential-refused", 401])
    );
    let unreachable = json!(["UnreachableError", "unreachable", 0]);
    assert_eq!(
        (&seen["nowhere"], &seen["unlisted"]),
        (&unreachable, &unreachable)
    );
    assert_eq!(seen["aborted"][0], "AbortError");
    assert_eq!(
        (&seen["left"][0][0], &seen["left"][1]),
        (&json!("AbortError"), &json!(""))
    );
    let late = json!([null, null, null]);
    let estimate = &seen["estimate"];
    assert!(
        *estimate == json!([1, 35, "count"]) || *estimate == late,
        "{estimate}"
    );
    assert_eq!(seen["renewed"], json!([200, true]));
    assert_eq!(seen["foreign"], json!(["GoneError", "link-expired", 410]));
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_client_package_keeps_the_cookie_of_a_link_that_is_bound_to_the_browser() {
    client_package();
    let site = Site::start_with(&exports(), &[("ROWLINK_JWT_COOKIE", "session")]);
    let seen = browse(&json!({"bound_in_page": site.task}));
    let foreign = json!(["ForbiddenError", "wrong-browser", 403]);
    assert_eq!(seen, json!({"rows": 5, "foreign": foreign}));
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_click_after_the_link_expires_gets_a_new_link() {
    client_package();
    let site = Site::start(&exports());
    let seen = browse(&json!({"late_click": site.task}));
    assert_eq!(seen, json!({"renewed": true, "failure": null}));
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn the_client_package_continues_where_the_connection_broke_and_tells_it() {
    client_package();
    // Rows that hardly compress.
    let words = "with recursive m(i) as (select 1 union all select i + 1 from m where i < 50000)
        select i, printf('%08x%08x%08x%08x', i * 2654435761 & 0xffffffff, i * 2246822519 & 0xffffffff,
            i * 3266489917 & 0xffffffff, i * 668265263 & 0xffffffff) as word from m where :user = 'alice' order by i";
    let exports = [("words.sql", words)];
    continue_in_page(&Site::start(&exports), json!("exact"));
    let folder = tempfile::tempdir().unwrap();
    let keep = [
        ("ROWLINK_SPOOL_DIR", folder.path().to_str().unwrap()),
        ("ROWLINK_SPOOL_BYTES", "100000000"),
        ("ROWLINK_SPOOL_KEEP_SECONDS", "600"),
    ];
    // Compressed, and without a known length.
    continue_in_page(&Site::start_with(&exports, &keep), Value::Null);
}

#[test]
#[ignore = "needs Chromium, Node packages and an object store: make test"]
fn a_page_lets_a_file_be_prepared_and_the_browser_downloads_it_from_the_store() {
    client_package();
    let settings = "/*---\n[filters.below]\ntype = 'integer'\ndefault = 130000\n[store]\nmode = 'auto'\n---*/\n";
    let rows = "with recursive m(i) as (select 1 union all select i + 1 from m where i < :below)
        select i, hex(randomblob(30)) as word from m where :user = 'alice'";
    let failing = "/*---\n[store]\nmode = 'auto'\n---*/\n
        select abs(-9223372036854775807 - 1) as n where :user = 'alice'";
    let exports = [
        ("it.sql", &*format!("{settings}{rows}")),
        ("failing.sql", failing),
    ];
    let (site, _folder) = Site::start_with_store(&exports, "button");
    let seen = browse(&json!({"prepared": site.task}));
    assert_eq!(seen["errors"], json!([]));
    let states = seen["states"].as_array().unwrap();
    assert_eq!(states[0], json!(["preparing", 0]));
    assert_eq!(states.last().unwrap(), &json!(["ready", 130_000]));
    assert_eq!(seen["name"], "Bestellungen März.csv");
    // With a length, browsers show a percentage.
    let bytes = &seen["bytes"];
    assert!(bytes.as_u64().unwrap() > 8 << 20);
    let fetched = json!({"redirected": true, "length": bytes, "bytes": bytes});
    assert_eq!(seen["fetched"], fetched);
    assert_eq!(seen["failed"], json!([true, "export-failed"]));
    assert_eq!(seen["aborted"], "AbortError");
    wait_for("the cancellation", Duration::from_secs(20), || {
        let cancelled =
            "rowlink_uploads_total{export=\"it\",format=\"csv\",outcome=\"cancelled\"} ";
        metric(site.rowlink.origin(), cancelled) == 1
    });
}

fn continue_in_page(site: &Site, length: Value) {
    let words = json!({"export": "words", "format": "csv", "length": length, "expires_in": 600});
    let expected = site.download(words);
    let port = site.rowlink.origin().rsplit_once(':').unwrap().1;
    let proxy = BreakingProxy::before(port.parse().unwrap());
    let limit = expected.len() as u64 / 3 + 10_000;
    proxy.limit.store(limit, Ordering::SeqCst);
    let mut task = site.task.clone();
    task["length"] = length.clone();
    task["proxy"] = json!(format!("http://127.0.0.1:{}", proxy.port));
    let seen = browse(&json!({"continued": task}));
    assert_eq!(seen["errors"], json!([]));
    assert_eq!(seen["sha256"], sha256(&expected));
    assert_eq!(seen["done"]["bytes"], expected.len());
    assert_eq!(seen["done"]["rows"], 50_000);
    let states = seen["states"].as_array().unwrap();
    // Three, and more if a connection that is reset loses bytes on their way.
    let retries = states.iter().filter(|state| state[2] == 1).count();
    assert!(
        (1..10).contains(&retries),
        "{retries} of {} states",
        states.len()
    );
    if !length.is_null() {
        // A live file is continued only if the server keeps it.
        assert_eq!(seen["live"][1], "incomplete", "{}", seen["live"]);
    }
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn a_download_of_two_hundred_megabytes_does_not_grow_the_heap_of_the_page() {
    client_package();
    let bulk = "with recursive i(n) as (select 1 union all select n + 1 from i where n < 20000)
                select n, printf('%.*c', 10000, 'x') as filler from i where :user = 'alice'";
    let site = Site::start(&[("bulk.sql", bulk)]);
    let seen = browse(&json!({"heap": site.task}));
    let filler = "x".repeat(10_000);
    let rows = (1..=20_000).map(|n| format!("{n},{filler}\r\n"));
    let file = [String::from("n,filler\r\n")]
        .into_iter()
        .chain(rows)
        .collect::<String>()
        .into_bytes();
    assert!(file.len() > 200_000_000);
    assert_eq!(seen["failure"], Value::Null);
    assert_eq!(seen["sha256"], sha256(&file));
    assert_eq!(
        (&seen["saved"]["size"], &seen["saved"]["rows"]),
        (&json!(file.len()), &json!(20_000))
    );
    let megabytes = |name: &str| seen[name].as_f64().unwrap() / 1e6;
    println!(
        "the heap grew by {:.1} MB for the browser's download, {:.1} MB halfway through the page's own",
        megabytes("byBrowser"),
        megabytes("byPage")
    );
    assert!(megabytes("seen") > 45.0, "{seen}");
    assert!(megabytes("byBrowser") < 2.0, "{seen}");
    assert!(megabytes("byPage") < 10.0, "{seen}");
    assert!(megabytes("afterPage") < 2.0, "{seen}");
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_killed_server_gives_a_failed_download_and_no_file() {
    let site = Site::start(&exports());
    let url = site
        .rowlink
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 900_000_000}}));
    let seen = browse(&json!({"killed": {"url": url, "pid": site.rowlink.pid()}}));
    assert!(seen["failure"].is_string(), "{seen}");
    assert_eq!(seen["path"], Value::Null);
}

#[test]
#[ignore = "needs Chromium and Node: make test"]
fn a_tampered_link_shows_an_error_page_with_its_code() {
    let site = Site::start(&exports());
    let url = site
        .rowlink
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1}}));
    let tampered = url.replace("rl_user=alice", "rl_user=bob");
    let seen = browse(&json!({"page": {"url": tampered, "width": 320, "colorScheme": "light"}}));
    assert_eq!(seen["status"], 403);
    assert!(
        seen["text"].as_str().unwrap().contains("bad-signature"),
        "{seen}"
    );
}

#[test]
#[ignore = "needs Chromium and Node packages: make test"]
fn axe_finds_no_serious_accessibility_violation() {
    client_package();
    let (demo, site) = (Demo::start(), Site::start(&exports()));
    let url = site
        .rowlink
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1}}));
    let refused = url.replace("rl_user=alice", "rl_user=bob");
    let to_confirm = site
        .rowlink
        .link(json!({"export": "numbers", "format": "csv", "filters": {"n": 1}, "confirm": true}));
    let mut urls = Vec::new();
    for scheme in ["light", "dark"] {
        urls.push(json!({"url": demo.origin(), "colorScheme": scheme}));
        urls.push(json!({"url": demo.origin(), "colorScheme": scheme, "press": ["Export", "Tamper with it"]}));
        urls.push(json!({"url": refused, "colorScheme": scheme}));
        urls.push(json!({"url": to_confirm, "colorScheme": scheme}));
        urls.push(json!({"example": true, "colorScheme": scheme}));
    }
    let seen = browse(&json!({"accessibility": {"urls": urls, "site": site.task}}));
    for page in seen.as_array().unwrap() {
        assert!(page["rules"].as_u64().unwrap() > 5, "{page}");
        assert_eq!(page["serious"], json!([]), "{page}");
    }
}

#[test]
#[ignore = "needs Node packages: make test"]
fn the_client_package_is_small_and_has_no_dependencies() {
    let folder = client_package();
    let manifest = std::fs::read(folder.join("package.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert!(manifest.get("dependencies").is_none());
    let files = std::fs::read_dir(folder.join("dist")).unwrap();
    let size_of = |entry: &str| -> u64 {
        let content = std::fs::read_to_string(folder.join("dist").join(entry)).unwrap();
        let files = std::fs::read_dir(folder.join("dist")).unwrap();
        let counted = files.map(Result::unwrap).filter(|file| {
            let name = file.file_name().into_string().unwrap();
            name == entry || content.contains(&name)
        });
        counted.map(|file| file.metadata().unwrap().len()).sum()
    };
    assert!(files.count() > 4, "no types");
    let small = ["index.js", "save.js", "prepare.js", "react.js", "texts.js"];
    let grids = ["ag-grid.js", "tanstack-table.js", "mui-data-grid.js"];
    let limits = small.map(|entry| (entry, 4500)).into_iter();
    let limits = limits.chain(grids.map(|entry| (entry, 5500)));
    // The element contains most of the others, and texts in each language.
    for (entry, limit) in limits.chain([("element.js", 20_000)]) {
        println!("{entry} with what it imports: {} bytes", size_of(entry));
        assert!((400..limit).contains(&size_of(entry)), "{entry}");
    }
}

#[test]
#[ignore = "needs Node packages: make test"]
fn the_client_package_has_the_texts_of_a_button_in_every_language() {
    const STATUSES: [&str; 7] = [
        "idle",
        "issuing",
        "preparing",
        "downloading",
        "started",
        "done",
        "failed",
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let texts = |language: &str| {
        let file = root.join(format!("src/texts/{language}.toml"));
        let file: toml::Table = std::fs::read_to_string(file).unwrap().parse().unwrap();
        STATUSES.map(|status| file["button"][status].as_str().unwrap().to_owned())
    };
    let shown = |languages: Value| {
        let script = r#"
            const { buttonText } = await import(process.argv[1]);
            const [statuses, languages] = process.argv.slice(2).map((text) => JSON.parse(text));
            console.log(JSON.stringify(statuses.map((status) => buttonText(status, languages))));
        "#;
        let output = run(Command::new("node")
            .args(["--input-type=module", "-e", script])
            .arg(client_package().join("dist/texts.js"))
            .args([json!(STATUSES).to_string(), languages.to_string()]));
        let texts: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
        texts
    };
    let files = std::fs::read_dir(root.join("src/texts")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let languages: Vec<String> = names
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    assert!(languages.len() > 1, "{languages:?}");
    for language in languages {
        assert_eq!(shown(json!(language)), texts(&language), "{language}");
    }
    for (asked, language) in [
        (json!("de-AT"), "de"),
        (json!(["fr", "DE"]), "de"),
        (json!(["fr", "en-GB", "de"]), "en"),
        (json!(["fr"]), "en"),
        (json!([]), "en"),
    ] {
        assert_eq!(shown(asked.clone()), texts(language), "{asked}");
    }
}

#[test]
#[ignore = "needs Node packages: make test"]
fn the_client_package_has_types() {
    let modules = client_package().join("node_modules");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&modules, folder.path().join("node_modules")).unwrap();
    let consumer = r#"
        import { createRowlink, InvalidError, type Link, type LinkRequest } from "@rowlink/client";
        import { useExport, type ExportStatus } from "@rowlink/client/react";
        import { prepare } from "@rowlink/client/prepare";
        import { preview, saveAs } from "@rowlink/client/save";
        import { buttonText } from "@rowlink/client/texts";
        const rowlink = createRowlink({ baseUrl: "https://shop.example.com", token: async () => "token" });
        const request: LinkRequest = { export: "orders", format: "csv", filters: { from: "2026-01-01", status: ["paid"] } };
        const link: Link = await rowlink.links.create(request, { signal: AbortSignal.timeout(1000) });
        await rowlink.download(link).catch((error) => error instanceof InvalidError && error.errors[0]?.field);
        const rows: number | null | undefined = (await saveAs(rowlink, link))?.rows;
        const cells: string[][] = (await preview(rowlink, { export: "orders" })).rows;
        const ready: Link = await prepare(rowlink, request, { onProgress: ({ rows }) => console.log(rows?.toFixed()) });
        const status: ExportStatus = useExport(rowlink).status;
        const text: string = buttonText(status, ["de-AT", "en"]);
        // @ts-expect-error: there is no such status
        buttonText("waiting", "de");
        await rowlink.links.create({ export: "invoice", single_use: true, confirm: true, bind: "cookie" });
        // @ts-expect-error: there is no such format
        rowlink.download({ export: "orders", format: "pdf" });
        // @ts-expect-error: nor such a field
        rowlink.download({ export: "orders", format: "csv", filter: {} });
        export { rows, cells, ready, status, text };
    "#;
    std::fs::write(folder.path().join("consumer.mts"), consumer).unwrap();
    run(Command::new(modules.join(".bin/tsc"))
        .args([
            "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--types", "",
        ])
        .args(["--lib", "es2022,dom,dom.asynciterable", "consumer.mts"])
        .current_dir(folder.path()));
}
