//! One sweep of a cell: observe, evaluate, plan, rails, act, report.

use std::time::Instant;

use aws::Connection;
use engine::controls::SECURITY_GROUPS;
use engine::desired::Desired;
use engine::edit::Withheld;
use engine::evaluate::{Evaluation, Keep, evaluate};
use engine::facts::{Inventory, Location, ReadFailure};
use engine::plan::{Applied, Outcome, Plan, plan};
use engine::rails;
use engine::report::{NAMED, report};
use jiff::Timestamp;

use crate::act::{Acting, act};
use crate::context::{Context, Reported};
use crate::journal::Journal;
use crate::store::Judged;

/// What a sweep leaves for the next one.
#[derive(Debug)]
pub struct Swept {
    /// The facts: prefix lists that have not changed are not read again.
    pub inventory: Inventory,
    /// Whether to look again at once: something was changed, or somebody else changed what was to be.
    pub again: bool,
    /// Sources that could not be read.
    pub troubles: Vec<Trouble>,
}

/// A source and why it could not be read.
pub type Trouble = (&'static str, ReadFailure);

/// Looks once at everything in a cell, puts right what may be put right, and reports to every baseline.
pub async fn sweep(
    context: &Context,
    connection: &Connection,
    in_effect: &[(Judged, Desired)],
    previous: Option<&Inventory>,
) -> Swept {
    let (started, location) = (Instant::now(), connection.location());
    let desired: Vec<Desired> = in_effect.iter().map(|(_, desired)| desired.clone()).collect();
    let inventory = aws::observe(connection, previous, Timestamp::now).await;
    let now = Timestamp::now();
    let evaluation = evaluate(&desired, &inventory, now, Keep::Worst(NAMED));
    let proposed = plan(&desired, &inventory, &evaluation);
    let applied = match context.objects.account(location) {
        Some(account) => {
            let leading = context.authority(location).lease_left.is_some();
            let permitted = rails::apply(proposed, &inventory, &account, leading);
            let journal = Journal::new(context.client.clone());
            let authority = || context.authority(location);
            let metrics = &context.metrics;
            act(permitted, &Acting { connection, journal: &journal, authority: &authority, metrics }).await
        }
        None => Plan { location: location.clone(), stage: Applied::default() },
    };
    publish(context, in_effect, &evaluation, &applied).await;
    note(context, location, &evaluation, started);
    let failed = evaluation.failure.map(|failure| (SECURITY_GROUPS, failure));
    let troubles = failed.into_iter().chain(evaluation.partial.iter().copied()).collect();
    Swept { inventory, again: unfinished(&applied), troubles }
}

async fn publish(context: &Context, in_effect: &[(Judged, Desired)], evaluation: &Evaluation, applied: &Plan<Applied>) {
    let reports = report(evaluation, applied, Timestamp::now());
    let reported = reports
        .into_iter()
        .zip(in_effect)
        .map(|(report, (judged, _))| Reported { report, reconcile_at: judged.reconcile_at.clone() });
    context.publish(&applied.location, reported.collect()).await;
}

fn note(context: &Context, location: &Location, evaluation: &Evaluation, started: Instant) {
    let outcome = match (evaluation.failure, evaluation.partial.is_empty()) {
        (Some(_), _) => "failed",
        (None, false) => "partial",
        (None, true) => "complete",
    };
    let ended = Timestamp::now().as_duration().as_secs_f64();
    context.metrics.sweep(location, outcome, started.elapsed().as_secs_f64(), ended);
    tracing::debug!(account = location.account, region = location.region, outcome, "Sweep ended");
}

/// Whether something was changed, so that the status should show it and what waited behind it may follow, or somebody else's
/// change has to be planned anew.
fn unfinished(applied: &Plan<Applied>) -> bool {
    let again = [Outcome::Verified, Outcome::Withheld(Withheld::ForeignChange)];
    applied.stage.outcomes.iter().any(|resource| again.contains(&resource.outcome))
}
