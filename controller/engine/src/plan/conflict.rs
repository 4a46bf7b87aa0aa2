//! Whether what baselines require may stand: a group that has all required rules is judged by everybody.

use std::collections::BTreeMap;

use super::demands::{Asker, Demands, Keep, Requirers, Say, Texts, baselines, enforced};
use super::narrow::Remains;
use super::settle::{Settlement, remains};
use crate::controls::security_group::{GroupView, SecurityGroups};
use crate::edit::Withheld;
use crate::exposure::{Audience, PrefixLists};
use crate::facts::{Grant, Peer, Rule, SecurityGroup};
use crate::questions::Question;
use crate::traffic::TrafficSet;

/// A required grant that some baseline forbids.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) required: Grant,
    pub(super) requirers: Vec<String>,
    pub(super) forbidders: Vec<String>,
}

impl Conflict {
    /// Whether a rule loses something of the required grant, also if another rule lets it through as well.
    fn is_touched(&self, before: &Grant, after: &[Grant], lists: PrefixLists<'_>) -> bool {
        let shared = TrafficSet::from(before.traffic).intersection(&self.required.traffic.into());
        if before.direction != self.required.direction || shared.is_empty() {
            return false;
        }
        let required = members(&self.required.peer, lists);
        let meet = |one: &Peer| required.iter().filter_map(|other| one.intersection(other)).collect::<Vec<_>>();
        let met: Vec<Peer> = match Audience::of(&before.peer, lists) {
            // It may hold whoever is required.
            Audience::Unknown => vec![before.peer.clone()],
            _ => members(&before.peer, lists).iter().flat_map(meet).collect(),
        };
        met.iter().any(|peer| {
            let holds = |grant: &&Grant| members(&grant.peer, lists).iter().any(|other| other.contains(peer));
            let same = after.iter().filter(|grant| grant.direction == before.direction);
            let kept: TrafficSet = same.filter(holds).map(|grant| grant.traffic).collect();
            !shared.is_subset(&kept)
        })
    }
}

/// The networks behind a list, if they are known; any other peer is its own only member.
fn members(peer: &Peer, lists: PrefixLists<'_>) -> Vec<Peer> {
    match Audience::of(peer, lists) {
        Audience::Networks(nets) => nets.iter().copied().map(Peer::network).collect(),
        Audience::Network(_) | Audience::Trusted | Audience::Unknown => vec![peer.clone()],
    }
}

/// How the required rules would fare.
#[derive(Debug, Default)]
pub(super) struct Outlook<'d> {
    conflicts: Vec<Conflict>,
    descriptions: BTreeMap<Grant, Texts<'d>>,
}

impl<'d> Outlook<'d> {
    /// Judges the group as it would be with every required rule.
    pub(super) fn new(
        view: &GroupView<'_>,
        questions: &[Question<'d, SecurityGroups>],
        say: &Say<'_>,
        demands: &Demands<'d>,
        settled: &Settlement<'d>,
    ) -> Self {
        let mut group = view.group.clone();
        let mut rules: BTreeMap<Grant, Option<String>> =
            settled.standing(&view.group.rules).map(|grant| (grant.clone(), None)).collect();
        let required = || demands.requires.iter().filter(|(_, requirers)| is_standing(requirers));
        rules.extend(required().map(|(grant, requirers)| (grant.clone(), declared(requirers))));
        group.rules = rules.into_iter().map(|(grant, description)| Rule { grant, description }).collect();
        let mut hypothesis = GroupView::new(&group, None, view.lists);
        hypothesis.usage = view.usage;
        let mut asked = Demands::gather(&hypothesis, questions, say);
        let mut outlook = Self::default();
        for (grant, requirers) in required() {
            let Some(index) = group.rules.iter().position(|rule| rule.grant == *grant) else {
                continue;
            };
            let against = asked.keeps.get(&index).into_iter().flatten().filter(|keep| narrows(grant, keep));
            let against = against.chain(provoked(view, &group, demands, settled, &asked, grant));
            outlook.conflicts.extend(conflict(grant, requirers, against));
            if let Some(texts) = asked.descriptions.remove(&index) {
                outlook.descriptions.insert(grant.clone(), texts);
            }
        }
        outlook
    }

    /// The conflict about a required grant, if there is one.
    pub(super) fn conflict(&self, required: &Grant) -> Option<&Conflict> {
        self.conflicts.iter().find(|conflict| conflict.required == *required)
    }

    /// What would be asked of the description of a required rule.
    pub(super) fn descriptions(&self, required: &Grant) -> Option<&Texts<'d>> {
        self.descriptions.get(required)
    }

    /// Why a change is not made: somebody requires what it takes away.
    pub(super) fn forbids(&self, before: &Grant, after: &[Grant], lists: PrefixLists<'_>) -> Option<Withheld> {
        let touched = self.conflicts.iter().filter(|conflict| conflict.is_touched(before, after, lists));
        let mut requirers: Vec<String> = touched.flat_map(|conflict| conflict.requirers.clone()).collect();
        requirers.sort();
        requirers.dedup();
        (!requirers.is_empty()).then_some(Withheld::Conflicting(requirers))
    }
}

fn narrows(grant: &Grant, keep: &Keep<'_>) -> bool {
    remains(grant, &[keep]) != Remains::Unchanged
}

/// Demands on what nobody minds today, or once it is narrowed, and somebody would mind beside a required grant: together
/// they may be the world. What is there goes before what is to come.
fn provoked<'a, 'd>(
    view: &GroupView<'_>,
    group: &SecurityGroup,
    demands: &Demands<'d>,
    settled: &Settlement<'d>,
    asked: &'a Demands<'d>,
    required: &Grant,
) -> Vec<&'a Keep<'d>> {
    let today = |grant: &Grant| view.group.rules.iter().position(|rule| rule.grant == *grant);
    if today(required).is_some() {
        return Vec::new();
    }
    let minds = |keep: &Keep<'d>| keep.askers.iter().any(Asker::enforced);
    let is_settled = |grant: &Grant| match today(grant) {
        Some(index) => !demands.keeps.get(&index).into_iter().flatten().any(minds),
        None => settled.leaves(grant),
    };
    let shares = |grant: &Grant| {
        grant.direction == required.direction && TrafficSet::from(grant.traffic).meets(required.traffic)
    };
    let mut provoked = Vec::new();
    for (index, keeps) in &asked.keeps {
        if let Some(grant) = group.rules.get(*index).map(|rule| &rule.grant)
            && is_settled(grant)
            && shares(grant)
        {
            provoked.extend(keeps.iter().filter(|keep| narrows(grant, keep)));
        }
    }
    provoked
}

fn conflict<'a, 'd: 'a>(
    grant: &Grant,
    requirers: &Requirers<'_>,
    against: impl Iterator<Item = &'a Keep<'d>>,
) -> Option<Conflict> {
    let forbidders: Vec<Asker<'_>> = against.flat_map(|keep| enforced(&keep.askers)).collect();
    let requirers = requirers.iter().map(|(_, asker)| asker).filter(|asker| asker.stands);
    (!forbidders.is_empty()).then(|| Conflict {
        required: grant.clone(),
        requirers: baselines(requirers),
        forbidders: baselines(forbidders.iter()),
    })
}

/// Whether anybody's requirement stands, so that what is there of it is kept: also on a resource that somebody else owns.
pub(super) fn is_standing(requirers: &Requirers<'_>) -> bool {
    requirers.iter().any(|(_, asker)| asker.stands)
}

/// Whether anybody's requirement may be carried out.
pub(super) fn is_enforced(requirers: &Requirers<'_>) -> bool {
    requirers.iter().any(|(_, asker)| asker.enforced())
}

/// The description that a required rule gets: no demand of its own, so that two different ones are no conflict.
pub(super) fn declared(requirers: &Requirers<'_>) -> Option<String> {
    let any = is_enforced(requirers);
    let counting = requirers.iter().filter(|(_, asker)| asker.enforced() || !any);
    counting.filter_map(|(text, _)| text.clone()).min()
}
