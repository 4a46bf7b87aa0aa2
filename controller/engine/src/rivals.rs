//! Who keeps undoing a repair: when to look for him, and what the looks have shown.
//!
//! A look is a call of CloudTrail, which answers two in a second for the whole account, shows an event up to 15 minutes
//! late, and is not allowed everywhere. So each contested resource is looked at once for its rules and once for its
//! tags, if both are contested, and a few times more while nobody is found; a cell looks at most once a minute.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::edit::{Edit, Operation};

/// The least time between two looks of a cell.
const BETWEEN: SignedDuration = SignedDuration::from_mins(1);

/// The pauses after looks that showed nobody; after the last of them it is not looked again.
const LATER: [SignedDuration; 3] =
    [SignedDuration::from_mins(5), SignedDuration::from_mins(10), SignedDuration::from_mins(20)];

/// When it is looked again where it was not allowed: somebody may have read the status and allowed it.
const DENIED: SignedDuration = SignedDuration::from_hours(1);

/// The longest name that is kept, in bytes: the advice in status has room for it and for what is said around it.
const LONGEST: usize = 108;

/// What of a resource is contested: who keeps changing its tags need not be who keeps opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Its rules, and their descriptions.
    Rules,
    /// Its tags.
    Tags,
    /// Its configuration.
    Configuration,
    /// Its resource policy.
    Policy,
    /// Its URL.
    Url,
}

impl From<Operation> for Part {
    fn from(operation: Operation) -> Self {
        match operation {
            Operation::AddTags => Self::Tags,
            Operation::RemoveGrant | Operation::NarrowGrant | Operation::DescribeGrant | Operation::AddGrant => {
                Self::Rules
            }
            Operation::RemoveStatement | Operation::NarrowStatement | Operation::AddStatement => Self::Policy,
            Operation::SetUrlAuth | Operation::SetUrlCors => Self::Url,
            Operation::SetRuntime
            | Operation::SetKmsKey
            | Operation::SetTracing
            | Operation::SetLayers
            | Operation::SetVpc
            | Operation::SetDeadLetter
            | Operation::SetLogging
            | Operation::SetConcurrency
            | Operation::SetCodeSigning
            | Operation::SetRecursion
            | Operation::SetRuntimeManagement => Self::Configuration,
        }
    }
}

/// What a contest is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Id of the resource.
    pub resource: String,
    /// The part of it.
    pub part: Part,
}

impl From<&Edit> for Subject {
    fn from(edit: &Edit) -> Self {
        Self { resource: edit.resource.clone(), part: edit.operation.into() }
    }
}

/// Who undoes the repairs of a resource, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rival {
    /// Nobody has looked yet.
    #[default]
    Unknown,
    /// The role that reads may not look.
    NotAllowed,
    /// CloudTrail shows nobody else, or not yet.
    NotShown,
    /// The ARN of a principal or the name of a service.
    Named(String),
}

/// A look that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What is contested.
    pub subject: Subject,
    /// When its contest began.
    pub since: Timestamp,
}

/// What a look has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This principal has changed the resource.
    Somebody(String),
    /// Nobody but ourselves has changed it.
    Nobody,
    /// The role that reads may not look.
    NotAllowed,
    /// There was no answer.
    Nothing,
}

/// What is known of those who undo the repairs of one cell.
#[derive(Clone, Debug, Default)]
pub struct Rivals {
    looked: BTreeMap<Subject, Looked>,
    /// Whether the latest look was not allowed: then none is.
    denied: bool,
    /// No look before this.
    next: Option<Timestamp>,
}

#[derive(Clone, Debug)]
enum Looked {
    Found(String),
    /// So often in vain, and when to look again if at all.
    InVain {
        times: usize,
        again: Option<Timestamp>,
    },
}

impl Rivals {
    /// Who undoes the repairs of a subject.
    pub fn of(&self, subject: &Subject) -> Rival {
        match self.looked.get(subject) {
            Some(Looked::Found(name)) => Rival::Named(name.clone()),
            _ if self.denied => Rival::NotAllowed,
            Some(Looked::InVain { .. }) => Rival::NotShown,
            None => Rival::Unknown,
        }
    }

    /// The look that is due among contested subjects, each with the time when its contest began. Those that were never
    /// looked at come first.
    pub fn due(&self, contested: &BTreeMap<Subject, Timestamp>, now: Timestamp) -> Option<Look> {
        if self.next.is_some_and(|next| now < next) {
            return None;
        }
        let times = |subject: &Subject| match self.looked.get(subject) {
            None => Some(0),
            Some(Looked::InVain { times, again: Some(again) }) if *again <= now => Some(*times),
            Some(_) => None,
        };
        let due = contested.iter().filter_map(|(subject, since)| Some((times(subject)?, subject, since)));
        due.min().map(|(_, subject, since)| Look { subject: subject.clone(), since: *since })
    }

    /// Notes what a look has shown.
    pub fn note(&mut self, subject: &Subject, seen: Seen, now: Timestamp) {
        self.next = Some(later(now, if seen == Seen::NotAllowed { DENIED } else { BETWEEN }));
        self.denied = match &seen {
            Seen::NotAllowed => true,
            Seen::Nothing => self.denied,
            Seen::Somebody(_) | Seen::Nobody => false,
        };
        let looked = match seen {
            Seen::Somebody(name) => Looked::Found(printable(&name)),
            Seen::Nobody => self.in_vain(subject, now),
            Seen::NotAllowed | Seen::Nothing => return,
        };
        self.looked.insert(subject.clone(), looked);
    }

    /// Forgets what is not contested any more.
    pub fn keep(&mut self, contested: &BTreeMap<Subject, Timestamp>) {
        self.looked.retain(|subject, _| contested.contains_key(subject));
    }

    fn in_vain(&self, subject: &Subject, now: Timestamp) -> Looked {
        let before = match self.looked.get(subject) {
            Some(Looked::InVain { times, .. }) => *times,
            Some(Looked::Found(_)) | None => 0,
        };
        Looked::InVain { times: before.saturating_add(1), again: LATER.get(before).map(|pause| later(now, *pause)) }
    }
}

fn later(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(Timestamp::MAX)
}

/// What others wrote, as it may stand in a status: names of AWS are printable ASCII, and anything else deceives.
fn printable(name: &str) -> String {
    let harmless = |character: char| if character.is_ascii_graphic() { character } else { '?' };
    name.chars().take(LONGEST).map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const TERRAFORM: &str = "arn:aws:sts::111122223333:assumed-role/terraform/ci";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rules(resource: &str) -> Subject {
        Subject { resource: resource.to_owned(), part: Part::Rules }
    }

    fn due(rivals: &Rivals, contested: &[&str], second: i64) -> Option<String> {
        let contested = contested.iter().map(|resource| (rules(resource), at(0))).collect();
        rivals.due(&contested, at(second)).map(|look| look.subject.resource)
    }

    fn somebody() -> Seen {
        Seen::Somebody(TERRAFORM.to_owned())
    }

    #[test]
    fn who_was_found_is_not_looked_for_again() {
        let mut rivals = Rivals::default();
        assert_eq!((due(&rivals, &[], 0), due(&rivals, &["sg-1"], 0)), (None, Some("sg-1".to_owned())));
        assert_eq!(rivals.of(&rules("sg-1")), Rival::Unknown);
        rivals.note(&rules("sg-1"), somebody(), at(0));
        assert_eq!(rivals.of(&rules("sg-1")), Rival::Named(TERRAFORM.to_owned()));
        assert_eq!(due(&rivals, &["sg-1"], 9 * HOUR), None);
    }

    #[test]
    fn who_changes_the_rules_of_a_resource_is_not_who_changes_its_tags() {
        let mut rivals = Rivals::default();
        let tags = Subject { part: Part::Tags, ..rules("sg-1") };
        rivals.note(&rules("sg-1"), somebody(), at(0));
        assert_eq!(rivals.of(&tags), Rival::Unknown);
        let contested = [(rules("sg-1"), at(0)), (tags.clone(), at(1))].into();
        assert_eq!(rivals.due(&contested, at(MINUTE)), Some(Look { subject: tags, since: at(1) }));
    }

    #[test]
    fn a_cell_looks_once_a_minute_and_at_resources_that_were_never_looked_at_first() {
        let mut rivals = Rivals::default();
        let contested = ["sg-1", "sg-2"];
        rivals.note(&rules("sg-1"), Seen::Nobody, at(0));
        assert_eq!(due(&rivals, &contested, MINUTE - 1), None);
        assert_eq!(due(&rivals, &contested, MINUTE).as_deref(), Some("sg-2"));
        assert_eq!(due(&rivals, &contested, HOUR).as_deref(), Some("sg-2"));
    }

    #[test]
    fn who_is_not_shown_is_looked_for_three_more_times() {
        let mut rivals = Rivals::default();
        let (mut now, mut looks) = (0, Vec::new());
        while now < 9 * HOUR {
            if due(&rivals, &["sg-1"], now).is_some() {
                looks.push(now / MINUTE);
                rivals.note(&rules("sg-1"), Seen::Nobody, at(now));
                assert_eq!(rivals.of(&rules("sg-1")), Rival::NotShown);
            }
            now += MINUTE;
        }
        assert_eq!(looks, [0, 5, 15, 35]);
        let mut late = Rivals::default();
        late.note(&rules("sg-1"), Seen::Nobody, at(0));
        late.note(&rules("sg-1"), somebody(), at(5 * MINUTE));
        assert_eq!(late.of(&rules("sg-1")), Rival::Named(TERRAFORM.to_owned()));
    }

    #[test]
    fn what_is_not_allowed_is_not_allowed_for_any_resource_and_tried_again_after_an_hour() {
        let mut rivals = Rivals::default();
        rivals.note(&rules("sg-1"), somebody(), at(0));
        rivals.note(&rules("sg-2"), Seen::NotAllowed, at(MINUTE));
        assert_eq!(rivals.of(&rules("sg-1")), Rival::Named(TERRAFORM.to_owned()));
        assert_eq!((rivals.of(&rules("sg-2")), rivals.of(&rules("sg-3"))), (Rival::NotAllowed, Rival::NotAllowed));
        assert_eq!(due(&rivals, &["sg-2", "sg-3"], HOUR), None);
        assert_eq!(due(&rivals, &["sg-2", "sg-3"], HOUR + MINUTE).as_deref(), Some("sg-2"));
        rivals.note(&rules("sg-2"), Seen::Nothing, at(HOUR + MINUTE));
        assert_eq!(rivals.of(&rules("sg-2")), Rival::NotAllowed, "no answer is no permission");
        rivals.note(&rules("sg-2"), Seen::Nobody, at(HOUR + 2 * MINUTE));
        assert_eq!((rivals.of(&rules("sg-2")), rivals.of(&rules("sg-3"))), (Rival::NotShown, Rival::Unknown));
    }

    #[test]
    fn a_look_without_an_answer_is_none() {
        let mut rivals = Rivals::default();
        rivals.note(&rules("sg-1"), Seen::Nothing, at(0));
        assert_eq!((rivals.of(&rules("sg-1")), due(&rivals, &["sg-1"], MINUTE - 1)), (Rival::Unknown, None));
        assert_eq!(due(&rivals, &["sg-1"], MINUTE).as_deref(), Some("sg-1"));
    }

    #[test]
    fn who_is_not_contested_any_more_is_forgotten() {
        let mut rivals = Rivals::default();
        rivals.note(&rules("sg-1"), somebody(), at(0));
        rivals.keep(&[(rules("sg-1"), at(0))].into());
        assert_eq!(rivals.of(&rules("sg-1")), Rival::Named(TERRAFORM.to_owned()));
        rivals.keep(&[(rules("sg-2"), at(0))].into());
        assert_eq!((rivals.of(&rules("sg-1")), due(&rivals, &["sg-1"], MINUTE).is_some()), (Rival::Unknown, true));
    }

    #[test]
    fn a_name_that_others_chose_is_short_and_plain() {
        let named = |name: &str| {
            let mut rivals = Rivals::default();
            rivals.note(&rules("sg-1"), Seen::Somebody(name.to_owned()), at(0));
            rivals.of(&rules("sg-1"))
        };
        assert_eq!(named("a\u{1b}[31m\nb\u{202e}"), Rival::Named("a?[31m?b?".to_owned()));
        assert_eq!(named(&"é".repeat(500)), Rival::Named("?".repeat(LONGEST)));
    }
}
