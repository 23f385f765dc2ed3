//! The operator's release, changed as an administrator would.

use std::path::Path;
use std::process::Command;

use crate::operator::NAMESPACE;

/// Runs Helm on the operator's namespace.
///
/// # Panics
/// When Helm cannot be run or fails, with its words.
pub fn helm(arguments: &[&str]) -> String {
    let output = Command::new("helm")
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .output()
        .unwrap_or_else(|e| panic!("failed to run helm: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "helm {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Upgrades the operator to a chart, keeping the values that it was installed with but for `values`, and waits until it runs.
///
/// # Panics
/// As [`helm`].
pub fn upgrade(chart: &Path, values: &[&str]) {
    let chart = chart.to_str().expect("a path of text");
    let mut arguments = vec![
        "upgrade",
        "parlance",
        chart,
        "--reset-then-reuse-values",
        "--wait",
        "--timeout",
        "3m",
    ];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    helm(&arguments);
}

/// Brings the release back to what it was when this was made, at the end of a test whatever comes of it.
pub struct Restored {
    revision: String,
}

impl Restored {
    /// Remembers the release as it is.
    ///
    /// # Panics
    /// When there is none.
    pub fn at_the_end() -> Restored {
        let list: serde_json::Value =
            serde_json::from_str(&helm(&["list", "--filter", "^parlance$", "--output", "json"]))
                .expect("JSON");
        let revision = list[0]["revision"]
            .as_str()
            .expect("the operator is installed by Helm")
            .to_owned();
        Restored { revision }
    }
}

impl Drop for Restored {
    fn drop(&mut self) {
        helm(&[
            "rollback",
            "parlance",
            &self.revision,
            "--wait",
            "--timeout",
            "3m",
        ]);
    }
}
