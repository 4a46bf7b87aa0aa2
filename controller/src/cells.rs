//! Cells: exactly one worker for each account and region that a baseline in effect applies to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::desired::Desired;
use engine::edit::BaselineRef;
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{Inventory, Location, ReadFailure, Source};
use engine::plan::{Applied, Plan};
use engine::report::report;
use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, Distrust, Proof, Reported};
use crate::store::{AccountVersion, Judged};
use crate::sweep::{Trouble, sweep};

/// Cells that no baseline applies to any more are noticed after at most this long.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A resource that somebody keeps changing must not make the worker spin.
const BREATH: Duration = Duration::from_secs(1);

struct Worker {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts and stops workers until the process stops, and then waits for writes in flight.
pub async fn run(context: Arc<Context>) {
    let mut workers: BTreeMap<Location, Worker> = BTreeMap::new();
    let mut changed = context.wake_cells.subscribe();
    while !context.stopping.is_cancelled() {
        let wanted = context.objects.cells();
        workers
            .iter()
            .filter(|(location, _)| !wanted.contains_key(location))
            .for_each(|(_, worker)| worker.stop.cancel());
        bury(&context, &mut workers).await;
        for location in wanted.into_keys() {
            workers.entry(location.clone()).or_insert_with(|| start(&context, location));
        }
        tokio::select! {
            () = context.stopping.cancelled() => {}
            _ = changed.changed() => {}
            () = tokio::time::sleep(LOOK_AGAIN_AFTER) => {}
        }
    }
    for (location, Worker { task, .. }) in workers {
        ended(&location, task.await);
    }
}

fn start(context: &Arc<Context>, location: Location) -> Worker {
    tracing::info!(account = location.account, region = location.region, "Cell started");
    let stop = context.stopping.child_token();
    let task = tokio::spawn(work(Arc::clone(context), location, stop.clone()));
    Worker { stop, task }
}

/// Forgets workers that have ended. One that was told to stop may still be reading from an AWS that does not answer: nobody
/// waits for it, and its cell gets no second worker before it is gone.
async fn bury(context: &Context, workers: &mut BTreeMap<Location, Worker>) {
    let dead: Vec<Location> =
        workers.iter().filter(|(_, worker)| worker.task.is_finished()).map(|(location, _)| location.clone()).collect();
    for location in dead {
        if let Some(Worker { task, .. }) = workers.remove(&location) {
            ended(&location, task.await);
            context.forget_cell(&location);
        }
    }
}

fn ended(location: &Location, result: Result<(), JoinError>) {
    let Location { account, region } = location;
    match result {
        Ok(()) => tracing::info!(account, region, "Cell stopped"),
        Err(error) => {
            tracing::error!(%error, account, region, "Cell ended with an error of the program: it is started anew")
        }
    }
}

/// What a sweep depends on beside AWS: as long as it is the same, only time asks for another sweep.
type Fingerprint = (Vec<(BaselineRef, Option<String>)>, Option<AccountVersion>, Proven);

/// What is known of the roles that read and write; `None` before AWS was asked.
type Proven = Option<[Option<Distrust>; 2]>;

/// The worker of one cell.
async fn work(context: Arc<Context>, location: Location, stop: CancellationToken) {
    let mut changed = context.wake_cells.subscribe();
    let mut previous: Option<Inventory> = None;
    let mut troubles = Vec::new();
    while !stop.is_cancelled() {
        changed.mark_unchanged();
        let in_effect = context.objects.in_cell(&location);
        let seen = fingerprint(&context, &location, &in_effect);
        let mut pause = interval(&in_effect);
        match context.objects.proof(&location) {
            Some(Proof { reading: Ok(connection), .. }) => {
                let swept = sweep(&context, &connection, &in_effect, previous.as_ref()).await;
                log_news(&location, &mut troubles, swept.troubles);
                previous = Some(swept.inventory);
                pause = if swept.again { BREATH } else { pause };
            }
            Some(Proof { reading: Err(distrust), .. }) => {
                let failure = distrust.failure.unwrap_or(ReadFailure::AccessDenied);
                report_failure(&context, &location, &in_effect, failure).await;
            }
            None => {}
        }
        let due = tokio::time::sleep(jittered(pause));
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut due => break,
                _ = changed.changed() => {
                    if fingerprint(&context, &location, &context.objects.in_cell(&location)) != seen {
                        break;
                    }
                }
            }
        }
    }
}

/// Says which sources cannot be read, once, and not at every sweep.
fn log_news(location: &Location, known: &mut Vec<Trouble>, now: Vec<Trouble>) {
    if *known != now {
        let Location { account, region } = location;
        for (source, failure) in &now {
            tracing::warn!(account, region, source, reason = failure.reason(), "Source cannot be read");
        }
        if now.is_empty() {
            tracing::info!(account, region, "All sources can be read again");
        }
        *known = now;
    }
}

fn fingerprint(context: &Context, location: &Location, in_effect: &[(Judged, Desired)]) -> Fingerprint {
    let baselines = in_effect.iter().map(|(judged, desired)| (desired.reference.clone(), judged.reconcile_at.clone()));
    let proven = context.objects.proof(location).map(|proof| [proof.reading.err(), proof.writing.err()]);
    (baselines.collect(), context.objects.account_version(location), proven)
}

/// The shortest interval of the baselines in effect.
fn interval(in_effect: &[(Judged, Desired)]) -> Duration {
    in_effect.iter().map(|(judged, _)| judged.interval).min().unwrap_or(LOOK_AGAIN_AFTER)
}

/// Up to a tenth less, so that many cells do not look at once.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + fastrand::f64() / 10.0)
}

/// Tells every baseline of the cell that nothing could be looked at.
async fn report_failure(context: &Context, location: &Location, in_effect: &[(Judged, Desired)], failure: ReadFailure) {
    let now = Timestamp::now();
    let inventory = Inventory {
        location: location.clone(),
        security_groups: Source::failed(failure, now),
        network_interfaces: Source::failed(failure, now),
        prefix_lists: Source::failed(failure, now),
    };
    let desired: Vec<Desired> = in_effect.iter().map(|(_, desired)| desired.clone()).collect();
    let evaluation: Evaluation = evaluate(&desired, &inventory, now, Keep::Worst(0));
    let nothing = Plan { location: location.clone(), stage: Applied::default() };
    let reports = report(&evaluation, &nothing, now).into_iter().zip(in_effect);
    let reported = reports.map(|(report, (judged, _))| Reported { report, reconcile_at: judged.reconcile_at.clone() });
    context.publish(location, reported.collect()).await;
}
