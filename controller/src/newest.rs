//! What was shown never goes back in time.
//!
//! An API server that has just been restarted, or one of several that lags behind, may tell of an object as it once was: a
//! baseline that has been edited since, or one that is gone. Versions of a kind only ever grow, so whatever is older than
//! what was seen under the same name is passed over; until its present is told such an object has no effect.

use std::collections::HashMap;

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

/// The newest version of each object of a kind that was seen, also of those that are gone.
#[derive(Debug, Default)]
pub struct Newest(HashMap<(Option<String>, String), u64>);

impl Newest {
    /// Whether an event tells of nothing older than what was told before.
    pub fn admits<K: Resource>(&mut self, event: &Event<K>) -> bool {
        let (Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) = event else { return true };
        // A version that is no number cannot be compared.
        let Some(version) = object.resource_version().and_then(|version| version.parse::<u64>().ok()) else {
            return true;
        };
        let (namespace, name) = (object.namespace(), object.name_any());
        let newest = self.0.entry((namespace.clone(), name.clone())).or_default();
        if version < *newest {
            tracing::warn!(name, namespace, version, newest, "The API server tells of the past: passed over");
            return false;
        }
        *newest = version;
        true
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
        let mut newest = Newest::default();
        let mut apply = |name, version| newest.admits(&Event::Apply(object(name, version)));
        assert!(apply("edge", "9") && apply("edge", "10") && apply("edge", "10"));
        assert!(!apply("edge", "9"), "versions are numbers");
        assert!(apply("other", "3") && apply("edge", "11"));
        assert!(apply("edge", "no number"));
    }

    #[test]
    fn what_is_gone_does_not_come_back_and_what_came_after_it_does_not_go() {
        let mut newest = Newest::default();
        assert!(newest.admits(&Event::Apply(object("edge", "5"))));
        assert!(newest.admits(&Event::Delete(object("edge", "7"))));
        assert!(!newest.admits(&Event::InitApply(object("edge", "5"))));
        assert!(newest.admits(&Event::Apply(object("edge", "8"))));
        assert!(!newest.admits(&Event::Delete(object("edge", "7"))));
        assert!(newest.admits(&Event::<ConfigMap>::Init) && newest.admits(&Event::<ConfigMap>::InitDone));
    }
}
