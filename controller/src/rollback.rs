//! Undo: puts back what a change set changed, on the word of a person, by the same line as every other change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws::ec2::live::read_live;
use crds::{BaselineExemption, BaselineExemptionSpec, ChangeSet, EditRecord};
use engine::approval::{ChangeSetName, Warrant};
use engine::controls::security_group::controls;
use engine::edit::{Demand, Edit, Impact};
use engine::evaluate::arn;
use engine::facts::{Inventory, LiveGroup, Location, SecurityGroup, Tags};
use engine::plan::{Outcome, Permitted, PermittedResource, Plan, ResourceOutcome};
use engine::spec::{ExemptResources, Match};
use engine::undo::{Made, undo};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::PostParams;
use kube::{Api, ResourceExt};

use crate::act::{Acting, act};
use crate::context::Context;
use crate::journal::{FIELD_MANAGER, Journal, baseline, location};
use crate::kubernetes::within;
use crate::store::Objects;

/// An exemption that was made is seen within so long, or the next sweep tries again.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A person's word to undo a change set.
#[derive(Clone, Debug)]
pub struct Order {
    /// The change set.
    pub set: ChangeSet,
    /// Uid of the approval that says so.
    pub uid: String,
    /// Name of the approval.
    pub approval: String,
    /// Why.
    pub reason: String,
    /// How long the findings then stand.
    pub exempt_for: SignedDuration,
}

/// Orders that wait, and why some came to nothing.
#[derive(Debug, Default)]
pub struct Orders(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    waiting: BTreeMap<Location, Vec<Order>>,
    /// By the uid of the approval.
    failures: BTreeMap<String, String>,
}

impl Orders {
    /// Takes an order, unless it is known.
    pub fn take(&self, order: Order) {
        let location = location(&order.set);
        let Book { waiting, failures } = &mut *self.lock();
        let waiting = waiting.entry(location).or_default();
        if !failures.contains_key(&order.uid) && waiting.iter().all(|other| other.uid != order.uid) {
            waiting.push(order);
        }
    }

    /// Why an order came to nothing.
    pub fn failure(&self, uid: &str) -> Option<String> {
        self.lock().failures.get(uid).cloned()
    }

    /// Where orders wait.
    pub fn locations(&self) -> Vec<Location> {
        self.lock().waiting.keys().cloned().collect()
    }

    /// How many orders wait in a cell.
    pub fn waiting(&self, location: &Location) -> usize {
        self.lock().waiting.get(location).map_or(0, Vec::len)
    }

    /// The change sets that may be undone in a cell right now.
    pub fn approved(&self, location: &Location, objects: &Objects) -> BTreeSet<ChangeSetName> {
        let stands = |order: &Order| objects.has_approval(&order.uid);
        let name = |order: Order| Some(ChangeSetName { namespace: order.set.namespace()?, name: order.set.name_any() });
        self.of(location).into_iter().filter(stands).filter_map(name).collect()
    }

    /// What is to be put back in a cell.
    pub fn resources(&self, location: &Location) -> BTreeSet<String> {
        let orders = self.of(location);
        orders.iter().flat_map(|order| &order.set.spec.edits).map(|edit| edit.resource.clone()).collect()
    }

    fn of(&self, location: &Location) -> Vec<Order> {
        self.lock().waiting.get(location).cloned().unwrap_or_default()
    }

    fn done(&self, order: &Order, failure: Option<String>) {
        let Book { waiting, failures } = &mut *self.lock();
        if let Some(orders) = waiting.get_mut(&location(&order.set)) {
            orders.retain(|other| other.uid != order.uid);
        }
        waiting.retain(|_, orders| !orders.is_empty());
        failures.extend(failure.map(|failure| (order.uid.clone(), failure)));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries out the orders of a cell.
pub async fn carry_out(context: &Context, inventory: &Inventory, journal: &mut Journal, acting: &Acting<'_>) {
    for order in context.rollbacks.of(acting.connection.location()) {
        if (acting.authority)().lease_left.is_none() {
            return;
        }
        match carry_out_one(context, inventory, journal, &order, acting).await {
            Ok(Some(done)) => {
                let now = Timestamp::now();
                context.ledger().wave(baseline(&order.set)).fail(now, was_undone(&order.set));
                journal.rolled_back(&order.set, &order.approval, &done, now).await;
                context.rollbacks.done(&order, None);
            }
            Ok(None) => {
                let why = "what it changed was changed again by somebody else, or is gone: put it back by hand";
                context.rollbacks.done(&order, Some(why.to_owned()));
            }
            Err(error) => tracing::warn!(%error, change_set = order.set.name_any(), "Not undone yet: trying again"),
        }
    }
}

/// How a canary went wrong of which a change set was undone.
pub fn was_undone(set: &ChangeSet) -> String {
    format!("change set {} was undone", set.name_any())
}

/// What was put back, in one sentence; `None` if that is nothing.
async fn carry_out_one(
    context: &Context,
    inventory: &Inventory,
    journal: &mut Journal,
    order: &Order,
    acting: &Acting<'_>,
) -> anyhow::Result<Option<String>> {
    let groups = groups(&order.set, inventory);
    exempt(context, order, &groups).await?;
    let ids: Vec<String> = groups.keys().map(|id| (*id).to_owned()).collect();
    let live = read_live(acting.connection, &ids, Timestamp::now).await?;
    let all: BTreeSet<&str> = order.set.spec.edits.iter().map(|edit| edit.resource.as_str()).collect();
    let (mut resources, mut back) = (Vec::new(), 0);
    for id in &all {
        match groups.get(id).zip(live.get(*id)).and_then(|(group, live)| plan(order, group, live)) {
            Some(resource) if resource.edits.is_empty() => back += 1,
            Some(resource) => resources.push(resource),
            None => {}
        }
    }
    let stage = Permitted { resources, to_propose: Vec::new(), withheld: Vec::new() };
    let applied = act(Plan { location: acting.connection.location().clone(), stage }, journal, acting).await;
    let outcomes: &[ResourceOutcome] = &applied.stage.outcomes;
    back += outcomes.iter().filter(|outcome| outcome.outcome == Outcome::Verified).count();
    if let Some(failed) = outcomes.iter().find(|outcome| outcome.outcome != Outcome::Verified) {
        anyhow::ensure!(
            matches!(failed.outcome, Outcome::Withheld(engine::edit::Withheld::ForeignChange)),
            "{}: {}",
            failed.id,
            failed.outcome.reason()
        );
    }
    Ok((back > 0).then(|| format!("{back} of {} resources are as they were before", all.len())))
}

/// The groups of a change set, by id.
fn groups<'a>(set: &'a ChangeSet, inventory: &'a Inventory) -> BTreeMap<&'a str, &'a SecurityGroup> {
    let ids: BTreeSet<&str> = set.spec.edits.iter().map(|edit| edit.resource.as_str()).collect();
    let groups = inventory.security_groups.facts().map(Vec::as_slice).unwrap_or_default();
    groups.iter().filter(|group| ids.contains(group.id.as_str())).map(|group| (group.id.as_str(), group)).collect()
}

/// The edits that put a group back; `None` where it is not as it was left.
fn plan(order: &Order, group: &SecurityGroup, live: &LiveGroup) -> Option<PermittedResource> {
    let records = || order.set.spec.edits.iter().filter(|edit| edit.resource == group.id);
    let made: Option<Vec<Made>> = records().map(made).collect();
    let name = ChangeSetName { namespace: order.set.namespace()?, name: order.set.name_any() };
    let demands = demands(&order.set, records());
    let edit = |change| Edit::new(&group.id, change, demands.clone(), Impact::Unknown);
    Some(PermittedResource {
        group: SecurityGroup { rules: live.plain_rules(), tags: live.tags.clone(), ..group.clone() },
        edits: undo(&made?, live).ok()?.into_iter().map(edit).collect(),
        baselines: Vec::new(),
        warrant: Warrant::Rollback(name),
    })
}

fn made(record: &EditRecord) -> Option<Made> {
    let tags = record.before.first().map(|before| before.tags.clone()).unwrap_or_default();
    Some(Made { change: record.change()?, tags })
}

/// In whose name the journal keeps the undo: that of the baseline and the controls that asked for the change.
fn demands<'r>(set: &ChangeSet, records: impl Iterator<Item = &'r EditRecord>) -> Vec<Demand> {
    let baseline = baseline(set);
    let named: BTreeSet<&str> = records.flat_map(|record| &record.controls).map(String::as_str).collect();
    let known = controls().map(|control| control.about.id).filter(|id| named.contains(id));
    known.map(|control| Demand { baseline: baseline.clone(), control }).collect()
}

/// Lets the findings stand for a while, so that nothing is repaired that was just put back, and waits until that is seen.
async fn exempt(context: &Context, order: &Order, groups: &BTreeMap<&str, &SecurityGroup>) -> anyhow::Result<()> {
    let namespace = order.set.namespace().unwrap_or_default();
    let api: Api<BaselineExemption> = Api::namespaced(context.client.clone(), &namespace);
    let location = location(&order.set);
    let edits = order.set.spec.edits.iter();
    let controls: BTreeSet<String> = edits.flat_map(|edit| edit.controls.clone()).collect();
    let matches = Match {
        arns: groups.values().map(|group| arn(&location, group)).collect(),
        tags: Tags::new(),
        ..Match::default()
    };
    if matches.arns.is_empty() {
        return Ok(());
    }
    let expires = Timestamp::now().checked_add(order.exempt_for)?;
    let spec = BaselineExemptionSpec {
        controls: controls.into_iter().collect(),
        resources: ExemptResources { matches, accounts: Vec::new() },
        reason: format!("change set {} was undone: {}", order.set.name_any(), engine::report::cut(&order.reason)),
        ticket: order.approval.chars().take(128).collect(),
        expires: Time(expires),
    };
    let name = format!("undo-{}", order.approval);
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    match within(api.create(&params, &BaselineExemption::new(&name, spec))).await {
        Ok(_) => {}
        Err(kube::Error::Api(answer)) if answer.is_already_exists() => {}
        Err(error) => return Err(error.into()),
    }
    let seen = async {
        while !context.objects.has_exemption(&namespace, &name) {
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    tokio::time::timeout(SEEN_WITHIN, seen).await?;
    Ok(())
}
