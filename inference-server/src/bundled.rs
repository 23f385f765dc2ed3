//! The name of a bundled model in; its directory out. Opens no file.

use std::{env, path::PathBuf};

/// The model that is used when none is named.
pub const DEFAULT: &str = "whisper-nano-digits";

/// There is no such bundled model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no bundled model \"{name}\" in {}", looked_in.join(", "))]
pub struct NotBundled {
    /// What was asked for.
    pub name: String,
    /// The directories looked in.
    pub looked_in: Vec<String>,
}

/// Finds a bundled model: in `$PARLANCE_BUNDLED_DIR`, `<exe>/../models`, `/models`, and last the source tree's `models`.
pub fn find(name: &str) -> Result<PathBuf, NotBundled> {
    find_in(name, &directories())
}

fn directories() -> Vec<PathBuf> {
    let named = env::var_os("PARLANCE_BUNDLED_DIR").map(PathBuf::from);
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("models")));
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../models"));
    named
        .into_iter()
        .chain(beside)
        .chain([PathBuf::from("/models")])
        // Where it was built, and of no concern to anyone elsewhere.
        .chain(Some(source).filter(|source| source.is_dir()))
        .collect()
}

fn find_in(name: &str, directories: &[PathBuf]) -> Result<PathBuf, NotBundled> {
    // A name is one folder: it never leads out of the directories.
    let plain = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
    let found = directories
        .iter()
        .map(|dir| dir.join(name))
        .find(|dir| plain && dir.is_dir());
    found.ok_or_else(|| NotBundled {
        name: name.to_owned(),
        looked_in: directories.iter().map(|dir| dir.display().to_string()).collect(),
    })
}

/// A copy of the bundled model, for tests that change it.
#[cfg(test)]
pub(crate) fn copy() -> tempfile::TempDir {
    let (from, to) = (find(DEFAULT).unwrap(), tempfile::tempdir().unwrap());
    for file in crate::digest::files(&from).unwrap() {
        let target = to.path().join(&file);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), target).unwrap();
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_directory_that_has_it_wins() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directories = [first.path().to_owned(), second.path().to_owned()];
        std::fs::create_dir(second.path().join("m")).unwrap();
        assert_eq!(find_in("m", &directories), Ok(second.path().join("m")));
        std::fs::create_dir(first.path().join("m")).unwrap();
        assert_eq!(find_in("m", &directories), Ok(first.path().join("m")));
    }

    #[test]
    fn a_name_is_not_a_path() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["", ".", "..", "../..", "a/b"] {
            assert!(find_in(name, &[dir.path().to_owned()]).is_err(), "{name}");
        }
    }
}
