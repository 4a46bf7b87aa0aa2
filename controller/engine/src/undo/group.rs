//! What puts back what was changed on a security group.

use super::Made;
use crate::edit::{Change, Withheld};
use crate::facts::{LiveGroup, Rule, Tags};

/// The changes that put back what was made. What is as it was before already needs none.
///
/// # Errors
/// `ForeignChange` where the group is neither as it was left nor as it was before: somebody else has changed it since.
pub fn undo(made: &[Made], live: &LiveGroup) -> Result<Vec<Change>, Withheld> {
    let mut changes = Vec::new();
    for Made { change, tags, whole } in made {
        let has = |rule: &Rule| live.rules.iter().any(|found| found.rule == *rule);
        match change {
            Change::Rule { before: Some(before), after } if after.iter().all(has) && !has(before) => {
                changes.extend(replaced(before, after, tags));
            }
            Change::Rule { before: Some(before), after } if has(before) && (!whole || !after.iter().any(has)) => {
                changes.extend(after.iter().filter(|rule| has(rule)).map(removed));
            }
            Change::Rule { before: None, after } if after.iter().all(has) => {
                changes.extend(after.iter().map(removed));
            }
            Change::Rule { before: None, after } if !whole || !after.iter().any(has) => {
                changes.extend(after.iter().filter(|rule| has(rule)).map(removed));
            }
            Change::Restore { rule, .. } => changes.extend(Some(rule).filter(|rule| has(rule)).map(removed)),
            Change::Tags { before, after } if is_at(live, after, before) => {
                changes.push(Change::Tags { before: after.clone(), after: before.clone() });
            }
            Change::Tags { before, after } if is_at(live, before, after) => {}
            Change::Rule { .. } | Change::Tags { .. } | Change::Properties(_) => return Err(Withheld::ForeignChange),
        }
    }
    Ok(changes)
}

/// The first of what took a rule's place becomes that rule again, the others go.
fn replaced(before: &Rule, after: &[Rule], tags: &Tags) -> Vec<Change> {
    let Some((first, others)) = after.split_first() else {
        return vec![Change::Restore { rule: before.clone(), tags: tags.clone() }];
    };
    let back = Change::Rule { before: Some(first.clone()), after: vec![before.clone()] };
    std::iter::once(back).chain(others.iter().map(removed)).collect()
}

fn removed(rule: &Rule) -> Change {
    Change::Rule { before: Some(rule.clone()), after: Vec::new() }
}

/// Whether the tags of a group are at one side of a change: they have its values, and no keys that only the other side has.
fn is_at(live: &LiveGroup, side: &Tags, other: &Tags) -> bool {
    side.iter().all(|(key, value)| live.tags.get(key) == Some(value))
        && other.keys().all(|key| side.contains_key(key) || !live.tags.contains_key(key))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::edit::{Edit, Impact};
    use crate::facts::{Direction, Grant, LiveRule};
    use crate::sequence::State;
    use crate::sequence::group::sequence;

    fn rule(traffic: &str, peer: &str) -> Rule {
        let grant =
            Grant { direction: Direction::Ingress, traffic: traffic.parse().unwrap(), peer: peer.parse().unwrap() };
        Rule { grant, description: Some("temp".to_owned()) }
    }

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn live(rules: &[Rule], tags: &Tags) -> LiveGroup {
        let numbered = |(number, rule): (usize, &Rule)| LiveRule {
            id: format!("sgr-{number}"),
            rule: rule.clone(),
            tags: Tags::new(),
        };
        LiveGroup {
            id: "sg-1".to_owned(),
            rules: rules.iter().enumerate().map(numbered).collect(),
            tags: tags.clone(),
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn made(changes: &[Change]) -> Vec<Made> {
        changes
            .iter()
            .map(|change| Made { change: change.clone(), tags: tags(&[("team", "shop")]), whole: true })
            .collect()
    }

    /// The group once changes were made on it.
    fn after(group: &LiveGroup, changes: &[Change]) -> LiveGroup {
        let edits: Vec<_> =
            changes.iter().map(|change| Edit::new("sg-1", change.clone(), Vec::new(), Impact::None)).collect();
        let steps = sequence(&edits, group).unwrap();
        let Some(last) = steps.last() else { return group.clone() };
        let State::Group { rules, tags } = &last.after else { panic!("{last:?}") };
        live(rules, tags)
    }

    #[test]
    fn whatever_was_changed_is_as_it_was_and_undone_once() {
        let world = |traffic| rule(traffic, "0.0.0.0/0");
        let cases = [
            Change::Rule { before: Some(world("tcp/22")), after: Vec::new() },
            Change::Rule { before: Some(world("tcp/22")), after: vec![rule("tcp/22", "10.0.0.0/8")] },
            Change::Rule { before: Some(world("tcp/22")), after: vec![world("tcp/80"), world("tcp/443")] },
            Change::Rule { before: None, after: vec![world("tcp/443")] },
            Change::Tags { before: tags(&[]), after: tags(&[("owner", "unknown")]) },
            Change::Tags { before: tags(&[("owner", "ana")]), after: tags(&[("owner", "unknown")]) },
        ];
        for change in cases {
            let before_rules = match &change {
                Change::Rule { before: Some(before), .. } => vec![before.clone(), rule("udp/53", "10.0.0.0/8")],
                _ => vec![rule("udp/53", "10.0.0.0/8")],
            };
            let before_tags = match &change {
                Change::Tags { before, .. } => before.clone(),
                _ => tags(&[]),
            };
            let before = live(&before_rules, &before_tags);
            let changed = after(&before, std::slice::from_ref(&change));
            let back = undo(&made(std::slice::from_ref(&change)), &changed).unwrap();
            let restored = after(&changed, &back);
            assert_eq!(State::of(&restored), State::of(&before), "{change:?}");
            assert_eq!(undo(&made(std::slice::from_ref(&change)), &restored), Ok(Vec::new()), "{change:?}");
        }
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone() {
        let (ssh, narrow) = (rule("tcp/22", "0.0.0.0/0"), rule("tcp/22", "10.0.0.0/8"));
        let change = Change::Rule { before: Some(ssh.clone()), after: vec![narrow.clone()] };
        let refused = |rules: &[Rule]| undo(&made(std::slice::from_ref(&change)), &live(rules, &tags(&[]))).err();
        assert_eq!(refused(&[]), Some(Withheld::ForeignChange));
        assert_eq!(refused(&[ssh, narrow]), Some(Withheld::ForeignChange));
        let tag = Change::Tags { before: tags(&[]), after: tags(&[("owner", "unknown")]) };
        let other = live(&[], &tags(&[("owner", "ana")]));
        assert_eq!(undo(&made(&[tag]), &other), Err(Withheld::ForeignChange));
    }

    #[test]
    fn of_what_was_made_in_part_only_what_was_added_goes() {
        let (wide, narrow) = (rule("tcp/22", "0.0.0.0/0"), rule("tcp/22", "10.0.0.0/8"));
        let change = Change::Rule { before: Some(wide.clone()), after: vec![narrow.clone()] };
        let part = Made { whole: false, ..made(&[change]).remove(0) };
        let both = live(&[wide.clone(), narrow], &tags(&[]));
        let back = undo(&[part], &both).unwrap();
        assert_eq!(State::of(&after(&both, &back)), State::of(&live(&[wide], &tags(&[]))));
    }

    #[test]
    fn a_rule_that_was_removed_comes_back_with_its_tags() {
        let change = Change::Rule { before: Some(rule("tcp/22", "0.0.0.0/0")), after: Vec::new() };
        let back = undo(&made(&[change]), &live(&[], &tags(&[]))).unwrap();
        assert!(matches!(&back[..], [Change::Restore { tags, .. }] if tags["team"] == "shop"), "{back:?}");
    }
}
