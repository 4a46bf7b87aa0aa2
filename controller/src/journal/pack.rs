//! Packing edits into change sets: as few as fit, each in the namespace of the baseline that answers for it.

use std::collections::{BTreeMap, BTreeSet};

use crds::{BaselineName, ChangeSet, ChangeSetSpec, EditRecord, MAX_EDITS, OtherBaseline, Undoes};
use engine::approval::Warrant;
use engine::edit::{BaselineRef, Demand, Withheld};
use engine::facts::Location;
use sha2::{Digest, Sha256};

use crate::act::Prepared;
use crate::authority::AuthorityNow;

/// Characters of the hash that end up in the name of a change set.
const HASH_IN_NAME: usize = 10;

/// The change sets of some resources.
#[derive(Debug, Default)]
pub struct Packed {
    /// The change sets, worst first for each baseline.
    pub sets: Vec<ChangeSet>,
    /// Why resources are in none of them, by their id.
    pub refused: BTreeMap<String, Withheld>,
}

/// Packs resources into as few change sets as fit. A resource is never split over two.
pub fn change_sets<'p>(
    location: &Location,
    prepared: impl IntoIterator<Item = &'p Prepared>,
    authority: &AuthorityNow,
) -> Packed {
    let mut by_baseline: BTreeMap<BaselineRef, Vec<ChangeSetSpec>> = BTreeMap::new();
    let mut refused = BTreeMap::new();
    for ready in prepared {
        if let Err(reason) = pack(location, ready, authority, &mut by_baseline) {
            tracing::warn!(resource = ready.resource.target.id, reason = reason.reason(), "Edits not written down");
            refused.insert(ready.resource.target.id.clone(), reason);
        }
    }
    let named = |(baseline, specs): (BaselineRef, Vec<ChangeSetSpec>)| {
        specs.into_iter().map(|spec| named(&baseline, spec)).collect::<Vec<_>>()
    };
    Packed { sets: by_baseline.into_iter().flat_map(named).collect(), refused }
}

/// Adds one resource to the last change set of its baseline, or to a new one.
fn pack(
    location: &Location,
    ready: &Prepared,
    authority: &AuthorityNow,
    by_baseline: &mut BTreeMap<BaselineRef, Vec<ChangeSetSpec>>,
) -> Result<(), Withheld> {
    let records: Result<Vec<EditRecord>, Withheld> =
        ready.resource.edits.iter().map(|edit| EditRecord::new(edit, &ready.live)).collect();
    let records = records?;
    let baseline = answering(ready, authority).ok_or(Withheld::BaselineChanged)?;
    let others = others(ready, &baseline);
    let alone = extend(&empty(location, &baseline, &ready.resource.warrant), &records, &others);
    if !alone.fits() {
        return Err(Withheld::ChangeSetTooLarge);
    }
    let sets = by_baseline.entry(baseline).or_default();
    let last = sets.last_mut().filter(|last| last.undoes == alone.undoes);
    match last.map(|last| (extend(last, &records, &others), last)) {
        Some((extended, last)) if extended.fits() => *last = extended,
        _ => sets.push(alone),
    }
    Ok(())
}

/// The baseline whose namespace keeps the change set: the oldest that proposes edits of the resource, else the oldest that
/// demands any.
fn answering(ready: &Prepared, authority: &AuthorityNow) -> Option<BaselineRef> {
    let demands = || ready.resource.edits.iter().flat_map(|edit| &edit.demands);
    let proposes = |demand: &&Demand| {
        let mut baselines = authority.desired.iter().filter(|desired| desired.reference == demand.baseline);
        let mut controls = baselines.next().into_iter().flat_map(|desired| &desired.controls);
        controls.any(|active| active.about.id == demand.control && active.hold == Some(Withheld::Approval))
    };
    let age = |reference: &BaselineRef| {
        authority.desired.iter().position(|desired| desired.reference == *reference).unwrap_or(usize::MAX)
    };
    let oldest = |demands: &mut dyn Iterator<Item = &Demand>| {
        demands.map(|demand| demand.baseline.clone()).min_by_key(|reference| (age(reference), reference.clone()))
    };
    oldest(&mut demands().filter(proposes)).or_else(|| oldest(&mut demands()))
}

/// The other baselines that demand edits of a resource.
fn others(ready: &Prepared, answering: &BaselineRef) -> BTreeSet<BaselineRef> {
    let demands = ready.resource.edits.iter().flat_map(|edit| &edit.demands);
    demands.map(|demand| demand.baseline.clone()).filter(|baseline| baseline != answering).collect()
}

fn empty(location: &Location, baseline: &BaselineRef, warrant: &Warrant) -> ChangeSetSpec {
    let undoes = match warrant {
        Warrant::Rollback(undo) => Some(Undoes::from(undo)),
        Warrant::Baselines | Warrant::Approval(_) => None,
    };
    ChangeSetSpec {
        baseline: BaselineName {
            kind: baseline.kind.name().to_owned(),
            name: baseline.name.clone(),
            uid: baseline.uid.clone(),
            generation: baseline.generation,
        },
        other_baselines: Vec::new(),
        account: location.account.clone(),
        region: location.region.clone(),
        proposed: false,
        undoes,
        hash: String::new(),
        edits: Vec::new(),
    }
}

fn extend(spec: &ChangeSetSpec, records: &[EditRecord], others: &BTreeSet<BaselineRef>) -> ChangeSetSpec {
    let mut extended = spec.clone();
    let named = others.iter().map(|baseline| {
        let BaselineRef { kind, namespace, name, uid, generation } = baseline.clone();
        OtherBaseline { kind: kind.name().to_owned(), namespace, name, uid, generation }
    });
    extended.other_baselines.extend(named.filter(|other| !spec.other_baselines.contains(other)));
    extended.edits.extend(records.iter().take(MAX_EDITS + 1).cloned());
    extended
}

/// Names a change set after its baseline and the hash of its edits. The same edits can come again after a rival
/// undid them, so the API server adds a suffix of its own.
fn named(baseline: &BaselineRef, mut spec: ChangeSetSpec) -> ChangeSet {
    let content = serde_json::to_vec(&(&spec.account, &spec.region, &spec.edits)).unwrap_or_default();
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = hash.chars().take(HASH_IN_NAME).collect();
    let prefix = crds::shortened(&baseline.name);
    spec.hash = format!("sha256:{hash}");
    let mut set = ChangeSet::new("", spec);
    set.metadata.name = None;
    set.metadata.generate_name = Some(format!("{prefix}-{short}-"));
    set.metadata.namespace = Some(baseline.namespace.clone());
    set
}
