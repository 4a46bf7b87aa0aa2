//! Reads baselines and accounts from files, as strictly as the API server.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use crds::admission::{self, Object};
use crds::{AWSAccount, SecurityGroupBaseline};
use engine::edit::BaselineRef;
use engine::tenancy::Namespace;
use kube::ResourceExt;
use serde_json::Value;

/// What the files hold.
#[derive(Debug, Default)]
pub struct Documents {
    /// Every `AWSAccount`.
    pub accounts: Vec<AWSAccount>,
    /// Every `SecurityGroupBaseline` with its namespace.
    pub baselines: Vec<(SecurityGroupBaseline, Namespace)>,
}

/// Reads files; `-` is standard input. Every problem of every document is reported, not just the first.
///
/// # Errors
/// A file that cannot be read, a text that is no YAML, or documents that the API server would refuse.
pub fn load(files: &[PathBuf]) -> anyhow::Result<Documents> {
    let (mut documents, mut labels, mut problems) = (Documents::default(), BTreeMap::new(), Vec::new());
    for file in files {
        for document in read(file)? {
            if let Some((name, found)) = namespace_labels(&document) {
                labels.insert(name, found);
            } else if admission::is_ours(&document) {
                match admission::admit(&document) {
                    Ok(object) => documents.add(object),
                    Err(refused) => problems.push(format!("{} in {}:\n{refused}", title(&document), file.display())),
                }
            } else {
                tracing::warn!(file = %file.display(), document = title(&document), "Document of another API group passed over");
            }
        }
    }
    if !problems.is_empty() {
        bail!("refused, as the API server would:\n{}", problems.join("\n"));
    }
    for (position, (baseline, namespace)) in documents.baselines.iter_mut().enumerate() {
        // Nobody has given these objects a uid yet, and two of them must not be taken for one.
        let BaselineRef { namespace: name, .. } = baseline.reference();
        baseline.metadata.uid = Some(format!("file-{position}"));
        *namespace = Namespace { labels: labels.get(&name).cloned().unwrap_or_default(), name };
    }
    Ok(documents)
}

impl Documents {
    fn add(&mut self, object: Object) {
        match object {
            Object::Account(account) => self.accounts.push(*account),
            Object::SecurityGroupBaseline(baseline) => self.baselines.push((*baseline, Namespace::default())),
            Object::ChangeSet(set) => {
                tracing::warn!(name = set.name_any(), "ChangeSet passed over: the controller alone writes them")
            }
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input cannot be read as text")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
    };
    admission::documents(&text).map_err(|error| anyhow::anyhow!("{} is no YAML: {error}", file.display()))
}

/// Name and labels of a document of kind Namespace, so that grants by label can be tried out.
fn namespace_labels(document: &Value) -> Option<(String, BTreeMap<String, String>)> {
    let is_namespace = document.get("kind")? == "Namespace" && document.get("apiVersion")? == "v1";
    let metadata = document.get("metadata").filter(|_| is_namespace)?;
    let labels = metadata.get("labels").cloned().and_then(|labels| serde_json::from_value(labels).ok());
    Some((metadata.get("name")?.as_str()?.to_owned(), labels.unwrap_or_default()))
}

fn title(document: &Value) -> String {
    let text = |pointer| document.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
    format!("{} {}", text("/kind"), text("/metadata/name"))
}
