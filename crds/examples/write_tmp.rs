//! x
fn main() {
    for (name, yaml) in crds::yaml_files().unwrap_or_default() {
        let _ = std::fs::write(format!("{}/{name}", env!("CARGO_MANIFEST_DIR")), yaml);
    }
}
