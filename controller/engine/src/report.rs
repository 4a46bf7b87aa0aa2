//! What a cell reports of each baseline, and how the reports of many cells become one summary of bounded size.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::edit::{BaselineRef, Demand, Edit, Withheld};
use crate::evaluate::{BaselineEvaluation, ControlCount, Evaluation, Finding, Verdicts};
use crate::facts::{Location, ReadFailure};
use crate::finding::{Severity, Verdict};
use crate::plan::{Applied, Failure, Outcome, Plan, ResourceOutcome, WithheldEdit};
use crate::readiness::Readiness;

/// The most findings, and the most cells, that a summary names; the rest is counted.
pub const NAMED: usize = 50;

/// No text in a summary takes more than this many bytes in the JSON of the Kubernetes API.
pub const TEXT: usize = 256;

/// As [`TEXT`], for what is to be done about a finding.
pub const ADVICE: usize = 140;

/// What one baseline sees and did in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellReport {
    /// Which baseline, at which generation.
    pub reference: BaselineRef,
    /// The account and region.
    pub location: Location,
    /// When the facts were read.
    pub swept_at: Timestamp,
    /// When the look ended that the counts and findings are of; `None` if there was none at this generation.
    pub counted_at: Option<Timestamp>,
    /// When the oldest fact was read that a verdict rests on; `None` until each was read once.
    pub oldest_fact: Option<Timestamp>,
    /// Why there are no new verdicts, if the resources could not be read.
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
    /// Other baselines that contradict this one.
    pub conflicts: BTreeSet<String>,
    /// What a baseline in `Audit` would do if its mode were `Enforce`, as far as that was looked at.
    pub readiness: Option<Readiness>,
}

impl CellReport {
    /// What a look that failed leaves standing: what the look before it counted, if that was at the same generation.
    pub fn after(self, before: Option<&Self>) -> Self {
        match before.filter(|before| self.failure.is_some() && before.reference == self.reference) {
            None => self,
            Some(before) => Self {
                swept_at: self.swept_at,
                failure: self.failure,
                partial: self.partial,
                failures: BTreeMap::new(),
                verified: 0,
                ..before.clone()
            },
        }
    }
}

/// A finding with what holds its repair back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFinding {
    /// Where the resource is.
    pub location: Location,
    /// The finding, its texts cut to [`TEXT`] bytes.
    pub finding: Finding,
    /// Why it is not repaired, if it could be.
    pub held: Option<Held>,
}

/// Why a finding is not repaired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The reason as it stands in status.
    pub reason: &'static str,
    /// What holds the repair back and how to let it go, cut to [`ADVICE`] bytes.
    pub advice: String,
}

impl From<&Withheld> for Held {
    fn from(withheld: &Withheld) -> Self {
        Self { reason: withheld.reason(), advice: cut_to(&withheld.explain(), ADVICE) }
    }
}

impl From<Failure> for Held {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason(), advice: cut_to(failure.advice(), ADVICE) }
    }
}

impl NamedFinding {
    fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        self.finding.worst_first(&other.finding).then_with(|| self.location.cmp(&other.location))
    }
}

/// Reports one sweep to every baseline of the cell.
pub fn report(evaluation: &Evaluation, plan: &Plan<Applied>, now: Timestamp) -> Vec<CellReport> {
    let references: Vec<&BaselineRef> = evaluation.baselines.iter().map(|baseline| &baseline.reference).collect();
    let mut tallies = tallies(&plan.stage, &references);
    let report = |baseline: &BaselineEvaluation| {
        let tally = tallies.remove(&baseline.reference).unwrap_or_default();
        one(baseline, evaluation, tally, &plan.cell.location, now)
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
    reasons: BTreeMap<(&'p str, &'static str), Fate<'p>>,
    /// Baselines that contradict it, and the resources on which an edit of its own says so.
    conflicts: BTreeSet<String>,
    contradicted: BTreeSet<&'p str>,
}

fn tallies<'p>(applied: &'p Applied, references: &[&'p BaselineRef]) -> BTreeMap<&'p BaselineRef, Tally<'p>> {
    let Applied { outcomes, withheld } = applied;
    let held = withheld.iter().map(|WithheldEdit { edit, reason }| (edit, Fate::held_back(reason)));
    let tried = outcomes.iter().flat_map(|ResourceOutcome { edits, outcome, .. }| {
        let fate = Fate::of(outcome);
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
    for WithheldEdit { edit, reason } in withheld {
        if let Withheld::Conflicting(others) = reason {
            let is_other = |reference: &&&BaselineRef| others.contains(&reference.to_string());
            for other in references.iter().filter(is_other) {
                tallies.entry(other).or_default().contradicted_by(edit, other, reason);
            }
        }
    }
    tallies
}

/// What became of one edit.
#[derive(Clone, Copy)]
enum Fate<'p> {
    Verified,
    Withheld(&'p Withheld),
    Failed(Failure),
}

impl<'p> Fate<'p> {
    fn of(outcome: &'p Outcome) -> Self {
        match outcome {
            Outcome::Verified => Self::Verified,
            Outcome::Withheld(reason) => Self::held_back(reason),
            Outcome::Failed(failure) => Self::Failed(*failure),
        }
    }

    /// Until it is tried again, the last outcome stands: that is what somebody has to mend.
    fn held_back(reason: &'p Withheld) -> Self {
        match reason {
            Withheld::BackingOff(last) => Self::of(last),
            other => Self::Withheld(other),
        }
    }

    fn held(self) -> Option<Held> {
        match self {
            Self::Verified => None,
            Self::Withheld(reason) => Some(Held::from(reason)),
            Self::Failed(failure) => Some(Held::from(failure)),
        }
    }
}

impl<'p> Tally<'p> {
    fn count(&mut self, edit: &'p Edit, demands: &[Demand], fate: Fate<'p>) {
        match fate {
            Fate::Verified => self.verified += 1,
            Fate::Withheld(reason) => *self.withheld.entry(reason.reason()).or_default() += 1,
            Fate::Failed(failure) => *self.failures.entry(failure.reason()).or_default() += 1,
        }
        if let Fate::Withheld(Withheld::Conflicting(others)) = fate {
            self.conflicts.extend(others.iter().cloned());
            self.contradicted.insert(&edit.resource);
        }
        for demand in demands {
            self.reasons.entry((edit.resource.as_str(), demand.control)).or_insert(fate);
        }
    }

    /// Notes an edit of others that this baseline contradicts. It may have neither a finding nor an edit of its own there,
    /// since what it wants is so for now; its author is to learn of the conflict all the same.
    fn contradicted_by(&mut self, edit: &'p Edit, me: &BaselineRef, reason: &Withheld) {
        let others = edit.demands.iter().map(|demand| &demand.baseline).filter(|other| *other != me);
        self.conflicts.extend(others.map(BaselineRef::to_string));
        if self.contradicted.insert(&edit.resource) {
            *self.withheld.entry(reason.reason()).or_default() += 1;
        }
    }

    /// Why a finding is not repaired. What could be repaired and has no edit is held by the spec, or there is nothing to write.
    fn held(&self, baseline: &BaselineEvaluation, finding: &Finding) -> Option<Held> {
        if let Some(by) = &finding.exempt {
            return Some(Held::from(&Withheld::Exempt(by.to_string())));
        }
        match self.reasons.get(&(finding.resource.as_str(), finding.control)) {
            Some(fate) => fate.held(),
            None if !matches!(finding.verdict, Verdict::Fail { .. }) => None,
            None => baseline.unmade(finding.control).map(Held::from),
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
        counted_at: evaluation.failure.is_none().then_some(now),
        oldest_fact: None,
        failure: evaluation.failure,
        partial: evaluation.partial.clone(),
        resources: baseline.resources,
        failing_resources: baseline.failing_resources,
        controls: baseline.controls.clone(),
        worst: baseline.findings.iter().take(NAMED).map(named).collect(),
        withheld: tally.withheld,
        failures: tally.failures,
        verified: tally.verified,
        conflicts: tally.conflicts,
        readiness: None,
    }
}

fn shortened(finding: &Finding) -> Finding {
    let verdict = match &finding.verdict {
        Verdict::Fail { expected, actual } => Verdict::fail(cut(expected), cut(actual)),
        Verdict::Unknown { why } => Verdict::unknown(cut(why)),
        Verdict::PassWithNote { note } => Verdict::pass_with_note(cut(note)),
        other => other.clone(),
    };
    Finding { verdict, ..finding.clone() }
}

/// A text of at most [`TEXT`] bytes as JSON, without control characters, cut between characters.
pub fn cut(text: &str) -> String {
    cut_to(text, TEXT)
}

fn cut_to(text: &str, most: usize) -> String {
    const ELLIPSIS: char = '…';
    let clean: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    if clean.chars().map(json_bytes).sum::<usize>() <= most {
        return clean;
    }
    let room = most - json_bytes(ELLIPSIS);
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
    /// The cells by location, at most [`NAMED`], those that fail among them.
    pub cells: Vec<CellSummary>,
    /// All cells.
    pub cells_total: usize,
    /// Cells that the counts know nothing of.
    pub cells_uncounted: usize,
    /// Other baselines that contradict this one.
    pub conflicts: BTreeSet<String>,
    /// What a baseline in `Audit` would do if its mode were `Enforce`, once that is known of every cell that was read.
    pub readiness: Option<Readiness>,
}

/// How one cell is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellSummary {
    /// The account and region.
    pub location: Location,
    /// When the facts of the last sweep were read.
    pub swept_at: Timestamp,
    /// When the oldest fact was read that a verdict rests on; `None` until each was read once.
    pub oldest_fact: Option<Timestamp>,
    /// Why there are no verdicts.
    pub failure: Option<ReadFailure>,
    /// Sources that could not be read beside that.
    pub partial: Vec<(&'static str, ReadFailure)>,
}

/// Puts the reports of all cells of one baseline together.
pub fn summarise<'r>(reports: impl IntoIterator<Item = &'r CellReport>) -> Summary {
    let (mut summary, mut readiness) = (Summary::default(), Some(Readiness::default()));
    for report in reports {
        if report.counted_at.is_some() {
            readiness = add_readiness(readiness, report.readiness.as_ref());
        }
        summary.resources += report.resources;
        summary.failing_resources += report.failing_resources;
        add_controls(&mut summary, &report.controls);
        summary.worst.extend(report.worst.iter().cloned());
        add(&mut summary.withheld, &report.withheld);
        add(&mut summary.failures, &report.failures);
        summary.conflicts.extend(report.conflicts.iter().cloned());
        summary.cells_uncounted += usize::from(report.counted_at.is_none());
        summary.cells.push(CellSummary {
            location: report.location.clone(),
            swept_at: report.swept_at,
            oldest_fact: report.oldest_fact,
            failure: report.failure,
            partial: report.partial.clone(),
        });
    }
    summary.worst.sort_by(NamedFinding::worst_first);
    summary.worst.truncate(NAMED);
    summary.cells_total = summary.cells.len();
    summary.readiness = readiness.filter(|_| summary.cells_uncounted < summary.cells_total);
    name_cells(&mut summary.cells);
    summary
}

/// Half of it would be no evidence: what is not known of one cell is not known at all.
fn add_readiness(sum: Option<Readiness>, one: Option<&Readiness>) -> Option<Readiness> {
    let (mut sum, one) = (sum?, one?);
    sum.add(one);
    Some(sum)
}

/// Keeps the cells that are named, failing ones before others, in an order that time does not change.
fn name_cells(cells: &mut Vec<CellSummary>) {
    let urgency = |cell: &CellSummary| (cell.failure.is_none(), cell.partial.is_empty());
    cells.sort_by(|one, other| urgency(one).cmp(&urgency(other)).then_with(|| one.location.cmp(&other.location)));
    cells.truncate(NAMED);
    cells.sort_by(|one, other| one.location.cmp(&other.location));
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
    use crate::edit::{Change, Impact, Operation};
    use crate::facts::Tags;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn baseline(name: &str) -> BaselineRef {
        BaselineRef {
            kind: crate::kind::Kind::SecurityGroup,
            namespace: "team".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            generation: 1,
        }
    }

    /// A report of a look that was whole.
    fn seen(region: String, second: i64) -> CellReport {
        CellReport {
            reference: baseline("edge"),
            location: Location { account: "111122223333".to_owned(), region },
            swept_at: at(second),
            counted_at: Some(at(second)),
            oldest_fact: Some(at(second)),
            failure: None,
            partial: Vec::new(),
            resources: 3,
            failing_resources: 1,
            controls: Vec::new(),
            worst: Vec::new(),
            withheld: BTreeMap::from([("Audit", 1)]),
            failures: BTreeMap::from([("Refused", 1)]),
            verified: 1,
            conflicts: BTreeSet::new(),
            readiness: None,
        }
    }

    /// What a look reports that failed.
    fn unseen(region: String, second: i64) -> CellReport {
        let (failure, nothing) = (Some(ReadFailure::Throttled), BTreeMap::new());
        let seen = seen(region, second);
        CellReport { counted_at: None, failure, resources: 0, failing_resources: 0, withheld: nothing, ..seen }
    }

    #[test]
    fn cells_stand_by_location_whenever_they_were_swept_and_failing_ones_are_not_left_out() {
        let one = seen("a".to_owned(), 1);
        let other = seen("b".to_owned(), 2);
        let later = seen("a".to_owned(), 3);
        let regions = |reports: &[&CellReport]| -> Vec<String> {
            let cells = summarise(reports.iter().copied()).cells;
            cells.into_iter().map(|cell| cell.location.region).collect()
        };
        assert_eq!(regions(&[&one, &other]), regions(&[&other, &later]));
        let mut many: Vec<CellReport> = (0..NAMED).map(|number| seen(format!("r{number:02}"), 1)).collect();
        many.push(unseen("z".to_owned(), 1));
        let summary = summarise(&many);
        assert_eq!((summary.cells.len(), summary.cells_total, summary.cells_uncounted), (NAMED, NAMED + 1, 1));
        assert_eq!(summary.cells.last().map(|cell| cell.failure), Some(Some(ReadFailure::Throttled)));
        assert!(summary.cells.is_sorted_by_key(|cell| &cell.location));
    }

    #[test]
    fn the_evidence_for_a_switch_is_whole_or_there_is_none() {
        let found = |edits: u64| Readiness { owned_by_code: edits, ..Readiness::default() };
        let with = |region: &str, readiness| CellReport { readiness, ..seen(region.to_owned(), 1) };
        let (one, two, none) = (with("a", Some(found(1))), with("b", Some(found(2))), with("c", None));
        let (blind, of) =
            (unseen("d".to_owned(), 1), |reports: &[&CellReport]| summarise(reports.iter().copied()).readiness);
        assert_eq!(of(&[&one, &two, &blind]), Some(found(3)));
        assert_eq!(of(&[&one, &none]), None);
        assert_eq!((of(&[&blind]), of(&[])), (None, None));
    }

    #[test]
    fn a_look_that_failed_keeps_the_counts_of_the_one_before() {
        let (before, now) = (seen("a".to_owned(), 1), unseen("a".to_owned(), 2));
        let kept = now.clone().after(Some(&before));
        assert_eq!((kept.resources, kept.failing_resources, &kept.withheld), (3, 1, &before.withheld));
        assert_eq!((kept.swept_at, kept.counted_at, kept.failure), (at(2), Some(at(1)), now.failure));
        assert_eq!((kept.verified, kept.failures.len()), (0, 0));
        assert_eq!(unseen("a".to_owned(), 3).after(Some(&kept)).resources, 3);
        let elsewhen = CellReport { reference: BaselineRef { generation: 2, ..baseline("edge") }, ..now.clone() };
        assert_eq!(elsewhen.clone().after(Some(&before)), elsewhen);
        assert_eq!(now.clone().after(None), now);
        let again = seen("a".to_owned(), 4);
        assert_eq!(again.clone().after(Some(&before)), again);
    }

    #[test]
    fn who_contradicts_an_edit_learns_of_it_without_one_of_its_own() {
        let edit = |resource: &str, demander: &str| Edit {
            resource: resource.to_owned(),
            operation: Operation::AddTags,
            change: Change::Tags { before: Tags::new(), after: Tags::new() },
            demands: vec![Demand { baseline: baseline(demander), control: "sg-tagged" }],
            severity: Severity::Low,
            exposed: 0,
            impact: Impact::None,
        };
        let held = |resource, demander, other: &str| WithheldEdit {
            edit: edit(resource, demander),
            reason: Withheld::Conflicting(vec![other.to_owned()]),
        };
        let withheld =
            vec![held("sg-1", "one", "team/two"), held("sg-2", "one", "team/two"), held("sg-2", "two", "team/one")];
        let applied = Applied { outcomes: Vec::new(), withheld };
        let (one, two, three) = (baseline("one"), baseline("two"), baseline("three"));
        let tallies = tallies(&applied, &[&one, &two, &three]);
        for (mine, other) in [(&one, "team/two"), (&two, "team/one")] {
            let tally = &tallies[mine];
            assert_eq!(tally.withheld, BTreeMap::from([("Conflicting", 2)]), "{mine}");
            assert_eq!(tally.conflicts, BTreeSet::from([other.to_owned()]));
        }
        assert!(!tallies.contains_key(&three));
    }

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
