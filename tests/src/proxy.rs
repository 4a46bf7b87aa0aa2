//! A door between one `baseward` and the API server: it passes everything on, writes down what is written, and can stop
//! at one write, before the API server sees it or before its answer is seen, refuse some, or shut. Watches can be cut, and
//! told of the past.
//!
//! It also narrows what the controller watches to one scenario, so that many scenarios can share an API server although
//! each has a controller of its own: no custom resource of another one is seen.

mod watches;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode, Uri, header};
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use write::KubernetesWrite;

use crate::chaos::{Moment, Nth};
use crate::control_plane::ControlPlane;
use watches::{Watches, is_watch};

/// What the API server answers to a write that comes too late.
const CONFLICT: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the object has been modified","reason":"Conflict","code":409}"#;

/// More than any object of the scenarios.
const LARGEST_BODY: usize = 4 << 20;

/// A running proxy. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    kubeconfig: PathBuf,
    door: Arc<Door>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Door {
    api_server: ApiServer,
    scope: String,
    traffic: Mutex<Traffic>,
    held: watch::Sender<Held>,
    gate: watch::Sender<Gate>,
    watches: Watches,
}

/// Where the write is that is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// It has not come yet.
    NotYet,
    /// Here.
    Here,
    /// It may go on.
    LetGo,
}

/// What a proxy lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Everything.
    Open,
    /// Nothing but what is about change sets: nothing but its own clock tells the process that it leads no longer, and the
    /// journal keeps it from nothing.
    Journal,
    /// Nothing.
    Shut,
}

/// [`Client`] does not tell anything about itself.
struct ApiServer(Client);

#[derive(Debug, Default)]
struct Traffic {
    writes: Vec<KubernetesWrite>,
    counts: BTreeMap<KubernetesWrite, u32>,
    stop_at: Option<(Nth<KubernetesWrite>, Moment)>,
    /// Writes that are answered by a conflict, and how many of them.
    refused: BTreeMap<KubernetesWrite, u32>,
    /// When the lease was taken or renewed, in seconds since 1970.
    renewals: Vec<f64>,
}

impl Proxy {
    /// A proxy that shows the objects of one scenario: the account with its name and what is in the namespace with its name.
    pub async fn start(control_plane: &ControlPlane, scope: &str, name: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the proxy")?;
        let url = format!("http://{}", listener.local_addr()?);
        let kubeconfig = control_plane.kubeconfig_by_way_of(&format!("{scope}-{name}.kubeconfig"), &url)?;
        let door = Arc::new(Door {
            api_server: ApiServer(control_plane.bare_client().await?),
            scope: scope.to_owned(),
            traffic: Mutex::default(),
            held: watch::Sender::new(Held::NotYet),
            gate: watch::Sender::new(Gate::Open),
            watches: Watches::default(),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&door));
        let task = tokio::spawn(async move {
            // It serves until it is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { kubeconfig, door, task })
    }

    /// A kubeconfig file that leads here.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What was written so far, in order.
    pub fn writes(&self) -> Vec<KubernetesWrite> {
        self.door.traffic().writes.clone()
    }

    /// Stops one write, once.
    pub(crate) fn stop_at(&self, point: &Nth<KubernetesWrite>, moment: Moment) {
        self.door.held.send_replace(Held::NotYet);
        self.door.traffic().stop_at = Some((point.clone(), moment));
    }

    /// Waits until the write is stopped.
    pub(crate) async fn stopped(&self) {
        // The sender lives as long as `self`.
        let _ = self.door.held.subscribe().wait_for(|held| *held != Held::NotYet).await;
    }

    /// Lets the write go on that was stopped, if it was.
    pub(crate) fn let_go(&self) {
        self.door.held.send_replace(Held::LetGo);
    }

    /// Lets through what the gate does, from now on. What waited before it meanwhile is lost.
    pub fn set_gate(&self, gate: Gate) {
        self.door.gate.send_replace(gate);
    }

    /// Answers the next so many writes of a kind that somebody else has written the object in between.
    pub fn refuse(&self, write: KubernetesWrite, times: u32) {
        self.door.traffic().refused.insert(write, times);
    }

    /// Ends every watch in the middle of a connection, and lets none go on from where it was.
    pub fn cut_watches(&self) {
        self.door.watches.cut();
    }

    /// Tells whoever watches a resource, such as `securitygroupbaselines`, of an event: `MODIFIED` and an object as it was.
    pub fn tell(&self, resource: &str, event: &str, object: &Value) {
        self.door.watches.tell(resource, event, object);
    }

    /// When the lease was last taken or renewed before a time, both in seconds since 1970.
    pub fn renewed_before(&self, time: f64) -> Option<f64> {
        self.door.traffic().renewals.iter().copied().rfind(|renewed| *renewed <= time)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.let_go();
    }
}

impl Door {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a request until it is let go, or its client has gone.
    async fn stop(&self) {
        self.held.send_replace(Held::Here);
        // The sender lives as long as `self`.
        let _ = self.held.subscribe().wait_for(|held| *held == Held::LetGo).await;
    }

    /// Holds the answer to a write, also if its client does not wait for it: what it has written stays written.
    async fn forward_and_stop(self: &Arc<Self>, request: Request) -> Result<Response> {
        let door = Arc::clone(self);
        let held = async move {
            let answer = door.forward(request).await;
            door.stop().await;
            answer
        };
        tokio::spawn(held).await?
    }

    async fn forward(&self, request: Request) -> Result<Response> {
        let (mut parts, body) = request.into_parts();
        let watched = is_watch(&parts.method, &parts.uri).then(|| parts.uri.clone());
        if let Some(narrowed) = narrowed(&parts.method, &parts.uri.to_string(), &self.scope) {
            parts.uri = narrowed.parse()?;
        }
        parts.headers.remove(header::HOST);
        let body = kube::client::Body::from(to_bytes(body, LARGEST_BODY).await?);
        let mut response = self.api_server.0.send(http::Request::from_parts(parts, body)).await?;
        // How a body is cut into pieces is a matter of each connection.
        response.headers_mut().remove(header::TRANSFER_ENCODING);
        let response = response.map(Body::new);
        Ok(match watched {
            Some(uri) => response.map(|events| self.watches.guard(&uri, events)),
            None => response,
        })
    }
}

async fn pass(State(door): State<Arc<Door>>, request: Request) -> Response {
    let write = KubernetesWrite::of(request.method(), request.uri().path());
    if !door.gate.borrow().lets_through(request.uri()) {
        // The sender lives as long as the door.
        let _ = door.gate.subscribe().wait_for(|gate| *gate == Gate::Open).await;
        return failure(StatusCode::BAD_GATEWAY, "lost on its way");
    }
    if let Some(answer) = door.watches.too_old(request.method(), request.uri()) {
        return answer;
    }
    if write.as_ref().is_some_and(|write| door.traffic().refuses(write)) {
        return failure(StatusCode::CONFLICT, CONFLICT);
    }
    let stop = write.and_then(|write| door.traffic().note(write));
    if stop == Some(Moment::Before) {
        door.stop().await;
    }
    let answer = match stop {
        Some(Moment::After) => door.forward_and_stop(request).await,
        Some(Moment::Before) | None => door.forward(request).await,
    };
    answer.unwrap_or_else(|error| failure(StatusCode::BAD_GATEWAY, &format!("{error:#}")))
}

fn failure(status: StatusCode, why: &str) -> Response {
    let mut response = Response::new(Body::from(why.to_owned()));
    *response.status_mut() = status;
    response
}

impl Gate {
    fn lets_through(self, uri: &Uri) -> bool {
        match self {
            Self::Open => true,
            Self::Journal => uri.path().contains("/changesets"),
            Self::Shut => false,
        }
    }
}

impl Traffic {
    fn refuses(&mut self, write: &KubernetesWrite) -> bool {
        let Some(times) = self.refused.get_mut(write).filter(|times| **times > 0) else { return false };
        *times -= 1;
        true
    }

    /// Writes a write down, and tells whether it is to be stopped.
    fn note(&mut self, write: KubernetesWrite) -> Option<Moment> {
        if write.resource == "leases" {
            self.renewals.push(Timestamp::now().as_duration().as_secs_f64());
        }
        let count = self.counts.entry(write.clone()).or_default();
        *count += 1;
        let due = self.stop_at.take_if(|(point, _)| point.write == write && point.ordinal == *count);
        self.writes.push(write);
        due.map(|(_, moment)| moment)
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiServer")
    }
}

/// A list or watch of our objects in all scenarios as one of those of one scenario alone.
fn narrowed(method: &Method, uri: &str, scope: &str) -> Option<String> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let field = match path.strip_prefix("/apis/baseward.dev/v1alpha1/")? {
        "awsaccounts" => "metadata.name",
        // What is asked for by a field of its own names the account.
        kind if kind.contains('/') || query.contains("fieldSelector") => return None,
        _ => "metadata.namespace",
    };
    (*method == Method::GET).then(|| format!("{path}?{query}&fieldSelector={field}%3D{scope}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    use kube::core::ObjectMeta;

    use super::*;

    #[tokio::test]
    async fn a_write_is_stopped_before_its_effect_or_after_it() -> Result<()> {
        let control_plane = ControlPlane::start().await?;
        let proxy = Proxy::start(&control_plane, "default", "proxy").await?;
        let kubeconfig = Kubeconfig::read_from(proxy.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let maps: Api<ConfigMap> = Api::namespaced(Client::try_from(config)?, "default");
        for (ordinal, moment, effect) in [(1, Moment::Before, false), (2, Moment::After, true)] {
            let write = KubernetesWrite { method: "POST".to_owned(), resource: "configmaps".to_owned() };
            proxy.stop_at(&Nth { write, ordinal }, moment);
            let name = format!("map-{ordinal}");
            let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            let (params, map) = (PostParams::default(), ConfigMap { metadata, ..ConfigMap::default() });
            tokio::select! {
                answer = maps.create(&params, &map) => panic!("it is answered: {answer:?}"),
                () = proxy.stopped() => {}
            }
            assert_eq!(maps.get_opt(&name).await?.is_some(), effect);
        }
        Ok(())
    }

    #[test]
    fn only_looks_at_everybodys_objects_are_narrowed() {
        let own = "/apis/baseward.dev/v1alpha1";
        let narrowed = |uri: String| narrowed(&Method::GET, &uri, "one");
        assert_eq!(
            narrowed(format!("{own}/awsaccounts?watch=true")),
            Some(format!("{own}/awsaccounts?watch=true&fieldSelector=metadata.name%3Done"))
        );
        assert_eq!(narrowed(format!("{own}/namespaces/one/changesets")), None);
        assert_eq!(narrowed(format!("{own}/changesets?fieldSelector=spec.account%3D1")), None);
        assert_eq!(narrowed("/api/v1/namespaces".to_owned()), None);
    }

    #[test]
    fn one_write_is_stopped_and_no_other() {
        let write = |resource: &str| KubernetesWrite { method: "PUT".to_owned(), resource: resource.to_owned() };
        let stop_at = (Nth { write: write("leases"), ordinal: 2 }, Moment::After);
        let mut traffic = Traffic { stop_at: Some(stop_at), ..Traffic::default() };
        let stops = ["leases", "others", "leases", "leases"].map(|name| traffic.note(write(name)));
        assert_eq!(stops, [None, None, Some(Moment::After), None]);
    }
}
