//! How an explanation looks.

use std::fmt::Write;

use engine::approval::Decision;
use engine::desired::Scope;
use engine::edit::{Edit, Withheld};
use engine::facts::{Location, Resource};
use engine::finding::Verdict;
use engine::report::cut;
use serde::Serialize;

use super::super::look::Unread;
use super::super::render::{EditDocument, FindingDocument, actual, edit_document, finding_document, write_edit};
use super::{Explained, Explanation, Sight, View};

/// The JSON document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'e> {
    resource: &'e str,
    name: &'e str,
    vpc: &'e str,
    owner: &'e str,
    account: &'e str,
    region: &'e str,
    impact: String,
    baselines: Vec<BaselineDocument<'e>>,
    /// How many baselines look at other accounts and regions alone.
    elsewhere: usize,
    edits: Vec<ExplainedEdit<'e>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BaselineDocument<'e> {
    baseline: String,
    /// Why it does not see the group, in one word and in a sentence.
    unseen: Option<&'static str>,
    why: Option<&'e str>,
    findings: Vec<ExplainedFinding<'e>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedFinding<'e> {
    #[serde(flatten)]
    finding: FindingDocument<'e>,
    /// Why there is no edit for a failure.
    unmade: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExplainedEdit<'e> {
    #[serde(flatten)]
    edit: EditDocument<'e>,
    baselines: Vec<String>,
    /// What holds it back and how to let it go.
    advice: Option<String>,
    /// The change set in which people decide on it, and what they did.
    change_set: Option<String>,
    decision: Option<&'static str>,
}

/// One JSON document.
///
/// # Errors
/// None in practice: plain values can be written as JSON.
pub fn json(explanation: &Explanation<'_>) -> serde_json::Result<String> {
    let Explanation { cell, resource, baselines, elsewhere, edits } = explanation;
    let Resource { id, name, vpc, owner, .. } = *resource;
    let Location { account, region } = &cell.cell.location;
    let baselines = baselines.iter().map(|view| baseline_document(explanation, view)).collect();
    let edits = edits.iter().map(|edit| edit_explained(&cell.cell.location, edit)).collect();
    let impact = explanation.impact();
    serde_json::to_string_pretty(&Document {
        resource: id,
        name,
        vpc,
        owner,
        account,
        region,
        impact,
        baselines,
        elsewhere: *elsewhere,
        edits,
    })
}

fn baseline_document<'e>(explanation: &'e Explanation<'_>, view: &'e View<'_>) -> BaselineDocument<'e> {
    let baseline = view.baseline.to_string();
    match &view.sight {
        Sight::Unseen { reason, why } => {
            BaselineDocument { baseline, unseen: Some(*reason), why: Some(why), findings: Vec::new() }
        }
        Sight::Seen { evaluation, findings, .. } => {
            let findings = findings.iter().map(|finding| ExplainedFinding {
                finding: finding_document(&explanation.cell.cell.location, view.baseline.to_string(), finding),
                unmade: explanation.unmade(evaluation, finding),
            });
            BaselineDocument { baseline, unseen: None, why: None, findings: findings.collect() }
        }
    }
}

fn edit_explained<'e>(location: &'e Location, explained: &Explained<'e>) -> ExplainedEdit<'e> {
    let Explained { edit, held, change_set } = *explained;
    ExplainedEdit {
        edit: edit_document(location, edit, held),
        baselines: baselines(edit),
        advice: held.map(Withheld::explain),
        change_set: change_set.map(|set| set.name.to_string()),
        decision: change_set.map(|set| decision(set.decision).0),
    }
}

/// What people decided, in one word and in a clause.
fn decision(decision: Decision) -> (&'static str, &'static str) {
    match decision {
        Decision::Open => ("Open", "which nobody has decided on yet"),
        Decision::Approved => ("Approved", "which was approved"),
        Decision::Rejected => ("Rejected", "which was rejected"),
    }
}

/// Who asks for an edit, each once.
fn baselines(edit: &Edit) -> Vec<String> {
    let mut baselines: Vec<String> = edit.demands.iter().map(|demand| demand.baseline.to_string()).collect();
    baselines.dedup();
    baselines
}

/// The explanation for people.
pub fn text(explanation: &Explanation<'_>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, explanation);
    text
}

fn write(out: &mut String, explanation: &Explanation<'_>) -> std::fmt::Result {
    let Explanation { cell, resource, baselines: views, elsewhere, edits } = explanation;
    let Location { account, region } = &cell.cell.location;
    let Resource { id, name, vpc, .. } = *resource;
    writeln!(out, "{id} ({}) [{}]", cut(name), explanation.impact())?;
    let vpc = if vpc.is_empty() { String::new() } else { format!("{vpc}, ") };
    writeln!(out, "in {vpc}account {account}, region {region}")?;
    for Unread { what, reason, advice } in &cell.unread {
        writeln!(out, "{what} could not be read ({reason}): {advice}")?;
    }
    for view in views {
        write_view(out, explanation, view)?;
    }
    if *elsewhere > 0 {
        writeln!(out, "\n  Baselines that look at other accounts and regions alone: {elsewhere}")?;
    }
    if edits.is_empty() {
        return writeln!(out, "\n  No changes.");
    }
    writeln!(out, "\n  Changes, worst first:\n")?;
    for Explained { edit, held, change_set } in edits {
        write_edit(out, edit, *held)?;
        if let Some(set) = change_set {
            writeln!(out, "        in change set {}, {}", set.name, decision(set.decision).1)?;
        }
        writeln!(out, "        asked for by {}", baselines(edit).join(", "))?;
    }
    Ok(())
}

fn write_view(out: &mut String, explanation: &Explanation<'_>, view: &View<'_>) -> std::fmt::Result {
    let (scope, evaluation, findings) = match &view.sight {
        Sight::Unseen { reason, why } => return writeln!(out, "\n  Baseline {}: {why} ({reason})", view.baseline),
        Sight::Seen { scope, evaluation, findings } => (scope, evaluation, findings),
    };
    let how = match scope {
        Scope::DefaultGroupOnly => "sees it as the default group of a selected VPC",
        Scope::Selected | Scope::Outside => "selects it",
    };
    writeln!(out, "\n  Baseline {}: {how}", view.baseline)?;
    for finding in findings {
        let (word, severity, control) = (finding.verdict.word(), finding.severity, finding.control);
        write!(out, "    {word:<13} {severity:<8} {control}")?;
        match finding.verdict {
            Verdict::Pass => writeln!(out)?,
            Verdict::PassWithNote { .. }
            | Verdict::Fail { .. }
            | Verdict::NotApplicable { .. }
            | Verdict::Unknown { .. } => {
                writeln!(out, ": {}", actual(finding))?;
            }
        }
        if let Some(why) = explanation.unmade(evaluation, finding) {
            writeln!(out, "        {why}")?;
        }
    }
    Ok(())
}
