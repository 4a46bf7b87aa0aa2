//! What a cell reports of each baseline, and how the reports of many cells become one summary of bounded size.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::edit::{BaselineRef, Demand, Edit};
use crate::evaluate::{BaselineEvaluation, ControlCount, Evaluation, Finding, Verdicts};
use crate::facts::{Location, ReadFailure};
use crate::finding::{Severity, Verdict};
use crate::plan::{Applied, Outcome, Plan};

/// The most findings, and the most cells, that a summary names; the rest is counted.
pub const NAMED: usize = 50;

/// No text in a summary is longer than this many bytes.
pub const TEXT: usize = 256;

/// What one baseline sees and did in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellReport {
    /// Which baseline, at which generation.
    pub reference: BaselineRef,
    /// The account and region.
    pub location: Location,
    /// When the sweep ended.
    pub swept_at: Timestamp,
    /// Why there are no verdicts, if the resources could not be read.
    pub failure: Option<ReadFailure>,
    /// Sources that could not be read while the resources could: only the controls that need them are unknown.
    pub partial: Vec<(&'static str, ReadFailure)>,
    /// Selected resources.
    pub resources: u64,
    /// Selected resources with at least one failure.
    pub failing_resources: u64,
    /// Counts per control.
    pub controls: Vec<ControlCount>,
    /// The worst findings.
    pub worst: Vec<NamedFinding>,
    /// Edits that were held back, by reason.
    pub withheld: BTreeMap<&'static str, u64>,
    /// Edits that were tried and not made, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// Edits that were made and verified.
    pub verified: u64,
}

/// A finding with what holds its repair back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFinding {
    /// Where the resource is.
    pub location: Location,
    /// The finding, its texts cut to [`TEXT`] bytes.
    pub finding: Finding,
    /// Why it is not repaired, if it could be.
    pub held: Option<&'static str>,
}

impl NamedFinding {
    fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        self.finding
            .worst_first(&other.finding)
            .then_with(|| self.location.cmp(&other.location))
    }
}

/// Reports one sweep to every baseline of the cell.
pub fn report(evaluation: &Evaluation, plan: &Plan<Applied>, now: Timestamp) -> Vec<CellReport> {
    evaluation
        .baselines
        .iter()
        .map(|baseline| one(baseline, evaluation, plan, now))
        .collect()
}

fn one(
    baseline: &BaselineEvaluation,
    evaluation: &Evaluation,
    plan: &Plan<Applied>,
    now: Timestamp,
) -> CellReport {
    let Applied {
        outcomes,
        withheld: held,
    } = &plan.stage;
    let mine = |demands: &[Demand]| {
        demands
            .iter()
            .any(|demand| demand.baseline == baseline.reference)
    };
    let (mut withheld, mut failures, mut verified) = (BTreeMap::new(), BTreeMap::new(), 0);
    let mut reasons = Reasons::new();
    for edit in held.iter().filter(|edit| mine(&edit.edit.demands)) {
        *withheld.entry(edit.reason.reason()).or_default() += 1;
        note(&mut reasons, &edit.edit, edit.reason.reason());
    }
    for resource in outcomes {
        for edit in resource.edits.iter().filter(|edit| mine(&edit.demands)) {
            match &resource.outcome {
                Outcome::Verified => verified += 1,
                Outcome::Withheld(reason) => {
                    *withheld.entry(reason.reason()).or_default() += 1;
                    note(&mut reasons, edit, reason.reason());
                }
                Outcome::Failed(failure) => {
                    *failures.entry(failure.reason()).or_default() += 1;
                    note(&mut reasons, edit, failure.reason());
                }
            }
        }
    }
    let named = |finding: &Finding| NamedFinding {
        location: plan.location.clone(),
        finding: shortened(finding),
        held: reasons
            .get(&(finding.resource.as_str(), finding.control))
            .copied(),
    };
    CellReport {
        reference: baseline.reference.clone(),
        location: plan.location.clone(),
        swept_at: now,
        failure: evaluation.failure,
        partial: evaluation.partial.clone(),
        resources: baseline.resources,
        failing_resources: baseline.failing_resources,
        controls: baseline.controls.clone(),
        worst: baseline.findings.iter().take(NAMED).map(named).collect(),
        withheld,
        failures,
        verified,
    }
}

/// Why the finding of a control on a resource is not repaired.
type Reasons<'e> = BTreeMap<(&'e str, &'static str), &'static str>;

fn note<'e>(reasons: &mut Reasons<'e>, edit: &'e Edit, reason: &'static str) {
    for demand in &edit.demands {
        reasons
            .entry((edit.resource.as_str(), demand.control))
            .or_insert(reason);
    }
}

fn shortened(finding: &Finding) -> Finding {
    let verdict = match &finding.verdict {
        Verdict::Fail { expected, actual } => Verdict::fail(cut(expected), cut(actual)),
        Verdict::Unknown { why } => Verdict::unknown(cut(why)),
        other => other.clone(),
    };
    Finding {
        verdict,
        ..finding.clone()
    }
}

/// A text of at most [`TEXT`] bytes without control characters, cut between characters.
pub fn cut(text: &str) -> String {
    const ELLIPSIS: char = '…';
    let clean: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    if clean.len() <= TEXT {
        return clean;
    }
    let mut end = TEXT - ELLIPSIS.len_utf8();
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = clean.get(..end).unwrap_or_default().to_owned();
    short.push(ELLIPSIS);
    short
}

/// What one baseline sees over all its cells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Selected resources.
    pub resources: u64,
    /// Selected resources with at least one failure.
    pub failing_resources: u64,
    /// All verdicts.
    pub verdicts: Verdicts,
    /// Failures by severity.
    pub violations: BTreeMap<Severity, u64>,
    /// Counts per control, in the order of the catalogue.
    pub controls: Vec<ControlCount>,
    /// The worst findings, at most [`NAMED`].
    pub worst: Vec<NamedFinding>,
    /// Edits that were held back, by reason.
    pub withheld: BTreeMap<&'static str, u64>,
    /// Edits that were tried and not made, by reason.
    pub failures: BTreeMap<&'static str, u64>,
    /// The cells, failing and oldest first, at most [`NAMED`].
    pub cells: Vec<CellSummary>,
    /// All cells.
    pub cells_total: usize,
}

/// How one cell is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSummary {
    /// The account and region.
    pub location: Location,
    /// When the last sweep ended.
    pub swept_at: Timestamp,
    /// Why there are no verdicts.
    pub failure: Option<ReadFailure>,
    /// Sources that could not be read beside that.
    pub partial: Vec<(&'static str, ReadFailure)>,
}

/// Puts the reports of all cells of one baseline together.
pub fn summarise<'r>(reports: impl IntoIterator<Item = &'r CellReport>) -> Summary {
    let mut summary = Summary::default();
    for report in reports {
        summary.resources += report.resources;
        summary.failing_resources += report.failing_resources;
        add_controls(&mut summary, &report.controls);
        summary.worst.extend(report.worst.iter().cloned());
        add(&mut summary.withheld, &report.withheld);
        add(&mut summary.failures, &report.failures);
        summary.cells.push(CellSummary {
            location: report.location.clone(),
            swept_at: report.swept_at,
            failure: report.failure,
            partial: report.partial.clone(),
        });
    }
    summary.worst.sort_by(NamedFinding::worst_first);
    summary.worst.truncate(NAMED);
    summary.cells_total = summary.cells.len();
    let urgency = |cell: &CellSummary| (cell.failure.is_none(), cell.partial.is_empty());
    summary.cells.sort_by(|one, other| {
        let age = one
            .swept_at
            .cmp(&other.swept_at)
            .then_with(|| one.location.cmp(&other.location));
        urgency(one).cmp(&urgency(other)).then(age)
    });
    summary.cells.truncate(NAMED);
    summary
}

fn add_controls(summary: &mut Summary, counts: &[ControlCount]) {
    for count in counts {
        summary.verdicts.add(count.verdicts);
        if count.verdicts.fail > 0 {
            *summary.violations.entry(count.severity).or_default() += count.verdicts.fail;
        }
        match summary
            .controls
            .iter_mut()
            .find(|known| known.control == count.control)
        {
            Some(known) => known.verdicts.add(count.verdicts),
            None => summary.controls.push(count.clone()),
        }
    }
}

fn add(sums: &mut BTreeMap<&'static str, u64>, counts: &BTreeMap<&'static str, u64>) {
    for (reason, count) in counts {
        *sums.entry(reason).or_default() += count;
    }
}
