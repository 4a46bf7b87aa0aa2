//! The judgement on every write of a scenario: no flow was opened that was closed, and none that is legitimate was cut.
//!
//! A scenario is judged when it ends, whether its test thinks of it or not; see [`crate::Scenario`]. Legitimate is what
//! the baselines of the scenario let the internet reach, what the test says, and what a rule lets through, or once
//! did, whose peer is somebody in particular, unless the test says that a baseline forbids it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use tokio::runtime;
use tokio::time::timeout;

use crate::emulator::{AccountApi, Call};
use crate::flows::{FlowSet, assert_named_peers_kept, assert_never_lost, assert_never_opened};

/// An emulator that does not answer cannot clear anybody.
const DEADLINE: Duration = Duration::from_secs(20);

/// The documents that say what is allowed.
const KIND: &str = "SecurityGroupBaseline";

/// What the writes of one scenario may and must not do.
#[derive(Debug, Default)]
pub(crate) struct Terms(Mutex<Flows>);

#[derive(Debug, Default, Clone)]
struct Flows {
    may_open: FlowSet,
    must_keep: FlowSet,
    may_cut: FlowSet,
}

impl Terms {
    pub(crate) fn may_open(&self, flows: &FlowSet) {
        let mut terms = self.lock();
        terms.may_open = terms.may_open.union(flows);
    }

    pub(crate) fn must_keep(&self, flows: &FlowSet) {
        let mut terms = self.lock();
        terms.must_keep = terms.must_keep.union(flows);
    }

    pub(crate) fn may_cut(&self, flows: &FlowSet) {
        let mut terms = self.lock();
        terms.may_cut = terms.may_cut.union(flows);
    }

    /// What baselines among these YAML documents let the internet reach is to be kept.
    pub(crate) fn learn(&self, yaml: &str) -> Result<()> {
        for document in yaml.split("\n---").filter(|document| document.contains(KIND)) {
            let object: Value = serde_saphyr::from_str(document).context("a baseline is not YAML")?;
            let ports = object.pointer("/spec/internet/allowPorts").and_then(Value::as_array);
            for port in ports.into_iter().flatten().filter_map(Value::as_str) {
                let service = port.replace('/', " ");
                let flows = ["0.0.0.0/0", "::/0"].map(|peer| format!("ingress {service} {peer}"));
                self.must_keep(&FlowSet::parse(flows.iter().map(String::as_str))?);
            }
        }
        Ok(())
    }

    /// Judges the writes of the program in an account.
    pub(crate) async fn judge(&self, aws: &AccountApi) -> Result<()> {
        let flows = self.lock().clone();
        flows.judge(aws).await
    }

    /// The same where nothing can be awaited.
    pub(crate) fn judge_at_the_end(&self, aws: AccountApi) -> Result<()> {
        let flows = self.lock().clone();
        // The runtime of the test is busy with waiting for this.
        let judging = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let judged = runtime.block_on(async { timeout(DEADLINE, flows.judge(&aws)).await });
            judged.context("the emulator does not show its ledger")?
        });
        judging.join().map_err(|_| anyhow!("the judge has panicked"))?
    }

    fn lock(&self) -> MutexGuard<'_, Flows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flows {
    async fn judge(&self, aws: &AccountApi) -> Result<()> {
        let calls = aws.ledger().await?;
        assert_named_peers_kept(&calls, &self.may_cut)?;
        // The account's root is a test's own hand.
        let by_roles: Vec<Call> = calls.into_iter().filter(Call::is_by_a_role).collect();
        assert_never_opened(&by_roles, &self.may_open)?;
        assert_never_lost(&by_roles, &self.must_keep)
    }
}
