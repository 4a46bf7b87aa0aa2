//! Edits and rules of the engine as a change set writes them down, and back.

use std::collections::BTreeSet;

use engine::edit::{Change, Edit, Withheld};
use engine::facts::{self, Grant, Live, LiveGroup, Rule, Tags};
use engine::property::{Json, Property, PropertyChange, PropertyName};
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
    pub fn new(edit: &Edit, live: &Live) -> Result<Self, Withheld> {
        let steps = sequence(std::slice::from_ref(edit), live)?;
        let group = match live {
            Live::Group(group) => Some(group),
            Live::Function(_) => None,
        };
        let (before, after) = records(&edit.change, group);
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
        if self.before.iter().chain(&self.after).any(|record| record.property.is_some()) {
            return self.properties().map(Change::Properties);
        }
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

impl EditRecord {
    /// The properties that the edit changes: each stands on both sides.
    fn properties(&self) -> Option<Vec<PropertyChange>> {
        let sides = self.before.iter().zip(&self.after);
        let change = |(before, after): (&Record, &Record)| {
            let (property, before) = before.property()?;
            let (same, after) = after.property()?;
            (property == same).then_some(PropertyChange { property, before, after })
        };
        let changes: Option<Vec<PropertyChange>> = sides.map(change).collect();
        changes.filter(|_| self.before.len() == self.after.len())
    }
}

fn records(change: &Change, live: Option<&LiveGroup>) -> (Vec<Record>, Vec<Record>) {
    match change {
        Change::Properties(changes) => (
            changes.iter().map(|change| Record::of_property(&change.property, change.before.as_ref())).collect(),
            changes.iter().map(|change| Record::of_property(&change.property, change.after.as_ref())).collect(),
        ),
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
            ..Self::default()
        }
    }

    fn of_property(property: &Property, value: Option<&Json>) -> Self {
        Self {
            property: Some(property.name.to_string()),
            of: Some(property.of.clone()).filter(|of| !of.is_empty()),
            value: value.map(|value| value.text().to_owned()),
            ..Self::default()
        }
    }

    /// The property that the record describes, and its value. `None` if the record is of a program that knew more.
    fn property(&self) -> Option<(Property, Option<Json>)> {
        let name = PropertyName::of(self.property.as_deref()?)?;
        let value = match &self.value {
            Some(text) => Some(Json::parse(text)?),
            None => None,
        };
        Some((Property::one(name, self.of.clone().unwrap_or_default()), value))
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
    use engine::facts::{LiveFunction, LiveRule, UpdateStatus, Variables};
    use engine::finding::Severity;
    use jiff::Timestamp;
    use serde_json::{Value, json};

    fn rule(direction: facts::Direction, traffic: &str, peer: &str, description: Option<&str>) -> Rule {
        Rule {
            grant: Grant { direction, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() },
            description: description.map(str::to_owned),
        }
    }

    fn edit(change: Change) -> Edit {
        let demand = |name: &str, control| Demand {
            baseline: BaselineRef {
                kind: engine::kind::Kind::SecurityGroup,
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

    fn live(rules: Vec<Rule>) -> Live {
        let number = |(index, rule)| LiveRule {
            id: format!("sgr-{index}"),
            rule,
            tags: Tags::from([("owner".to_owned(), "ana".to_owned())]),
        };
        Live::Group(LiveGroup {
            id: "sg-1".to_owned(),
            rules: rules.into_iter().enumerate().map(number).collect(),
            tags: Tags::new(),
            read_at: Timestamp::UNIX_EPOCH,
        })
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

    /// A function as it was when these changes of it were planned.
    fn function(changes: &[PropertyChange]) -> Live {
        Live::Function(LiveFunction {
            id: "payments-webhook".to_owned(),
            arn: "arn:aws:lambda:eu-west-1:111122223333:function:payments-webhook".to_owned(),
            properties: changes.iter().map(|change| (change.property.clone(), change.before.clone())).collect(),
            revisions: [("".to_owned(), "1".to_owned())].into(),
            status: Some(UpdateStatus::Ready),
            tags: None,
            environment: Some(Variables::default()),
            read_at: Timestamp::UNIX_EPOCH,
        })
    }

    /// Writes property changes down as one edit, and reads them back from what the API stores.
    fn recorded(changes: &[PropertyChange]) -> EditRecord {
        let change = Change::Properties(changes.to_vec());
        let edit = Edit { resource: "payments-webhook".to_owned(), impact: Impact::Callers, ..edit(change.clone()) };
        let record = EditRecord::new(&edit, &function(changes)).unwrap();
        assert_eq!((record.before.len(), record.after.len()), (changes.len(), changes.len()));
        let stored: EditRecord = serde_json::from_value(serde_json::to_value(&record).unwrap()).unwrap();
        assert_eq!((&stored, stored.change()), (&record, Some(change)));
        record
    }

    fn change(property: Property, before: Option<&Value>, after: Option<&Value>) -> PropertyChange {
        PropertyChange { property, before: before.map(Json::of), after: after.map(Json::of) }
    }

    fn statement(sid: &str, condition: &Value) -> Value {
        json!({
            "Sid": sid, "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "lambda:InvokeFunction",
            "Resource": "arn:aws:lambda:eu-west-1:111122223333:function:payments-webhook", "Condition": condition,
        })
    }

    /// Two values that a property can have, as the controls and the reads write them.
    fn values(name: PropertyName) -> [Value; 2] {
        let text = |one: &str, other: &str| [json!(one), json!(other)];
        match name {
            PropertyName::Runtime => text("nodejs20.x", "nodejs24.x"),
            PropertyName::KmsKey => {
                text("arn:aws:kms:eu-west-1:111122223333:key/1", "arn:aws:kms:eu-west-1:111122223333:key/2")
            }
            PropertyName::Tracing => text("PassThrough", "Active"),
            PropertyName::Layers => [json!([]), json!(["arn:aws:lambda:eu-west-1:580247275435:layer:Insights:53"])],
            PropertyName::Vpc => [
                json!({"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}),
                json!({"subnets": ["subnet-1", "subnet-2"], "securityGroups": []}),
            ],
            PropertyName::DeadLetter => {
                text("arn:aws:sqs:eu-west-1:111122223333:lost", "arn:aws:sns:eu-west-1:111122223333:failed")
            }
            PropertyName::Logging => [json!({"format": "Text"}), json!({"format": "JSON", "applicationLevel": "INFO"})],
            PropertyName::UrlAuth => text("NONE", "AWS_IAM"),
            PropertyName::UrlCors => [
                json!({"allowOrigins": ["*"], "allowCredentials": true, "maxAge": 0}),
                json!({"allowOrigins": ["https://shop.example.com"], "allowCredentials": true, "maxAge": 0}),
            ],
            PropertyName::Statement | PropertyName::LayerStatement => [
                statement("s3", &json!({})),
                statement("s3", &json!({"StringEquals": {"AWS:SourceAccount": "111122223333"}})),
            ],
            PropertyName::Concurrency => [json!(0), json!(50)],
            PropertyName::CodeSigning => text(
                "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef0",
                "arn:aws:lambda:eu-west-1:111122223333:code-signing-config:csc-0123456789abcdef1",
            ),
            PropertyName::Recursion => text("Allow", "Terminate"),
            PropertyName::RuntimeManagement => [
                json!({"updateOn": "Manual", "versionArn": "arn:aws:lambda:eu-west-1::runtime:07a4"}),
                json!({"updateOn": "Auto"}),
            ],
            PropertyName::Tag => text("", "ünïcode \"quoted\" \\ \u{2028} <&>"),
        }
    }

    #[test]
    fn whatever_a_property_is_its_change_is_read_back_as_it_was() {
        for name in PropertyName::ALL {
            for of in ["", "owner", "live", "/s3", "live/s3", "a/b/c", "ünïcode: key"] {
                let [one, other] = values(name);
                let property = Property::one(name, of);
                for (before, after) in [(Some(&one), Some(&other)), (None, Some(&other)), (Some(&one), None)] {
                    let record = recorded(&[change(property.clone(), before, after)]);
                    let name = name.to_string();
                    for (side, value) in [(&record.before[0], before), (&record.after[0], after)] {
                        assert_eq!(side.property.as_deref(), Some(name.as_str()));
                        assert_eq!(side.of.as_deref().unwrap_or_default(), of);
                        assert_eq!(side.value.as_deref(), value.map(Value::to_string).as_deref());
                        assert_eq!((side.rule(), side.tags.len()), (None, 0));
                    }
                    assert_eq!(record.calls.len(), 1, "{:?}", record.calls);
                }
            }
        }
    }

    #[test]
    fn a_value_of_null_is_not_a_value_that_is_missing() {
        let tracing = || Property::only(PropertyName::Tracing);
        let record = recorded(&[change(tracing(), Some(&Value::Null), Some(&json!("Active")))]);
        assert_eq!(record.before[0].value.as_deref(), Some("null"));
        assert_eq!(recorded(&[change(tracing(), None, Some(&json!("Active")))]).before[0].value, None);
    }

    #[test]
    fn changes_that_are_made_together_are_one_edit() {
        let open = json!({
            "Sid": "open", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunctionUrl",
            "Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
        });
        let signed =
            |of: &str| change(Property::one(PropertyName::UrlAuth, of), Some(&json!("NONE")), Some(&json!("AWS_IAM")));
        let removed = |qualifier: &str, sid: &str| change(Property::statement(qualifier, sid), Some(&open), None);
        let record = recorded(&[signed("live"), removed("live", "open"), removed("live", "again")]);
        assert_eq!((record.operation.as_str(), record.risk.as_str()), ("SetUrlAuth", "ConnectivityRisk"));
        assert_eq!((record.resource.as_str(), record.impact.as_str()), ("payments-webhook", "its callers"));
        assert_eq!(record.calls, ["UpdateFunctionUrlConfig", "RemovePermission", "RemovePermission"]);

        let narrow = statement("s3-own-account", &json!({"StringEquals": {"AWS:SourceAccount": "111122223333"}}));
        let record = recorded(&[
            change(Property::statement("", "s3"), Some(&statement("s3", &json!({}))), None),
            change(Property::statement("", "s3-own-account"), None, Some(&narrow)),
        ]);
        assert_eq!(record.operation, "NarrowStatement");
        assert_eq!(record.calls, ["AddPermission", "RemovePermission"]);
        assert_eq!((record.before[1].value.as_deref(), record.after[0].value.as_deref()), (None, None));
        assert_eq!(record.before[0].of.as_deref(), Some("/s3"));
    }

    #[test]
    fn a_property_that_is_not_as_it_was_planned_on_is_not_written_down() {
        let planned =
            [change(Property::only(PropertyName::Tracing), Some(&json!("PassThrough")), Some(&json!("Active")))];
        let elsewhere = [change(Property::only(PropertyName::Tracing), None, None)];
        let edit = edit(Change::Properties(planned.to_vec()));
        assert_eq!(EditRecord::new(&edit, &function(&elsewhere)), Err(Withheld::ForeignChange));
        assert_eq!(EditRecord::new(&edit, &function(&[])), Err(Withheld::ForeignChange));
        assert!(EditRecord::new(&edit, &function(&planned)).is_ok());
    }

    #[test]
    fn what_a_program_that_knew_more_wrote_is_not_guessed() {
        let known = || {
            recorded(&[
                change(Property::only(PropertyName::Tracing), Some(&json!("PassThrough")), Some(&json!("Active"))),
                change(Property::one(PropertyName::Tag, "owner"), None, Some(&json!("ana"))),
            ])
        };
        let spoil: [fn(&mut EditRecord); 8] = [
            |edit| {
                edit.before[0].property = Some("Architecture".to_owned());
                edit.after[0].property = Some("Architecture".to_owned());
            },
            |edit| edit.after[1].property = Some("tag".to_owned()),
            |edit| edit.before[0].property = None,
            |edit| edit.after[0].property = Some("Recursion".to_owned()),
            |edit| edit.after[1].of = Some("team".to_owned()),
            |edit| edit.before[0].value = Some("{".to_owned()),
            |edit| edit.after.truncate(1),
            |edit| edit.before.clear(),
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            let mut record = known();
            spoil(&mut record);
            assert_eq!(record.change(), None, "{index}");
        }
    }
}
