//! Baselines and facts in, findings out.
//!
//! What does not depend on a baseline is computed once per resource. Passes are counted, not stored: memory follows
//! the violations.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::controls::Catalogue;
use crate::controls::lambda::Functions;
use crate::controls::security_group::SecurityGroups;
use crate::desired::{ActiveControl, Desired, Scope};
use crate::edit::{BaselineRef, Impact, Withheld};
use crate::exempt::ExemptBy;
use crate::facts::{Inventory, ReadFailure, Resource};
use crate::finding::{Severity, Verdict};
use crate::kind::Kind;
use crate::questions::{Asking, Question, questions};
use crate::spec::Mode;

/// Facts older than this judge nothing: a sweep that hangs must not look compliant.
pub const MAX_AGE: SignedDuration = SignedDuration::from_mins(10);

/// One control's verdict on one resource, for one baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Id of the resource.
    pub resource: String,
    /// The control.
    pub control: &'static str,
    /// How bad a failure is for this baseline.
    pub severity: Severity,
    /// The verdict.
    pub verdict: Verdict,
    /// What hangs on the resource.
    pub impact: Impact,
    /// The exemption under which a failure stands.
    pub exempt: Option<ExemptBy>,
}

impl Finding {
    /// Sorts the worst first: failures before the unknown before what is exempt or passes, then severity, control and resource.
    pub fn worst_first(&self, other: &Self) -> std::cmp::Ordering {
        Rank::of(self).cmp(&Rank::of(other))
    }
}

/// What findings are sorted by: the worst is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'f>(Reverse<(u8, Severity)>, &'f str, &'f str);

impl<'f> Rank<'f> {
    fn new(verdict: &Verdict, exempt: bool, severity: Severity, control: &'f str, resource: &'f str) -> Self {
        let urgency = match verdict {
            Verdict::Fail { .. } if !exempt => 2,
            Verdict::Unknown { .. } => 1,
            Verdict::Fail { .. } | Verdict::Pass | Verdict::PassWithNote { .. } | Verdict::NotApplicable { .. } => 0,
        };
        Self(Reverse((urgency, severity)), control, resource)
    }

    fn of(finding: &'f Finding) -> Self {
        Self::new(&finding.verdict, finding.exempt.is_some(), finding.severity, finding.control, &finding.resource)
    }
}

/// Which findings are kept beside the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Failures, unknown verdicts and passes with a note, the worst so many of each baseline.
    Worst(usize),
    /// Every verdict, passes too.
    All,
}

/// How many verdicts of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// As demanded.
    pub pass: u64,
    /// Not as demanded.
    pub fail: u64,
    /// Not as demanded, and exempt.
    pub exempt: u64,
    /// The control has nothing to say.
    pub not_applicable: u64,
    /// The facts do not suffice.
    pub unknown: u64,
}

impl Verdicts {
    fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass | Verdict::PassWithNote { .. } => self.pass += 1,
            Verdict::Fail { .. } => self.fail += 1,
            Verdict::NotApplicable { .. } => self.not_applicable += 1,
            Verdict::Unknown { .. } => self.unknown += 1,
        }
    }

    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        let Self { pass, fail, exempt, not_applicable, unknown } = other;
        self.pass += pass;
        self.fail += fail;
        self.exempt += exempt;
        self.not_applicable += not_applicable;
        self.unknown += unknown;
    }
}

/// One control's verdicts over all resources of a baseline in this cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlCount {
    /// Id of the control.
    pub control: &'static str,
    /// How bad a failure is.
    pub severity: Severity,
    /// How far the control goes.
    pub mode: Mode,
    /// The verdicts.
    pub verdicts: Verdicts,
}

/// What one baseline sees in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaselineEvaluation {
    /// Which baseline, at which generation.
    pub reference: BaselineRef,
    /// Selected resources.
    pub resources: u64,
    /// Selected resources with at least one failure.
    pub failing_resources: u64,
    /// Counts per control that is on.
    pub controls: Vec<ControlCount>,
    /// The findings that are kept, worst first.
    pub findings: Vec<Finding>,
    /// The controls with a remedy, each with the reason for which the spec has it not carried out.
    remedies: BTreeMap<&'static str, Option<Withheld>>,
    /// The least bad of the findings that are kept, once there are more than are kept: what is no worse is only counted.
    least: Option<Finding>,
}

/// What all baselines of a cell see.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The kind of the baselines.
    pub kind: Kind,
    /// One entry per baseline, in the order they were given.
    pub baselines: Vec<BaselineEvaluation>,
    /// Why there is no verdict at all, if the resources could not be read.
    pub failure: Option<ReadFailure>,
    /// Sources beside the resources that could not be read: only the controls that need them are unknown.
    pub partial: Vec<(&'static str, ReadFailure)>,
    failing: Vec<usize>,
    now: Timestamp,
}

impl Evaluation {
    /// Positions of the resources that a control which can repair them finds wanting.
    pub(crate) fn failing(&self) -> impl Iterator<Item = usize> {
        self.failing.iter().copied()
    }

    /// The time at which exemptions were looked at.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// Judges every resource of a kind by every baseline that selects it.
pub fn evaluate(kind: Kind, desired: &[Desired], inventory: &Inventory, now: Timestamp, keep: Keep) -> Evaluation {
    match kind {
        Kind::SecurityGroup => evaluate_as::<SecurityGroups>(kind, desired, inventory, now, keep),
        Kind::Lambda => evaluate_as::<Functions>(kind, desired, inventory, now, keep),
    }
}

fn evaluate_as<C: Catalogue>(
    kind: Kind,
    desired: &[Desired],
    inventory: &Inventory,
    now: Timestamp,
    keep: Keep,
) -> Evaluation {
    let mut baselines: Vec<BaselineEvaluation> = desired.iter().map(BaselineEvaluation::new).collect();
    let mut failing = Vec::new();
    let (index, is_fresh) = (C::index(inventory), now.duration_since(C::read_at(inventory)) <= MAX_AGE);
    let failure = match C::found(inventory) {
        Ok(found) if is_fresh => {
            let questions = questions::<C>(desired);
            for (number, found) in found.chunks(BLOCK).enumerate() {
                let block = Block::<C>::new(desired, (inventory, &index), found, now);
                let repairable = block.judge(&questions, &mut baselines, keep);
                failing.extend(repairable.map(|position| number * BLOCK + position));
            }
            None
        }
        Ok(_) => Some(ReadFailure::EndpointUnavailable),
        Err(failure) => Some(failure),
    };
    for baseline in &mut baselines {
        baseline.findings.sort_by(Finding::worst_first);
        if let Keep::Worst(most) = keep {
            baseline.findings.truncate(most);
        }
    }
    Evaluation { kind, baselines, failure, partial: partial::<C>(desired, inventory), failing, now }
}

/// So many resources are judged together: each question is asked of all of them while its parameters are at hand, and
/// what is computed of a group is not kept for longer. As many as a [`Marks`] has bits.
const BLOCK: usize = 128;

/// A bit for each group of a block: a hundred baselines that see the same share what is found.
#[derive(Clone, Copy, Default)]
struct Marks(u128);

impl Marks {
    fn set(&mut self, position: usize) {
        self.0 |= u32::try_from(position).ok().and_then(|position| 1u128.checked_shl(position)).unwrap_or_default();
    }
}

/// Some resources and how every baseline sees them.
struct Block<'a, C: Catalogue> {
    views: Vec<C::View<'a>>,
    resources: Vec<Resource<'a>>,
    now: Timestamp,
    /// The different ways to see them.
    sights: Vec<Vec<Scope>>,
    /// For each baseline the position of its sight.
    sight_of: Vec<usize>,
    /// For each baseline the resources on which any control failed.
    failed: Vec<Marks>,
}

/// What one question comes to in one sight.
struct Counted {
    verdicts: Verdicts,
    /// Positions of the groups of which more than the count is told.
    told: Vec<usize>,
    /// The groups that fail.
    failing: Marks,
}

impl<'a, C: Catalogue> Block<'a, C> {
    fn new(
        desired: &[Desired],
        (inventory, index): (&'a Inventory, &'a C::Index),
        found: &[C::Found<'a>],
        now: Timestamp,
    ) -> Self {
        let resources: Vec<Resource<'a>> = found.iter().map(|found| C::resource(*found, inventory)).collect();
        let (mut sights, mut sight_of) = (Vec::new(), Vec::new());
        for desired in desired {
            let sight: Vec<Scope> = resources.iter().map(|resource| desired.scope(*resource)).collect();
            let known = sights.iter().position(|known| *known == sight);
            sight_of.push(known.unwrap_or(sights.len()));
            if known.is_none() {
                sights.push(sight);
            }
        }
        Self {
            views: found.iter().map(|found| C::view(*found, index, inventory, now)).collect(),
            resources,
            now,
            sights,
            sight_of,
            failed: vec![Marks::default(); desired.len()],
        }
    }

    /// Answers every question about every group; the positions of the groups that a control which can repair them
    /// finds wanting.
    fn judge(
        mut self,
        questions: &[Question<'_, C>],
        baselines: &mut [BaselineEvaluation],
        keep: Keep,
    ) -> impl Iterator<Item = usize> {
        let mut repairable = vec![false; self.views.len()];
        for question in questions {
            let answers = self.ask(question, baselines, keep);
            if let Some(remedy) = question.control.remedy {
                for ((repairable, answer), view) in repairable.iter_mut().zip(&answers).zip(&self.views) {
                    // Without a text to write or a default to set there is nothing to plan, however many groups fail.
                    *repairable = *repairable || (answer.fails() && !remedy(question.parameters, view).is_empty());
                }
            }
        }
        for ((baseline, sight), failed) in baselines.iter_mut().zip(self.sight_of).zip(self.failed) {
            let scopes = self.sights.get(sight).into_iter().flatten();
            baseline.resources += scopes.map(|scope| u64::from(*scope != Scope::Outside)).sum::<u64>();
            baseline.failing_resources += u64::from(failed.0.count_ones());
        }
        let positions = repairable.into_iter().enumerate();
        positions.filter_map(|(position, repairable)| repairable.then_some(position))
    }

    /// Asks one question about every group and tells each baseline that asks it.
    fn ask(&mut self, question: &Question<'_, C>, baselines: &mut [BaselineEvaluation], keep: Keep) -> Vec<Answer> {
        let mut answers: Vec<Answer> = self.views.iter().map(|_| Answer::Unasked).collect();
        let mut counted: BTreeMap<usize, Counted> = BTreeMap::new();
        for asking in &question.askers {
            let Some(&sight) = self.sight_of.get(asking.baseline) else { continue };
            let Some(scopes) = self.sights.get(sight) else { continue };
            let Some(baseline) = baselines.get_mut(asking.baseline) else { continue };
            let count = || count::<C>(question, &self.views, scopes, &mut answers, keep);
            let counted = counted.entry(sight).or_insert_with(count);
            baseline.count(asking, counted.verdicts);
            let Some(failed) = self.failed.get_mut(asking.baseline) else { continue };
            let matters = baseline.has_room_for(asking.active.severity);
            let exempts = asking.desired.has_exemptions();
            if !exempts {
                failed.0 |= counted.failing.0;
            }
            for &position in counted.told.iter().filter(|_| exempts || matters) {
                let known = self.views.get(position).zip(self.resources.get(position)).zip(answers.get(position));
                if let Some(((view, resource), answer)) = known {
                    let exempt = || asking.desired.exemption(question.control.about.id, *resource, self.now);
                    let exempt = if exempts && answer.fails() { exempt() } else { None };
                    if exempt.is_some() {
                        baseline.exempt(asking);
                    } else if exempts && answer.fails() {
                        failed.set(position);
                    }
                    if matters {
                        let found = (resource.id, C::impact(view));
                        baseline.record(asking, found, answer.verdict(), exempt, keep);
                    }
                }
            }
        }
        answers
    }
}

/// Counts the answers to one question about the groups in a scope. An answer that nobody has asked for before is found
/// first.
fn count<C: Catalogue>(
    question: &Question<'_, C>,
    views: &[C::View<'_>],
    scopes: &[Scope],
    answers: &mut [Answer],
    keep: Keep,
) -> Counted {
    let mut counted = Counted { verdicts: Verdicts::default(), told: Vec::new(), failing: Marks::default() };
    for (position, ((view, answer), scope)) in views.iter().zip(answers).zip(scopes).enumerate() {
        if !scope.includes(&question.control.about) || !C::concerns(&question.control.about, view) {
            continue;
        }
        if matches!(answer, Answer::Unasked) {
            *answer = Answer::from((question.control.check)(question.parameters, view));
        }
        counted.verdicts.count(answer.verdict());
        if answer.fails() {
            counted.failing.set(position);
        }
        if keep == Keep::All || answer.verdict().is_told() {
            counted.told.push(position);
        }
    }
    counted
}

/// The answer to one question about one group. Nearly all are a pass, which takes no room.
enum Answer {
    Unasked,
    Pass,
    Other(Box<Verdict>),
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            other => Self::Other(Box::new(other)),
        }
    }
}

impl Answer {
    fn verdict(&self) -> &Verdict {
        match self {
            Self::Unasked | Self::Pass => &Verdict::Pass,
            Self::Other(verdict) => verdict,
        }
    }

    fn fails(&self) -> bool {
        matches!(self.verdict(), Verdict::Fail { .. })
    }
}

/// Sources beside the resources that a control of some baseline needs and that could not be read.
fn partial<C: Catalogue>(desired: &[Desired], inventory: &Inventory) -> Vec<(&'static str, ReadFailure)> {
    let active = desired.iter().flat_map(|desired| &desired.controls);
    let needed: BTreeSet<&'static str> = active.flat_map(|active| active.about.sources).copied().collect();
    let needed = needed.into_iter().chain(C::ALWAYS.iter().copied()).collect::<BTreeSet<_>>();
    needed.into_iter().filter_map(|source| Some((source, C::failure(source, inventory)?))).collect()
}

impl BaselineEvaluation {
    fn new(desired: &Desired) -> Self {
        let count = |active: &ActiveControl| ControlCount {
            control: active.about.id,
            severity: active.severity,
            mode: active.mode,
            verdicts: Verdicts::default(),
        };
        let remedies = desired.controls.iter().filter(|active| active.repairs);
        Self {
            reference: desired.reference.clone(),
            resources: 0,
            failing_resources: 0,
            controls: desired.controls.iter().map(count).collect(),
            findings: Vec::new(),
            least: None,
            remedies: remedies.map(|active| (active.about.id, active.hold.clone())).collect(),
        }
    }

    /// Adds the verdicts of one control.
    fn count(&mut self, asking: &Asking<'_>, verdicts: Verdicts) {
        if let Some(count) = self.controls.get_mut(asking.position) {
            count.verdicts.add(verdicts);
        }
    }

    /// Counts a failure as exempt.
    fn exempt(&mut self, asking: &Asking<'_>) {
        if let Some(count) = self.controls.get_mut(asking.position) {
            count.verdicts.fail = count.verdicts.fail.saturating_sub(1);
            count.verdicts.exempt += 1;
        }
    }

    /// Why a control that could repair a failure asks for no edit of its own.
    pub fn unmade(&self, control: &str) -> Option<&Withheld> {
        let hold = self.remedies.get(control)?;
        Some(hold.as_ref().unwrap_or(&Withheld::NothingToWrite))
    }

    /// Whether a failure of this severity can be among those that are kept.
    fn has_room_for(&self, severity: Severity) -> bool {
        let worse = |least: &Finding| {
            matches!(least.verdict, Verdict::Fail { .. }) && least.exempt.is_none() && least.severity > severity
        };
        !self.least.as_ref().is_some_and(worse)
    }

    /// Keeps a verdict that a person should know.
    fn record(
        &mut self,
        asking: &Asking<'_>,
        (resource, impact): (&str, Impact),
        verdict: &Verdict,
        exempt: Option<&ExemptBy>,
        keep: Keep,
    ) {
        if !verdict.is_told() && keep != Keep::All {
            return;
        }
        let control = asking.active.about.id;
        let about = Rank::new(verdict, exempt.is_some(), asking.active.severity, control, resource);
        if self.least.as_ref().is_some_and(|least| Rank::of(least) <= about) {
            return;
        }
        self.findings.push(Finding {
            resource: resource.to_owned(),
            control,
            severity: asking.active.severity,
            verdict: verdict.clone(),
            impact,
            exempt: exempt.cloned(),
        });
        // Cut now and then, so that a fleet of violations does not pile up before the worst are chosen.
        if let Keep::Worst(most) = keep
            && self.findings.len() >= most.saturating_mul(8).max(64)
        {
            self.findings.sort_by(Finding::worst_first);
            self.findings.truncate(most);
            self.least = self.findings.last().cloned();
        }
    }
}
