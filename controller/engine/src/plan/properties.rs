//! Planning the properties of one resource: what several controls and baselines ask of one property becomes one edit, or
//! a conflict.

use super::ProposedEdit;
use super::demands::{Asked, Asker, Say, carried_out, chosen, put_together};
use crate::controls::Catalogue;
use crate::edit::{Change, Edit, Withheld};
use crate::finding::Verdict;
use crate::property::{Property, PropertyChange};
use crate::questions::{Asking, Question};

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What a control asks of a resource that is described by properties. Of one that passes it can ask that values stay as they
/// are, by changes that change nothing: then whoever asks for another value contradicts it. Without that, two baselines
/// that each want a value of their own would set it in turns for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The properties that change together. The first is the one that the demand is about: two that ask something else of
    /// it contradict each other.
    pub changes: Vec<PropertyChange>,
    /// Why the control itself asks to hold this back, if it does.
    pub held: Option<Withheld>,
}

impl Remedy {
    fn changes_nothing(&self) -> bool {
        self.changes.iter().all(|change| change.before == change.after)
    }

    /// One property gets another value.
    pub fn set(change: PropertyChange) -> Self {
        Self { changes: vec![change], held: None }
    }

    /// The same demand, held back by the control itself.
    pub fn held_by(self, reason: Withheld) -> Self {
        Self { held: Some(reason), ..self }
    }
}

/// The edits of one resource, held or not.
pub(crate) fn plan<C: Catalogue<Remedy = Remedy>>(
    view: &C::View<'_>,
    resource: &str,
    questions: &[Question<'_, C>],
    say: &Say<'_>,
) -> Vec<ProposedEdit> {
    let mut edits = Vec::new();
    for values in demands(view, questions, say).into_values().map(one_by_one).map(put_in_one) {
        let changing = values.iter().filter(|(changes, _)| changes.iter().any(|change| change.before != change.after));
        for (changes, askers) in changing {
            let (askers, hold) = match carried_out(askers) {
                (_, None) => chosen(changes, askers, &values),
                held => held,
            };
            let (demands, severity) = put_together(&askers);
            let change = Change::Properties(changes.clone());
            let edit = Edit { severity, ..Edit::new(resource, change, demands, C::impact(view)) };
            edits.push(ProposedEdit { edit, hold });
        }
    }
    edits
}

/// What is asked, by the property that it is about.
fn demands<'d, C: Catalogue<Remedy = Remedy>>(
    view: &C::View<'_>,
    questions: &[Question<'d, C>],
    say: &Say<'_>,
) -> BTreeMap<Property, Asked<'d, Vec<PropertyChange>>> {
    let mut demands: BTreeMap<Property, Asked<'d, Vec<PropertyChange>>> = BTreeMap::new();
    for question in questions {
        let concerns = C::concerns(&question.control.about, view);
        let asking: Vec<&Asking<'d>> = question.askers.iter().filter(|asking| concerns && say.has(asking)).collect();
        let Some(remedy) = question.control.remedy.filter(|_| !asking.is_empty()) else {
            continue;
        };
        // The resource may pass this control and fail another one.
        let passes = match (question.control.check)(question.parameters, view) {
            Verdict::Fail { .. } => false,
            Verdict::Pass | Verdict::PassWithNote { .. } => true,
            Verdict::NotApplicable { .. } | Verdict::Unknown { .. } => continue,
        };
        let remedies = remedy(question.parameters, view).into_iter();
        for Remedy { changes, held } in remedies.filter(|remedy| remedy.changes_nothing() == passes) {
            let Some(first) = changes.first().map(|change| change.property.clone()) else { continue };
            let askers = asking.iter().map(|asking| Asker::new(asking, say, held.clone()));
            demands.entry(first).or_default().entry(changes).or_default().extend(askers);
        }
    }
    demands
}

/// A baseline of which several controls set one property to different values contradicts nobody: the worst goes first, and
/// the others are asked for again on what is there afterwards.
fn one_by_one(mut values: Asked<'_, Vec<PropertyChange>>) -> Asked<'_, Vec<PropertyChange>> {
    let mut wishes = Vec::new();
    for (changes, askers) in &values {
        let enforced = askers.iter().filter(|asker| asker.enforced());
        wishes.extend(enforced.map(|asker| (asker.baseline, Reverse(asker.severity), asker.control, changes.clone())));
    }
    wishes.sort();
    // The first wish of each baseline.
    wishes.dedup_by_key(|(baseline, ..)| *baseline);
    for (changes, askers) in &mut values {
        let is_first = |asker: &Asker<'_>| {
            wishes.iter().any(|(baseline, _, _, first)| *baseline == asker.baseline && first == changes)
        };
        for asker in askers.iter_mut().filter(|asker| asker.enforced()) {
            asker.hold = (!is_first(asker)).then_some(Withheld::SweepLimit);
        }
    }
    values
}

/// Several values become one that is what everybody asks for, where there is such a value.
fn put_in_one(mut values: Asked<'_, Vec<PropertyChange>>) -> Asked<'_, Vec<PropertyChange>> {
    let enforced = values.iter().filter(|(_, askers)| askers.iter().any(Asker::enforced));
    let single = enforced.map(|(changes, _)| match changes.as_slice() {
        [only] => Some(only),
        _ => None,
    });
    let Some(wanted) = single.collect::<Option<BTreeSet<&PropertyChange>>>() else { return values };
    let mut wanted = wanted.into_iter();
    let (first, rest) = (wanted.next().cloned(), wanted.collect::<Vec<_>>());
    let all = first.filter(|_| !rest.is_empty());
    let Some(all) = all.and_then(|first| rest.into_iter().try_fold(first, |all, other| all.meet(other))) else {
        return values;
    };
    let mut together = Vec::new();
    for askers in values.values_mut() {
        together.extend(askers.extract_if(.., |asker| asker.enforced()));
    }
    values.retain(|_, askers| !askers.is_empty());
    values.entry(vec![all]).or_default().extend(together);
    values
}
