//! Every example goes through the real API server and through offline admission: both say the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::admission;
use tests::control_plane::ADMINISTRATOR;
use tests::{Kubectl, World, generate, wait_until};

fn examples(folder: &str) -> Result<Vec<PathBuf>> {
    let folder = generate::root().join("crds").join(folder);
    let files = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    Ok(files)
}

/// The sentence that a refusal must contain, from the first line of an invalid example.
fn expected(text: &str) -> &str {
    text.lines()
        .next()
        .and_then(|line| line.strip_prefix("# refused: "))
        .expect("the first line says why it is refused")
}

fn offline(text: &str) -> Result<(), String> {
    for document in admission::documents(text).map_err(|error| error.to_string())? {
        if admission::is_ours(&document) {
            admission::admit(&document).map_err(|refused| refused.to_string())?;
        }
    }
    Ok(())
}

/// kubectl in the namespace of the examples.
async fn kubectl() -> Result<Kubectl> {
    const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: security}";
    let kubectl = World::shared().await?.control_plane.kubectl();
    // Tests side by side may all be the first: on the server, to create and to apply is one step.
    kubectl.run_with_input(["apply", "--server-side", "-f", "-"], NAMESPACE).await?;
    Ok(kubectl.in_namespace("security"))
}

#[tokio::test]
async fn valid_examples_are_admitted_by_both() -> Result<()> {
    let kubectl = kubectl().await?;
    for file in examples("examples")? {
        // An approval is in the name of whoever gives it.
        let text = std::fs::read_to_string(&file)?.replace("ana@example.com", ADMINISTRATOR);
        offline(&text).map_err(anyhow::Error::msg).with_context(|| file.display().to_string())?;
        let arguments = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        kubectl.run_with_input(arguments, &text).await.with_context(|| file.display().to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_examples_are_refused_by_both_with_the_sentence_that_helps() -> Result<()> {
    let kubectl = kubectl().await?;
    for file in examples("examples/invalid")? {
        let text = std::fs::read_to_string(&file)?;
        let sentence = expected(&text);
        let refusal = offline(&text).expect_err(&file.display().to_string());
        assert!(refusal.contains(sentence), "{}: offline says {refusal}", file.display());
        let online = kubectl.run(["apply", "--dry-run=server", "-f", path(&file)]).await;
        let online = format!("{:#}", online.expect_err(&file.display().to_string()));
        assert!(online.contains(sentence), "{}: the API server says {online}", file.display());
    }
    Ok(())
}

fn path(file: &Path) -> &str {
    file.to_str().expect("a path of this repository is text")
}

#[tokio::test]
async fn explain_is_good_documentation() -> Result<()> {
    let kubectl = kubectl().await?;
    // The API server publishes the schema of a new kind a little after it serves it.
    wait_until("the fields are explained", Duration::from_secs(30), async || {
        let text = kubectl.explain("sgb.spec.internet").await?;
        for field in ["allowPorts", "denyPresets", "onOverlap", "Recommended"] {
            ensure!(text.contains(field), "{text}");
        }
        Ok(())
    })
    .await
}

#[test]
fn generated_files_are_current() -> Result<()> {
    for file in generate::files()? {
        let found = std::fs::read_to_string(generate::root().join(&file.path)).unwrap_or_default();
        assert!(found == file.content, "{} is stale: run `cargo gen`", file.path.display());
    }
    Ok(())
}
