//! Cells: exactly one worker for each kind of baseline in each account and region that one in effect applies to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::desired::Desired;
use engine::edit::BaselineRef;
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{Inventory, Location, ReadFailure};
use engine::kind::Cell;
use engine::plan::{Applied, Plan, Proposed};
use engine::report::report;
use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Distrust, Proof, Reported};
use crate::store::{AccountVersion, ApprovalVersions, ExemptionVersions, Judged};
use crate::sweep::{Memory, Next, Trouble, sweep};

/// Cells that no baseline applies to any more are noticed after at most this long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The interval of a cell in which something is to be undone or closed after its last baseline has gone.
const WITHOUT_BASELINE: Duration = Duration::from_secs(60);
/// A resource that somebody keeps changing must not make the worker spin.
const BREATH: Duration = Duration::from_secs(1);
/// What could not be read is read again so soon, then at ever longer pauses.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);

struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts and stops workers until the process stops, and then waits for writes in flight.
pub async fn run(context: Arc<Context>) {
    let mut workers: BTreeMap<Cell, Worker> = BTreeMap::new();
    let mut changed = context.wake_cells.subscribe();
    while !context.stopping.is_cancelled() {
        let mut wanted: BTreeSet<Cell> = context.objects.cells().into_keys().collect();
        wanted.extend(context.rollbacks.cells());
        // Somebody has to close them once their baseline is gone.
        wanted.extend(context.pending.cells());
        workers.iter().filter(|(cell, _)| !wanted.contains(cell)).for_each(|(_, worker)| worker.stop.cancel());
        bury(&context, &mut workers).await;
        for cell in wanted {
            workers.entry(cell.clone()).or_insert_with(|| start(&context, cell));
        }
        tokio::select! {
            () = context.stopping.cancelled() => {}
            _ = changed.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
        }
    }
    for (cell, Worker { task, .. }) in workers {
        ended(&cell, task.await);
    }
}

fn start(context: &Arc<Context>, cell: Cell) -> Worker {
    let Cell { kind, location } = &cell;
    tracing::info!(%kind, account = location.account, region = location.region, "Cell started");
    let stop = context.stopping.child_token();
    let task = tokio::spawn(work(Arc::clone(context), cell, stop.clone()));
    Worker { stop, task }
}

/// Forgets workers that have ended. One that was told to stop may still be reading from an AWS that does not answer: nobody
/// waits for it, and its cell gets no second worker before it is gone.
async fn bury(context: &Context, workers: &mut BTreeMap<Cell, Worker>) {
    let dead: Vec<Cell> =
        workers.iter().filter(|(_, worker)| worker.task.is_finished()).map(|(cell, _)| cell.clone()).collect();
    for cell in dead {
        if let Some(Worker { task, .. }) = workers.remove(&cell) {
            ended(&cell, task.await);
            context.forget_cell(&cell);
        }
    }
}

fn ended(Cell { kind, location }: &Cell, result: Result<(), JoinError>) {
    let Location { account, region } = location;
    match result {
        Ok(()) => tracing::info!(%kind, account, region, "Cell stopped"),
        Err(error) => {
            tracing::error!(%error, %kind, account, region, "Cell ended with an error of the program: it is started anew")
        }
    }
}

/// What a sweep depends on beside AWS: as long as it is the same, only time asks for another sweep.
#[derive(PartialEq)]
struct Fingerprint {
    /// Each with the value of `baseward.dev/reconcile-at`.
    baselines: Vec<(BaselineRef, Option<String>)>,
    account: Option<AccountVersion>,
    proven: Proven,
    exemptions: ExemptionVersions,
    approvals: ApprovalVersions,
    /// How far the looks at all cells have come.
    progress: usize,
    /// Orders to undo something.
    rollbacks: usize,
}

/// What is known of the roles that read and write; `None` before AWS was asked.
type Proven = Option<[Option<Distrust>; 2]>;

/// The worker of one cell.
async fn work(context: Arc<Context>, cell: Cell, stop: CancellationToken) {
    let mut changed = context.wake_cells.subscribe();
    let mut memory = Memory::new(&context, &cell);
    let (mut last, mut troubles, mut unread): (Option<Fingerprint>, _, _) = (None, Vec::new(), 0);
    while !stop.is_cancelled() {
        changed.mark_unchanged();
        let in_effect = context.objects.in_cell(&cell);
        let seen = fingerprint(&context, &cell, &in_effect);
        if last.as_ref() != Some(&seen) {
            memory.hurry();
        }
        if last.is_some_and(|last| mends(&last, &seen)) {
            memory.forget_failures();
        }
        let mut next = Next::default();
        match context.objects.proof(&cell.location) {
            Some(Proof { reading: Ok(connection), .. }) => {
                let Some(swept) = sweep(&context, &connection, &in_effect, &mut memory, &stop).await else { return };
                log_news(&cell, &mut troubles, swept.troubles);
                next = swept.next;
            }
            Some(Proof { reading: Err(distrust), .. }) => {
                let failure = distrust.failure.unwrap_or(ReadFailure::AccessDenied);
                report_failure(&context, &cell, &in_effect, failure).await;
            }
            None => {}
        }
        unread = if next.unread { unread + 1 } else { 0 };
        let now = Timestamp::now();
        let undo = context.rollbacks.next_due(&cell, now).map(|due| due.max(LOOK_AGAIN_AFTER));
        let due = [memory.next_due(now), next_opening(&in_effect, now), next_soaked(&context, &in_effect, now), undo];
        let pause = pause(jittered(interval(&in_effect)), next, unread, due.into_iter().flatten().min());
        let news = async {
            while fingerprint(&context, &cell, &context.objects.in_cell(&cell)) == seen {
                // The sender lives as long as the process.
                let _ = changed.changed().await;
            }
        };
        let leading = async {
            tokio::time::sleep(BREATH).await;
            context.leadership.writable(context.write_timeout).await;
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = news => {}
            () = leading, if next.once_leading => {}
        }
        last = Some(seen);
    }
}

/// How long to wait for the next sweep, at most the interval. `unread` sweeps in a row could not read everything, and
/// something that was tried in vain is due again after `retry`.
fn pause(interval: Duration, next: Next, unread: u32, retry: Option<Duration>) -> Duration {
    let again = (next.at_once || next.more).then_some(BREATH);
    let unread = unread.checked_sub(1).map(|before| READ_AGAIN_AFTER.saturating_mul(2u32.saturating_pow(before)));
    let retry = retry.map(|retry| retry.max(BREATH));
    [again, unread, retry].into_iter().flatten().fold(interval, Duration::min)
}

/// Whether a person has done something that may mend what was tried in vain: asked for a sweep, or changed the account
/// or its roles. What a changed baseline asks for is told by its generation.
fn mends(last: &Fingerprint, seen: &Fingerprint) -> bool {
    let asked = |seen: &Fingerprint| -> Vec<(String, String)> {
        let asked = |(reference, at): &(BaselineRef, Option<String>)| Some((reference.uid.clone(), at.clone()?));
        seen.baselines.iter().filter_map(asked).collect()
    };
    (&last.account, &last.proven) != (&seen.account, &seen.proven) || asked(last) != asked(seen)
}

/// Says which sources cannot be read, once, and not at every sweep.
fn log_news(Cell { kind, location }: &Cell, known: &mut Vec<Trouble>, now: Vec<Trouble>) {
    if *known != now {
        let Location { account, region } = location;
        for (source, failure) in &now {
            tracing::warn!(%kind, account, region, source, reason = failure.reason(), "Source cannot be read");
        }
        if now.is_empty() {
            tracing::info!(%kind, account, region, "All sources can be read again");
        }
        *known = now;
    }
}

fn fingerprint(context: &Context, cell: &Cell, in_effect: &[(Judged, Desired)]) -> Fingerprint {
    let baselines = in_effect.iter().map(|(judged, desired)| (desired.reference.clone(), judged.reconcile_at.clone()));
    let proven = context.objects.proof(&cell.location).map(|proof| [proof.reading.err(), proof.writing.err()]);
    let namespaces: BTreeSet<&str> =
        in_effect.iter().map(|(_, desired)| desired.reference.namespace.as_str()).collect();
    let exemptions = context.objects.exemption_versions(&namespaces, Timestamp::now());
    let approvals = context.objects.approval_versions(&namespaces);
    let rollbacks = context.rollbacks.waiting(cell);
    let ledger = context.ledger();
    Fingerprint {
        baselines: baselines.collect(),
        account: context.objects.account_version(&cell.location),
        proven,
        exemptions,
        approvals,
        progress: ledger.progress(in_effect.iter().map(|(_, desired)| desired)),
        rollbacks,
    }
}

/// How long it is until the first window opens.
fn next_opening(in_effect: &[(Judged, Desired)], now: Timestamp) -> Option<Duration> {
    let openings = in_effect.iter().filter_map(|(_, desired)| desired.limits.next_opening(now));
    openings.min().map(|opens| opens.duration_since(now).unsigned_abs())
}

/// How long it is until the changes of the first canary have stood long enough.
fn next_soaked(context: &Context, in_effect: &[(Judged, Desired)], now: Timestamp) -> Option<Duration> {
    let until = context.ledger().next_soaked(in_effect.iter().map(|(_, desired)| desired), now)?;
    Some(until.duration_since(now).unsigned_abs())
}

/// The shortest interval of the baselines in effect.
fn interval(in_effect: &[(Judged, Desired)]) -> Duration {
    in_effect.iter().map(|(judged, _)| judged.interval).min().unwrap_or(WITHOUT_BASELINE)
}

/// Up to a tenth less, so that many cells do not look at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + fastrand::f64() / 10.0)
}

/// Tells every baseline of the cell that nothing could be looked at.
async fn report_failure(context: &Context, cell: &Cell, in_effect: &[(Judged, Desired)], failure: ReadFailure) {
    let now = Timestamp::now();
    let inventory = Inventory::failed(cell.location.clone(), failure, now);
    let desired: Vec<Desired> = in_effect.iter().map(|(_, desired)| desired.clone()).collect();
    let evaluation: Evaluation = evaluate(cell.kind, &desired, &inventory, now, Keep::Worst(0));
    context.look(&Plan { cell: cell.clone(), stage: Proposed::default() }, &evaluation, &desired, now);
    let nothing = Plan { cell: cell.clone(), stage: Applied::default() };
    let reports = report(&evaluation, &nothing, now).into_iter().zip(in_effect);
    let reported = reports.map(|(report, (judged, _))| Reported { report, reconcile_at: judged.reconcile_at.clone() });
    context.publish(cell, reported.collect()).await;
}

#[cfg(test)]
mod tests {
    use engine::kind::Kind;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn nothing_that_can_be_done_sooner_waits_for_the_interval() {
        let seconds =
            |next: Next, unread, retry: Option<u64>| pause(DAY, next, unread, retry.map(Duration::from_secs)).as_secs();
        let rest = Next::default();
        assert_eq!(seconds(rest, 0, None), DAY.as_secs());
        assert_eq!(seconds(Next { at_once: true, ..rest }, 0, Some(60)), 1);
        assert_eq!([1, 2, 3, 20].map(|unread| seconds(rest, unread, None)), [30, 60, 120, DAY.as_secs()]);
        assert_eq!(seconds(rest, 0, Some(3600)), 3600);
        assert_eq!(seconds(rest, 0, Some(0)), 1, "it does not spin");
        assert_eq!(pause(Duration::from_secs(10), rest, 1, None).as_secs(), 10);
    }

    #[test]
    fn a_sweep_that_is_asked_for_and_a_changed_account_mend_and_a_changed_baseline_does_not() {
        let fingerprint = |generation, asked: Option<&str>, account| -> Fingerprint {
            let (namespace, name, uid) = ("team".to_owned(), "edge".to_owned(), "uid".to_owned());
            let reference = BaselineRef { kind: Kind::SecurityGroup, namespace, name, uid, generation };
            Fingerprint {
                baselines: vec![(reference, asked.map(str::to_owned))],
                account: Some((None, Some(account))),
                proven: None,
                exemptions: Vec::new(),
                approvals: Vec::new(),
                progress: 0,
                rollbacks: 0,
            }
        };
        let before = fingerprint(1, None, 1);
        assert!(!mends(&before, &fingerprint(2, None, 1)));
        assert!(mends(&before, &fingerprint(1, Some("now"), 1)));
        assert!(mends(&before, &fingerprint(1, None, 2)));
    }
}
