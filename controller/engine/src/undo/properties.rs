//! What puts back what was changed of properties.

use super::Made;
use crate::edit::{Change, Withheld};
use crate::facts::LiveFunction;
use crate::property::PropertyChange;

/// The changes that put back what was made. Each edit goes back whole: what it added goes once what it took away is there.
/// Of one that was made in part, each property is at one side or at the other; anything else is somebody else's.
pub(super) fn undo(made: &[Made], live: &LiveFunction) -> Result<Vec<Change>, Withheld> {
    let mut back = Vec::new();
    for Made { change, .. } in made {
        let Change::Properties(changes) = change else { return Err(Withheld::ForeignChange) };
        let now = |change: &PropertyChange| live.properties.get(&change.property);
        let is_left = |change: &PropertyChange| now(change) == Some(&change.after);
        let was_never = |change: &PropertyChange| now(change) == Some(&change.before);
        if changes.iter().all(|change| is_left(change) || was_never(change)) {
            let left = changes.iter().filter(|change| is_left(change) && change.before != change.after);
            let reversed: Vec<PropertyChange> = left.map(PropertyChange::reversed).collect();
            if !reversed.is_empty() {
                back.push(Change::Properties(reversed));
            }
        } else {
            return Err(Withheld::ForeignChange);
        }
    }
    Ok(back)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::property::{Json, Property};

    fn statement(sid: &str, values: [Option<&str>; 2]) -> PropertyChange {
        let [before, after] = values.map(|value| value.map(|value| Json::of(&value)));
        PropertyChange { property: Property::statement("", sid), before, after }
    }

    /// A wide statement goes, a narrow one comes.
    fn made(whole: bool) -> [Made; 1] {
        let changes = vec![statement("s", [Some("wide"), None]), statement("n", [None, Some("narrow")])];
        [Made { change: Change::Properties(changes), tags: BTreeMap::new(), whole }]
    }

    fn live(values: [Option<&str>; 2]) -> LiveFunction {
        let [wide, narrow] = values.map(|value| value.map(|value| Json::of(&value)));
        let properties = [(Property::statement("", "s"), wide), (Property::statement("", "n"), narrow)];
        LiveFunction {
            id: "f".to_owned(),
            arn: String::new(),
            properties: properties.into(),
            revisions: BTreeMap::new(),
            status: None,
            tags: None,
            environment: None,
            read_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_was_made_in_part_goes_back_as_far_as_it_went() {
        let back = |whole, values| undo(&made(whole), &live(values));
        let narrow_goes = statement("n", [Some("narrow"), None]);
        let both = vec![statement("s", [None, Some("wide")]), narrow_goes.clone()];
        assert_eq!(back(true, [None, Some("narrow")]), Ok(vec![Change::Properties(both)]));
        let part = Ok(vec![Change::Properties(vec![narrow_goes])]);
        assert_eq!(back(false, [Some("wide"), Some("narrow")]), part);
        assert_eq!(back(false, [Some("wide"), None]), Ok(Vec::new()));
    }

    #[test]
    fn what_somebody_changed_since_is_left_alone_however_far_it_went() {
        for whole in [true, false] {
            for values in [[None, Some("other")], [Some("other"), None], [Some("other"), Some("narrow")]] {
                assert_eq!(undo(&made(whole), &live(values)), Err(Withheld::ForeignChange), "{whole} {values:?}");
            }
        }
    }
}
