//! What can happen to the watches that go through a proxy: they are cut, too old to go on, or told of the past.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::{Body, BodyDataStream};
use axum::response::Response;
use futures::{StreamExt as _, stream};
use http::{Method, Uri};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::write::resource;

/// More events than any scenario tells at once.
const EVENTS: usize = 64;

/// All watches of a proxy.
#[derive(Debug)]
pub(super) struct Watches {
    /// Bumped to end every watch that is open.
    cut: watch::Sender<()>,
    /// Events of the past: the resource, and the line.
    past: broadcast::Sender<(String, String)>,
    paths: Mutex<Paths>,
}

#[derive(Debug, Default)]
struct Paths {
    watched: BTreeSet<String>,
    /// Those whose next watch is too old to go on.
    too_old: BTreeSet<String>,
}

/// One watch that goes through. The API server sends each event in a piece of its own, so another one fits between any two.
struct Watched {
    events: BodyDataStream,
    cut: watch::Receiver<()>,
    past: broadcast::Receiver<(String, String)>,
    resource: String,
}

impl Default for Watches {
    fn default() -> Self {
        Self { cut: watch::Sender::new(()), past: broadcast::Sender::new(EVENTS), paths: Mutex::default() }
    }
}

impl Watches {
    /// Ends every watch in the middle of a connection. The next one of each finds that it is too old.
    pub(super) fn cut(&self) {
        let mut paths = self.paths();
        paths.too_old = paths.watched.clone();
        drop(paths);
        self.cut.send_replace(());
    }

    /// Tells whoever watches a resource of an event.
    pub(super) fn tell(&self, resource: &str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        // Nobody watches: nobody is told.
        let _ = self.past.send((resource.to_owned(), line));
    }

    /// The answer to a watch that cannot go on from where it was, if this is one.
    pub(super) fn too_old(&self, method: &Method, uri: &Uri) -> Option<Response> {
        if !is_watch(method, uri) {
            return None;
        }
        let mut paths = self.paths();
        paths.watched.insert(uri.path().to_owned());
        paths.too_old.remove(uri.path()).then(expired)
    }

    /// A watch that ends when it is cut, and into which the past is told.
    pub(super) fn guard(&self, uri: &Uri, body: Body) -> Body {
        let watched = Watched {
            events: body.into_data_stream(),
            cut: self.cut.subscribe(),
            past: self.past.subscribe(),
            resource: resource(uri.path()).unwrap_or_default(),
        };
        Body::from_stream(stream::unfold(Some(watched), |watched| async move {
            let mut watched = watched?;
            loop {
                return tokio::select! {
                    _ = watched.cut.changed() => Some((Err(lost()), None)),
                    event = watched.events.next() => match event? {
                        Ok(event) => Some((Ok(event), Some(watched))),
                        Err(error) => Some((Err(Error::other(error)), None)),
                    },
                    told = watched.past.recv() => match told {
                        Ok((resource, line)) if resource == watched.resource => Some((Ok(line.into()), Some(watched))),
                        _ => continue,
                    },
                };
            }
        }))
    }

    fn paths(&self) -> MutexGuard<'_, Paths> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a request watches.
pub(super) fn is_watch(method: &Method, uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    *method == Method::GET && query.split('&').any(|word| word == "watch=true" || word == "watch=1")
}

fn lost() -> Error {
    ErrorKind::ConnectionReset.into()
}

/// What the API server says to a watch from a version that it has forgotten.
fn expired() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 1 (2)", "reason": "Expired", "code": 410,
    });
    Response::new(Body::from(format!("{}\n", json!({"type": "ERROR", "object": status}))))
}
