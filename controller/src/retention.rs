//! Retention: change sets that have ended are kept as long as somebody may want to undo them, and then some; not for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::{BaselineObject, ChangeSet, LambdaBaseline, Phase, SecurityGroupBaseline};
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::{each_change_set, within};
use crate::lease::{LOOK_FOR_LEASE_AGAIN, Leadership};

const CLEAN_UP_EVERY: Duration = Duration::from_secs(60 * 60);
/// The pause after a first failure, such as that of an API server that has just come up. It doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_secs(2);

/// How much of the journal is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Change sets that have ended, of each account, whatever their age.
    pub count: usize,
    /// Younger ones are kept whatever their number: they hold what is needed to undo them.
    pub age: SignedDuration,
}

/// What retention looks at of a change set that has ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ended {
    /// When the last of its outcomes was known.
    at: Timestamp,
    namespace: String,
    name: String,
    uid: Option<String>,
    /// The generation of the baseline that somebody rejected it for.
    rejected_for: Option<Generation>,
}

/// A generation of a baseline: the uid of the object, and its number.
type Generation = (String, i64);

/// Deletes what need not be kept any more, now and every hour, while this process leads.
pub async fn run(client: Client, retention: Retention, leadership: Leadership, stopping: CancellationToken) {
    let mut after_failure = FIRST_RETRY;
    loop {
        let pause = if !leadership.holds(std::time::Instant::now()) {
            LOOK_FOR_LEASE_AGAIN
        } else if let Err(error) = clean_up(&client, retention).await {
            tracing::warn!(%error, "Old change sets cannot be deleted: trying again");
            let pause = after_failure;
            after_failure = (pause * 2).min(CLEAN_UP_EVERY);
            pause
        } else {
            after_failure = FIRST_RETRY;
            CLEAN_UP_EVERY
        };
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn clean_up(client: &Client, retention: Retention) -> kube::Result<()> {
    let doomed = doomed(ended(client).await?, retention, Timestamp::now());
    for Ended { namespace, name, uid, .. } in doomed {
        let api: Api<ChangeSet> = Api::namespaced(client.clone(), &namespace);
        let this_one = Preconditions { uid, resource_version: None };
        let deleted = within(api.delete(&name, &DeleteParams::default().preconditions(this_one))).await;
        match deleted {
            Ok(_) => tracing::info!(change_set = name, namespace, "Old change set deleted"),
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The change sets that have ended, by account.
async fn ended(client: &Client) -> kube::Result<BTreeMap<String, Vec<Ended>>> {
    let mut ended = Vec::new();
    each_change_set(client, |set| {
        if has_ended(set) {
            ended.push((set.spec.account.clone(), Ended::of(set)));
        }
    })
    .await?;
    // Looked for last: a baseline that is not there by now is not what was rejected any more.
    let current = generations(client).await?;
    let mut by_account: BTreeMap<String, Vec<Ended>> = BTreeMap::new();
    for (account, ended) in ended.into_iter().filter(|(_, ended)| !ended.still_counts(&current)) {
        by_account.entry(account).or_default().push(ended);
    }
    Ok(by_account)
}

/// What every baseline is now.
async fn generations(client: &Client) -> kube::Result<BTreeSet<Generation>> {
    let mut all = generations_of::<SecurityGroupBaseline>(client).await?;
    all.extend(generations_of::<LambdaBaseline>(client).await?);
    Ok(all)
}

async fn generations_of<B: BaselineObject>(client: &Client) -> kube::Result<BTreeSet<Generation>> {
    let api: Api<B> = Api::all(client.clone());
    let baselines = within(api.list_metadata(&ListParams::default())).await?.items;
    Ok(baselines.into_iter().filter_map(|object| Some((object.metadata.uid?, object.metadata.generation?))).collect())
}

fn has_ended(set: &ChangeSet) -> bool {
    set.phase() == Phase::Rejected || Phase::ENDED.contains(&set.phase())
}

impl Ended {
    fn of(set: &ChangeSet) -> Self {
        let outcomes = set.status.iter().flat_map(|status| &status.edits).map(|edit| edit.finished_at.0);
        let created = set.creation_timestamp().map(|time| time.0);
        let baseline = &set.spec.baseline;
        Self {
            at: outcomes.max().or(created).unwrap_or(Timestamp::MAX),
            namespace: set.namespace().unwrap_or_default(),
            name: set.name_any(),
            uid: set.uid(),
            rejected_for: (set.phase() == Phase::Rejected).then(|| (baseline.uid.clone(), baseline.generation)),
        }
    }

    /// Whether it was rejected for what its baseline still is: without it the same would be proposed again.
    fn still_counts(&self, current: &BTreeSet<Generation>) -> bool {
        self.rejected_for.as_ref().is_some_and(|generation| current.contains(generation))
    }
}

/// What is older than the retention and not among the newest of its account.
fn doomed(by_account: BTreeMap<String, Vec<Ended>>, retention: Retention, now: Timestamp) -> Vec<Ended> {
    let mut doomed = Vec::new();
    for mut ended in by_account.into_values() {
        ended.sort_by(|one, other| other.cmp(one));
        let old = |ended: &Ended| now.duration_since(ended.at) > retention.age;
        doomed.extend(ended.into_iter().skip(retention.count).filter(old));
    }
    doomed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn ended(name: &str, days_ago: i64) -> Ended {
        let at = Timestamp::UNIX_EPOCH - DAY * i32::try_from(days_ago).unwrap();
        Ended { at, namespace: "team".to_owned(), name: name.to_owned(), uid: None, rejected_for: None }
    }

    #[test]
    fn the_newest_and_the_young_are_kept() {
        let of = |ages: &[i64]| ages.iter().map(|days| ended(&days.to_string(), *days)).collect::<Vec<_>>();
        let accounts = BTreeMap::from([("1".to_owned(), of(&[50, 1, 40, 31, 29])), ("2".to_owned(), of(&[90, 80]))]);
        let names = |count| -> Vec<String> {
            let retention = Retention { count, age: DAY * 30 };
            doomed(accounts.clone(), retention, Timestamp::UNIX_EPOCH).into_iter().map(|ended| ended.name).collect()
        };
        assert_eq!(names(3), ["40", "50"]);
        assert_eq!(names(1), ["31", "40", "50", "90"]);
        assert_eq!(names(0), ["31", "40", "50", "80", "90"]);
        assert_eq!(names(5), Vec::<String>::new());
    }

    #[test]
    fn what_was_rejected_counts_as_long_as_its_baseline_is_as_it_was() {
        let set = |phase: &str| {
            let baseline = json!({"kind": "K", "name": "edge", "uid": "b", "generation": 2});
            let spec = json!({"baseline": baseline, "account": "1", "region": "r", "hash": "h", "edits": []});
            let set = json!({"metadata": {"name": "edge-1"}, "spec": spec, "status": {"phase": phase}});
            serde_json::from_value::<ChangeSet>(set).unwrap()
        };
        assert!(has_ended(&set("Rejected")));
        let counts = |phase: &str, generation| {
            Ended::of(&set(phase)).still_counts(&BTreeSet::from([("b".to_owned(), generation)]))
        };
        assert!(counts("Rejected", 2));
        assert!(!counts("Rejected", 3), "the baseline was edited since");
        assert!(!counts("Expired", 2));
        assert!(!Ended::of(&set("Rejected")).still_counts(&BTreeSet::new()), "the baseline is gone");
    }
}
