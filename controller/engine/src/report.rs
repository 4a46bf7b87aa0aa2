//! What a cell reports of each baseline, and how the reports of many cells become one summary of bounded size.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::edit::{BaselineRef, Demand, Edit};
use crate::evaluate::{BaselineEvaluation, ControlCount, Evaluation, Finding, Verdicts};
use crate::facts::{Location, ReadFailure};
use crate::finding::{Severity, Verdict};
use crate::plan::{Applied, Outcome, Plan, ResourceOutcome, WithheldEdit};

/// The most findings, and the most cells, that a summary names; the rest is counted.
pub const NAMED: usize = 50;

/// No text in a summary takes more than this many bytes in the JSON of the Kubernetes API.
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
        self.finding.worst_first(&other.finding).then_with(|| self.location.cmp(&other.location))
    }
}

/// Reports one sweep to every baseline of the cell.
pub fn report(evaluation: &Evaluation, plan: &Plan<Applied>, now: Timestamp) -> Vec<CellReport> {
    let mut tallies = tallies(&plan.stage);
    let report = |baseline: &BaselineEvaluation| {
        let tally = tallies.remove(&baseline.reference).unwrap_or_default();
        one(baseline, evaluation, tally, &plan.location, now)
    };
    evaluation.baselines.iter().map(report).collect()
}

/// What became of the edits that one baseline asked for.
#[derive(Default)]
struct Tally<'p> {
    withheld: BTreeMap<&'static str, u64>,
    failures: BTreeMap<&'static str, u64>,
    verified: u64,
    /// For each resource and control with an edit, why the worst of them was not made.
    reasons: BTreeMap<(&'p str, &'static str), Option<&'static str>>,
}

fn tallies(applied: &Applied) -> BTreeMap<&BaselineRef, Tally<'_>> {
    let Applied { outcomes, withheld } = applied;
    let held = withheld.iter().map(|WithheldEdit { edit, reason }| (edit, Fate::Withheld(reason.reason())));
    let tried = outcomes.iter().flat_map(|ResourceOutcome { edits, outcome, .. }| {
        let fate = match outcome {
            Outcome::Verified => Fate::Verified,
            Outcome::Withheld(reason) => Fate::Withheld(reason.reason()),
            Outcome::Failed(failure) => Fate::Failed(failure.reason()),
        };
        edits.iter().map(move |edit| (edit, fate))
    });
    let mut tallies: BTreeMap<&BaselineRef, Tally<'_>> = BTreeMap::new();
    for (edit, fate) in held.chain(tried) {
        for mine in edit.demands.chunk_by(|one, other| one.baseline == other.baseline) {
            if let Some(demand) = mine.first() {
                tallies.entry(&demand.baseline).or_default().count(edit, mine, fate);
            }
        }
    }
    tallies
}

/// What became of one edit.
#[derive(Clone, Copy)]
enum Fate {
    Verified,
    Withheld(&'static str),
    Failed(&'static str),
}

impl<'p> Tally<'p> {
    fn count(&mut self, edit: &'p Edit, demands: &[Demand], fate: Fate) {
        let reason = match fate {
            Fate::Verified => {
                self.verified += 1;
                None
            }
            Fate::Withheld(reason) => {
                *self.withheld.entry(reason).or_default() += 1;
                Some(reason)
            }
            Fate::Failed(reason) => {
                *self.failures.entry(reason).or_default() += 1;
                Some(reason)
            }
        };
        for demand in demands {
            self.reasons.entry((edit.resource.as_str(), demand.control)).or_insert(reason);
        }
    }

    /// Why a finding is not repaired. What could be repaired and has no edit is held by the spec, or there is nothing to write.
    fn held(&self, baseline: &BaselineEvaluation, finding: &Finding) -> Option<&'static str> {
        match self.reasons.get(&(finding.resource.as_str(), finding.control)) {
            Some(reason) => *reason,
            None if !matches!(finding.verdict, Verdict::Fail { .. }) => None,
            None => baseline.unmade(finding.control),
        }
    }
}

fn one(
    baseline: &BaselineEvaluation,
    evaluation: &Evaluation,
    tally: Tally<'_>,
    location: &Location,
    now: Timestamp,
) -> CellReport {
    let named = |finding: &Finding| NamedFinding {
        location: location.clone(),
        finding: shortened(finding),
        held: tally.held(baseline, finding),
    };
    CellReport {
        reference: baseline.reference.clone(),
        location: location.clone(),
        swept_at: now,
        failure: evaluation.failure,
        partial: evaluation.partial.clone(),
        resources: baseline.resources,
        failing_resources: baseline.failing_resources,
        controls: baseline.controls.clone(),
        worst: baseline.findings.iter().take(NAMED).map(named).collect(),
        withheld: tally.withheld,
        failures: tally.failures,
        verified: tally.verified,
    }
}

fn shortened(finding: &Finding) -> Finding {
    let verdict = match &finding.verdict {
        Verdict::Fail { expected, actual } => Verdict::fail(cut(expected), cut(actual)),
        Verdict::Unknown { why } => Verdict::unknown(cut(why)),
        other => other.clone(),
    };
    Finding { verdict, ..finding.clone() }
}

/// A text of at most [`TEXT`] bytes as JSON, without control characters, cut between characters.
pub fn cut(text: &str) -> String {
    const ELLIPSIS: char = '…';
    let clean: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if clean.chars().map(json_bytes).sum::<usize>() <= TEXT {
        return clean;
    }
    let room = TEXT - json_bytes(ELLIPSIS);
    let fits = |used: &mut usize, character: char| {
        *used += json_bytes(character);
        (*used <= room).then_some(character)
    };
    clean.chars().scan(0, fits).chain([ELLIPSIS]).collect()
}

/// What a character takes in JSON as the API server stores it: it escapes what HTML gives a meaning to, and the line
/// separators of Unicode.
fn json_bytes(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => 6,
        other => other.len_utf8(),
    }
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
        let age = one.swept_at.cmp(&other.swept_at).then_with(|| one.location.cmp(&other.location));
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
        match summary.controls.iter_mut().find(|known| known.control == count.control) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_they_take_as_json() {
        for (character, bytes) in [('x', 1), ('"', 2), ('\\', 2), ('ü', 2), ('&', 6), ('😀', 4), ('\n', 1)] {
            let fits = character.to_string().repeat(TEXT / bytes);
            assert_eq!(cut(&fits), fits.replace('\n', " "));
            let short = cut(&format!("{fits}{character}"));
            assert!(short.ends_with('…'), "{short}");
            assert_eq!(short.chars().count(), (TEXT - '…'.len_utf8()) / bytes + 1, "{short}");
            assert_eq!(cut(&short), short);
        }
    }
}
