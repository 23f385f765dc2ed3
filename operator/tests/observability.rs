//! Alerts and dashboards name only metrics that exist, and every alert has its page.
//!
//! That docs/observability.md describes what both programs export, no more and no less, is tested beside each program's metrics.

#![allow(clippy::unwrap_used)] // a test that cannot go on should end

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

/// Metrics that others export, and who.
const OTHERS: [(&str, &str); 3] = [
    ("DCGM_FI_DEV_FB_USED", "dcgm-exporter"),
    ("DCGM_FI_DEV_FB_FREE", "dcgm-exporter"),
    ("DCGM_FI_DEV_GPU_UTIL", "dcgm-exporter"),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn alerts() -> Vec<Value> {
    let files = ["operator", "services"].map(|name| read(&format!("charts/parlance/rules/{name}.yaml")));
    let parsed = files.map(|text| serde_yaml::from_str::<Value>(&text).unwrap());
    let groups = parsed.iter().flat_map(|file| file["groups"].as_array().unwrap());
    groups
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// Title and query of every panel.
fn queries() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in ["operator", "services"] {
        let text = read(&format!("charts/parlance/dashboards/{name}.json"));
        let board: Value = serde_json::from_str(&text).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            let targets = panel["targets"].as_array().into_iter().flatten();
            found.extend(targets.map(|target| {
                let title = format!("{name}: {}", panel["title"].as_str().unwrap());
                (title, target["expr"].as_str().unwrap().to_string())
            }));
        }
        let variables = board["templating"]["list"].as_array().unwrap().iter();
        found.extend(variables.filter_map(|variable| {
            let query = variable["query"]["query"].as_str()?;
            Some((format!("{name}: variable"), query.to_string()))
        }));
    }
    found
}

/// Every series that the described metrics have.
fn series() -> BTreeSet<String> {
    let page = read("docs/observability.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `parlance_"));
    let mut found = BTreeSet::new();
    for row in rows {
        let name = format!("parlance_{}", row.split(['`', '{']).next().unwrap());
        match row.split('|').nth(1).unwrap().trim() {
            "histogram" => {
                found.extend(["bucket", "sum", "count"].map(|suffix| format!("{name}_{suffix}")));
            }
            "counter" | "gauge" => drop(found.insert(name)),
            other => panic!("{name} has the type {other}"),
        }
    }
    found
}

/// The words of a query that name metrics. Labels of Parlance begin with `parlance_dev_`.
fn metrics(query: &str) -> Vec<&str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| {
            let ours = word.starts_with("parlance_") && !word.starts_with("parlance_dev_");
            let theirs = ["DCGM_", "kube_", "container_", "node_"]
                .iter()
                .any(|prefix| word.starts_with(prefix));
            ours || theirs
        })
        .collect()
}

#[test]
fn alerts_and_dashboards_name_only_metrics_that_are_exported() {
    let mut known = series();
    known.extend(OTHERS.map(|(name, _)| name.to_string()));
    let alerts = alerts().into_iter().map(|alert| {
        let text = |field: &str| alert[field].as_str().unwrap().to_string();
        (text("alert"), text("expr"))
    });
    let all: Vec<(String, String)> = alerts.chain(queries()).collect();
    assert!(all.len() > 50, "{} queries", all.len());
    for (title, query) in all {
        let named = metrics(&query);
        assert!(!named.is_empty(), "{title} names no metric: {query}");
        for name in named {
            assert!(known.contains(name), "{title}: nobody exports {name}");
        }
    }
}

#[test]
fn every_alert_says_what_and_where_to_read_on_and_every_page_has_its_alert() {
    let overview = read("docs/observability.md");
    let mut pages: BTreeSet<String> = fs::read_dir(root().join("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        for annotation in ["summary", "description"] {
            let text = alert["annotations"][annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name} has no {annotation}");
        }
        let page = alert["annotations"]["runbook_url"].as_str().unwrap();
        assert_eq!(page, format!("docs/runbooks/{name}.md"));
        assert!(pages.remove(&format!("{name}.md")), "{page} does not exist");
        assert!(read(page).starts_with(&format!("# {name}\n")), "{page}");
        assert!(
            overview.contains(&format!("(runbooks/{name}.md)")),
            "docs/observability.md does not name {name}"
        );
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["warning", "critical"].contains(&severity), "{name}: {severity}");
    }
    assert!(pages.is_empty(), "pages of no alert: {pages:?}");
}
