//! What was shown never goes back in time.
//!
//! An API server that has just been restarted, or one of several that lags behind, may tell of an object as it once was: a
//! baseline that has been edited since, or one that is gone. Versions of a kind only ever grow, so whatever is older than
//! what was seen under the same name is passed over; until its present is told such an object has no effect.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

/// So long after an object is gone its name is kept: no API server lags behind for longer. Objects with names of their own
/// come and go without end.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The newest version of each object of a kind that was seen, also of those that went lately.
#[derive(Debug, Default)]
pub struct Newest(HashMap<(Option<String>, String), Seen>);

#[derive(Debug, Default)]
struct Seen {
    version: u64,
    gone: Option<Instant>,
}

impl Newest {
    /// Whether an event tells of nothing older than what was told before.
    pub fn admits<K: Resource>(&mut self, event: &Event<K>, now: Instant) -> bool {
        let (object, gone) = match event {
            Event::Apply(object) | Event::InitApply(object) => (object, None),
            Event::Delete(object) => (object, Some(now)),
            Event::Init => {
                // Whatever the list that begins does not name is gone.
                self.0.values_mut().for_each(|seen| seen.gone = seen.gone.or(Some(now)));
                return true;
            }
            Event::InitDone => {
                self.prune(now);
                return true;
            }
        };
        // A version that is no number cannot be compared.
        let Some(version) = object.resource_version().and_then(|version| version.parse::<u64>().ok()) else {
            return true;
        };
        let (namespace, name) = (object.namespace(), object.name_any());
        let seen = self.0.entry((namespace.clone(), name.clone())).or_default();
        if version < seen.version {
            let newest = seen.version;
            tracing::warn!(name, namespace, version, newest, "The API server tells of the past: passed over");
            return false;
        }
        *seen = Seen { version, gone };
        if gone.is_some() {
            self.prune(now);
        }
        true
    }

    fn prune(&mut self, now: Instant) {
        self.0.retain(|_, seen| seen.gone.is_none_or(|gone| now.duration_since(gone) < KEPT));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    fn object(name: &str, version: &str) -> ConfigMap {
        let resource_version = Some(version.to_owned());
        let metadata = ObjectMeta { name: Some(name.to_owned()), resource_version, ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn nothing_older_than_what_was_seen_under_a_name_is_admitted() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        let mut apply = |name, version| newest.admits(&Event::Apply(object(name, version)), now);
        assert!(apply("edge", "9") && apply("edge", "10") && apply("edge", "10"));
        assert!(!apply("edge", "9"), "versions are numbers");
        assert!(apply("other", "3") && apply("edge", "11"));
        assert!(apply("edge", "no number"));
    }

    #[test]
    fn what_is_gone_does_not_come_back_and_what_came_after_it_does_not_go() {
        let (mut newest, now) = (Newest::default(), Instant::now());
        let mut admits = |event: Event<ConfigMap>| newest.admits(&event, now);
        assert!(admits(Event::Apply(object("edge", "5"))));
        assert!(admits(Event::Delete(object("edge", "7"))));
        assert!(!admits(Event::InitApply(object("edge", "5"))));
        assert!(admits(Event::Apply(object("edge", "8"))));
        assert!(!admits(Event::Delete(object("edge", "7"))));
        assert!(admits(Event::Init) && admits(Event::InitDone));
    }

    #[test]
    fn the_name_of_an_object_that_is_gone_is_kept_for_an_hour_and_that_of_one_that_is_there_for_ever() {
        let (mut newest, start) = (Newest::default(), Instant::now());
        let mut kept = |event: Event<ConfigMap>, minutes: u64| {
            newest.admits(&event, start + Duration::from_secs(60 * minutes));
            let mut names: Vec<String> = newest.0.keys().map(|(_, name)| name.clone()).collect();
            names.sort();
            names.join(" ")
        };
        for (name, version) in [("deleted", "1"), ("missed", "2"), ("there", "3")] {
            kept(Event::Apply(object(name, version)), 0);
        }
        kept(Event::Delete(object("deleted", "4")), 10);
        kept(Event::Init, 20);
        kept(Event::InitApply(object("there", "3")), 20);
        assert_eq!(kept(Event::InitDone, 20), "deleted missed there");
        assert_eq!(kept(Event::InitDone, 69), "deleted missed there");
        assert_eq!(kept(Event::InitDone, 70), "missed there");
        assert_eq!(kept(Event::InitDone, 80), "there");
        kept(Event::Apply(object("other", "5")), 90);
        kept(Event::Delete(object("other", "6")), 100);
        kept(Event::Apply(object("other", "7")), 110);
        assert_eq!(kept(Event::InitDone, 24 * 60), "other there", "it was made again");
    }
}
