//! What is shipped to deploy Rowlink with.

use std::path::Path;
use std::process::Command;

use crate::harness::command::run;
use crate::harness::tool;

#[test]
fn the_manifests_render_and_follow_the_schemas_of_kubernetes() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/k8s/overlays");
    let folder = tempfile::tempdir().unwrap();
    for (overlay, kinds) in [("production", 6), ("development", 5)] {
        let rendered = run(Command::new("kubectl")
            .arg("kustomize")
            .arg(deploy.join(overlay)));
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, &rendered.stdout).unwrap();
        let report = run(Command::new(tool("venv").join("bin/kubernetes-validate"))
            .arg("--strict")
            .arg(&file));
        let said = String::from_utf8([report.stdout, report.stderr].concat()).unwrap();
        assert_eq!(said.matches(" passed ").count(), kinds, "{said}");
    }
}
