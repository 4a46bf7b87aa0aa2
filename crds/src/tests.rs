//! What holds for all kinds together: generated files, schemas, examples.

mod examples;
mod schema;
mod status;

use std::fs;
use std::path::{Path, PathBuf};

/// A file or folder of this crate.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The YAML files of a folder with their names, in order.
fn yaml_files_in(folder: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = fs::read_dir(path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_generated_files_are_current() {
    let mut generated = crate::yaml_files().unwrap();
    generated.push(("policies.yaml".to_owned(), crate::policies_yaml(crate::policy::DEFAULT_CONTROLLER_USER).unwrap()));
    for (name, content) in &generated {
        let on_disk = fs::read_to_string(path(name)).unwrap_or_default();
        assert!(on_disk == *content, "{name} is stale: run `cargo gen`");
    }
    let known: Vec<&String> = generated.iter().map(|(name, _)| name).collect();
    for (name, _) in yaml_files_in(".") {
        assert!(known.contains(&&name), "{name} is generated from nothing: remove it");
    }
}
