//! The calls that change one security group.

use std::collections::BTreeMap;

use super::{State, Step};
use crate::call::Call;
use crate::edit::{Change, Edit, Withheld};
use crate::facts::{Direction, LiveGroup, LiveRule, Rule, Tags};

/// Orders the edits of one group on its live rules.
///
/// # Errors
/// `ForeignChange` if a rule to change is not there as it was planned on.
pub fn sequence(edits: &[Edit], live: &LiveGroup) -> Result<Vec<Step>, Withheld> {
    let mut adds: BTreeMap<(Direction, Tags), Vec<Rule>> = BTreeMap::new();
    let mut modifies: Vec<(String, Rule)> = Vec::new();
    let mut revokes: BTreeMap<Direction, Vec<String>> = BTreeMap::new();
    let (mut tags, mut untag) = (Tags::new(), Tags::new());
    for edit in edits {
        match &edit.change {
            Change::Tags { before, after } => {
                tags.extend(after.clone());
                untag.extend(before.iter().filter(|(key, _)| !after.contains_key(*key)).map(own));
            }
            Change::Restore { rule, tags } => {
                adds.entry((rule.grant.direction, copied(tags))).or_default().push(rule.clone());
            }
            Change::Rule { before: None, after } => {
                for rule in after {
                    adds.entry((rule.grant.direction, Tags::new())).or_default().push(rule.clone());
                }
            }
            Change::Rule { before: Some(before), after } => {
                let found = live_rule(live, before)?;
                match edit.change.in_place() {
                    Some(only) => modifies.push((found.id.clone(), only.clone())),
                    None => {
                        for rule in after {
                            adds.entry((rule.grant.direction, copied(&found.tags))).or_default().push(rule.clone());
                        }
                        revokes.entry(before.grant.direction).or_default().push(found.id.clone());
                    }
                }
            }
            // Security groups have none.
            Change::Properties(_) => return Err(Withheld::ForeignChange),
        }
    }
    Ok(assemble(live, adds, modifies, revokes, [tags, untag]))
}

/// The tags that can be copied to another rule: EC2 refuses keys that belong to AWS.
fn copied(tags: &Tags) -> Tags {
    let own = tags.iter().filter(|(key, _)| !key.starts_with("aws:"));
    own.map(self::own).collect()
}

fn own((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

fn live_rule<'l>(live: &'l LiveGroup, planned: &Rule) -> Result<&'l LiveRule, Withheld> {
    live.rules.iter().find(|found| found.rule == *planned).ok_or(Withheld::ForeignChange)
}

fn assemble(
    live: &LiveGroup,
    adds: BTreeMap<(Direction, Tags), Vec<Rule>>,
    modifies: Vec<(String, Rule)>,
    revokes: BTreeMap<Direction, Vec<String>>,
    [tags, untag]: [Tags; 2],
) -> Vec<Step> {
    let mut calls: Vec<Call> =
        adds.into_iter().map(|((direction, tags), rules)| Call::Authorize { direction, rules, tags }).collect();
    if !tags.is_empty() {
        calls.push(Call::Tag { tags });
    }
    if !untag.is_empty() {
        calls.push(Call::Untag { tags: untag });
    }
    if !modifies.is_empty() {
        calls.push(Call::Modify { rules: modifies });
    }
    calls.extend(revokes.into_iter().map(|(direction, rule_ids)| Call::Revoke { direction, rule_ids }));
    let mut simulation = live.clone();
    let step = |call: Call| {
        simulate(&mut simulation, &call);
        Step { call, after: State::of(&simulation) }
    };
    calls.into_iter().map(step).collect()
}

/// What a call makes of a group. New rules have no id yet.
fn simulate(group: &mut LiveGroup, call: &Call) {
    match call {
        Call::Authorize { rules, tags, .. } => {
            let new = |rule: &Rule| LiveRule { id: String::new(), rule: rule.clone(), tags: tags.clone() };
            group.rules.extend(rules.iter().map(new));
        }
        Call::Modify { rules } => {
            for (id, rule) in rules {
                let modified = group.rules.iter_mut().filter(|found| found.id == *id);
                modified.for_each(|found| found.rule = rule.clone());
            }
        }
        Call::Revoke { rule_ids, .. } => group.rules.retain(|found| !rule_ids.contains(&found.id)),
        Call::Tag { tags } => group.tags.extend(tags.clone()),
        Call::Untag { tags } => group.tags.retain(|key, value| tags.get(key) != Some(value)),
        Call::Lambda(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{Impact, Operation};
    use crate::facts::Grant;
    use crate::finding::Severity;
    use jiff::Timestamp;

    fn rule(traffic: &str, peer: &str) -> Rule {
        let grant =
            Grant { direction: Direction::Ingress, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() };
        Rule { grant, description: Some("why".to_owned()) }
    }

    fn live(rules: &[Rule]) -> LiveGroup {
        let tags = Tags::from([("owner".to_owned(), "ana".to_owned())]);
        let live = |(index, rule): (usize, &Rule)| LiveRule {
            id: format!("sgr-{index}"),
            rule: rule.clone(),
            tags: tags.clone(),
        };
        let rules = rules.iter().enumerate().map(live).collect();
        LiveGroup { id: "sg-0".to_owned(), rules, tags: Tags::new(), read_at: Timestamp::UNIX_EPOCH }
    }

    fn edit(before: &Rule, after: &[Rule]) -> Edit {
        Edit {
            resource: "sg-0".to_owned(),
            operation: Operation::NarrowGrant,
            change: Change::Rule { before: Some(before.clone()), after: after.to_vec() },
            demands: Vec::new(),
            severity: Severity::Low,
            exposed: 0,
            impact: Impact::None,
        }
    }

    #[test]
    fn a_split_adds_with_the_tags_of_the_rule_before_it_removes() {
        let wide = rule("all", "0.0.0.0/0");
        let narrow = [rule("tcp/80", "0.0.0.0/0"), rule("tcp/443", "0.0.0.0/0")];
        let live = live(std::slice::from_ref(&wide));
        let steps = sequence(&[edit(&wide, &narrow)], &live).unwrap();
        let [add, remove] = steps.as_slice() else { panic!("{steps:?}") };
        let tags = Tags::from([("owner".to_owned(), "ana".to_owned())]);
        let direction = Direction::Ingress;
        assert_eq!(add.call, Call::Authorize { direction, rules: narrow.to_vec(), tags });
        let State::Group { rules, .. } = &add.after else { panic!("{add:?}") };
        assert!(rules.contains(&wide));
        assert_eq!(remove.call, Call::Revoke { direction, rule_ids: vec!["sgr-0".to_owned()] });
        assert!(matches!(&remove.after, State::Group { rules, .. } if *rules == narrow));
    }

    #[test]
    fn one_rule_that_becomes_one_is_rewritten_in_place() {
        let (wide, narrow) = (rule("tcp/0-65535", "0.0.0.0/0"), rule("tcp/443", "0.0.0.0/0"));
        let steps = sequence(&[edit(&wide, std::slice::from_ref(&narrow))], &live(&[wide])).unwrap();
        let [modify] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(modify.call, Call::Modify { rules: vec![("sgr-0".to_owned(), narrow)] });
    }

    #[test]
    fn a_rule_for_a_group_is_narrowed_by_another_and_described_in_place() {
        let wide = rule("tcp/0-65535", "444455556666/sg-1");
        let narrow = rule("tcp/443", "444455556666/sg-1");
        let calls = |after: Rule| {
            let steps = sequence(&[edit(&wide, &[after])], &live(std::slice::from_ref(&wide))).unwrap();
            steps.iter().map(|step| step.call.operation()).collect::<Vec<_>>()
        };
        assert_eq!(calls(narrow), ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]);
        assert_eq!(
            calls(Rule { description: Some("better".to_owned()), ..wide.clone() }),
            ["ModifySecurityGroupRules"]
        );
    }

    #[test]
    fn a_rule_that_is_gone_or_differs_is_a_foreign_change() {
        let planned = rule("tcp/22", "0.0.0.0/0");
        let mut found = planned.clone();
        found.description = None;
        assert_eq!(sequence(&[edit(&planned, &[])], &live(&[found])), Err(Withheld::ForeignChange));
    }
}
