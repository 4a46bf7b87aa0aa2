//! `ChangeSet`: journal, preview and undo record of a batch of edits in one.

#![expect(
    clippy::duplicated_attributes,
    reason = "every printer column has a type"
)]

use std::collections::{BTreeMap, BTreeSet};

use engine::edit::{Change, Edit, Withheld};
use engine::facts::{self, Grant, LiveGroup, Rule, Tags};
use engine::sequence::sequence;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most edits of one change set.
pub const MAX_EDITS: usize = 50;

/// The most bytes of the spec of one change set, as JSON.
pub const MAX_BYTES: usize = 256 * 1024;

/// The most baselines that an edit names.
const MAX_BASELINES: usize = 100;

/// The edits of one account and region that are made together, written down before the first of them is made.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "baseward.dev",
    version = "v1alpha1",
    kind = "ChangeSet",
    plural = "changesets",
    shortname = "chg",
    category = "baseward",
    namespaced,
    status = "ChangeSetStatus",
    derive = "PartialEq",
    doc = "Edits to AWS resources, written down by the controller before it makes them: what, why, before and after. It holds what is needed to undo them, and cannot be changed.",
    printcolumn(name = "Baseline", type_ = "string", json_path = ".spec.baseline.name"),
    printcolumn(name = "Account", type_ = "string", json_path = ".spec.account"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self == oldSelf",
    "message": "a change set cannot be changed"
}]))]
pub struct ChangeSetSpec {
    /// The oldest of the baselines that demand the edits, in the namespace of the change set.
    pub baseline: BaselineName,
    /// Account id.
    #[schemars(length(max = 12), regex(pattern = "^[0-9]{12}$"))]
    pub account: String,
    /// Region.
    #[schemars(length(min = 1, max = 32))]
    pub region: String,
    /// Hash of the edits, such as sha256:7f3a9c….
    #[schemars(length(min = 1, max = 80))]
    pub hash: String,
    /// The edits, worst first.
    #[schemars(length(min = 1, max = 50))]
    pub edits: Vec<EditRecord>,
}

/// One generation of one baseline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BaselineName {
    /// Its kind.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid: an object that was deleted and made again is another one.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// The generation that demanded the edits.
    #[schemars(range(min = 0))]
    pub generation: i64,
}

/// One edit to one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditRecord {
    /// Id of the resource, such as sg-0f12.
    #[schemars(length(min = 1, max = 512))]
    pub resource: String,
    /// Ids of the controls that demand the edit.
    #[schemars(length(min = 1, max = 32), inner(length(max = 63)))]
    pub controls: Vec<String>,
    /// The baselines that demand the edit, as NAMESPACE/NAME.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 317)))]
    pub baselines: Vec<String>,
    /// What is done, such as NarrowGrant.
    #[schemars(length(min = 1, max = 63))]
    pub operation: String,
    /// What it can break: ConfigOnly, AddsAccess or ConnectivityRisk.
    #[schemars(length(min = 1, max = 63))]
    pub risk: String,
    /// What hangs on the resource.
    #[schemars(length(max = 256))]
    pub impact: String,
    /// What was there.
    #[schemars(length(max = 64))]
    pub before: Vec<Record>,
    /// What is to be there instead.
    #[schemars(length(max = 64))]
    pub after: Vec<Record>,
    /// The AWS operations that make the edit, in their order. Edits of one resource share calls where they can.
    #[schemars(length(max = 8), inner(length(max = 64)))]
    pub calls: Vec<String>,
}

/// One part of a resource with all that is needed to make it again: a rule, or tags alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Which way the traffic of a rule flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// Protocol of a rule as EC2 writes it: -1 (all), tcp, udp, icmp, icmpv6 or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub protocol: Option<String>,
    /// Ports of a rule (443, 6000-6010), or ICMP type and code (3/4, any).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ports: Option<String>,
    /// The other end of a rule: a CIDR, a prefix list, or a security group as ACCOUNT/GROUP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub peer: Option<String>,
    /// Description of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub description: Option<String>,
    /// Id of a rule, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub rule_id: Option<String>,
    /// Tags of the rule; in a record without a rule, tags of the resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 60, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub tags: BTreeMap<String, String>,
}

/// Which way the traffic of a rule flows, seen from the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Direction {
    /// Into the interfaces that carry the group.
    Ingress,
    /// Out of them.
    Egress,
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

/// How far the edits got.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeSetStatus {
    /// Applying, Applied (every edit was made and read back), PartlyApplied or Failed (none was made).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What came of the edits, one entry per resource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub edits: Vec<EditOutcome>,
}

/// How far a change set got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Its edits are being made.
    Applying,
    /// Every edit was made and read back.
    Applied,
    /// Some edits were made, some were not.
    PartlyApplied,
    /// No edit was made.
    Failed,
}

/// What came of the edits to one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditOutcome {
    /// Id of the resource.
    #[schemars(length(min = 1, max = 512))]
    pub resource: String,
    /// Verified, Withheld or Failed.
    pub outcome: Outcome,
    /// Why it was not made, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// AWS's ids of the requests that were made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    pub request_ids: Vec<String>,
    /// When the outcome was known.
    pub finished_at: Time,
}

/// What came of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// Made, read back, and as planned.
    Verified,
    /// Not made: a rail held it back right before the write.
    Withheld,
    /// AWS refused it, or what was read back is not as planned.
    Failed,
}

impl From<&engine::plan::Outcome> for Outcome {
    fn from(outcome: &engine::plan::Outcome) -> Self {
        match outcome {
            engine::plan::Outcome::Verified => Self::Verified,
            engine::plan::Outcome::Withheld(_) => Self::Withheld,
            engine::plan::Outcome::Failed(_) => Self::Failed,
        }
    }
}

impl Phase {
    /// The phase that follows from the outcomes of every resource.
    pub fn of(outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        let (mut verified, mut other) = (false, false);
        for outcome in outcomes {
            match outcome {
                Outcome::Verified => verified = true,
                Outcome::Withheld | Outcome::Failed => other = true,
            }
        }
        match (verified, other) {
            (true, false) => Self::Applied,
            (true, true) => Self::PartlyApplied,
            (false, _) => Self::Failed,
        }
    }
}

impl ChangeSetSpec {
    /// Whether the API takes it: not more than 50 edits, and not more than 256 KiB.
    pub fn fits(&self) -> bool {
        let bytes = serde_json::to_vec(self).map_or(usize::MAX, |json| json.len());
        (1..=MAX_EDITS).contains(&self.edits.len()) && bytes <= MAX_BYTES
    }
}

impl EditRecord {
    /// Writes an edit down, with ids and tags of the rules as they are right now.
    ///
    /// # Errors
    /// `ForeignChange` if the rule that the edit changes is not there as it was planned on: what cannot be undone is
    /// not written down as if it could.
    pub fn new(edit: &Edit, live: &LiveGroup) -> Result<Self, Withheld> {
        let steps = sequence(std::slice::from_ref(edit), live)?;
        let (before, after) = records(&edit.change, live);
        let baselines: BTreeSet<String> = edit
            .demands
            .iter()
            .map(|demand| demand.baseline.to_string())
            .collect();
        Ok(Self {
            resource: edit.resource.clone(),
            controls: edit.controls().into_iter().map(str::to_owned).collect(),
            baselines: baselines.into_iter().take(MAX_BASELINES).collect(),
            operation: edit.operation.to_string(),
            risk: edit.operation.risk().to_string(),
            impact: edit.impact.to_string(),
            before,
            after,
            calls: steps
                .iter()
                .map(|step| step.call.operation().to_owned())
                .collect(),
        })
    }
}

fn records(change: &Change, live: &LiveGroup) -> (Vec<Record>, Vec<Record>) {
    match change {
        Change::Tags { before, after } => (tags_alone(before), tags_alone(after)),
        Change::Rule { before, after } => {
            let found = live
                .rules
                .iter()
                .find(|found| before.as_ref() == Some(&found.rule));
            let tags = found.map(|found| found.tags.clone()).unwrap_or_default();
            let record = |rule, id| Record {
                rule_id: id,
                tags: tags.clone(),
                ..Record::of(rule)
            };
            let id = found.map(|found| found.id.clone());
            // One rule that becomes one rule is rewritten in place and keeps its id.
            let kept = id.clone().filter(|_| after.len() == 1);
            (
                before.iter().map(|rule| record(rule, id.clone())).collect(),
                after
                    .iter()
                    .map(|rule| record(rule, kept.clone()))
                    .collect(),
            )
        }
    }
}

fn tags_alone(tags: &Tags) -> Vec<Record> {
    let record = Record {
        tags: tags.clone(),
        ..Record::default()
    };
    if tags.is_empty() {
        Vec::new()
    } else {
        vec![record]
    }
}

impl Record {
    fn of(rule: &Rule) -> Self {
        let Rule {
            grant:
                Grant {
                    direction,
                    traffic,
                    peer,
                },
            description,
        } = rule;
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::edit::{BaselineRef, Demand, Impact, Operation};
    use engine::facts::LiveRule;
    use engine::finding::Severity;
    use jiff::Timestamp;

    fn rule(
        direction: facts::Direction,
        traffic: &str,
        peer: &str,
        description: Option<&str>,
    ) -> Rule {
        Rule {
            grant: Grant {
                direction,
                traffic: traffic.parse().unwrap(),
                peer: peer.parse().unwrap(),
            },
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
            impact: Impact::Interfaces {
                interfaces: 2,
                load_balancers: 0,
            },
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
        let traffic = [
            "all",
            "tcp",
            "tcp/443",
            "udp/6000-6010",
            "icmp",
            "icmp/3",
            "icmp/3/4",
            "icmpv6/128",
            "50",
        ];
        let peers = [
            "0.0.0.0/0",
            "10.1.2.3/32",
            "2001:db8::/32",
            "::/0",
            "pl-1",
            "111122223333/sg-2",
            "sg-3",
        ];
        for traffic in traffic {
            for peer in peers {
                for direction in [facts::Direction::Ingress, facts::Direction::Egress] {
                    for description in [None, Some("why: it is needed")] {
                        let rule = rule(direction, traffic, peer, description);
                        assert_eq!(Record::of(&rule).rule(), Some(rule));
                    }
                }
            }
        }
    }

    #[test]
    fn a_rule_that_is_split_keeps_its_tags_and_loses_its_id() {
        let ingress = |traffic| {
            rule(
                facts::Direction::Ingress,
                traffic,
                "0.0.0.0/0",
                Some("temp"),
            )
        };
        let before = ingress("all");
        let change = Change::Rule {
            before: Some(before.clone()),
            after: vec![ingress("tcp/80"), ingress("tcp/443")],
        };
        let record = EditRecord::new(
            &edit(change),
            &live(vec![ingress("udp/53"), before.clone()]),
        )
        .unwrap();
        assert_eq!(record.operation, Operation::NarrowGrant.to_string());
        assert_eq!(
            (record.risk.as_str(), record.impact.as_str()),
            ("ConnectivityRisk", "2 interfaces")
        );
        assert_eq!(record.controls, ["a", "b"]);
        assert_eq!(record.baselines, ["security/all", "security/edge"]);
        assert_eq!(
            record.calls,
            [
                "AuthorizeSecurityGroupIngress",
                "RevokeSecurityGroupIngress"
            ]
        );
        assert_eq!(record.before[0].rule_id.as_deref(), Some("sgr-1"));
        assert_eq!(record.before[0].rule(), Some(before));
        assert!(
            record
                .after
                .iter()
                .all(|after| after.rule_id.is_none() && after.tags["owner"] == "ana")
        );
    }

    #[test]
    fn a_rule_that_is_rewritten_in_place_keeps_its_id() {
        let ingress = |traffic| rule(facts::Direction::Ingress, traffic, "0.0.0.0/0", None);
        let change = Change::Rule {
            before: Some(ingress("tcp")),
            after: vec![ingress("tcp/443")],
        };
        let record = EditRecord::new(&edit(change), &live(vec![ingress("tcp")])).unwrap();
        assert_eq!(record.calls, ["ModifySecurityGroupRules"]);
        assert_eq!(record.after[0].rule_id.as_deref(), Some("sgr-0"));
    }

    #[test]
    fn a_rule_that_is_added_or_removed_stands_on_one_side() {
        let wanted = rule(facts::Direction::Egress, "tcp/443", "10.0.0.0/8", None);
        let add = Change::Rule {
            before: None,
            after: vec![wanted.clone()],
        };
        let record = EditRecord::new(&edit(add), &live(Vec::new())).unwrap();
        assert_eq!(
            (record.before.len(), record.after[0].rule()),
            (0, Some(wanted.clone()))
        );
        assert!(record.after[0].tags.is_empty());
        let remove = edit(Change::Rule {
            before: Some(wanted.clone()),
            after: Vec::new(),
        });
        let record = EditRecord::new(&remove, &live(vec![wanted.clone()])).unwrap();
        assert_eq!(
            (record.before[0].rule(), record.after.len()),
            (Some(wanted), 0)
        );
        assert_eq!(
            EditRecord::new(&remove, &live(Vec::new())),
            Err(Withheld::ForeignChange)
        );
    }

    #[test]
    fn tags_stand_alone() {
        let tags = |value: &str| Tags::from([("owner".to_owned(), value.to_owned())]);
        let change = Change::Tags {
            before: Tags::new(),
            after: tags("ana"),
        };
        let record = EditRecord::new(&edit(change), &live(Vec::new())).unwrap();
        assert_eq!((record.before.len(), record.after.len()), (0, 1));
        assert_eq!(
            record.after[0],
            Record {
                tags: tags("ana"),
                ..Record::default()
            }
        );
        assert_eq!(record.after[0].rule(), None);
        assert_eq!(
            serde_json::to_value(&record.after[0]).unwrap(),
            serde_json::json!({"tags": {"owner": "ana"}})
        );
    }

    #[test]
    fn a_change_set_is_bounded_in_edits_and_bytes() {
        let spec = |count: usize, text: usize| ChangeSetSpec {
            edits: vec![
                EditRecord {
                    impact: "x".repeat(text),
                    ..EditRecord::default()
                };
                count
            ],
            ..ChangeSetSpec::default()
        };
        assert!(!spec(0, 1).fits());
        assert!(spec(50, 256).fits());
        assert!(!spec(51, 1).fits());
        assert!(!spec(1, MAX_BYTES).fits());
    }

    #[test]
    fn the_phase_follows_from_the_outcomes() {
        use Outcome::{Failed, Verified, Withheld};
        assert_eq!(Phase::of([Verified, Verified]), Phase::Applied);
        assert_eq!(Phase::of([Verified, Failed]), Phase::PartlyApplied);
        assert_eq!(Phase::of([Withheld, Failed]), Phase::Failed);
        assert_eq!(Phase::of([]), Phase::Failed);
    }
}
