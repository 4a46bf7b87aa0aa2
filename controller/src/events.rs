//! What is said aloud: one event and one line in the log for each change, and none while nothing changes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crds::conditions;
use engine::contests::Contest;
use engine::edit::{BaselineRef, Edit, Withheld};
use engine::facts::Location;
use engine::report::CellReport;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::{Event, EventType, Recorder};

/// What was said last of something that can go wrong, so that it is not said again while it is the same.
#[derive(Debug, Default)]
pub struct News(Mutex<Option<String>>);

impl News {
    /// Whether this has not been said yet. `None`: all is well.
    pub fn is_new(&self, now: Option<&String>) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.as_ref() != now;
        *last = now.cloned();
        is_new
    }
}

/// The conditions of these types that flipped.
pub fn flipped<'c>(before: &[Condition], now: &'c [Condition], kinds: &[&str]) -> Vec<&'c Condition> {
    let news = |kind: &&str| {
        let condition = conditions::find(now, kind)?;
        let same = conditions::find(before, kind).is_some_and(|old| old.status == condition.status);
        (!same).then_some(condition)
    };
    kinds.iter().filter_map(news).collect()
}

/// Says that a condition of an object flipped.
pub async fn announce(recorder: &Recorder, object: &ObjectReference, condition: &Condition) {
    announce_as(recorder, object, condition, condition.status != "True").await;
}

/// Says what a condition of an object has become, as a warning if that is urgent.
pub async fn announce_as(recorder: &Recorder, object: &ObjectReference, condition: &Condition, urgent: bool) {
    let Condition { type_, reason, message, .. } = condition;
    let event = Event {
        type_: if urgent { EventType::Warning } else { EventType::Normal },
        reason: reason.clone(),
        note: Some(message.clone()),
        action: type_.clone(),
        secondary: None,
    };
    publish(recorder, object, &event).await;
}

/// What came of the edits of a baseline in one cell, if that is news: edits that were made, or a failure that is not the
/// same as at the sweep before.
pub fn edits(before: Option<&CellReport>, now: &CellReport) -> Option<Event> {
    let same_failures = before.is_some_and(|before| before.failures == now.failures);
    if now.verified == 0 && (now.failures.is_empty() || same_failures) {
        return None;
    }
    let at = format!("in account {} and region {}", now.location.account, now.location.region);
    let failed = listed(&now.failures);
    let (type_, reason, note) = match (now.verified, now.failures.is_empty()) {
        (made, true) => (EventType::Normal, "EditsMade", format!("{made} edits made and verified {at}")),
        (made, false) => (EventType::Warning, "EditsFailed", format!("{made} edits made, failed {at}: {failed}")),
    };
    Some(Event { type_, reason: reason.to_owned(), note: Some(note), action: "Enforce".to_owned(), secondary: None })
}

/// Says to every baseline that asks for an edit that somebody else keeps undoing it.
pub async fn contested(recorder: &Recorder, location: &Location, edit: &Edit, contest: Contest) {
    let Location { account, region } = location;
    let note = format!(
        "{} in account {account} and region {region}: {}",
        edit.resource,
        Withheld::Contested(contest).explain()
    );
    let event = Event {
        type_: EventType::Warning,
        reason: "Contested".to_owned(),
        note: Some(note),
        action: "Enforce".to_owned(),
        secondary: None,
    };
    let mut baselines: Vec<&BaselineRef> = edit.demands.iter().map(|demand| &demand.baseline).collect();
    baselines.dedup();
    for reference in baselines {
        publish(recorder, &baseline(reference), &event).await;
    }
}

fn listed(counts: &BTreeMap<&'static str, u64>) -> String {
    let listed: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    listed.join(", ")
}

/// The object of a baseline, for events.
pub fn baseline(reference: &BaselineRef) -> ObjectReference {
    ObjectReference {
        api_version: Some(format!("{}/{}", crds::GROUP, crds::VERSION)),
        kind: Some(reference.kind.name().to_owned()),
        name: Some(reference.name.clone()),
        namespace: Some(reference.namespace.clone()),
        uid: Some(reference.uid.clone()),
        ..ObjectReference::default()
    }
}

/// Publishes an event. One that is lost is no reason to stop, or to wait for long.
pub async fn publish(recorder: &Recorder, object: &ObjectReference, event: &Event) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let ObjectReference { kind, name, namespace, .. } = object;
    tracing::info!(kind, name, namespace, reason = event.reason, note = event.note, "Event");
    match tokio::time::timeout(PATIENCE, recorder.publish(event, object)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "Event not published"),
        Err(_) => tracing::debug!("Event not published in time"),
    }
}

#[cfg(test)]
mod tests {
    use engine::kind::Kind;
    use std::collections::BTreeSet;

    use super::*;

    fn report(verified: u64, failures: &[(&'static str, u64)]) -> CellReport {
        let named = |text: &str| text.to_owned();
        CellReport {
            reference: BaselineRef {
                kind: Kind::SecurityGroup,
                namespace: named("team"),
                name: named("edge"),
                uid: named("u"),
                generation: 1,
            },
            location: Location { account: named("111122223333"), region: named("eu-west-1") },
            swept_at: jiff::Timestamp::UNIX_EPOCH,
            counted_at: None,
            oldest_fact: None,
            failure: None,
            partial: Vec::new(),
            resources: 0,
            failing_resources: 0,
            controls: Vec::new(),
            worst: Vec::new(),
            withheld: BTreeMap::new(),
            failures: failures.iter().copied().collect(),
            verified,
            conflicts: BTreeSet::new(),
            readiness: None,
        }
    }

    #[test]
    fn trouble_is_said_when_it_comes_and_not_while_it_lasts() {
        let (news, denied, late) = (News::default(), "denied".to_owned(), "late".to_owned());
        let said = [None, Some(&denied), Some(&denied), Some(&late), None, Some(&late)].map(|now| news.is_new(now));
        assert_eq!(said, [false, true, false, true, true, true]);
    }

    #[test]
    fn edits_are_said_when_they_are_made_and_failures_when_they_are_new() {
        let note = |before: Option<&CellReport>, now: &CellReport| {
            edits(before, now).map(|event| (event.reason, event.note.unwrap_or_default()))
        };
        let (idle, made, failed) = (report(0, &[]), report(2, &[]), report(0, &[("WriteDenied", 3)]));
        let (reason, text) = note(Some(&idle), &made).unwrap();
        assert_eq!((reason.as_str(), text.contains("2 edits made")), ("EditsMade", true));
        assert!(note(Some(&made), &made).is_some());
        let (reason, text) = note(None, &failed).unwrap();
        assert_eq!((reason.as_str(), text.contains("3 WriteDenied")), ("EditsFailed", true));
        assert_eq!(note(Some(&failed), &failed), None);
        assert_eq!(note(Some(&failed), &idle), None);
        assert!(note(Some(&failed), &report(1, &[("WriteDenied", 3)])).is_some());
    }
}
