//! What the controls of all baselines ask of one group, put together by what it is asked of: a rule, a required grant,
//! a description, a tag.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::controls::security_group::{Bound, GroupView, Remedy, SecurityGroups};
use crate::desired::{Desired, Scope};
use crate::edit::{BaselineRef, Demand, Withheld};
use crate::facts::{Grant, Resource};
use crate::finding::Severity;
use crate::questions::{Asking, Question};

/// Which controls of which baselines have a say about a resource: those that see it, unless an exemption silences them.
#[derive(Debug)]
pub struct Say<'a> {
    resource: Resource<'a>,
    now: Timestamp,
    scopes: Vec<Scope>,
    /// Whether to look at the resource as if everything that is proposed were approved.
    approved: bool,
}

impl<'a> Say<'a> {
    pub(super) fn new(desired: &[Desired], resource: Resource<'a>, now: Timestamp) -> Self {
        let scopes = desired.iter().map(|desired| desired.scope(resource)).collect();
        Self { resource, now, scopes, approved: false }
    }

    /// The same as if everything that is proposed were approved.
    pub(super) fn once_approved(self) -> Self {
        Self { approved: true, ..self }
    }

    /// Why the spec has what a control asks for not carried out.
    fn hold(&self, asking: &Asking<'_>) -> Option<Withheld> {
        asking.active.hold.clone().filter(|hold| !(self.approved && *hold == Withheld::Approval))
    }

    /// Whether a control of a baseline has a say.
    pub(super) fn has(&self, asking: &Asking<'_>) -> bool {
        let about = asking.active.about;
        self.scopes.get(asking.baseline).is_some_and(|scope| scope.includes(about))
            && asking.desired.exemption(about.id, self.resource, self.now).is_none()
    }
}

/// Who asks for something, how urgently, and why it is not done if that is settled.
#[derive(Clone, Debug)]
pub(super) struct Asker<'d> {
    pub(super) baseline: &'d BaselineRef,
    pub(super) control: &'static str,
    pub(super) severity: Severity,
    pub(super) hold: Option<Withheld>,
    /// Whether the spec asks for it, also where the resource may not be written on its behalf.
    pub(super) stands: bool,
}

impl<'d> Asker<'d> {
    pub(super) fn new(asking: &Asking<'d>, say: &Say<'_>, held: Option<Withheld>) -> Self {
        let (Asking { desired, active, .. }, hold) = (asking, say.hold(asking));
        Self {
            baseline: &desired.reference,
            control: active.about.id,
            severity: active.severity,
            stands: hold.is_none(),
            hold: hold.or(held).or_else(|| desired.code.forbids(say.resource.tags)),
        }
    }

    pub(super) fn enforced(&self) -> bool {
        self.hold.is_none()
    }

    pub(super) fn demand(&self) -> Demand {
        Demand { baseline: self.baseline.clone(), control: self.control }
    }
}

/// A rule is to be narrowed.
#[derive(Clone, Debug)]
pub(super) struct Keep<'d> {
    pub(super) askers: Vec<Asker<'d>>,
    pub(super) within: Vec<Bound>,
    pub(super) must_narrow: bool,
}

/// Baselines that ask for one grant, each with the description it gives.
pub(super) type Requirers<'d> = Vec<(Option<String>, Asker<'d>)>;

/// Values that are asked for, and by whom.
pub(super) type Asked<'d, T> = BTreeMap<T, Vec<Asker<'d>>>;

/// Texts that are asked for, and by whom.
pub(super) type Texts<'d> = Asked<'d, String>;

/// Everything that is asked of one group. The order of baselines and questions leaves no trace in it.
#[derive(Debug, Default)]
pub(super) struct Demands<'d> {
    pub(super) keeps: BTreeMap<usize, Vec<Keep<'d>>>,
    /// By grant: descriptions are no part of a rule's identity.
    pub(super) requires: BTreeMap<Grant, Requirers<'d>>,
    pub(super) descriptions: BTreeMap<usize, Texts<'d>>,
    pub(super) tags: BTreeMap<String, Texts<'d>>,
}

impl<'d> Demands<'d> {
    /// Puts together what every question asks of a group, as far as those who ask have a say.
    pub(super) fn gather(view: &GroupView<'_>, questions: &[Question<'d, SecurityGroups>], say: &Say<'_>) -> Self {
        let mut demands = Self::default();
        for question in questions {
            let asking: Vec<&Asking<'d>> = question.askers.iter().filter(|asking| say.has(asking)).collect();
            let Some(remedy) = question.control.remedy.filter(|_| !asking.is_empty()) else {
                continue;
            };
            for remedy in remedy(question.parameters, view) {
                demands.add(&asking, say, remedy);
            }
        }
        demands
    }

    fn add(&mut self, asking: &[&Asking<'d>], say: &Say<'_>, remedy: Remedy) {
        let askers = |held: Option<Withheld>| {
            let asker = move |asking: &&Asking<'d>| Asker::new(asking, say, held.clone());
            asking.iter().map(asker)
        };
        match remedy {
            Remedy::Keep { rule, within, must_narrow, held } => {
                self.keeps.entry(rule).or_default().push(Keep { askers: askers(held).collect(), within, must_narrow })
            }
            Remedy::Require(rule) => {
                let requirer = |asking: &&Asking<'d>| {
                    let may_add = asking.desired.grant.may_add.allows(&rule);
                    let beyond = (!may_add).then_some(Withheld::AccountGrant);
                    (rule.description.clone(), Asker::new(asking, say, beyond))
                };
                let requirers = self.requires.entry(rule.grant.clone()).or_default();
                requirers.extend(asking.iter().map(requirer));
            }
            Remedy::Describe { rule, text } => {
                let texts = self.descriptions.entry(rule).or_default();
                texts.entry(text).or_default().extend(askers(None));
            }
            Remedy::Tag(tags) => {
                for (key, value) in tags {
                    let values = self.tags.entry(key).or_default();
                    values.entry(value).or_default().extend(askers(None));
                }
            }
        }
    }
}

/// The one text that enforced demands agree on, with those who ask for it.
pub(super) fn agreed<'t, 'd>(texts: &'t Texts<'d>) -> Option<(&'t String, Vec<Asker<'d>>)> {
    let mut enforced =
        texts.iter().map(|(text, askers)| (text, enforced(askers))).filter(|(_, askers)| !askers.is_empty());
    let only = enforced.next()?;
    enforced.next().is_none().then_some(only)
}

/// Those whose demands may be carried out.
pub(super) fn enforced<'d>(askers: &[Asker<'d>]) -> Vec<Asker<'d>> {
    let enforced = askers.iter().filter(|asker| asker.enforced());
    enforced.cloned().collect()
}

/// Why demands that are all held are not carried out: the reason of the most urgent one.
pub(super) fn reason(askers: &[Asker<'_>]) -> Option<Withheld> {
    if askers.iter().any(Asker::enforced) {
        return None;
    }
    let urgency = |asker: &&Asker<'_>| (std::cmp::Reverse(asker.severity), asker.hold.clone());
    askers.iter().min_by_key(urgency).and_then(|asker| asker.hold.clone())
}

/// The baselines that ask, by name, each once.
pub(super) fn baselines<'a, 'd: 'a>(askers: impl Iterator<Item = &'a Asker<'d>>) -> Vec<String> {
    let mut names: Vec<String> = askers.map(|asker| asker.baseline.to_string()).collect();
    names.sort();
    names.dedup();
    names
}

/// Those whose demand is carried out; if nobody's is, all of them and why not.
pub(super) fn carried_out<'d>(askers: &[Asker<'d>]) -> (Vec<Asker<'d>>, Option<Withheld>) {
    match reason(askers) {
        None => (enforced(askers), None),
        held => (askers.to_vec(), held),
    }
}

/// As [`carried_out`], and held if other enforced demands want another value.
pub(super) fn chosen<'d, T: Ord>(
    value: &T,
    askers: &[Asker<'d>],
    values: &Asked<'d, T>,
) -> (Vec<Asker<'d>>, Option<Withheld>) {
    let (askers, hold) = carried_out(askers);
    let others = values.iter().filter(|(other, _)| **other != *value);
    let others: Vec<Asker<'d>> = others.flat_map(|(_, askers)| enforced(askers)).collect();
    let contradicted = hold.is_none() && !others.is_empty();
    let conflict = contradicted.then(|| Withheld::Conflicting(baselines(others.iter())));
    (askers, hold.or(conflict))
}

/// The demands of those who ask, each once, and the worst severity among them.
pub(super) fn put_together(askers: &[Asker<'_>]) -> (Vec<Demand>, Severity) {
    let mut askers: Vec<&Asker<'_>> = askers.iter().collect();
    askers.sort_by_key(|asker| (asker.baseline, asker.control));
    askers.dedup_by_key(|asker| (asker.baseline, asker.control));
    let severity = askers.iter().map(|asker| asker.severity).max();
    (askers.into_iter().map(Asker::demand).collect(), severity.unwrap_or(Severity::Low))
}
