//! `baseward approve` and `baseward reject`: a person's word on a change set, in their own name.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use crds::conditions::{self, ACCEPTED, State};
use crds::{Action, ChangeSet, ChangeSetApproval, ChangeSetApprovalSpec, EditRecord, OtherBaseline, Phase, Record};
use engine::edit::Change;
use engine::report::cut;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

use super::output::{show, show_line};
use super::render::in_full;
use crate::kubernetes::{self, within};
use crate::rollback::touched;

/// An answer is waited for so long; the word stands all the same.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Which change set, and why.
#[derive(Args, Clone, Debug)]
pub struct Decide {
    /// Name of the change set, as kubectl get chg shows it.
    name: String,
    /// Its namespace. Left out: that of the current context.
    #[arg(short = 'n', long)]
    namespace: Option<String>,
    /// Why, for whoever reads it in a year, such as CAB-1182.
    #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Which change set is to be undone, and why.
#[derive(Args, Clone, Debug)]
pub struct Rollback {
    #[command(flatten)]
    decide: Decide,
    /// How long the findings then stand, lest they be repaired again: at most 168h.
    #[arg(long, default_value = "24h", value_parser = exempt_for)]
    exempt_for: String,
    /// Does it. Without, what would be done is shown and nothing is changed.
    #[arg(long)]
    yes: bool,
}

fn exempt_for(text: &str) -> Result<String, String> {
    match engine::duration::parse(text) {
        Some(time) if crds::EXEMPT_FOR_BOUNDS.contains(&time) => Ok(text.to_owned()),
        _ => Err("write a time of 1m to 168h, such as 24h".to_owned()),
    }
}

/// Shows what a change set changed, and undoes it if that is wanted.
///
/// # Errors
/// There is no such change set, the API server refuses the word, or nothing is as the change set left it.
pub async fn rollback(options: Rollback) -> anyhow::Result<ExitCode> {
    let Rollback { decide: Decide { name, namespace, reason }, exempt_for, yes } = options;
    let client = kubernetes::client().await?;
    let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let set = find(&client, &namespace, &name).await?;
    show(undo_text(&set)?)?;
    show_line(format_args!(
        "What somebody has changed since is left alone. The findings are exempt for {exempt_for} in namespace {namespace}."
    ))?;
    for other in out_of_reach(&set) {
        show_line(format_args!(
            "{other} demands some of these edits, too, and is not exempt: it has them made again."
        ))?;
    }
    if !yes {
        show_line("Nothing is changed yet: --yes does it.")?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&client, &namespace, &set, Action::Rollback, Some(exempt_for), reason).await
}

/// Shows a change set, says the word on just what was shown, and waits for what becomes of it.
///
/// # Errors
/// There is no such change set, the API server refuses the word, or it is not honoured.
pub async fn decide(action: Action, options: Decide) -> anyhow::Result<ExitCode> {
    let client = kubernetes::client().await?;
    let namespace = options.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let set = find(&client, &namespace, &options.name).await?;
    show(text(&set))?;
    say(&client, &namespace, &set, action, None, options.reason).await
}

/// Says a word on just the edits that were shown, in the name of whoever runs this, and waits for what becomes of it.
async fn say(
    client: &Client,
    namespace: &str,
    set: &ChangeSet,
    action: Action,
    exempt_for: Option<String>,
    reason: String,
) -> anyhow::Result<ExitCode> {
    let who = "the API server does not tell who you are: kubectl auth whoami asks the same";
    let by = kubernetes::user(client).await.context(who)?.context(who)?;
    let (change_set, hash) = (set.name_any(), set.spec.hash.clone());
    let spec = ChangeSetApprovalSpec { change_set, hash, action, by, exempt_for, reason };
    let approval = give(client, namespace, spec).await?;
    answer(client, namespace, &approval).await
}

async fn find(client: &Client, namespace: &str, name: &str) -> anyhow::Result<ChangeSet> {
    if !crds::is_object_name(name) {
        bail!("{name:?} is no name of a change set: kubectl get chg -A lists them");
    }
    let sets: Api<ChangeSet> = Api::namespaced(client.clone(), namespace);
    let found = within(sets.get_opt(name)).await.context("the change set cannot be read")?;
    found.with_context(|| {
        format!("there is no change set {name} in namespace {namespace}: kubectl get chg -A lists them")
    })
}

async fn give(client: &Client, namespace: &str, spec: ChangeSetApprovalSpec) -> anyhow::Result<ChangeSetApproval> {
    let approvals: Api<ChangeSetApproval> = Api::namespaced(client.clone(), namespace);
    let mut approval = ChangeSetApproval::new("", spec);
    approval.metadata.name = None;
    approval.metadata.generate_name = Some(format!("{}-", crds::shortened(&approval.spec.change_set)));
    let created = within(approvals.create(&PostParams::default(), &approval)).await;
    created.context("the API server refused it")
}

/// Waits until the controller has said what becomes of it.
async fn answer(client: &Client, namespace: &str, approval: &ChangeSetApproval) -> anyhow::Result<ExitCode> {
    let approvals: Api<ChangeSetApproval> = Api::namespaced(client.clone(), namespace);
    let name = approval.name_any();
    let mut waits_for = None;
    match tokio::time::timeout(PATIENCE, said(&approvals, &name, &mut waits_for)).await {
        Ok(condition) => {
            let condition = condition.context("the answer cannot be read")?;
            if condition.status != State::True.as_str() {
                bail!("ChangeSetApproval {name} is refused ({}): {}", condition.reason, condition.message);
            }
            show_line(format_args!("ChangeSetApproval {name}: {}", condition.message))?;
        }
        Err(_) => {
            let why = waits_for.unwrap_or_else(|| "the controller has not answered yet".to_owned());
            show_line(format_args!("ChangeSetApproval {name} is made and stands, but {why}: kubectl get chga {name}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The answer; meanwhile what is waited for, as far as the controller says so.
async fn said(
    approvals: &Api<ChangeSetApproval>,
    name: &str,
    waits_for: &mut Option<String>,
) -> kube::Result<Condition> {
    loop {
        let now = within(approvals.get(name)).await?;
        let conditions = now.status.unwrap_or_default().conditions;
        match conditions::find(&conditions, ACCEPTED) {
            Some(condition) if condition.status != State::Unknown.as_str() => return Ok(condition.clone()),
            Some(condition) => *waits_for = Some(format!("it waits: {}", condition.message)),
            None => {}
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// A change set for people.
fn text(set: &ChangeSet) -> String {
    let spec = &set.spec;
    let phase = set.phase();
    let mut lines = vec![
        format!("ChangeSet {} ({phase:?}) of {} {}", set.name_any(), spec.baseline.kind, spec.baseline.name),
        format!("account {}, region {}, {}", spec.account, spec.region, spec.hash),
    ];
    let mut last = "";
    for edit in &spec.edits {
        if edit.resource != last {
            lines.push(format!("\n  {} [{}]", edit.resource, edit.impact));
            last = &edit.resource;
        }
        lines.push(format!("    {} {}", edit.operation, change(edit)));
        lines.push(format!("        {} ({}): {}", edit.controls.join(", "), edit.risk, edit.calls.join(", ")));
    }
    lines.push("\n".to_owned());
    lines.join("\n")
}

/// What an undo does to each resource that a change set changed.
fn undo_text(set: &ChangeSet) -> anyhow::Result<String> {
    let (name, touched) = (set.name_any(), touched(set));
    match set.phase() {
        Phase::RolledBack => bail!("ChangeSet {name} is undone already: there is nothing to undo"),
        Phase::Applying if touched.is_empty() => {
            return Ok(format!(
                "ChangeSet {name} is being made, and nothing of it is done yet: what will be done by the time it ends is undone then.\n"
            ));
        }
        phase if touched.is_empty() => {
            bail!("ChangeSet {name} is {phase:?} and changed nothing: there is nothing to undo")
        }
        _ => {}
    }
    let mut lines = vec![format!("ChangeSet {name} changed {} resource(s). The undo would:", touched.len())];
    for edit in set.spec.edits.iter().filter(|edit| touched.contains(edit.resource.as_str())) {
        let (before, after) = (edit.after.clone(), edit.before.clone());
        let word = match (before.is_empty(), after.is_empty()) {
            (true, _) => "add",
            (_, true) => "remove",
            (false, false) => "change",
        };
        lines.push(format!("  {} {word} {}", edit.resource, change(&EditRecord { before, after, ..edit.clone() })));
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The baselines of other namespaces that demanded edits of a change set: nobody can excuse for them.
fn out_of_reach(set: &ChangeSet) -> impl Iterator<Item = String> {
    let is_elsewhere = |other: &&OtherBaseline| set.namespace().is_none_or(|namespace| namespace != other.namespace);
    let others = set.spec.other_baselines.iter().filter(is_elsewhere);
    others.map(|OtherBaseline { kind, namespace, name, .. }| format!("{kind} {namespace}/{name}"))
}

fn change(edit: &EditRecord) -> String {
    if let Some(Change::Properties(changes)) = edit.change() {
        return changes.iter().map(in_full).collect::<Vec<_>>().join("; ");
    }
    let side = |records: &[Record]| records.iter().map(record).collect::<Vec<_>>().join(" + ");
    match (side(&edit.before), side(&edit.after)) {
        (before, after) if before.is_empty() => after,
        (before, after) if after.is_empty() => before,
        (before, after) => format!("{before} -> {after}"),
    }
}

fn record(record: &Record) -> String {
    match record.rule() {
        Some(rule) => match rule.description {
            Some(description) => format!("{} ({:?})", rule.grant, cut(&description)),
            None => rule.grant.to_string(),
        },
        None => {
            let tags: Vec<String> = record.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
            cut(&tags.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_decides_is_told_what_becomes_of_a_function() {
        let side = |runtime: Option<&str>, statement: Option<&str>| {
            let record = |property: &str, of: Option<&str>, value: Option<&str>| {
                serde_json::from_value::<Record>(serde_json::json!({"property": property, "of": of, "value": value}))
            };
            vec![
                record("Runtime", None, runtime).expect("a record"),
                record("Statement", Some("/all"), statement).expect("a record"),
            ]
        };
        let before = side(Some(r#""nodejs20.x""#), Some(r#"{"Principal":"*","Sid":"all"}"#));
        let after = side(Some(r#""nodejs24.x""#), None);
        let edit = EditRecord { before, after, ..EditRecord::default() };
        assert_eq!(
            change(&edit),
            r#"Runtime: "nodejs20.x" -> "nodejs24.x"; Statement /all: {"Principal":"*","Sid":"all"} -> not set"#
        );
        let undo = EditRecord { before: edit.after.clone(), after: edit.before.clone(), ..edit };
        assert!(change(&undo).ends_with(r#"Statement /all: not set -> {"Principal":"*","Sid":"all"}"#));
    }

    #[test]
    fn who_decides_to_undo_is_told_whom_the_exemption_does_not_reach() {
        let other = |namespace: &str| OtherBaseline {
            kind: "SecurityGroupBaseline".to_owned(),
            namespace: namespace.to_owned(),
            name: "all".to_owned(),
            ..OtherBaseline::default()
        };
        let spec = crds::ChangeSetSpec { other_baselines: vec![other("team"), other("network")], ..Default::default() };
        let mut set = ChangeSet::new("edge-1", spec);
        set.metadata.namespace = Some("team".to_owned());
        assert_eq!(out_of_reach(&set).collect::<Vec<_>>(), ["SecurityGroupBaseline network/all"]);
    }
}
