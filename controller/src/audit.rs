//! The audit trail: one JSON line on stdout for each intent to write to AWS, before the call, and one for what came of it.
//!
//! Rules are named by what they let through and tags by their keys: descriptions and values can hold what is nobody's business.

use std::collections::BTreeSet;
use std::io::{self, Write};

use engine::facts::{Grant, Location};
use engine::plan::PermittedResource;
use engine::sequence::State;
use jiff::Timestamp;
use serde::Serialize;

/// On whose word a resource is changed.
#[derive(Clone, Debug, Default)]
pub struct Mandate {
    /// The change set, as `namespace/name`.
    pub change_set: String,
    /// Who approved it, if it needed an approval.
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
    operation: &'static str,
    change_set: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<&'a str>,
    baselines: BTreeSet<String>,
    controls: BTreeSet<&'static str>,
    removed: Vec<String>,
    added: Vec<String>,
    tags: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
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
        let tags = after.tags.iter().filter(|(key, value)| before.tags.get(*key) != Some(value));
        Line {
            target: "audit",
            time: Timestamp::now(),
            event,
            account: &location.account,
            region: &location.region,
            resource: &resource.group.id,
            operation,
            change_set: &mandate.change_set,
            approved_by: mandate.approved_by.as_deref(),
            baselines: demands().map(|demand| format!("{}@{}", demand.baseline, demand.baseline.generation)).collect(),
            controls: demands().map(|demand| demand.control).collect(),
            removed: beyond(before, after),
            added: beyond(after, before),
            tags: tags.map(|(key, _)| key.as_str()).collect(),
            outcome: came.map(|came| came.outcome),
            reason: came.and_then(|came| came.reason),
            request_id: came.and_then(|came| came.request_id),
        }
    }
}

/// What one state lets through and another does not, rule by rule.
fn beyond(one: &State, other: &State) -> Vec<String> {
    let grants = |state: &State| state.rules.iter().map(|rule| rule.grant.clone()).collect::<BTreeSet<Grant>>();
    let text = |grant: &Grant| format!("{:?} {grant}", grant.direction);
    grants(one).difference(&grants(other)).map(text).collect()
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
    use engine::facts::{Direction, Rule, Tags};

    use super::*;

    fn state(rules: &[(&str, &str)], tags: &[(&str, &str)]) -> State {
        let rule = |(traffic, peer): &(&str, &str)| Rule {
            grant: Grant {
                direction: Direction::Ingress,
                traffic: traffic.parse().unwrap(),
                peer: peer.parse().unwrap(),
            },
            description: Some("password: hunter2".to_owned()),
        };
        State {
            rules: rules.iter().map(rule).collect(),
            tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Tags>(),
        }
    }

    #[test]
    fn a_line_says_what_changes_and_no_secret() {
        let group = engine::facts::SecurityGroup {
            id: "sg-1".to_owned(),
            name: String::new(),
            description: "hunter2".to_owned(),
            owner: String::new(),
            vpc: String::new(),
            tags: Tags::new(),
            rules: Vec::new(),
        };
        let resource =
            PermittedResource { group, edits: Vec::new(), baselines: Vec::new(), warrant: Warrant::Baselines };
        let location = Location { account: "111122223333".to_owned(), region: "eu-west-1".to_owned() };
        let (before, after) = (
            state(&[("tcp/0-1023", "0.0.0.0/0"), ("tcp/80", "10.0.0.0/8")], &[]),
            state(&[("tcp/443", "0.0.0.0/0"), ("tcp/80", "10.0.0.0/8")], &[("owner", "hunter2")]),
        );
        let mandate = Mandate { change_set: "team/edge-1".to_owned(), approved_by: Some("ana".to_owned()) };
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
        assert_eq!((&text["tags"][0], &text["approvedBy"]), (&"owner".into(), &"ana".into()));
        assert!(!text.to_string().contains("hunter2"), "{text}");
    }
}
