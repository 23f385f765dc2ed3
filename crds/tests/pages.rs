//! The tests that the pages name are there.

#![allow(clippy::unwrap_used)] // helpers of tests may panic as tests do

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Words after `fn`, `def` or `test` in every source of the folder.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.') || name == "target";
        if entry.file_type().unwrap().is_dir() && !hidden {
            functions(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "py") {
            let text = fs::read_to_string(&path).unwrap();
            let after = |line: &str| {
                let name = line.split_once("fn ").or(line.split_once("def "))?.1;
                Some(name.split('(').next()?.split('<').next()?.to_owned())
            };
            found.extend(text.lines().filter_map(after));
        }
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut functions_found = BTreeSet::new();
    functions(&root(), &mut functions_found);
    for page in ["docs/features.md", "docs/comparison.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        // In the last column of its tables; names of tests are sentences.
        let rows = text.lines().filter_map(|line| {
            line.strip_prefix('|')?
                .trim_end()
                .trim_end_matches('|')
                .rsplit('|')
                .next()
        });
        let quoted = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2));
        let plain = |word: &&str| {
            word.chars()
                .all(|c| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let tests: Vec<&str> = quoted
            .filter(|word| word.matches('_').count() >= 2)
            .filter(plain)
            .collect();
        assert!(tests.len() > 20, "{page} names only {} tests", tests.len());
        let missing: Vec<&&str> = tests
            .iter()
            .filter(|test| !functions_found.contains(**test))
            .collect();
        assert!(
            missing.is_empty(),
            "{page} names tests that are not there: {missing:?}"
        );
    }
}
