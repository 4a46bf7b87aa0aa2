//! The audit trail: one JSON line on stdout for each intent to write to AWS, before the call, and one for what came of it.
//!
//! Rules are named by what they let through and tags by their keys: descriptions and values can hold what is nobody's business.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use crds::ChangeSet;
use engine::facts::{Grant, Location, Rule};
use engine::plan::PermittedResource;
use engine::property::{Json, Property};
use engine::sequence::State;
use jiff::Timestamp;
use serde::Serialize;

use crate::journal::{INTERRUPTED, baselines};

/// On whose word a resource is changed.
#[derive(Clone, Debug, Default)]
pub struct Mandate {
    /// The change set, as `namespace/name`.
    pub change_set: String,
    /// The change set that it undoes, as `namespace/name`.
    pub undoes: Option<String>,
    /// The approval that orders the undo.
    pub approval: Option<String>,
    /// Who approved it, if it needed an approval, or ordered the undo.
    pub approved_by: Option<String>,
}

/// What is about to be changed.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The account and region.
    pub location: &'a Location,
    /// The resource and its edits.
    pub resource: &'a PermittedResource,
    /// On whose word.
    pub mandate: &'a Mandate,
    /// The AWS operation.
    pub operation: &'static str,
    /// The resource before the call.
    pub before: &'a State,
    /// The resource after it.
    pub after: &'a State,
}

/// What came of a call.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// In one word.
    pub outcome: &'a str,
    /// Why it is not Verified, in one word.
    pub reason: Option<&'a str>,
    /// AWS's id of the request.
    pub request_id: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    target: &'static str,
    time: Timestamp,
    event: &'static str,
    account: &'a str,
    region: &'a str,
    resource: &'a str,
    change_set: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    undoes: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a str>,
    baselines: BTreeSet<String>,
    controls: BTreeSet<&'a str>,
    /// Left out where nobody knows which call was made.
    #[serde(flatten)]
    call: Option<Call<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

/// One call, and what it changes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    operation: &'static str,
    /// Rules that go.
    removed: Vec<String>,
    /// Rules that come.
    added: Vec<String>,
    /// Rules that stay, and whether their description is set, changed or removed.
    descriptions: Vec<String>,
    /// Keys of tags that come or change.
    tags: Vec<&'a str>,
    /// Keys of tags that go.
    removed_tags: Vec<&'a str>,
    /// Properties that are set, changed or removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<String>,
}

impl Intent<'_> {
    /// Says what is about to be done.
    ///
    /// # Errors
    /// It could not be written down: then it must not be done.
    pub fn announce(&self) -> io::Result<()> {
        write(&self.line("Intent", None))
    }

    /// Says what came of it.
    pub fn conclude(&self, outcome: Outcome<'_>) {
        // Why has been logged, and the next intent will find no room either.
        let _ = write(&self.line("Outcome", Some(outcome)));
    }

    fn line<'l>(&'l self, event: &'static str, came: Option<Outcome<'l>>) -> Line<'l> {
        let Self { location, resource, mandate, operation, before, after } = self;
        let demands = || resource.edits.iter().flat_map(|edit| &edit.demands);
        Line {
            target: "audit",
            time: Timestamp::now(),
            event,
            account: &location.account,
            region: &location.region,
            resource: &resource.target.id,
            change_set: &mandate.change_set,
            undoes: mandate.undoes.as_deref(),
            approval: mandate.approval.as_deref(),
            approved_by: mandate.approved_by.as_deref(),
            baselines: demands().map(|demand| format!("{}@{}", demand.baseline, demand.baseline.generation)).collect(),
            controls: demands().map(|demand| demand.control).collect(),
            call: Some(Call::between(operation, before, after)),
            outcome: came.map(|came| came.outcome),
            reason: came.and_then(|came| came.reason),
            request_id: came.and_then(|came| came.request_id),
        }
    }
}

impl<'a> Call<'a> {
    fn between(operation: &'static str, before: &'a State, after: &'a State) -> Self {
        let (old, new) = (tags(before), tags(after));
        let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
        let gone = old.keys().filter(|key| !new.contains_key(**key));
        Self {
            operation,
            removed: beyond(before, after),
            added: beyond(after, before),
            descriptions: descriptions(before, after),
            tags: changed.map(|(key, _)| *key).collect(),
            removed_tags: gone.copied().collect(),
            properties: properties(before, after),
        }
    }
}

fn rules(state: &State) -> &[Rule] {
    match state {
        State::Group { rules, .. } => rules,
        State::Properties(_) => &[],
    }
}

fn tags(state: &State) -> BTreeMap<&str, &str> {
    match state {
        State::Group { tags, .. } => tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        State::Properties(_) => BTreeMap::new(),
    }
}

/// The properties that differ, and how. Values can be anything, so they stand in the change set alone.
fn properties(before: &State, after: &State) -> Vec<String> {
    let (State::Properties(before), State::Properties(after)) = (before, after) else { return Vec::new() };
    let differs = |(property, new): (&Property, &Option<Json>)| {
        let how = match (before.get(property).and_then(Option::as_ref), new) {
            (old, new) if old == new.as_ref() => return None,
            (None, _) => "set",
            (_, None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
        Some(format!("{property}: {how}"))
    };
    after.iter().filter_map(differs).collect()
}

/// Says of a resource of a change set that nobody knows what came of it: the process that was to change it ended first.
pub fn interrupted(set: &ChangeSet, mandate: &Mandate, resource: &str) {
    // Why has been logged.
    let _ = write(&interruption(set, mandate, resource));
}

fn interruption<'l>(set: &'l ChangeSet, mandate: &'l Mandate, resource: &'l str) -> Line<'l> {
    let edits = || set.spec.edits.iter().filter(|edit| edit.resource == resource);
    let generations: BTreeMap<String, i64> =
        baselines(set).map(|baseline| (baseline.to_string(), baseline.generation)).collect();
    let named = |name: &String| match generations.get(name) {
        Some(generation) => format!("{name}@{generation}"),
        None => name.clone(),
    };
    Line {
        target: "audit",
        time: Timestamp::now(),
        event: "Outcome",
        account: &set.spec.account,
        region: &set.spec.region,
        resource,
        change_set: &mandate.change_set,
        undoes: mandate.undoes.as_deref(),
        approval: mandate.approval.as_deref(),
        approved_by: mandate.approved_by.as_deref(),
        baselines: edits().flat_map(|edit| edit.baselines.iter().map(named)).collect(),
        controls: edits().flat_map(|edit| edit.controls.iter().map(String::as_str)).collect(),
        call: None,
        outcome: Some(crds::Outcome::Unknown.name()),
        reason: Some(INTERRUPTED),
        request_id: None,
    }
}

/// What one state lets through and another does not, rule by rule.
fn beyond(one: &State, other: &State) -> Vec<String> {
    let grants = |state: &State| rules(state).iter().map(|rule| rule.grant.clone()).collect::<BTreeSet<Grant>>();
    grants(one).difference(&grants(other)).map(text).collect()
}

/// The rules of both states whose description differs, and how.
fn descriptions(before: &State, after: &State) -> Vec<String> {
    let known: BTreeMap<&Grant, &Option<String>> =
        rules(before).iter().map(|rule| (&rule.grant, &rule.description)).collect();
    let differs = |rule: &Rule| {
        let how = match (*known.get(&rule.grant)?, &rule.description) {
            (old, new) if old == new => return None,
            (None, _) => "set",
            (_, None) => "removed",
            (Some(_), Some(_)) => "changed",
        };
        Some(format!("{}: {how}", text(&rule.grant)))
    };
    rules(after).iter().filter_map(differs).collect()
}

fn text(grant: &Grant) -> String {
    format!("{:?} {grant}", grant.direction)
}

fn write(line: &Line<'_>) -> io::Result<()> {
    // In one piece: nothing comes between a line and its end where others write to the same place.
    let written = serde_json::to_string(line).map_err(io::Error::from).and_then(|line| {
        let mut out = io::stdout().lock();
        out.write_all(format!("{line}\n").as_bytes())?;
        out.flush()
    });
    if let Err(error) = &written {
        tracing::error!(%error, "The audit trail cannot be written to stdout: nothing is written to AWS");
    }
    written
}

#[cfg(test)]
mod tests {
    use engine::approval::Warrant;
    use engine::facts::ResourceType;
    use engine::facts::{Direction, Tags};
    use engine::plan::Target;
    use engine::property::PropertyName;

    use super::*;

    fn state(rules: &[(&str, &str)], tags: &[(&str, &str)]) -> State {
        let rule = |(traffic, peer): &(&str, &str)| Rule {
            grant: Grant {
                direction: Direction::Ingress,
                traffic: traffic.parse().unwrap(),
                peer: peer.parse().unwrap(),
            },
            description: (*traffic != "tcp/22").then(|| format!("password: hunter2 of {}", tags.len())),
        };
        State::Group {
            rules: rules.iter().map(rule).collect(),
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Tags>(),
        }
    }

    fn undo() -> Mandate {
        let [change_set, undoes, approval, by] = ["team/edge-2", "team/edge-1", "cab-1182", "ana"].map(str::to_owned);
        Mandate { change_set, undoes: Some(undoes), approval: Some(approval), approved_by: Some(by) }
    }

    #[test]
    fn of_a_resource_that_a_process_left_behind_the_line_says_that_nobody_knows_and_who_wanted_it() {
        let edit = |resource: &str, control: &str| {
            serde_json::json!({"resource": resource, "controls": [control], "baselines": ["team/edge", "team/other"],
                "operation": "AddTags", "risk": "ConfigOnly", "impact": "None", "before": [], "after": [], "calls": []})
        };
        let set: ChangeSet = serde_json::from_value(serde_json::json!({
            "apiVersion": "baseward.dev/v1alpha1", "kind": "ChangeSet", "metadata": {"name": "edge-2", "namespace": "team"},
            "spec": {
                "baseline": {"kind": "SecurityGroupBaseline", "name": "edge", "uid": "u", "generation": 3},
                "otherBaselines": [{"kind": "SecurityGroupBaseline", "namespace": "team", "name": "other", "uid": "o", "generation": 5}],
                "account": "111122223333", "region": "eu-west-1", "hash": "sha256:7f3a",
                "edits": [edit("sg-1", "sg-tagged"), edit("sg-2", "sg-admin")],
            },
        }))
        .unwrap();
        let text = serde_json::to_value(interruption(&set, &undo(), "sg-1")).unwrap();
        let said = ["event", "resource", "outcome", "reason", "undoes"].map(|field| text[field].as_str().unwrap());
        assert_eq!(said, ["Outcome", "sg-1", "Unknown", "Interrupted", "team/edge-1"]);
        assert_eq!(text["baselines"], serde_json::json!(["team/edge@3", "team/other@5"]));
        assert_eq!(text["controls"], serde_json::json!(["sg-tagged"]));
        assert_eq!((text.get("operation"), text.get("removed")), (None, None), "nobody knows which call was made");
    }

    #[test]
    fn a_line_says_what_changes_and_no_secret() {
        let target = Target {
            resource_type: ResourceType::SecurityGroup,
            id: "sg-1".to_owned(),
            name: String::new(),
            owner: String::new(),
            vpc: String::new(),
            tags: Tags::new(),
            planned: state(&[], &[("team", "hunter2")]),
        };
        let resource =
            PermittedResource { target, edits: Vec::new(), baselines: Vec::new(), warrant: Warrant::Baselines };
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let (before, after) = (
            state(
                &[("tcp/0-1023", "0.0.0.0/0"), ("tcp/80", "10.0.0.0/8"), ("tcp/22", "10.0.0.0/8")],
                &[("team", "hunter2"), ("stage", "hunter2")],
            ),
            state(
                &[("tcp/443", "0.0.0.0/0"), ("tcp/80", "10.0.0.0/8"), ("tcp/22", "10.0.0.0/8")],
                &[("owner", "hunter2")],
            ),
        );
        let mandate = undo();
        let operation = "ModifySecurityGroupRules";
        let intent = Intent {
            location: &location,
            resource: &resource,
            mandate: &mandate,
            operation,
            before: &before,
            after: &after,
        };
        let text = serde_json::to_value(intent.line("Intent", None)).unwrap();
        assert_eq!(text["removed"], serde_json::json!(["Ingress tcp/0-1023 from 0.0.0.0/0"]));
        assert_eq!(text["added"], serde_json::json!(["Ingress tcp/443 from 0.0.0.0/0"]));
        assert_eq!(text["descriptions"], serde_json::json!(["Ingress tcp/80 from 10.0.0.0/8: changed"]));
        assert_eq!(text["tags"], serde_json::json!(["owner"]));
        assert_eq!(text["removedTags"], serde_json::json!(["stage", "team"]));
        let mandate = ["changeSet", "undoes", "approval", "approvedBy"].map(|field| text[field].as_str().unwrap());
        assert_eq!(mandate, ["team/edge-2", "team/edge-1", "cab-1182", "ana"]);
        assert!(!text.to_string().contains("hunter2"), "{text}");
    }

    #[test]
    fn of_properties_a_line_says_which_change_and_how_and_no_value() {
        let value = |text: &str| Some(Json::of(&text));
        let properties = |values: [Option<Json>; 3]| {
            let names = ["kept", "gone", "new"].map(|key| Property::one(PropertyName::Tag, key));
            State::Properties(names.into_iter().zip(values).collect())
        };
        let before = properties([value("hunter2"), value("hunter2"), None]);
        let after = properties([value("hunter3"), None, value("hunter2")]);
        let call = Call::between("TagResource", &before, &after);
        assert_eq!(call.properties, ["Tag gone: removed", "Tag kept: changed", "Tag new: set"]);
        assert!(!serde_json::to_string(&call).unwrap().contains("hunter"));
    }
}
