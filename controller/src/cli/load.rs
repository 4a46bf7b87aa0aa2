//! Reads baselines, accounts and exemptions from files, as strictly as the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use crds::admission::{self, Object};
use crds::{AWSAccount, AnyBaseline, BaselineExemption};
use engine::edit::BaselineRef;
use engine::tenancy::Namespace;
use kube::ResourceExt;
use serde_json::Value;

/// What the files hold.
#[derive(Debug, Default)]
pub struct Documents {
    /// Every `AWSAccount`.
    pub accounts: Vec<AWSAccount>,
    /// Every baseline of any kind with its namespace.
    pub baselines: Vec<(AnyBaseline, Namespace)>,
    /// Every `BaselineExemption`.
    pub exemptions: Vec<BaselineExemption>,
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
    let twice = documents.twice();
    if !twice.is_empty() {
        bail!("the files contradict themselves:\n{}", twice.join("\n"));
    }
    for (position, (baseline, namespace)) in documents.baselines.iter_mut().enumerate() {
        // Nobody has given these objects a uid yet, and two of them must not be taken for one.
        let BaselineRef { namespace: name, .. } = baseline.reference();
        baseline.meta_mut().uid = Some(format!("file-{position}"));
        *namespace = Namespace { labels: labels.get(&name).cloned().unwrap_or_default(), name };
    }
    Ok(documents)
}

impl Documents {
    /// What stands in the files twice: a cluster has one object of a name, and uses one for each account id.
    fn twice(&self) -> Vec<String> {
        let (mut ids, mut names) = (BTreeMap::new(), BTreeSet::new());
        let mut problems = Vec::new();
        for account in &self.accounts {
            let (name, id) = (account.name_any(), &account.spec.account_id);
            if !names.insert(format!("AWSAccount {name}")) {
                problems.push(format!("AWSAccount {name} stands there twice: leave one out"));
            } else if let Some(other) = ids.insert(id, name.clone()) {
                problems
                    .push(format!("AWSAccount {other} and AWSAccount {name} are both for account {id}: leave one out"));
            }
        }
        let title = |reference: BaselineRef| format!("{} {reference}", reference.kind);
        let baselines = self.baselines.iter().map(|(baseline, _)| title(baseline.reference()));
        let exemptions = self.exemptions.iter().map(|exemption| {
            let namespace = exemption.namespace().unwrap_or_else(|| crds::DEFAULT_NAMESPACE.to_owned());
            format!("BaselineExemption {namespace}/{}", exemption.name_any())
        });
        for title in baselines.chain(exemptions) {
            if !names.insert(title.clone()) {
                problems.push(format!("{title} stands there twice: leave one out"));
            }
        }
        problems
    }

    fn add(&mut self, object: Object) {
        match object {
            Object::Account(account) => self.accounts.push(*account),
            Object::Baseline(baseline) => self.baselines.push((baseline, Namespace::default())),
            Object::Exemption(exemption) => self.exemptions.push(*exemption),
            Object::ChangeSet(set) => {
                tracing::warn!(name = set.name_any(), "ChangeSet passed over: the controller alone writes them")
            }
            Object::Approval(approval) => {
                tracing::warn!(name = approval.name_any(), "ChangeSetApproval passed over: a plan makes no change")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, id: &str) -> AWSAccount {
        let spec = crds::AWSAccountSpec { account_id: id.to_owned(), ..crds::AWSAccountSpec::default() };
        AWSAccount::new(name, spec)
    }

    fn baseline(namespace: &str) -> (AnyBaseline, Namespace) {
        let text = serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "SecurityGroupBaseline",
            "metadata": {"name": "edge", "namespace": namespace},
            "spec": {"accounts": {"names": ["one"]}, "select": {"all": true}},
        });
        (AnyBaseline::SecurityGroup(serde_json::from_value(text).unwrap()), Namespace::default())
    }

    #[test]
    fn what_stands_twice_is_named() {
        let fine = Documents {
            accounts: vec![account("one", "111122223333"), account("two", "444455556666")],
            baselines: vec![baseline("blue"), baseline("green")],
            exemptions: Vec::new(),
        };
        assert_eq!(fine.twice(), Vec::<String>::new());
        let wrong = Documents {
            accounts: vec![account("one", "1"), account("two", "1"), account("two", "2")],
            baselines: vec![baseline("blue"), baseline("blue")],
            exemptions: Vec::new(),
        };
        let problems = wrong.twice();
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("AWSAccount one and AWSAccount two are both for account 1"), "{problems:?}");
        assert!(problems[1].contains("AWSAccount two stands there twice"), "{problems:?}");
        assert!(problems[2].contains("SecurityGroupBaseline blue/edge stands there twice"), "{problems:?}");
    }
}
