//! One sweep of a cell: observe, evaluate, plan, rails, act, report.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use aws::{Connection, Observed};
use engine::approval::Decision;
use engine::budget::Reserved;
use engine::contests::Contest;
use engine::controls::{oldest, read_at};
use engine::desired::Desired;
use engine::edit::{Edit, Withheld};
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{Inventory, ReadFailure};
use engine::kind::Cell;
use engine::plan::{Applied, Outcome, Permitted, Plan, Proposed, ResourceOutcome, plan};
use engine::rails::{self, Circumstances, Moment};
use engine::readiness::{Beside, Others, Outlook};
use engine::report::{CellReport, NAMED, report};
use engine::retries::Retries;
use engine::tenancy::Account;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::act::{Acting, act, propose, within_last_words};
use crate::authority::AuthorityNow;
use crate::context::{Context, Reported};
use crate::events::{self, News};
use crate::journal::{Journal, Open};
use crate::store::Judged;
use crate::{rivals, rollback};

/// How long facts are read in turns while somebody waits for what comes of them.
const IN_A_HURRY: Duration = Duration::from_secs(3);

/// What a worker remembers from one sweep to the next.
pub struct Memory {
    cell: Cell,
    /// What the last look listed.
    inventory: Option<Inventory>,
    /// Whether more can be changed at once, or somebody has declared something new: what takes its turn to be read must not
    /// keep that waiting.
    hurried: bool,
    /// What was tried, and what came of it.
    pub circumstances: Circumstances,
    journal: Journal,
    unread: News,
    /// What baselines in `Audit` would do if they were switched.
    outlook: Outlook,
    others: Others,
}

impl Memory {
    /// Of a worker that has just started.
    pub fn new(context: &Context, cell: &Cell) -> Self {
        let journal = Journal::new(context.client.clone(), cell.clone(), context.leadership.clone());
        let circumstances = Circumstances { contests: context.contests(cell), ..Circumstances::default() };
        Self {
            cell: cell.clone(),
            inventory: None,
            hurried: false,
            circumstances,
            journal,
            unread: News::default(),
            outlook: Outlook::default(),
            others: Others::default(),
        }
    }

    /// Forgets what was tried in vain: somebody has done something about it. What somebody keeps undoing is not forgotten:
    /// whoever may ask for a sweep could end every pause with it.
    pub fn forget_failures(&mut self) {
        self.circumstances.retries = Retries::default();
    }

    /// Has the next look answer soon, with what is known by then.
    pub fn hurry(&mut self) {
        self.hurried = true;
    }

    /// How long it is until something that waits is due.
    pub fn next_due(&self, now: Timestamp) -> Option<Duration> {
        let Circumstances { retries, contests, .. } = &self.circumstances;
        [retries.next_due(now), contests.next_due(now), self.journal.next_due()].into_iter().flatten().min()
    }
}

/// When to look again, as far as a sweep can say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// At once: something was changed, or what waited for its turn can have it.
    pub at_once: bool,
    /// As soon as this process may write.
    pub once_leading: bool,
    /// Soon, since something could not be read.
    pub unread: bool,
    /// At once, since more is to be read than one look has time for.
    pub more: bool,
}

/// What came of a sweep.
#[derive(Debug)]
pub struct Swept {
    /// When to look again.
    pub next: Next,
    /// Sources that could not be read.
    pub troubles: Vec<Trouble>,
}

/// A source and why it could not be read.
pub type Trouble = (&'static str, ReadFailure);

/// Looks once at everything in a cell, puts right what may be put right, and reports to every baseline. `None` if it was
/// told to stop before it had seen everything.
pub async fn sweep(
    context: &Context,
    connection: &Connection,
    in_effect: &[(Judged, Desired)],
    memory: &mut Memory,
    stop: &CancellationToken,
) -> Option<Swept> {
    let (started, cell) = (Instant::now(), memory.cell.clone());
    let desired: Vec<Desired> = in_effect.iter().map(|(_, desired)| desired.clone()).collect();
    let sources = sources(&desired);
    let Observed { inventory, more } = look(context, connection, memory, &sources, stop).await?;
    let now = Timestamp::now();
    let evaluation = evaluate(cell.kind, &desired, &inventory, now, Keep::Worst(NAMED));
    let proposed = plan(&desired, &inventory, &evaluation);
    let leading = context.authority(&cell).lease_left.is_some();
    hear(context, memory, &Looked { desired: &desired, evaluation: &evaluation, proposed: &proposed }, leading, stop)
        .await;
    let applied = match context.objects.account(&cell.location) {
        Some(account) => {
            look_ahead(memory, &desired, &inventory, &evaluation, &account);
            let held = rails::hold_for_good(proposed, &inventory, &account);
            // What has to wait for the moment alone will be made: it counts for the blast radius and the canary.
            context.look(&held, &evaluation, &desired, now);
            let held = rails::hold_for_now(held, &account, leading);
            let (permitted, reserved) = permitted(context, memory, held, &desired, &inventory, &account);
            let applied = make(context, connection, permitted, memory, stop).await;
            context.ledger().settle(reserved, &applied);
            applied
        }
        None => Plan { cell: cell.clone(), stage: Applied::default() },
    };
    remember(context, connection, memory, &applied, stop).await;
    let undone = undo(context, connection, &inventory, memory, stop).await;
    let (read_at, oldest) = (read_at(cell.kind, &inventory), oldest(cell.kind, &sources, &inventory));
    let inventory = forget_changed(inventory, &applied, undone);
    // A list that could not be read shows no change: the next one is compared with the last that could.
    if evaluation.failure.is_none() {
        memory.inventory = Some(inventory.list_of(cell.kind));
    }
    context.keep_inventory(inventory);
    // The counts are as old as the facts, however long it took to act on them.
    let mut reports = report(&evaluation, &applied, read_at);
    for report in &mut reports {
        report.oldest_fact = oldest;
        report.readiness = memory.outlook.of(&report.reference).cloned();
    }
    publish(context, in_effect, reports, &cell).await;
    note(context, &cell, &evaluation, started, oldest);
    let failed = evaluation.failure.map(|failure| (cell.kind.resources(), failure));
    let troubles: Vec<Trouble> = failed.into_iter().chain(evaluation.partial.iter().copied()).collect();
    let mut next = next(&applied.stage, !troubles.is_empty());
    next.more = more;
    next.once_leading |= !leading && !memory.journal.is_settled();
    memory.hurried = next.at_once;
    Some(Swept { next, troubles })
}

/// What the controls of some baselines rest on.
fn sources(desired: &[Desired]) -> BTreeSet<&'static str> {
    let controls = desired.iter().flat_map(|desired| &desired.controls);
    controls.flat_map(|active| active.about.sources).copied().collect()
}

/// Looks at these sources. What takes its turn is cut short by news, and where somebody waits.
async fn look(
    context: &Context,
    connection: &Connection,
    memory: &Memory,
    needed: &BTreeSet<&'static str>,
    stop: &CancellationToken,
) -> Option<Observed> {
    let (cell, first_asked) = (&memory.cell, OnceLock::new());
    let (known, news) = (|| context.inventory(&cell.location), context.wake_cells.subscribe());
    let interrupted = || {
        let reading_for = first_asked.get_or_init(Instant::now).elapsed();
        news.has_changed().unwrap_or(false) || (memory.hurried && reading_for > IN_A_HURRY)
    };
    let observing = aws::observe(connection, cell.kind, needed, &known, &Timestamp::now, &interrupted);
    stop.run_until_cancelled(observing).await
}

/// Forgets what was read one by one of functions that were changed, or turned out to be: nothing is planned on it again.
fn forget_changed(mut inventory: Inventory, applied: &Plan<Applied>, undone: BTreeSet<String>) -> Inventory {
    let changed = |outcome: &&ResourceOutcome| {
        !outcome.is_untouched() || outcome.outcome == Outcome::Withheld(Withheld::ForeignChange)
    };
    let changed = applied.stage.outcomes.iter().filter(changed).map(|outcome| outcome.id.clone());
    changed.chain(undone).for_each(|id| inventory.lambda.forget(&id));
    inventory
}

/// Finds out what baselines in `Audit` would do.
fn look_ahead(
    memory: &mut Memory,
    desired: &[Desired],
    inventory: &Inventory,
    evaluation: &Evaluation,
    account: &Account,
) {
    let Memory { inventory: before, outlook, others, circumstances, .. } = memory;
    if let Some(before) = before {
        others.watch(evaluation.kind, before, inventory, evaluation.now());
        circumstances.retries.heed(evaluation.kind, before, inventory);
    }
    outlook.renew(desired, Beside { inventory, evaluation, account, others });
}

/// What was seen and asked for.
struct Looked<'a> {
    desired: &'a [Desired],
    evaluation: &'a Evaluation,
    proposed: &'a Plan<Proposed>,
}

/// Takes note of what people decided, and closes what is not asked for any more. What could not be seen may still be asked for.
async fn hear(context: &Context, memory: &mut Memory, looked: &Looked<'_>, leading: bool, stop: &CancellationToken) {
    let Looked { desired, evaluation, proposed } = looked;
    let journal = &mut memory.journal;
    let hearing = async {
        journal.settle_past(leading).await;
        if leading && evaluation.failure.is_none() && evaluation.partial.is_empty() {
            journal.expire(proposed, desired, Timestamp::now()).await;
        }
        let policies = context.objects.policies_in_force();
        journal.decide(|open| context.objects.decided(open, &policies)).await;
    };
    within_last_words(stop, hearing).await;
    memory.circumstances.proposals = memory.journal.proposals();
}

/// What may be made now, paid for in advance.
fn permitted(
    context: &Context,
    memory: &mut Memory,
    held: Plan<Proposed>,
    desired: &[Desired],
    inventory: &Inventory,
    account: &Account,
) -> (Plan<Permitted>, Reserved) {
    let now = Timestamp::now();
    let mut ledger = context.ledger();
    ledger.hear(&memory.circumstances.proposals);
    memory.circumstances.too_many = ledger.too_many(desired, now);
    let moment = Moment { desired, circumstances: &memory.circumstances, now };
    ledger.reserve(rails::apply(held, inventory, account, moment), desired, account, now)
}

/// Proposes what waits for an approval, and makes what may be made.
async fn make(
    context: &Context,
    connection: &Connection,
    permitted: Plan<Permitted>,
    memory: &mut Memory,
    stop: &CancellationToken,
) -> Plan<Applied> {
    let Memory { journal, unread, cell, .. } = memory;
    let open = journal.open().to_vec();
    let authority = || {
        let policies = context.objects.policies_in_force();
        let approved = |open: &&Open| context.objects.decided(open, &policies).decision == Decision::Approved;
        let approved = open.iter().filter(approved).map(|open| open.name().clone()).collect();
        AuthorityNow { approved, ..context.authority(cell) }
    };
    let acting = Acting { connection, authority: &authority, metrics: &context.metrics, unread, stop };
    // Who does not know yet what an earlier process has proposed would propose it again.
    if journal.is_settled() {
        propose(&permitted.stage.to_propose, journal, &context.pending, &acting).await;
    }
    let applied = act(permitted, journal, &acting).await;
    if journal.is_settled() {
        context.pending.set(cell, &journal.pending());
    }
    applied
}

/// Puts back what people want undone, also where no baseline asks for anything any more.
async fn undo(
    context: &Context,
    connection: &Connection,
    inventory: &Inventory,
    memory: &mut Memory,
    stop: &CancellationToken,
) -> BTreeSet<String> {
    let Memory { journal, unread, others, cell, .. } = memory;
    if context.rollbacks.waiting(cell) == 0 {
        return BTreeSet::new();
    }
    let authority = || AuthorityNow {
        approved: context.rollbacks.approved(cell, &context.objects),
        namespaces: context.rollbacks.namespaces(cell, &context.objects),
        ..context.authority(cell)
    };
    let acting = Acting { connection, authority: &authority, metrics: &context.metrics, unread, stop };
    let resources = context.rollbacks.resources(cell);
    Box::pin(rollback::carry_out(context, inventory, journal, &acting)).await;
    others.except(resources.iter().cloned(), Timestamp::now());
    resources
}

/// Remembers what came of it, and says what is undone by somebody else, once.
async fn remember(
    context: &Context,
    connection: &Connection,
    memory: &mut Memory,
    applied: &Plan<Applied>,
    stop: &CancellationToken,
) {
    let (now, Circumstances { retries, contests, .. }) = (Timestamp::now(), &mut memory.circumstances);
    let Applied { outcomes, withheld } = &applied.stage;
    let contested = withheld.iter().filter(|held| matches!(held.reason, Withheld::Contested(_))).map(|held| &held.edit);
    let asked: Vec<&Edit> = outcomes.iter().flat_map(|outcome| &outcome.edits).chain(contested).collect();
    let told: Vec<(&Edit, Contest)> =
        asked.into_iter().filter_map(|edit| Some((edit, contests.newly(edit, now)?))).collect();
    rivals::look(connection, contests, stop).await;
    for (edit, contest) in told {
        let contest = Contest { rival: contests.rival(edit), ..contest };
        events::contested(&context.recorder, &applied.cell.location, edit, contest).await;
    }
    let touched = outcomes.iter().filter(|outcome| !outcome.is_untouched());
    memory.others.except(touched.map(|outcome| outcome.id.clone()), now);
    retries.note(outcomes);
    retries.prune(now);
    contests.note(&applied.stage);
    contests.prune(now);
    context.keep_contests(&applied.cell, contests.clone());
}

async fn publish(context: &Context, in_effect: &[(Judged, Desired)], reports: Vec<CellReport>, cell: &Cell) {
    let reported = reports
        .into_iter()
        .zip(in_effect)
        .map(|(report, (judged, _))| Reported { report, reconcile_at: judged.reconcile_at.clone() });
    context.publish(cell, reported.collect()).await;
}

fn note(context: &Context, cell: &Cell, evaluation: &Evaluation, started: Instant, oldest: Option<Timestamp>) {
    let outcome = match (evaluation.failure, evaluation.partial.is_empty()) {
        (Some(_), _) => "failed",
        (None, false) => "partial",
        (None, true) => "complete",
    };
    let ended = Timestamp::now().as_duration().as_secs_f64();
    context.metrics.sweep(cell, outcome, started.elapsed().as_secs_f64(), ended);
    if let Some(oldest) = oldest {
        context.metrics.oldest_fact(cell, oldest.as_duration().as_secs_f64());
    }
    let Cell { kind, location } = cell;
    tracing::debug!(%kind, account = location.account, region = location.region, outcome, "Sweep ended");
}

/// When to look again. What failed has its own time for the next try, and leaves its turn to others.
fn next(applied: &Applied, unread: bool) -> Next {
    let outcomes = || applied.outcomes.iter().map(|resource| &resource.outcome);
    let held = || applied.withheld.iter().map(|held| &held.reason);
    let withheld = outcomes().filter_map(|outcome| match outcome {
        Outcome::Withheld(reason) => Some(reason),
        Outcome::Verified | Outcome::Failed(_) => None,
    });
    let changed = outcomes().any(|outcome| *outcome == Outcome::Verified);
    let gave_way = outcomes().any(|outcome| matches!(outcome, Outcome::Failed(_)));
    Next {
        at_once: changed || (gave_way && held().any(|reason| *reason == Withheld::SweepLimit)),
        once_leading: withheld.chain(held()).any(|reason| *reason == Withheld::NotLeader),
        more: false,
        unread: unread || outcomes().any(|outcome| *outcome == Outcome::Withheld(Withheld::IncompleteKnowledge)),
    }
}

#[cfg(test)]
mod tests {
    use engine::approval::Warrant;
    use engine::edit::{Change, Edit, Impact, Operation};
    use engine::facts::Tags;
    use engine::finding::Severity;
    use engine::plan::{Failure, WithheldEdit};

    use super::*;

    fn applied(outcomes: &[Outcome], withheld: &[Withheld]) -> Applied {
        let edit = Edit {
            resource: "sg-1".to_owned(),
            operation: Operation::AddTags,
            change: Change::Tags { before: Tags::new(), after: Tags::new() },
            demands: Vec::new(),
            severity: Severity::Low,
            exposed: 0,
            impact: Impact::None,
        };
        let outcome = |outcome: &Outcome| ResourceOutcome {
            id: "sg-1".to_owned(),
            edits: vec![edit.clone()],
            warrant: Warrant::Baselines,
            outcome: outcome.clone(),
            calls_verified: 0,
            request_ids: Vec::new(),
            finished_at: Timestamp::UNIX_EPOCH,
        };
        let held = |reason: &Withheld| WithheldEdit { edit: edit.clone(), reason: reason.clone() };
        Applied { outcomes: outcomes.iter().map(outcome).collect(), withheld: withheld.iter().map(held).collect() }
    }

    #[test]
    fn what_failed_is_not_tried_at_once_but_lets_others_have_their_turn() {
        let denied = Outcome::Failed(Failure::WriteDenied);
        let at_once = |outcomes: &[Outcome], held: &[Withheld]| next(&applied(outcomes, held), false).at_once;
        assert!(!at_once(std::slice::from_ref(&denied), &[]));
        assert!(!at_once(&[Outcome::Withheld(Withheld::ForeignChange)], &[]));
        assert!(at_once(std::slice::from_ref(&denied), &[Withheld::SweepLimit]));
        assert!(at_once(&[denied.clone(), Outcome::Verified], &[]));
        assert!(!at_once(&[], &[Withheld::SweepLimit, Withheld::BackingOff(Box::new(denied))]));
    }

    #[test]
    fn who_may_not_write_yet_looks_again_once_it_may_and_what_was_not_read_is_read_soon() {
        let may_not = Outcome::Withheld(Withheld::NotLeader);
        assert!(next(&applied(&[may_not], &[]), false).once_leading);
        assert!(next(&applied(&[], &[Withheld::NotLeader]), false).once_leading);
        assert_eq!(next(&applied(&[], &[Withheld::Audit]), false), Next::default());
        assert!(next(&applied(&[], &[]), true).unread);
        assert!(next(&applied(&[Outcome::Withheld(Withheld::IncompleteKnowledge)], &[]), false).unread);
    }
}
