//! How a plan looks: as Terraform users know it, or as one JSON document.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use crds::Record;
use engine::edit::{Change, Edit, Operation, Withheld};
use engine::evaluate::Finding;
use engine::facts::{Location, Rule};
use engine::finding::{Severity, Verdict};
use engine::property::{Json, PropertyChange, PropertyName};
use engine::report::cut;
use serde::Serialize;

use super::look::{CellPlan, Unread};

/// The JSON document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'p> {
    findings: Vec<FindingDocument<'p>>,
    edits: Vec<EditDocument<'p>>,
    unread: Vec<UnreadDocument<'p>>,
}

/// What is missing from the findings, since it could not be read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UnreadDocument<'p> {
    account: &'p str,
    region: &'p str,
    what: &'static str,
    reason: &'static str,
    advice: &'p str,
}

/// A verdict.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingDocument<'p> {
    control: &'static str,
    resource: &'p str,
    account: &'p str,
    region: &'p str,
    baseline: String,
    verdict: &'static str,
    severity: Severity,
    expected: Option<&'p str>,
    actual: Option<&'p str>,
    /// The exemption under which a failure stands, and until when.
    exempt: Option<String>,
}

/// An edit, and why it is not made if it is not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EditDocument<'p> {
    resource: &'p str,
    account: &'p str,
    region: &'p str,
    controls: Vec<&'static str>,
    operation: String,
    before: Vec<Record>,
    after: Vec<Record>,
    risk: String,
    impact: String,
    withheld: Option<&'static str>,
}

/// One JSON document with every finding, every edit, and what could not be read.
///
/// # Errors
/// None in practice: plain values can be written as JSON.
pub fn json(cells: &[CellPlan]) -> serde_json::Result<String> {
    let findings = cells.iter().flat_map(|cell| {
        cell.evaluation.baselines.iter().flat_map(move |baseline| {
            baseline
                .findings
                .iter()
                .map(move |finding| finding_document(&cell.cell.location, baseline.reference.to_string(), finding))
        })
    });
    let edits = cells
        .iter()
        .flat_map(|cell| edits(cell).map(|(edit, reason)| edit_document(&cell.cell.location, edit, reason)));
    let unread =
        cells.iter().flat_map(|cell| cell.unread.iter().map(|unread| unread_document(&cell.cell.location, unread)));
    let (findings, edits, unread) = (findings.collect(), edits.collect(), unread.collect());
    serde_json::to_string_pretty(&Document { findings, edits, unread })
}

fn unread_document<'p>(location: &'p Location, unread: &'p Unread) -> UnreadDocument<'p> {
    let Unread { what, reason, advice } = unread;
    UnreadDocument { account: &location.account, region: &location.region, what, reason, advice }
}

/// A verdict for the JSON document.
pub fn finding_document<'p>(location: &'p Location, baseline: String, finding: &'p Finding) -> FindingDocument<'p> {
    let (expected, actual) = match &finding.verdict {
        Verdict::Pass => (None, None),
        Verdict::PassWithNote { note } => (None, Some(note.as_str())),
        Verdict::Fail { expected, actual } => (Some(expected.as_str()), Some(actual.as_str())),
        Verdict::NotApplicable { why } | Verdict::Unknown { why } => (None, Some(why.as_ref())),
    };
    FindingDocument {
        control: finding.control,
        resource: &finding.resource,
        account: &location.account,
        region: &location.region,
        baseline,
        verdict: finding.verdict.word(),
        severity: finding.severity,
        expected,
        actual,
        exempt: finding.exempt.as_ref().map(ToString::to_string),
    }
}

/// An edit for the JSON document.
pub fn edit_document<'p>(location: &'p Location, edit: &'p Edit, reason: Option<&'p Withheld>) -> EditDocument<'p> {
    let (before, after) = Record::before_and_after(&edit.change);
    EditDocument {
        resource: &edit.resource,
        account: &location.account,
        region: &location.region,
        controls: edit.controls(),
        operation: edit.operation.to_string(),
        before,
        after,
        risk: edit.operation.risk().to_string(),
        impact: edit.impact.to_string(),
        withheld: reason.map(Withheld::reason),
    }
}

/// Every edit of a cell, worst first, with what holds it back.
pub fn edits(cell: &CellPlan) -> impl Iterator<Item = (&Edit, Option<&Withheld>)> {
    let permitted = cell.permitted.resources.iter().flat_map(|resource| &resource.edits).map(|edit| (edit, None));
    let withheld = cell.permitted.withheld.iter().map(|held| (&held.edit, Some(&held.reason)));
    let mut edits: Vec<_> = permitted.chain(withheld).collect();
    edits.sort_by(|one, other| one.0.worst_first(other.0));
    edits.into_iter()
}

/// One line for everything that could not be read.
pub fn unread(cells: &[CellPlan]) -> String {
    let line = |Location { account, region }: &Location, Unread { what, reason, advice }: &Unread| {
        format!("baseward: account {account}, region {region}: {what} could not be read ({reason}): {advice}\n")
    };
    cells.iter().flat_map(|cell| cell.unread.iter().map(move |unread| line(&cell.cell.location, unread))).collect()
}

/// The plan for people.
pub fn text(cells: &[CellPlan]) -> String {
    let mut text = String::new();
    for cell in cells {
        // Writing to a string cannot fail.
        let _ = write_cell(&mut text, cell);
    }
    let _ = write_totals(&mut text, cells);
    text
}

fn write_cell(out: &mut String, cell: &CellPlan) -> std::fmt::Result {
    let Location { account, region } = &cell.cell.location;
    writeln!(out, "Account {account}, region {region}")?;
    for Unread { what, reason, advice } in &cell.unread {
        writeln!(out, "  {what} could not be read ({reason}): {advice}")?;
    }
    if cell.evaluation.failure.is_some() {
        return writeln!(out);
    }
    write_findings(out, cell)?;
    write_edits(out, cell)?;
    writeln!(out)
}

/// One line per control that fails or is unknown, with the first resources.
fn write_findings(out: &mut String, cell: &CellPlan) -> std::fmt::Result {
    for baseline in &cell.evaluation.baselines {
        writeln!(out, "\n  Baseline {}: {} groups selected", baseline.reference, baseline.resources)?;
        let mut by_control: BTreeMap<(Shown, Reverse<Severity>, &str), Vec<&Finding>> = BTreeMap::new();
        for finding in &baseline.findings {
            if let Some(shown) = Shown::of(finding) {
                by_control.entry((shown, Reverse(finding.severity), finding.control)).or_default().push(finding);
            }
        }
        if by_control.is_empty() {
            writeln!(out, "    every control passes")?;
        }
        for ((shown, Reverse(severity), control), findings) in by_control {
            writeln!(out, "    {severity:<8} {control}: {} on {}", shown.word(), findings.len())?;
            for finding in findings.iter().take(3) {
                writeln!(out, "             {}: {}", named(cell, &finding.resource), actual(finding))?;
            }
            if findings.len() > 3 {
                writeln!(out, "             … and {} more (-o json lists all)", findings.len() - 3)?;
            }
        }
    }
    Ok(())
}

/// Findings that are shown, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Failed,
    Unknown,
    Exempt,
    Noted,
}

impl Shown {
    fn of(finding: &Finding) -> Option<Self> {
        match finding.verdict {
            Verdict::Fail { .. } if finding.exempt.is_some() => Some(Self::Exempt),
            Verdict::Fail { .. } => Some(Self::Failed),
            Verdict::Unknown { .. } => Some(Self::Unknown),
            Verdict::PassWithNote { .. } => Some(Self::Noted),
            Verdict::Pass | Verdict::NotApplicable { .. } => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Exempt => "exempt",
            Self::Noted => "passes with a note",
        }
    }
}

/// What was found, for people.
pub fn actual(finding: &Finding) -> String {
    match &finding.verdict {
        Verdict::Fail { actual, .. } if let Some(exempt) = &finding.exempt => format!("{} ({exempt})", cut(actual)),
        Verdict::Fail { expected, actual } => format!("{} (expected: {expected})", cut(actual)),
        Verdict::Unknown { why } | Verdict::NotApplicable { why } => why.to_string(),
        Verdict::PassWithNote { note } => note.clone(),
        Verdict::Pass => String::new(),
    }
}

fn named(cell: &CellPlan, resource: &str) -> String {
    match cell.names.get(resource) {
        Some(name) => format!("{resource} ({})", cut(name)),
        None => resource.to_owned(),
    }
}

fn write_edits(out: &mut String, cell: &CellPlan) -> std::fmt::Result {
    let edits: Vec<_> = edits(cell).collect();
    if edits.is_empty() {
        return writeln!(out, "\n  No changes.");
    }
    writeln!(out, "\n  Changes, worst first:")?;
    let mut last = None;
    for (edit, reason) in edits {
        if last != Some(&edit.resource) {
            writeln!(out, "\n  {} [{}]", named(cell, &edit.resource), edit.impact)?;
            last = Some(&edit.resource);
        }
        write_edit(out, edit, reason)?;
    }
    Ok(())
}

/// An edit for people.
///
/// # Errors
/// That of the writer: a string has none.
pub fn write_edit(out: &mut String, edit: &Edit, reason: Option<&Withheld>) -> std::fmt::Result {
    let mark = match edit.operation {
        Operation::RemoveGrant | Operation::RemoveStatement => '-',
        Operation::AddGrant | Operation::AddTags | Operation::AddStatement => '+',
        _ => '~',
    };
    writeln!(out, "    {mark} {}", change(edit))?;
    writeln!(out, "        {} {}", edit.severity, edit.controls().join(", "))?;
    if let Some(reason) = reason {
        writeln!(out, "        withheld ({}): {}", reason.reason(), reason.explain())?;
    }
    Ok(())
}

fn change(edit: &Edit) -> String {
    let grants = |rules: &[Rule]| rules.iter().map(|rule| rule.grant.to_string()).collect::<Vec<_>>().join(" + ");
    match (&edit.change, edit.operation) {
        (Change::Properties(changes), _) => changes.iter().map(property).collect::<Vec<_>>().join("; "),
        (Change::Tags { after, .. }, _) => {
            let tags: Vec<String> = after.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("tag {}", cut(&tags.join(", ")))
        }
        (Change::Rule { before: None, after }, _) => grants(after),
        (Change::Restore { rule, .. }, _) => rule.grant.to_string(),
        (Change::Rule { before: Some(before), after }, Operation::DescribeGrant) => {
            let text = after.first().and_then(|rule| rule.description.clone()).unwrap_or_default();
            format!("{} described as {:?}", before.grant, cut(&text))
        }
        (Change::Rule { before: Some(before), after }, _) if after.is_empty() => before.grant.to_string(),
        (Change::Rule { before: Some(before), after }, _) => format!("{} -> {}", before.grant, grants(after)),
    }
}

/// A property and its values. Statements are told by their names: their text stands in the change set.
fn property(change: &PropertyChange) -> String {
    let PropertyChange { property, before, after } = change;
    if !matches!(property.name, PropertyName::Statement | PropertyName::LayerStatement) {
        return in_full(change);
    }
    let verb = match (before, after) {
        (Some(_), None) => "remove",
        (None, _) => "add",
        (Some(_), Some(_)) => "keep",
    };
    format!("{verb} {property}")
}

/// The same with all that is to be decided on, statements too.
pub fn in_full(PropertyChange { property, before, after }: &PropertyChange) -> String {
    let text = |value: &Option<Json>| value.as_ref().map_or_else(|| "not set".to_owned(), |value| cut(value.text()));
    format!("{property}: {} -> {}", text(before), text(after))
}

fn write_totals(out: &mut String, cells: &[CellPlan]) -> std::fmt::Result {
    let mut made: BTreeMap<Operation, usize> = BTreeMap::new();
    let mut held: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (edit, reason) in cells.iter().flat_map(edits) {
        match reason {
            None => *made.entry(edit.operation).or_default() += 1,
            Some(reason) => *held.entry(reason.reason()).or_default() += 1,
        }
    }
    let of = |operations: &[Operation]| operations.iter().filter_map(|operation| made.get(operation)).sum::<usize>();
    let narrowed = of(&[Operation::NarrowGrant, Operation::NarrowStatement]);
    let removed = of(&[Operation::RemoveGrant, Operation::RemoveStatement]);
    let added = of(&[Operation::AddGrant, Operation::AddStatement]);
    let (described, tagged) = (of(&[Operation::DescribeGrant]), of(&[Operation::AddTags]));
    write!(
        out,
        "Plan: {narrowed} to narrow, {removed} to remove, {added} to add, {described} to describe, {tagged} to tag"
    )?;
    let set = made.values().sum::<usize>() - narrowed - removed - added - described - tagged;
    if set > 0 {
        write!(out, ", {set} to set")?;
    }
    if held.is_empty() {
        return writeln!(out, ".");
    }
    let reasons: Vec<String> = held.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    writeln!(out, "; withheld: {}.", reasons.join(", "))
}
