//! Writes the generated files: CRD YAML, its copy in the chart, and the API reference.
//!
//! In: the repository's root as the only argument (default: the working directory). Out: the files of `crds::generated`.

use std::path::PathBuf;
use std::{env, error, fs};

fn main() -> Result<(), Box<dyn error::Error>> {
    let root = PathBuf::from(env::args().nth(1).unwrap_or_else(|| ".".into()));
    for (path, content) in crds::generated::files()? {
        let path = root.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content).map_err(|e| format!("failed to write {}: {e}", path.display()))?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
