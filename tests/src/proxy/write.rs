//! A write to the Kubernetes API by what it does.

use std::fmt;

use http::Method;

/// A write to the Kubernetes API, by what it does: a method and a resource such as `changesets/status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubernetesWrite {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The resource and, if it has one, the subresource.
    pub resource: String,
}

impl KubernetesWrite {
    /// Of this method to this resource.
    #[must_use]
    pub fn new(method: &str, resource: &str) -> Self {
        Self { method: method.to_owned(), resource: resource.to_owned() }
    }

    /// What a request writes, if it writes.
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            return None;
        }
        Some(Self { method: method.to_string(), resource: resource(path)? })
    }

    /// Whether a process says with it that it still leads.
    pub(crate) fn is_renewal(&self) -> bool {
        self.method == "PUT" && self.resource == "leases"
    }

    /// Whether it is about a change set.
    pub(crate) fn is_of_the_journal(&self) -> bool {
        self.resource.starts_with("changesets")
    }
}

impl fmt::Display for KubernetesWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "k8s {} {}", self.method, self.resource)
    }
}

/// The resource that a path is about and, if it names one, the subresource.
pub(super) fn resource(path: &str) -> Option<String> {
    let mut words = path.split('/').skip(1);
    // `api/VERSION` or `apis/GROUP/VERSION`.
    let skipped = if words.next()? == "api" { 1 } else { 2 };
    let words: Vec<&str> = words.skip(skipped).collect();
    let object = match words.as_slice() {
        ["namespaces", _, object @ ..] if !object.is_empty() => object,
        object => object,
    };
    Some(match object {
        [resource, _, subresource, ..] => format!("{resource}/{subresource}"),
        [resource, ..] => (*resource).to_owned(),
        [] => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_named_by_its_method_and_its_resource() {
        let named = |method: Method, path: &str| KubernetesWrite::of(&method, path).map(|write| write.to_string());
        let own = "/apis/baseward.dev/v1alpha1";
        for (method, path, name) in [
            (Method::POST, format!("{own}/namespaces/team/changesets"), "k8s POST changesets"),
            (Method::PATCH, format!("{own}/namespaces/team/changesets/edge-1/status"), "k8s PATCH changesets/status"),
            (Method::PATCH, format!("{own}/awsaccounts/prod/status"), "k8s PATCH awsaccounts/status"),
            (Method::POST, "/api/v1/namespaces".to_owned(), "k8s POST namespaces"),
        ] {
            assert_eq!(named(method, &path).as_deref(), Some(name));
        }
        assert_eq!(named(Method::GET, "/api/v1/namespaces"), None);
    }
}
