//! One scenario with the bad resources in it, the processes that put them right, and what must hold in the end.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::{ChangeSet, Phase};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::crash::Moment;
use super::fleet::{BASELINE, Fleet, is_about_resources};
use super::names::Names;
use super::point::Nth;
use super::trail::{AwsWrite, End, Trail, writes};
use crate::baseward::{Controller, Program};
use crate::emulator::{Fault, FaultKind, Seeded};
use crate::proxy::{KubernetesWrite, Proxy};
use crate::scenario::Scenario;
use crate::wait::wait_until;
use crate::world::World;

const LEASE: &str = "baseward";
/// The role that writes.
const WRITER: &str = "*:role/baseward-write";
/// The shortest that there can be.
pub(super) const LEASE_SECONDS: u32 = 1;
/// Short enough that a renewal may be late on a busy machine.
const WRITE_SECONDS: &str = "0.5";
/// How long a process that takes over waits before its first write: the lease and the write.
const QUIET: SignedDuration = SignedDuration::from_millis(LEASE_SECONDS as i64 * 1000 + 500);

/// Many runs share two cores.
const PATIENCE: Duration = Duration::from_secs(90);

/// A scenario with the bad resources in it.
pub(super) struct Stage<'w> {
    pub(super) scenario: Scenario<'w>,
    program: Program,
    fleet: Fleet,
    baselines: Api<DynamicObject>,
    seeded: Seeded,
    names: Names,
}

impl<'w> Stage<'w> {
    pub(super) async fn set(world: &'w World, program: &Program, fleet: Fleet) -> Result<Self> {
        let mut scenario = world.scenario("chaos").await?;
        scenario.patience = PATIENCE;
        let seeded = fleet.set_up(&scenario).await?;
        let names = Names::of(&scenario.account, &seeded);
        let baselines = scenario.api(fleet.kind()).await?;
        Ok(Self { scenario, program: program.clone(), fleet, baselines, seeded, names })
    }

    pub(super) async fn proxy(&self, name: &str) -> Result<Proxy> {
        Proxy::start(&self.scenario.world.control_plane, &self.scenario.namespace, name).await
    }

    /// Starts the controller behind a proxy.
    pub(super) async fn launch(&self, name: &'static str, proxy: &Proxy) -> Result<Controller> {
        let lease_seconds = LEASE_SECONDS.to_string();
        let flags = [
            ["--lease-namespace", &self.scenario.namespace],
            ["--lease-name", LEASE],
            ["--lease-seconds", &lease_seconds],
            ["--write-seconds", WRITE_SECONDS],
            ["--read-seconds", "5"],
        ];
        let program = self.program.clone().named(name).through(proxy.kubeconfig().to_owned());
        program.launch(self.scenario.world, &flags.concat()).await
    }

    /// Lets something go wrong with one AWS write.
    pub(super) async fn spoil(&self, kind: FaultKind, point: &Nth<AwsWrite>) -> Result<()> {
        self.scenario.aws.set_faults(&[self.fault(kind, point)?]).await
    }

    /// The same, and lets every other AWS write take its time, so that two processes that both write would be seen to.
    pub(super) async fn spoil_slowly(&self, kind: FaultKind, point: &Nth<AwsWrite>) -> Result<()> {
        let slow = Fault::from(FaultKind::Latency { milliseconds: 250.0 }).of_service("*").by(WRITER).always();
        self.scenario.aws.set_faults(&[self.fault(kind, point)?, slow]).await
    }

    fn fault(&self, kind: FaultKind, point: &Nth<AwsWrite>) -> Result<Fault> {
        let id = self.fleet.id(&self.seeded, &point.write.resource)?;
        let write = Fault::from(kind).of_service("*").on(&point.write.operation).of_resource(id);
        Ok(write.by(WRITER).nth(point.ordinal))
    }

    /// Lets one AWS write hang, before its effect or after it.
    pub(super) async fn stop_at(&self, point: &Nth<AwsWrite>, moment: Moment) -> Result<()> {
        let kind = match moment {
            Moment::Before => FaultKind::Hang { seconds: None },
            Moment::After => FaultKind::EffectThenHang { seconds: None },
        };
        self.spoil(kind, point).await
    }

    /// Waits until the spoilt write is under way.
    pub(super) async fn under_way(&self) -> Result<()> {
        // Before, there is none, and nobody need ask.
        self.writable(None).await?;
        wait_until("the write is under way", self.scenario.patience, async || {
            let faults = self.scenario.aws.faults().await?;
            ensure!(faults.first().is_some_and(|fault| fault.fired > 0), "it is not");
            Ok(())
        })
        .await
    }

    /// Whether the process was killed before it went on: else it did not die where it should have.
    pub(super) async fn died_in_time(&self) -> Result<bool> {
        let mut calls = self.scenario.aws.ledger().await?;
        calls.retain(is_about_resources);
        let held = calls.iter().position(|call| call.fault.is_some());
        Ok(held.is_none_or(|held| held + 1 == calls.len()))
    }

    /// Who holds the lease, if anybody ever did.
    pub(super) async fn holder(&self) -> Result<Option<String>> {
        let leases: Api<Lease> = Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
        Ok(leases.get_opt(LEASE).await?.and_then(|lease| lease.spec?.holder_identity))
    }

    /// Waits until somebody else than `before` holds the lease, and returns when he took it.
    pub(super) async fn taken_over(&self, before: Option<&str>) -> Result<Timestamp> {
        let new = |lease: &DynamicObject| {
            let holder = lease.data.pointer("/spec/holderIdentity").and_then(Value::as_str);
            holder.is_some() && holder != before
        };
        let lease = self.scenario.wait_for("Lease.coordination.k8s.io", LEASE, "it has a new holder", new).await?;
        let acquired = lease.data.pointer("/spec/acquireTime").and_then(Value::as_str);
        Ok(acquired.context("nobody knows when the lease was taken")?.parse()?)
    }

    /// Waits until a process that is not `before` may write.
    pub(super) async fn writable(&self, before: Option<&str>) -> Result<()> {
        let quiet = self.taken_over(before).await? + QUIET;
        sleep(Timestamp::now().duration_until(quiet).try_into().unwrap_or_default()).await;
        Ok(())
    }

    /// Waits until everything is put right by a process that is not `before`, and sees that nothing is written any more.
    pub(super) async fn rest(&self, before: Option<&str>, expected: Option<&End>) -> Result<()> {
        self.writable(before).await?;
        self.scenario.wait_for(self.fleet.kind(), BASELINE, "nothing is being changed", is_settled).await?;
        wait_until("everything is put right", self.scenario.patience, async || {
            self.all_closed().await?;
            let end = self.end().await?;
            end.settled()?;
            expected.map_or(Ok(()), |expected| end.same_resources(expected))
        })
        .await?;
        let written = self.written().await?;
        self.look_again().await?;
        ensure!(self.written().await? == written, "something is written although nothing was left to do");
        self.all_closed().await
    }

    /// Has the controller look once more, and waits until it says that it has.
    async fn look_again(&self) -> Result<()> {
        let asked = Timestamp::now().to_string();
        let ask = Patch::Merge(json!({"metadata": {"annotations": {"baseward.dev/reconcile-at": asked}}}));
        self.baselines.patch(BASELINE, &PatchParams::default(), &ask).await?;
        let asked = asked.as_str();
        let handled = |object: &DynamicObject| {
            object.data.pointer("/status/lastHandledReconcileAt").and_then(Value::as_str) == Some(asked)
        };
        self.scenario.wait_for(self.fleet.kind(), BASELINE, "it has looked once more", handled).await?;
        Ok(())
    }

    async fn change_sets(&self) -> Result<Vec<ChangeSet>> {
        let sets: Api<ChangeSet> = Api::namespaced(self.scenario.client.clone(), &self.scenario.namespace);
        Ok(sets.list(&Default::default()).await?.items)
    }

    /// The numbers of AWS writes and of change sets.
    async fn written(&self) -> Result<(usize, usize)> {
        Ok((writes(self.scenario.aws.ledger().await?).len(), self.change_sets().await?.len()))
    }

    /// Fails unless there are change sets and none is open.
    pub(super) async fn all_closed(&self) -> Result<()> {
        let phases: Vec<Option<Phase>> =
            self.change_sets().await?.into_iter().map(|set| set.status.and_then(|status| status.phase)).collect();
        let is_final =
            |phase: &Option<Phase>| matches!(phase, Some(Phase::Applied | Phase::PartlyApplied | Phase::Expired));
        ensure!(!phases.is_empty() && phases.iter().all(is_final), "the change sets are {phases:?}");
        Ok(())
    }

    async fn end(&self) -> Result<End> {
        let object = self.baselines.get(BASELINE).await?;
        let status = object.data.get("status").unwrap_or(&Value::Null);
        End::read(self.fleet, &self.scenario.aws, &self.names, status).await
    }

    /// What the run has written, and its end state.
    pub(super) async fn trail(&self, kubernetes: Vec<KubernetesWrite>) -> Result<Trail> {
        let calls = writes(self.scenario.aws.ledger().await?);
        Ok(Trail::new(self.fleet, &calls, kubernetes, &self.names, self.end().await?))
    }
}

/// Whether the baseline says of its present generation that all of it was seen and that nothing is being changed.
fn is_settled(object: &DynamicObject) -> bool {
    let says = |kind: &str, state: &str| {
        let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
        conditions.into_iter().flatten().any(|condition| {
            let field = |name: &str| condition.get(name).and_then(Value::as_str);
            field("type") == Some(kind)
                && field("status") == Some(state)
                && condition.get("observedGeneration").and_then(Value::as_i64) == object.metadata.generation
        })
    };
    let all_known = object.data.pointer("/status/verdicts/unknown").and_then(Value::as_i64) == Some(0);
    all_known && says("Observed", "True") && says("Reconciling", "False")
}
