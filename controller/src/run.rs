//! `baseward run`: wiring. Clients, lease, loops, and an orderly end.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use aws::{Connector, ConnectorOptions};
use clap::Args;
use crds::{AWSAccount, BaselineExemption, BaselineObject, ChangeSetApproval, LambdaBaseline, SecurityGroupBaseline};
use engine::kind::Kind;
use engine::runtimes::stale_notice;
use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::Config as ControllerConfig;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::context::{Context, Identities, Reports, WatchedBaseline};
use crate::kubernetes::within;
use crate::lease::{Ended, Leadership, LeaseSettings, RENEWALS_PER_LEASE, elect};
use crate::metrics::Metrics;
use crate::newest::Newest;
use crate::pending::Pending;
use crate::policies::Policies;
use crate::retention::{self, Retention};
use crate::rollback::Orders;
use crate::seconds::seconds;
use crate::store::Objects;
use crate::{accounts, approvals, baselines, cells, exemptions, http, kubernetes, past};

/// Objects of one kind that are reconciled at once.
const CONCURRENCY: u16 = 8;
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Runs the controller.
#[derive(Args, Clone, Debug)]
pub struct Run {
    /// Makes the external ids of this installation unlike those of others. Default: the uid of the namespace kube-system.
    #[arg(long, env = "BASEWARD_INSTALLATION_ID")]
    pub installation_id: Option<String>,
    /// Namespace of the Lease. Only processes that use the same Lease keep each other from writing.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// Name of the Lease.
    #[arg(long, default_value = "baseward")]
    pub lease_name: String,
    /// How long a lease is good for, in whole seconds. More than four thirds of the time for a write.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease_seconds: u64,
    /// Time for one AWS write, with the wait for its turn, in seconds (0.1 to 60).
    #[arg(long, default_value = "10", value_parser = seconds::<60>)]
    pub write_seconds: Duration,
    /// Time for one attempt of an AWS read, in seconds (0.1 to 300).
    #[arg(long, default_value = "30", value_parser = seconds::<300>)]
    pub read_seconds: Duration,
    /// Where /healthz, /readyz and /metrics are served. Port 0 takes any that is free.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub http_address: SocketAddr,
    /// Change sets that have ended and are kept, of each account, whatever their age.
    #[arg(long, default_value_t = 500)]
    pub keep_change_sets: usize,
    /// Days for which every change set is kept after it has ended, whatever their number: it holds what is needed to undo it.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=3650))]
    pub keep_days: i64,
    /// The kill switch for all accounts: nothing is written to AWS, reading goes on.
    #[arg(long, env = "BASEWARD_STOP_WRITES", value_parser = clap::builder::BoolishValueParser::new())]
    pub stop_writes: bool,
    /// Lets the role of the instance that the pod runs on be used, if there is no better identity.
    #[arg(long)]
    pub allow_instance_role: bool,
}

impl Run {
    fn retention(&self) -> Retention {
        Retention { count: self.keep_change_sets, age: SignedDuration::from_hours(24 * self.keep_days) }
    }

    fn connector_options(&self) -> ConnectorOptions {
        ConnectorOptions {
            endpoint_url: None,
            allow_instance_role: self.allow_instance_role,
            read_timeout: self.read_seconds,
            write_timeout: self.write_seconds,
        }
    }
}

/// Runs until the process is told to stop or loses the lease to another one.
///
/// # Errors
/// The cluster cannot be reached at all, or another process holds the lease that was ours.
pub async fn run(options: Run) -> anyhow::Result<()> {
    let (metrics, readiness) = (Arc::new(Metrics::default()), http::Readiness::default());
    let (stopping, released) = (CancellationToken::new(), CancellationToken::new());
    let address = http::start(options.http_address, Arc::clone(&metrics), readiness.clone(), released.clone()).await?;
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "Baseward started");
    if let Some(notice) = stale_notice(Timestamp::now()) {
        tracing::warn!("{notice}");
    }
    let client = kubernetes::client().await?;
    let connector = Connector::new(options.connector_options()).await;
    let write_timeout = connector.longest_write();
    let lease = lease_settings(&options, write_timeout)?;
    let leadership = Leadership::default();
    // A client of its own, so that renewals never queue behind other traffic.
    let mut election = tokio::spawn(elect(kubernetes::client().await?, lease, leadership.clone(), released.clone()));
    tokio::spawn(stop_on_signal(stopping.clone()));
    let lead = async {
        wait_for_lease(&leadership, &readiness, &stopping).await;
        if stopping.is_cancelled() {
            return anyhow::Ok(());
        }
        metrics.leads(true);
        lead(&options, client, connector, leadership.clone(), Arc::clone(&metrics), readiness.clone(), stopping.clone())
            .await
    };
    tokio::select! {
        ended = &mut election => match ended? {
            Ended::Lost { holder } => bail!("another process ({holder}) holds the lease: ending, so that only one writes"),
            Ended::Stopped => Ok(()),
        },
        result = lead => {
            released.cancel();
            election.await?;
            result
        }
    }
}

fn lease_settings(options: &Run, write_timeout: Duration) -> anyhow::Result<LeaseSettings> {
    let duration = Duration::from_secs(options.lease_seconds);
    // A renewal is due after a quarter, and until then a write has to fit into the rest.
    if duration - duration / RENEWALS_PER_LEASE <= write_timeout {
        bail!(
            "--lease-seconds {} leaves no room for a write of --write-seconds {} before each renewal: at least {} are needed",
            options.lease_seconds,
            write_timeout.as_secs_f64(),
            (write_timeout * RENEWALS_PER_LEASE / (RENEWALS_PER_LEASE - 1)).as_secs() + 1
        );
    }
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "baseward".to_owned());
    Ok(LeaseSettings {
        namespace: options.lease_namespace.clone(),
        name: options.lease_name.clone(),
        identity: format!("{host}-{:016x}", fastrand::u64(..)),
        duration,
        write_timeout,
    })
}

async fn stop_on_signal(stopping: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("Signals cannot be watched: the process ends without giving back the lease");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("Stopping: the write in flight is finished, no new one starts");
    stopping.cancel();
}

/// Waits until the lease is ours. A process that stands by is ready: it does all that it has to.
async fn wait_for_lease(leadership: &Leadership, readiness: &http::Readiness, stopping: &CancellationToken) {
    const STANDING_BY: Duration = Duration::from_secs(5);
    let stand_by = async {
        tokio::time::sleep(STANDING_BY).await;
        readiness.ready();
        std::future::pending().await
    };
    tokio::select! {
        () = leadership.taken() => {}
        () = stopping.cancelled() => {}
        () = stand_by => {}
    }
}

/// Everything that only the leader does.
async fn lead(
    options: &Run,
    client: Client,
    connector: Connector,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    readiness: http::Readiness,
    stopping: CancellationToken,
) -> anyhow::Result<()> {
    let installation_id = installation_id(options.installation_id.as_deref(), &client).await?;
    let gone = watch::Sender::new(());
    let (security_groups_store, security_groups) = watched::<SecurityGroupBaseline>(&client, &gone);
    let (functions_store, functions) = watched::<LambdaBaseline>(&client, &gone);
    let (accounts_store, accounts) = watched::<AWSAccount>(&client, &gone);
    let (exemptions_store, exemptions) = watched::<BaselineExemption>(&client, &gone);
    let (approvals_store, approvals) = watched::<ChangeSetApproval>(&client, &gone);
    let (wake_cells, wake_baselines) = (watch::Sender::new(()), watch::Sender::new(()));
    let (reported, reports) = channels();
    let identities = Arc::new(Identities::default());
    let objects = Objects {
        security_groups: security_groups_store,
        functions: functions_store,
        accounts: accounts_store,
        exemptions: exemptions_store,
        approvals: approvals_store,
        policies: policies(&client, &[&wake_cells, &wake_baselines], &stopping).await,
        writes_stopped: options.stop_writes,
        namespaces: kept(&client, &[&wake_cells, &wake_baselines], &stopping),
        identities: Arc::clone(&identities),
        installation_id,
        compiled: Arc::default(),
        all_read: watch::Sender::new(false),
    };
    let context = Arc::new(Context {
        own_principal: OnceCell::new(),
        recorder: Recorder::new(client.clone(), Reporter { controller: "baseward".to_owned(), instance: None }),
        write_timeout: connector.longest_write(),
        backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        status_writes: baselines::Writes::default(),
        reports: Reports::default(),
        client,
        connector,
        objects,
        identities,
        ledger: Mutex::default(),
        contests: Mutex::default(),
        inventories: Mutex::default(),
        pending: Pending::default(),
        rollbacks: Orders::default(),
        leadership,
        metrics,
        wake_cells,
        wake_baselines,
        reported,
        seen: baselines::Seen::default(),
        stopping,
    });
    let (client, leadership) = (context.client.clone(), context.leadership.clone());
    tokio::spawn(retention::run(client, options.retention(), leadership, context.stopping.clone()));
    let watches = Watches { security_groups, functions, accounts, exemptions, approvals };
    loops(context, watches, reports, &gone, readiness).await;
    Ok(())
}

/// Where sweeps report, and where the loop of each kind hears of it.
fn channels<T>() -> (BTreeMap<Kind, mpsc::UnboundedSender<T>>, BTreeMap<Kind, mpsc::UnboundedReceiver<T>>) {
    let of = |kind| {
        let (reported, reports) = mpsc::unbounded_channel();
        ((kind, reported), (kind, reports))
    };
    Kind::ALL.into_iter().map(of).unzip()
}

/// What keeps authority from being forged, and who this process is to the API server.
async fn policies(client: &Client, wakes: &[&watch::Sender<()>], stopping: &CancellationToken) -> Policies {
    Policies {
        policies: kept(client, wakes, stopping),
        bindings: kept(client, wakes, stopping),
        user: user(client, stopping).await,
        last: Arc::default(),
    }
}

/// Who the controller is to the API server, asked as often as it takes: without that no approval is honoured. `None` if it
/// does not let itself be asked.
async fn user(client: &Client, stopping: &CancellationToken) -> Option<String> {
    loop {
        let error = match kubernetes::user(client).await {
            Ok(user) => return user,
            Err(error) => error,
        };
        if matches!(&error, kube::Error::Api(answer) if answer.is_forbidden()) || stopping.is_cancelled() {
            tracing::error!(%error, "The API server does not tell who the controller is: no approval is honoured");
            return None;
        }
        tracing::warn!(%error, "The API server does not tell yet who the controller is: asking again");
        tokio::time::sleep(FIRST_RETRY).await;
    }
}

/// The changes of the objects that have a loop of their own.
struct Watches<S, F, A, E, P> {
    security_groups: S,
    functions: F,
    accounts: A,
    exemptions: E,
    approvals: P,
}

/// The loops, until the process is told to stop.
async fn loops(
    context: Arc<Context>,
    watches: Watches<
        impl Changes<DeserializeGuard<SecurityGroupBaseline>>,
        impl Changes<DeserializeGuard<LambdaBaseline>>,
        impl Changes<DeserializeGuard<AWSAccount>>,
        impl Changes<DeserializeGuard<BaselineExemption>>,
        impl Changes<DeserializeGuard<ChangeSetApproval>>,
    >,
    mut reports: BTreeMap<Kind, mpsc::UnboundedReceiver<WatchedBaseline>>,
    gone: &watch::Sender<()>,
    readiness: http::Readiness,
) {
    let Watches { security_groups, functions, accounts, exemptions, approvals } = watches;
    let (stopping, objects) = (&context.stopping, &context.objects);
    let guarded = ControllerConfig::default().concurrency(CONCURRENCY);
    let mut told = |kind| reports.remove(&kind);
    let security_groups =
        baselines_of(&context, security_groups, objects.security_groups.clone(), told(Kind::SecurityGroup));
    let functions = baselines_of(&context, functions, objects.functions.clone(), told(Kind::Lambda));
    let exemptions = Controller::for_stream(exemptions, objects.exemptions.clone())
        .with_config(guarded.clone())
        .graceful_shutdown_on(stopping.clone().cancelled_owned())
        .run(exemptions::reconcile, exemptions::on_error, Arc::clone(&context))
        .for_each(|_| async {});
    let approvals = Controller::for_stream(approvals, objects.approvals.clone())
        .with_config(guarded.clone())
        .graceful_shutdown_on(stopping.clone().cancelled_owned())
        .run(approvals::reconcile, approvals::on_error, Arc::clone(&context))
        .for_each(|_| async {});
    let accounts = Controller::for_stream(accounts, objects.accounts.clone())
        .with_config(guarded)
        .reconcile_all_on(changes(gone.subscribe()))
        .graceful_shutdown_on(stopping.clone().cancelled_owned())
        .run(accounts::reconcile, accounts::on_error, Arc::clone(&context))
        .for_each(|_| async {});
    let forgetting = changes(gone.subscribe()).take_until(stopping.clone().cancelled_owned()).for_each(|()| {
        context.forget_gone();
        std::future::ready(())
    });
    let ready = async {
        objects.read_all().await;
        readiness.ready();
        let Some(past) = stopping.run_until_cancelled(past::read(&context.client)).await else { return };
        context.begin_with(past);
        tracing::info!("All objects read");
        cells::run(Arc::clone(&context)).await;
    };
    tokio::join!(security_groups, functions, accounts, exemptions, approvals, forgetting, ready);
}

/// The loop of one kind of baseline.
async fn baselines_of<B: BaselineObject + Unpin>(
    context: &Arc<Context>,
    changed: impl Changes<DeserializeGuard<B>>,
    store: reflector::Store<DeserializeGuard<B>>,
    reports: Option<mpsc::UnboundedReceiver<WatchedBaseline>>,
) {
    let reports = futures::stream::iter(reports).flat_map(each);
    let reported = reports.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace));
    Controller::for_stream(changed, store)
        .with_config(ControllerConfig::default().concurrency(CONCURRENCY))
        .reconcile_all_on(changes(context.wake_baselines.subscribe()))
        .reconcile_on(reported)
        .graceful_shutdown_on(context.stopping.clone().cancelled_owned())
        .run(baselines::reconcile, baselines::on_error, Arc::clone(context))
        .for_each(|_| async {})
        .await;
}

/// The uid of the namespace `kube-system`, which lives as long as the cluster, unless an id is given.
///
/// # Errors
/// No id is given, and the namespace cannot be read.
pub async fn installation_id(given: Option<&str>, client: &Client) -> anyhow::Result<String> {
    if let Some(id) = given {
        return Ok(id.to_owned());
    }
    let api: Api<PartialObjectMeta<v1::Namespace>> = Api::all(client.clone());
    let namespace = within(api.get_metadata("kube-system"))
        .await
        .context("the namespace kube-system cannot be read: set --installation-id")?;
    namespace.metadata.uid.context("the namespace kube-system has no uid: set --installation-id")
}

/// Keeps all objects of a kind, and tells each change. Objects that are gone, also those that went while nobody watched,
/// have no change to tell: they are announced by `gone`.
fn watched<K>(
    client: &Client,
    gone: &watch::Sender<()>,
) -> (reflector::Store<DeserializeGuard<K>>, impl Stream<Item = WatchResult<DeserializeGuard<K>>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let ((reader, writer), gone) = (reflector::store(), gone.clone());
    let events = news::<DeserializeGuard<K>>(client).reflect(writer);
    let told = events.inspect(move |event| {
        if matches!(event, Ok(watcher::Event::Delete(_) | watcher::Event::InitDone)) {
            gone.send_replace(());
        }
    });
    (reader, told.applied_objects())
}

/// All that happens to objects of a kind, and nothing of what was before.
fn news<K>(client: &Client) -> impl Stream<Item = WatchResult<watcher::Event<K>>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let (api, mut newest): (Api<K>, _) = (Api::all(client.clone()), Newest::default());
    let admits = move |event: &WatchResult<watcher::Event<K>>| {
        std::future::ready(event.as_ref().map_or(true, |event| newest.admits(event, Instant::now())))
    };
    watcher(api, watcher::Config::default()).default_backoff().filter(admits)
}

type WatchResult<K> = Result<K, watcher::Error>;

/// A stream of changed objects.
trait Changes<K>: Stream<Item = WatchResult<K>> + Send + 'static {}

impl<K, S: Stream<Item = WatchResult<K>> + Send + 'static> Changes<K> for S {}

/// Keeps all objects of a kind that has no loop of its own, and wakes some loops at each change.
fn kept<K>(client: &Client, wake: &[&watch::Sender<()>], stopping: &CancellationToken) -> reflector::Store<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
{
    let ((reader, writer), stopping) = (reflector::store(), stopping.clone());
    let wake: Vec<watch::Sender<()>> = wake.iter().map(|loops| (*loops).clone()).collect();
    let events = news::<K>(client).reflect(writer).touched_objects();
    tokio::spawn(async move {
        let each = events.for_each(|event| {
            match event {
                Ok(_) => wake.iter().for_each(|loops| {
                    loops.send_replace(());
                }),
                Err(error) => tracing::debug!(%error, kind = %K::kind(&()), "Objects cannot be watched"),
            }
            std::future::ready(())
        });
        tokio::select! {
            () = each => {}
            () = stopping.cancelled() => {}
        }
    });
    reader
}

/// A stream of wake-up calls; calls that come while nobody looks are one.
fn changes(receiver: watch::Receiver<()>) -> impl Stream<Item = ()> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// A stream of everything that is sent.
fn each<T: Send + 'static>(receiver: mpsc::UnboundedReceiver<T>) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        run: Run,
    }

    #[test]
    fn a_lease_has_room_for_a_write_before_each_renewal() {
        let settings = |lease: &str, write: &str| {
            let flags = ["run", "--lease-seconds", lease, "--write-seconds", write];
            let run = Command::try_parse_from(flags).unwrap().run;
            lease_settings(&run, run.write_seconds)
        };
        for (lease, write) in [("15", "11"), ("1", "0.7")] {
            assert!(settings(lease, write).is_ok());
        }
        for (lease, write, needed) in [("14", "11", "at least 15"), ("1", "0.75", "at least 2")] {
            let refused = settings(lease, write).unwrap_err().to_string();
            assert!(refused.contains(needed), "{refused}");
        }
    }
}
