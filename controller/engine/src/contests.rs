//! What somebody else keeps undoing, so that two who disagree do not rewrite a group at every sweep.
//!
//! A finding is a control on a resource. Ports, addresses and texts do not count: whoever varies them would have a new
//! finding each time. It is contested if it is asked for again after three repairs within an hour. From then on each
//! repair waits for a pause after the one before. The contest is over once the finding was not repaired for two hours.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::edit::{Edit, Operation, Withheld};
use crate::finding::Severity;
use crate::plan::{Applied, Outcome};
use crate::rivals::{Look, Rival, Rivals, Seen, Subject};

/// So many repairs within `WITHIN` begin a contest.
const REPAIRS: usize = 3;

const WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// Without a repair for so long, a contest is over. Longer than the longest pause, which would otherwise end it itself.
const CALM: SignedDuration = SignedDuration::from_hours(2);

/// The pause after the repair that begins a contest. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);

/// How long the pauses become. Each pace has a history of its own, so that neither lengthens the pauses of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pace {
    /// Of critical edits that only remove access, and of required rules that such an edit awaits, which makes them critical,
    /// too: whoever opens a way in again and again must not switch off its repair.
    Urgent,
    /// Of all others.
    Patient,
}

impl Pace {
    fn of(edit: &Edit) -> Self {
        match (edit.operation, edit.severity) {
            (
                Operation::RemoveGrant
                | Operation::NarrowGrant
                | Operation::AddGrant
                | Operation::RemoveStatement
                | Operation::NarrowStatement
                | Operation::SetUrlAuth,
                Severity::Critical,
            ) => Self::Urgent,
            _ => Self::Patient,
        }
    }

    fn pause(self, doublings: u32) -> Duration {
        let longest = match self {
            Self::Urgent => Duration::from_secs(5 * 60),
            Self::Patient => Duration::from_secs(60 * 60),
        };
        FIRST_PAUSE.saturating_mul(2u32.saturating_pow(doublings)).min(longest)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    subject: Subject,
    control: String,
    pace: Pace,
}

fn findings(edit: &Edit) -> impl Iterator<Item = Finding> {
    let (subject, pace) = (Subject::from(edit), Pace::of(edit));
    let finding = move |control: &str| Finding { subject: subject.clone(), control: control.to_owned(), pace };
    edit.controls().into_iter().map(finding)
}

/// How often somebody has undone the repair of a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contest {
    /// How many repairs were made in it.
    pub repairs: u32,
    /// When the first of them was made.
    pub since: Timestamp,
    /// When the next one may be made.
    pub next: Timestamp,
    /// Who undoes them.
    pub rival: Rival,
}

impl Contest {
    /// Who undoes it, what to do about that, and when the next repair is due. Who it is comes first: what is cut to fit into
    /// a status is its end.
    pub fn explain(&self) -> String {
        let Self { repairs, next, rival, .. } = self;
        let (who, what_to_do) = match rival {
            Rival::Named(name) => (name.as_str(), "change one of the two"),
            Rival::Unknown => ("somebody else", "find out who"),
            Rival::NotShown => ("somebody whom CloudTrail does not show", "find out who"),
            Rival::NotAllowed => ("somebody else", "the read role is not allowed cloudtrail:LookupEvents"),
        };
        format!("undone by {who} after {repairs} repairs: {what_to_do}; next repair at {next:.0}")
    }
}

/// The repairs of one finding.
#[derive(Clone, Debug, Default)]
struct History {
    /// When the latest were made, oldest first, at most `REPAIRS`.
    latest: VecDeque<Timestamp>,
    begun: Option<Begun>,
}

/// A contest that begins with the next time that the finding is asked for.
#[derive(Clone, Debug)]
struct Begun {
    since: Timestamp,
    /// Repairs beyond those that began it.
    more: u32,
    told: bool,
}

impl History {
    fn add(&mut self, at: Timestamp, pace: Pace) {
        // Edits that were made together are one repair.
        if self.latest.back().is_some_and(|last| at <= *last) {
            return;
        }
        // Made for another control. If it counted here, edits for this one alone would wait longer and longer.
        if self.contest(pace).is_some_and(|contest| at < contest.next) {
            return;
        }
        if !self.is_recent(at) {
            *self = Self::default();
        }
        self.latest.push_back(at);
        if self.latest.len() > REPAIRS {
            self.latest.pop_front();
        }
        if let Some(begun) = &mut self.begun {
            begun.more = begun.more.saturating_add(1);
            begun.told = true;
        } else if let Some(since) = self.latest.front().copied()
            && self.latest.len() == REPAIRS
            && at.duration_since(since) <= WITHIN
        {
            self.begun = Some(Begun { since, more: 0, told: false });
        }
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        self.latest.back().is_some_and(|last| now.duration_since(*last) < CALM)
    }

    fn contest(&self, pace: Pace) -> Option<Contest> {
        let (begun, last) = (self.begun.as_ref()?, self.latest.back()?);
        let repairs = u32::try_from(REPAIRS).unwrap_or(u32::MAX).saturating_add(begun.more);
        let next = last.saturating_add(pace.pause(begun.more)).unwrap_or(Timestamp::MAX);
        // Who undoes it is known of the subject, not of each finding.
        Some(Contest { repairs, since: begun.since, next, rival: Rival::Unknown })
    }
}

/// The findings of one cell that were repaired lately.
#[derive(Clone, Debug, Default)]
pub struct Contests {
    repaired: BTreeMap<Finding, History>,
    rivals: Rivals,
}

impl Contests {
    /// Notes the verified repairs of a sweep. A repair whose rest had no room in the sweep is none yet: what is asked for
    /// next is that rest, and nobody has undone anything.
    pub fn note(&mut self, applied: &Applied) {
        let rest = applied.withheld.iter().filter(|held| held.reason == Withheld::SweepLimit);
        let unfinished: BTreeSet<Finding> = rest.flat_map(|held| findings(&held.edit)).collect();
        for resource in applied.outcomes.iter().filter(|resource| resource.outcome == Outcome::Verified) {
            let repaired = resource.edits.iter().flat_map(findings).filter(|finding| !unfinished.contains(finding));
            for finding in repaired {
                self.add(finding, resource.finished_at);
            }
        }
    }

    /// Notes a repair that an earlier process has made; the oldest has to come first, and one that is not later than what
    /// is known already changes nothing. Whether it was of a critical finding is not asked: it counts either way. A contest
    /// that had begun by then counts as told.
    pub fn restore(&mut self, subject: &Subject, control: &str, at: Timestamp) {
        for pace in [Pace::Urgent, Pace::Patient] {
            let finding = Finding { subject: subject.clone(), control: control.to_owned(), pace };
            if let Some(begun) = &mut self.add(finding, at).begun {
                begun.told = true;
            }
        }
    }

    /// Forgets findings that were not repaired for so long that a contest is over.
    pub fn prune(&mut self, now: Timestamp) {
        self.repaired.retain(|_, history| history.is_recent(now));
        self.rivals.keep(&contested(&self.repaired, now));
    }

    /// The contest because of which an edit has to wait. One that several controls ask for waits for the first of them
    /// only: none of them keeps another from being repaired.
    pub fn waits(&self, edit: &Edit, now: Timestamp) -> Option<Contest> {
        self.contest(edit, now).filter(|contest| now < contest.next)
    }

    /// The contest that an edit which is asked for begins, whether it has to wait or not; the same contest is told once.
    pub fn newly(&mut self, edit: &Edit, now: Timestamp) -> Option<Contest> {
        let contest = self.contest(edit, now)?;
        let mut is_new = false;
        for finding in findings(edit) {
            if let Some(begun) = self.repaired.get_mut(&finding).and_then(|history| history.begun.as_mut()) {
                is_new |= !std::mem::replace(&mut begun.told, true);
            }
        }
        is_new.then_some(contest)
    }

    /// Who undoes what an edit repairs.
    pub fn rival(&self, edit: &Edit) -> Rival {
        self.rivals.of(&Subject::from(edit))
    }

    /// The look for a rival that is due.
    pub fn look(&self, now: Timestamp) -> Option<Look> {
        self.rivals.due(&contested(&self.repaired, now), now)
    }

    /// Notes what a look has shown.
    pub fn seen(&mut self, subject: &Subject, seen: Seen, now: Timestamp) {
        self.rivals.note(subject, seen, now);
    }

    /// How long it is until the next repair of any contested finding.
    pub fn next_due(&self, now: Timestamp) -> Option<Duration> {
        let contests = self.repaired.iter().filter_map(|(finding, history)| history.contest(finding.pace));
        let next = contests.map(|contest| contest.next).filter(|next| *next > now).min()?;
        Some(next.duration_since(now).unsigned_abs())
    }

    fn add(&mut self, finding: Finding, at: Timestamp) -> &mut History {
        let pace = finding.pace;
        let history = self.repaired.entry(finding).or_default();
        history.add(at, pace);
        history
    }

    fn contest(&self, edit: &Edit, now: Timestamp) -> Option<Contest> {
        let contest = |finding: Finding| {
            let history = self.repaired.get(&finding).filter(|history| history.is_recent(now))?;
            history.contest(finding.pace)
        };
        let contests: Option<Vec<Contest>> = findings(edit).map(contest).collect();
        let first = contests?.into_iter().min_by_key(|contest| contest.next)?;
        Some(Contest { rival: self.rival(edit), ..first })
    }
}

/// The subjects whose contest was told, each with the time when it began.
fn contested(repaired: &BTreeMap<Finding, History>, now: Timestamp) -> BTreeMap<Subject, Timestamp> {
    let mut contested = BTreeMap::new();
    for (finding, history) in repaired.iter().filter(|(_, history)| history.is_recent(now)) {
        if let Some(Begun { since, told: true, .. }) = history.begun {
            let first = contested.entry(finding.subject.clone()).or_insert(since);
            *first = since.min(*first);
        }
    }
    contested
}
