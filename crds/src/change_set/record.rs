//! Edits and rules of the engine as a change set writes them down, and back.

use std::collections::BTreeSet;

use engine::edit::{Change, Edit, Withheld};
use engine::facts::{self, Grant, LiveGroup, Rule, Tags};
use engine::sequence::sequence;

use super::{Direction, EditRecord, Record};

/// The most baselines that an edit names.
const MAX_BASELINES: usize = 100;

impl EditRecord {
    /// Writes an edit down, with ids and tags of the rules as they are right now.
    ///
    /// # Errors
    /// `ForeignChange` if the rule that the edit changes is not there as it was planned on: what cannot be undone is
    /// not written down as if it could.
    pub fn new(edit: &Edit, live: &LiveGroup) -> Result<Self, Withheld> {
        let steps = sequence(std::slice::from_ref(edit), live)?;
        let (before, after) = records(&edit.change, Some(live));
        let baselines: BTreeSet<String> = edit.demands.iter().map(|demand| demand.baseline.to_string()).collect();
        Ok(Self {
            resource: edit.resource.clone(),
            controls: edit.controls().into_iter().map(str::to_owned).collect(),
            baselines: baselines.into_iter().take(MAX_BASELINES).collect(),
            operation: edit.operation.to_string(),
            risk: edit.operation.risk().to_string(),
            impact: edit.impact.to_string(),
            before,
            after,
            calls: steps.iter().map(|step| step.call.operation().to_owned()).collect(),
        })
    }
}

impl EditRecord {
    /// What the edit changes, as the engine plans it. `None` if the record is of a program that knew more.
    pub fn change(&self) -> Option<Change> {
        let rules = |records: &[Record]| records.iter().map(Record::rule).collect::<Option<Vec<Rule>>>();
        let is_rule = |record: &Record| record.protocol.is_some();
        if !self.before.iter().chain(&self.after).any(is_rule) {
            let tags = |records: &[Record]| records.iter().flat_map(|record| record.tags.clone()).collect();
            return Some(Change::Tags { before: tags(&self.before), after: tags(&self.after) });
        }
        let mut before = rules(&self.before)?;
        let (first, mut after) = (before.pop(), rules(&self.after)?);
        let tags = self.after.first().map(|record| record.tags.clone()).unwrap_or_default();
        match (first, after.len(), before.is_empty()) {
            (None, 1, _) if !tags.is_empty() => Some(Change::Restore { rule: after.pop()?, tags }),
            (first, _, true) => Some(Change::Rule { before: first, after }),
            (_, _, false) => None,
        }
    }
}

fn records(change: &Change, live: Option<&LiveGroup>) -> (Vec<Record>, Vec<Record>) {
    match change {
        Change::Tags { before, after } => (tags_alone(before), tags_alone(after)),
        Change::Restore { rule, tags } => (Vec::new(), vec![Record { tags: tags.clone(), ..Record::of(rule) }]),
        Change::Rule { before, after } => {
            let mut rules = live.map(|live| live.rules.iter()).into_iter().flatten();
            let found = rules.find(|found| before.as_ref() == Some(&found.rule));
            let tags = found.map(|found| found.tags.clone()).unwrap_or_default();
            let record = |rule, id| Record { rule_id: id, tags: tags.clone(), ..Record::of(rule) };
            let id = found.map(|found| found.id.clone());
            // One rule that becomes one rule is rewritten in place and keeps its id.
            let kept = id.clone().filter(|_| after.len() == 1);
            (
                before.iter().map(|rule| record(rule, id.clone())).collect(),
                after.iter().map(|rule| record(rule, kept.clone())).collect(),
            )
        }
    }
}

fn tags_alone(tags: &Tags) -> Vec<Record> {
    let record = Record { tags: tags.clone(), ..Record::default() };
    if tags.is_empty() { Vec::new() } else { vec![record] }
}

impl Record {
    fn of(rule: &Rule) -> Self {
        let Rule { grant: Grant { direction, traffic, peer }, description } = rule;
        Self {
            direction: Some((*direction).into()),
            protocol: Some(traffic.protocol()),
            ports: traffic.ports(),
            peer: Some(peer.to_string()),
            description: description.clone(),
            rule_id: None,
            tags: Tags::new(),
        }
    }

    /// What a change is to replace, and by what, as far as it is known without a look at the resource: no ids, no tags of rules.
    pub fn before_and_after(change: &Change) -> (Vec<Self>, Vec<Self>) {
        records(change, None)
    }

    /// The rule that the record describes: what an undo has to make again. `None` for a record of tags alone.
    pub fn rule(&self) -> Option<Rule> {
        let protocol = self.protocol.as_deref()?;
        let traffic = match self.ports.as_deref() {
            None | Some("any") => protocol.parse(),
            Some(ports) => format!("{protocol}/{ports}").parse(),
        };
        Some(Rule {
            grant: Grant {
                direction: self.direction?.into(),
                traffic: traffic.ok()?,
                peer: self.peer.as_deref()?.parse().ok()?,
            },
            description: self.description.clone(),
        })
    }
}

impl From<facts::Direction> for Direction {
    fn from(direction: facts::Direction) -> Self {
        match direction {
            facts::Direction::Ingress => Self::Ingress,
            facts::Direction::Egress => Self::Egress,
        }
    }
}

impl From<Direction> for facts::Direction {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::Ingress,
            Direction::Egress => Self::Egress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::edit::{BaselineRef, Demand, Impact, Operation};
    use engine::facts::LiveRule;
    use engine::finding::Severity;
    use jiff::Timestamp;

    fn rule(direction: facts::Direction, traffic: &str, peer: &str, description: Option<&str>) -> Rule {
        Rule {
            grant: Grant { direction, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() },
            description: description.map(str::to_owned),
        }
    }

    fn edit(change: Change) -> Edit {
        let demand = |name: &str, control| Demand {
            baseline: BaselineRef {
                namespace: "security".to_owned(),
                name: name.to_owned(),
                uid: "u".to_owned(),
                generation: 1,
            },
            control,
        };
        Edit {
            resource: "sg-1".to_owned(),
            operation: change.operation(),
            change,
            demands: vec![demand("edge", "b"), demand("edge", "a"), demand("all", "a")],
            severity: Severity::High,
            exposed: 1,
            impact: Impact::Interfaces { interfaces: 2, load_balancers: 0 },
        }
    }

    fn live(rules: Vec<Rule>) -> LiveGroup {
        let number = |(index, rule)| LiveRule {
            id: format!("sgr-{index}"),
            rule,
            tags: Tags::from([("owner".to_owned(), "ana".to_owned())]),
        };
        LiveGroup {
            id: "sg-1".to_owned(),
            rules: rules.into_iter().enumerate().map(number).collect(),
            tags: Tags::new(),
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn whatever_a_rule_is_it_can_be_made_again() {
        let traffic = ["all", "tcp", "tcp/443", "udp/6000-6010", "icmp", "icmp/3", "icmp/3/4", "icmpv6/128", "50"];
        let peers = ["0.0.0.0/0", "10.1.2.3/32", "2001:db8::/32", "::/0", "pl-1", "111122223333/sg-2", "sg-3"];
        for traffic in traffic {
            for peer in peers {
                for direction in [facts::Direction::Ingress, facts::Direction::Egress] {
                    for description in [None, Some("why: it is needed")] {
                        let rule = rule(direction, traffic, peer, description);
                        assert_eq!(Record::of(&rule).rule(), Some(rule.clone()));
                        let removed = Change::Rule { before: Some(rule.clone()), after: Vec::new() };
                        let record = EditRecord::new(&edit(removed.clone()), &live(vec![rule])).unwrap();
                        assert_eq!(record.change(), Some(removed));
                    }
                }
            }
        }
    }

    #[test]
    fn a_rule_that_is_split_keeps_its_tags_and_loses_its_id() {
        let ingress = |traffic| rule(facts::Direction::Ingress, traffic, "0.0.0.0/0", Some("temp"));
        let before = ingress("all");
        let change = Change::Rule { before: Some(before.clone()), after: vec![ingress("tcp/80"), ingress("tcp/443")] };
        let record = EditRecord::new(&edit(change), &live(vec![ingress("udp/53"), before.clone()])).unwrap();
        assert_eq!(record.operation, Operation::NarrowGrant.to_string());
        assert_eq!((record.risk.as_str(), record.impact.as_str()), ("ConnectivityRisk", "2 interfaces"));
        assert_eq!(record.controls, ["a", "b"]);
        assert_eq!(record.baselines, ["security/all", "security/edge"]);
        assert_eq!(record.calls, ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]);
        assert_eq!(record.before[0].rule_id.as_deref(), Some("sgr-1"));
        assert_eq!(record.before[0].rule(), Some(before));
        assert!(record.after.iter().all(|after| after.rule_id.is_none() && after.tags["owner"] == "ana"));
    }

    #[test]
    fn a_rule_that_is_rewritten_in_place_keeps_its_id() {
        let ingress = |traffic| rule(facts::Direction::Ingress, traffic, "0.0.0.0/0", None);
        let change = Change::Rule { before: Some(ingress("tcp")), after: vec![ingress("tcp/443")] };
        let record = EditRecord::new(&edit(change), &live(vec![ingress("tcp")])).unwrap();
        assert_eq!(record.calls, ["ModifySecurityGroupRules"]);
        assert_eq!(record.after[0].rule_id.as_deref(), Some("sgr-0"));
    }

    #[test]
    fn a_rule_that_is_added_or_removed_stands_on_one_side() {
        let wanted = rule(facts::Direction::Egress, "tcp/443", "10.0.0.0/8", None);
        let add = Change::Rule { before: None, after: vec![wanted.clone()] };
        let record = EditRecord::new(&edit(add), &live(Vec::new())).unwrap();
        assert_eq!((record.before.len(), record.after[0].rule()), (0, Some(wanted.clone())));
        assert!(record.after[0].tags.is_empty());
        let remove = edit(Change::Rule { before: Some(wanted.clone()), after: Vec::new() });
        let record = EditRecord::new(&remove, &live(vec![wanted.clone()])).unwrap();
        assert_eq!((record.before[0].rule(), record.after.len()), (Some(wanted), 0));
        assert_eq!(EditRecord::new(&remove, &live(Vec::new())), Err(Withheld::ForeignChange));
    }

    #[test]
    fn tags_stand_alone() {
        let tags = |value: &str| Tags::from([("owner".to_owned(), value.to_owned())]);
        let change = Change::Tags { before: Tags::new(), after: tags("ana") };
        let record = EditRecord::new(&edit(change), &live(Vec::new())).unwrap();
        assert_eq!((record.before.len(), record.after.len()), (0, 1));
        assert_eq!(record.after[0], Record { tags: tags("ana"), ..Record::default() });
        assert_eq!(record.after[0].rule(), None);
        assert_eq!(serde_json::to_value(&record.after[0]).unwrap(), serde_json::json!({"tags": {"owner": "ana"}}));
    }
}
