//! What the journal tells a process that has just begun to lead: what was changed within the last day, and what was repaired.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::{ChangeSet, EditOutcome, Outcome, Phase};
use engine::budget::{Charge, DAY, Ledger, Spent};
use engine::facts::Location;
use jiff::Timestamp;
use kube::{Client, ResourceExt};

use crate::kubernetes::each_change_set;

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// A finding that was repaired: id of the resource, id of the control, and when.
pub type Repair = (String, String, Timestamp);

/// What happened before this process began to lead.
#[derive(Debug, Default)]
pub struct Past {
    /// What was changed within the last day.
    pub ledger: Ledger,
    /// Findings that were repaired within the last day, oldest first.
    pub repairs: BTreeMap<Location, Vec<Repair>>,
}

/// Reads the journal, as often as it takes: without it nobody knows what the budgets have room for.
pub async fn read(client: &Client) -> Past {
    loop {
        match try_read(client).await {
            Ok(past) => return past,
            Err(error) => {
                tracing::warn!(%error, "The journal of the last day cannot be read: nothing is looked at yet");
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }
}

async fn try_read(client: &Client) -> kube::Result<Past> {
    let mut past = Past::default();
    let since = Timestamp::now().checked_sub(DAY).unwrap_or(Timestamp::MIN);
    each_change_set(client, |set| past.enter(set, since)).await?;
    past.repairs.values_mut().for_each(|repairs| repairs.sort_by_key(|(.., at)| *at));
    Ok(past)
}

impl Past {
    fn enter(&mut self, set: &ChangeSet, since: Timestamp) {
        let status = set.status.clone().unwrap_or_default();
        let begun = !matches!(status.phase, None | Some(Phase::Proposed | Phase::Approved | Phase::Rejected));
        let created = set.creation_timestamp().map_or(Timestamp::MAX, |time| time.0);
        let location = Location { account: set.spec.account.clone(), region: set.spec.region.clone() };
        for edit in &set.spec.edits {
            let outcome = status.edits.iter().find(|outcome| outcome.resource == edit.resource);
            let changed_at = match outcome {
                Some(outcome) => was_touched(outcome).then_some(outcome.finished_at.0),
                // Nobody knows what came of it.
                None => (begun && status.phase == Some(Phase::Applying)).then_some(created),
            };
            let Some(at) = changed_at.filter(|at| *at >= since) else { continue };
            for baseline in &edit.baselines {
                let charge =
                    Charge { location: location.clone(), resource: edit.resource.clone(), baseline: baseline.clone() };
                self.ledger.enter(charge, Spent { at, approved: status.decided_by.is_some() });
            }
            if outcome.is_some_and(|outcome| outcome.outcome == Outcome::Verified) {
                let repairs = self.repairs.entry(location.clone()).or_default();
                repairs.extend(edit.controls.iter().map(|control| (edit.resource.clone(), control.clone(), at)));
            }
        }
    }
}

/// Whether a call of a resource had an effect, or may have had one.
fn was_touched(outcome: &EditOutcome) -> bool {
    match outcome.outcome {
        Outcome::Verified | Outcome::Unknown => true,
        Outcome::Withheld | Outcome::Failed => outcome.verified_calls > 0,
    }
}
