//! The documentation, in the repository and as a site.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use serde_json::{Value, json};

use crate::harness::browse;
use crate::harness::command::run;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the Markdown files of a folder, without those of `docs/site`, whose links start at the root.
fn markdown_files(folder: &Path) -> Vec<PathBuf> {
    let skipped = ["target", "node_modules", "site"];
    let mut files = Vec::new();
    // Folders of builds disappear while other tests run.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".md") {
            files.push(path);
        } else if path.is_dir() && !name.starts_with('.') && !skipped.contains(&name.as_str()) {
            files.extend(markdown_files(&path));
        }
    }
    files
}

/// Returns the lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}

/// Returns the anchors of a document's headings, as code hosts name them.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for line in prose(text).filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || "_- ".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let repeated = (1..).map(|n| format!("{anchor}-{n}"));
        let free = iter::once(anchor.clone())
            .chain(repeated)
            .find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// Returns the links to files and headings that do not exist.
fn broken_links(folder: &Path) -> Vec<String> {
    let mut broken = Vec::new();
    for file in markdown_files(folder) {
        let text = fs::read_to_string(&file).unwrap();
        let links = prose(&text).flat_map(|line| line.split("](").skip(1));
        for link in links.map(|rest| rest.split(')').next().unwrap()) {
            if !link.contains("://") && !leads_somewhere(&file, link) {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    broken
}

fn leads_somewhere(file: &Path, link: &str) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match path {
        "" => file.to_owned(),
        _ => file.parent().unwrap().join(path),
    };
    if anchor.is_empty() {
        return target.exists();
    }
    fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor))
}

#[test]
fn every_link_of_every_document_leads_to_a_file_and_a_heading() {
    assert!(markdown_files(root()).len() > 25);
    assert_eq!(broken_links(root()), Vec::<String>::new());
}

#[test]
fn links_to_a_missing_file_or_heading_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let text = "# One `two`: three\n\n## Again\n\n## Again\n\n```sh\n# code\n```\n\n[a](#one-two-three) [b](#again-1) \
                [c](page.md#again) [d](other.md) [e](#again-2) [f](page.md#code) [g](other.md#again)\n";
    fs::write(folder.path().join("page.md"), text).unwrap();
    let broken = broken_links(folder.path());
    let links: Vec<&str> = broken
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(
        links,
        ["other.md", "#again-2", "page.md#code", "other.md#again"]
    );
}

fn build_site(folder: &Path) {
    run(Command::new(root().join("docs/site/build.sh")).arg(folder));
}

/// Returns the report on a site, whose folder is the prefix of each broken link.
fn visit(folder: &Path) -> Value {
    browse(&json!({"site": {"folder": folder}}))
}

#[test]
#[ignore = "needs mdBook, Swagger UI and Chromium: make test"]
fn the_site_needs_no_other_host_and_every_link_of_it_leads_somewhere() {
    let folder = tempfile::tempdir().unwrap();
    build_site(folder.path());
    let report = visit(folder.path());
    assert!(report["pages"].as_u64().unwrap() > 30, "{report}");
    for field in ["foreign", "broken", "reports"] {
        assert_eq!(report[field], json!([]), "{field}");
    }
}

#[test]
#[ignore = "needs mdBook, Swagger UI and Chromium: make test"]
fn the_site_is_searched_and_shows_every_operation_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    build_site(folder.path());
    let search = json!({"search": {"folder": folder.path(), "text": "formula guard"}});
    let found = browse(&search).to_string();
    assert!(found.contains("The formula guard"), "{found}");

    let contract = fs::read_to_string(root().join("openapi.yaml")).unwrap();
    let operations = contract.matches("operationId:").count();
    let shown = browse(&json!({"reference": {"folder": folder.path()}}));
    assert_eq!(shown, json!({"operations": operations, "errors": []}));
    let published = fs::read_to_string(folder.path().join("openapi.yaml")).unwrap();
    assert!(published == contract);
}

#[test]
#[ignore = "needs Chromium: make test"]
fn requests_to_hosts_and_broken_links_of_a_site_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let page = r##"<p id="a"><a href="#a"></a><a href="#b"></a><a href="c.html"></a><script src="http://127.0.0.1:1/d.js"></script>"##;
    fs::write(folder.path().join("page.html"), page).unwrap();
    let report = visit(folder.path());
    assert_eq!(report["foreign"], json!(["http://127.0.0.1:1/d.js"]));
    let path = folder.path().display();
    let broken =
        ["page.html#b", "c.html"].map(|link| format!("{path}/page.html: file://{path}/{link}"));
    assert_eq!(report["broken"], json!(broken));
}

#[test]
#[ignore = "needs mdBook and Swagger UI: make test"]
fn two_builds_of_the_site_are_equal() {
    let folder = tempfile::tempdir().unwrap();
    let builds = ["one", "two"].map(|name| folder.path().join(name));
    for build in &builds {
        build_site(build);
    }
    run(Command::new("diff").arg("-r").args(&builds));
}
