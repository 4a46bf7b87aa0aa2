//! The order of the calls that change one group: add, verify, remove, verify. Nothing is taken away before what
//! replaces it is seen to be there.

use std::collections::BTreeMap;

use crate::call::Call;
use crate::edit::{Change, Edit, Withheld};
use crate::facts::{Direction, LiveGroup, LiveRule, Rule, Tags};

/// The calls of one group, as few as can be, and the states to expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Calls that add rules or tags.
    pub adding: Vec<Call>,
    /// Calls that narrow rules in place or remove them.
    pub removing: Vec<Call>,
    /// The rules after the adding calls, sorted.
    pub after_adding: Vec<Rule>,
    /// The rules after all calls, sorted.
    pub after: Vec<Rule>,
    /// Tags to expect after the adding calls, beside those that were there.
    pub tags: Tags,
}

/// Orders the edits of one group on its live rules.
///
/// # Errors
/// `ForeignChange` if a rule to change is not there as it was planned on.
pub fn sequence(edits: &[Edit], live: &LiveGroup) -> Result<Sequence, Withheld> {
    let mut adds: BTreeMap<(Direction, Tags), Vec<Rule>> = BTreeMap::new();
    let mut modifies: Vec<(String, Rule)> = Vec::new();
    let mut revokes: BTreeMap<Direction, Vec<String>> = BTreeMap::new();
    let mut tags = Tags::new();
    for edit in edits {
        match &edit.change {
            Change::Tags { after, .. } => tags.extend(after.clone()),
            Change::Rule {
                before: None,
                after,
            } => {
                for rule in after {
                    adds.entry((rule.grant.direction, Tags::new()))
                        .or_default()
                        .push(rule.clone());
                }
            }
            Change::Rule {
                before: Some(before),
                after,
            } => {
                let found = live_rule(live, before)?;
                match after.as_slice() {
                    [only] => modifies.push((found.id.clone(), only.clone())),
                    many => {
                        for rule in many {
                            adds.entry((rule.grant.direction, found.tags.clone()))
                                .or_default()
                                .push(rule.clone());
                        }
                        revokes
                            .entry(before.grant.direction)
                            .or_default()
                            .push(found.id.clone());
                    }
                }
            }
        }
    }
    Ok(assemble(live, adds, modifies, revokes, tags))
}

fn live_rule<'l>(live: &'l LiveGroup, planned: &Rule) -> Result<&'l LiveRule, Withheld> {
    live.rules
        .iter()
        .find(|found| found.rule == *planned)
        .ok_or(Withheld::ForeignChange)
}

fn assemble(
    live: &LiveGroup,
    adds: BTreeMap<(Direction, Tags), Vec<Rule>>,
    modifies: Vec<(String, Rule)>,
    revokes: BTreeMap<Direction, Vec<String>>,
    tags: Tags,
) -> Sequence {
    let added: Vec<Rule> = adds.values().flatten().cloned().collect();
    let gone = |id: &String| revokes.values().flatten().any(|revoked| revoked == id);
    let becomes = |found: &LiveRule| {
        let modified = modifies
            .iter()
            .find(|(id, _)| *id == found.id)
            .map(|(_, rule)| rule.clone());
        modified.unwrap_or_else(|| found.rule.clone())
    };
    let sorted = |mut rules: Vec<Rule>| {
        rules.sort();
        rules
    };
    let after_adding = sorted(
        live.plain_rules()
            .into_iter()
            .chain(added.iter().cloned())
            .collect(),
    );
    let after = sorted(
        live.rules
            .iter()
            .filter(|found| !gone(&found.id))
            .map(becomes)
            .chain(added)
            .collect(),
    );
    let mut adding: Vec<Call> = adds
        .into_iter()
        .map(|((direction, tags), rules)| Call::Authorize {
            direction,
            rules,
            tags,
        })
        .collect();
    if !tags.is_empty() {
        adding.push(Call::Tag { tags: tags.clone() });
    }
    let mut removing = Vec::new();
    if !modifies.is_empty() {
        removing.push(Call::Modify { rules: modifies });
    }
    removing.extend(
        revokes
            .into_iter()
            .map(|(direction, rule_ids)| Call::Revoke {
                direction,
                rule_ids,
            }),
    );
    Sequence {
        adding,
        removing,
        after_adding,
        after,
        tags,
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
        let grant = Grant {
            direction: Direction::Ingress,
            traffic: traffic.parse().unwrap(),
            peer: peer.parse().unwrap(),
        };
        Rule {
            grant,
            description: Some("why".to_owned()),
        }
    }

    fn live(rules: &[Rule]) -> LiveGroup {
        let tags = Tags::from([("owner".to_owned(), "ana".to_owned())]);
        let live = |(index, rule): (usize, &Rule)| LiveRule {
            id: format!("sgr-{index}"),
            rule: rule.clone(),
            tags: tags.clone(),
        };
        let rules = rules.iter().enumerate().map(live).collect();
        LiveGroup {
            id: "sg-0".to_owned(),
            rules,
            tags: Tags::new(),
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn edit(before: &Rule, after: &[Rule]) -> Edit {
        Edit {
            resource: "sg-0".to_owned(),
            operation: Operation::NarrowGrant,
            change: Change::Rule {
                before: Some(before.clone()),
                after: after.to_vec(),
            },
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
        let sequence = sequence(&[edit(&wide, &narrow)], &live).unwrap();
        let tags = Tags::from([("owner".to_owned(), "ana".to_owned())]);
        let direction = Direction::Ingress;
        assert_eq!(
            sequence.adding,
            [Call::Authorize {
                direction,
                rules: narrow.to_vec(),
                tags
            }]
        );
        assert_eq!(
            sequence.removing,
            [Call::Revoke {
                direction,
                rule_ids: vec!["sgr-0".to_owned()]
            }]
        );
        assert_eq!(sequence.after, narrow);
        assert!(sequence.after_adding.contains(&wide));
    }

    #[test]
    fn one_rule_that_becomes_one_is_rewritten_in_place() {
        let (wide, narrow) = (
            rule("tcp/0-65535", "0.0.0.0/0"),
            rule("tcp/443", "0.0.0.0/0"),
        );
        let sequence = sequence(
            &[edit(&wide, std::slice::from_ref(&narrow))],
            &live(&[wide]),
        )
        .unwrap();
        assert!(sequence.adding.is_empty());
        assert_eq!(
            sequence.removing,
            [Call::Modify {
                rules: vec![("sgr-0".to_owned(), narrow)]
            }]
        );
    }

    #[test]
    fn a_rule_that_is_gone_or_differs_is_a_foreign_change() {
        let planned = rule("tcp/22", "0.0.0.0/0");
        let mut found = planned.clone();
        found.description = None;
        assert_eq!(
            sequence(&[edit(&planned, &[])], &live(&[found])),
            Err(Withheld::ForeignChange)
        );
    }
}
