//! The judgement on every write of a scenario: nothing was opened that was closed, and nobody legitimate was cut off.
//!
//! A scenario is judged when it ends, whether its test thinks of it or not; see [`crate::Scenario`]. Of security groups it
//! is about flows: legitimate is what the baselines of the scenario let the internet reach, what the test says, and what
//! a rule lets through, or once did, whose peer is somebody in particular, unless the test says that a baseline forbids
//! it. Of functions and layers it is about callers: legitimate is whom the test names, and whom a statement lets in, or
//! once did, that names somebody in particular, with the same exception. Nothing may ask for code.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use tokio::runtime;
use tokio::time::timeout;

use crate::callers::{Callers, assert_named_callers_kept, assert_never_shut_out, assert_nobody_let_in};
use crate::emulator::{AccountApi, Call};
use crate::flows::{FlowSet, assert_named_peers_kept, assert_never_lost, assert_never_opened};

/// An emulator that does not answer cannot clear anybody.
const DEADLINE: Duration = Duration::from_secs(20);

/// The documents that say what is allowed.
const KIND: &str = "SecurityGroupBaseline";

/// What the writes of one scenario may and must not do.
#[derive(Debug, Default)]
pub(crate) struct Terms(Mutex<AllTerms>);

#[derive(Debug, Default, Clone)]
struct AllTerms {
    flows: FlowTerms,
    callers: CallerTerms,
}

#[derive(Debug, Default, Clone)]
struct FlowTerms {
    may_open: FlowSet,
    must_keep: FlowSet,
    may_cut: FlowSet,
}

/// Who calls functions, and uses layers.
#[derive(Debug, Default, Clone)]
struct CallerTerms {
    may_let_in: Callers,
    must_let_in: Callers,
    may_shut_out: Callers,
}

impl Terms {
    pub(crate) fn may_open(&self, flows: &FlowSet) {
        let terms = &mut self.lock().flows;
        terms.may_open = terms.may_open.union(flows);
    }

    pub(crate) fn must_keep(&self, flows: &FlowSet) {
        let terms = &mut self.lock().flows;
        terms.must_keep = terms.must_keep.union(flows);
    }

    pub(crate) fn may_cut(&self, flows: &FlowSet) {
        let terms = &mut self.lock().flows;
        terms.may_cut = terms.may_cut.union(flows);
    }

    pub(crate) fn may_let_in(&self, callers: &Callers) {
        let terms = &mut self.lock().callers;
        terms.may_let_in = terms.may_let_in.union(callers);
    }

    pub(crate) fn must_let_in(&self, callers: &Callers) {
        let terms = &mut self.lock().callers;
        terms.must_let_in = terms.must_let_in.union(callers);
    }

    pub(crate) fn may_shut_out(&self, callers: &Callers) {
        let terms = &mut self.lock().callers;
        terms.may_shut_out = terms.may_shut_out.union(callers);
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
        let terms = self.lock().clone();
        terms.judge(aws).await
    }

    /// The same where nothing can be awaited.
    pub(crate) fn judge_at_the_end(&self, aws: AccountApi) -> Result<()> {
        let terms = self.lock().clone();
        // The runtime of the test is busy with waiting for this.
        let judging = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let judged = runtime.block_on(async { timeout(DEADLINE, terms.judge(&aws)).await });
            judged.context("the emulator does not show its ledger")?
        });
        judging.join().map_err(|_| anyhow!("the judge has panicked"))?
    }

    fn lock(&self) -> MutexGuard<'_, AllTerms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllTerms {
    async fn judge(&self, aws: &AccountApi) -> Result<()> {
        let calls = aws.ledger().await?;
        assert_code_is_never_asked_for(&calls)?;
        self.flows.judge(&calls)?;
        self.callers.judge(&calls)
    }
}

/// Whoever gets a link to the code of a function or of a layer can read it, whether a test looks for that or not.
fn assert_code_is_never_asked_for(calls: &[Call]) -> Result<()> {
    const LINKING: [&str; 3] = ["GetFunction", "GetLayerVersion", "GetLayerVersionByArn"];
    let asks = |call: &&Call| call.is_by_a_role() && LINKING.contains(&call.operation());
    match calls.iter().find(asks) {
        None => Ok(()),
        Some(call) => Err(anyhow!("call {} asks for code: {}", call.seq, call.operation())),
    }
}

impl FlowTerms {
    fn judge(&self, calls: &[Call]) -> Result<()> {
        assert_named_peers_kept(calls, &self.may_cut)?;
        // The account's root is a test's own hand.
        let by_roles: Vec<Call> = calls.iter().filter(|call| call.is_by_a_role()).cloned().collect();
        assert_never_opened(&by_roles, &self.may_open)?;
        assert_never_lost(&by_roles, &self.must_keep)
    }
}

impl CallerTerms {
    fn judge(&self, calls: &[Call]) -> Result<()> {
        assert_named_callers_kept(calls, &self.may_shut_out)?;
        assert_nobody_let_in(calls, &self.may_let_in)?;
        assert_never_shut_out(calls, &self.must_let_in)
    }
}
