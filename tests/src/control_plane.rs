//! A real kube-apiserver and etcd on free ports of this machine.
//!
//! There are no other parts: nothing creates pods, collects garbage or ends namespaces, so each test takes a namespace
//! of its own and leaves it behind.

mod access;
mod binaries;
mod servers;
mod store;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::future::try_join_all;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::runtime::wait::{await_condition, conditions::is_crd_established};
use kube::{Api, Client};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

pub use access::ADMINISTRATOR;
pub use binaries::{ASSETS_VARIABLE, Binaries};
pub use store::Store;

use crate::kubectl::Kubectl;
use crate::process::{ScratchDir, Server};
use crate::wait::wait_until;
use access::Access;
use servers::Launcher;

/// A running control plane. Dropping it ends its servers and removes their data.
///
/// Nothing in it belongs to an async runtime, so the tests of a binary, which have a runtime each, can share it.
#[derive(Debug)]
pub struct ControlPlane {
    // The order counts: fields are dropped from the top, and the servers must not outlive their folder.
    api_server: Mutex<Option<Server>>,
    etcd: Server,
    launcher: Launcher,
    access: Access,
    scratch: ScratchDir,
}

impl ControlPlane {
    /// Starts etcd and the API server, and returns when the API server is ready.
    pub async fn start() -> Result<Self> {
        let binaries = spawn_blocking(Binaries::locate).await??;
        let scratch = ScratchDir::new()?;
        let access = Access::prepare(scratch.path())?;
        let mut launcher = Launcher::new(binaries, scratch.path());
        let etcd = launcher.start_etcd().await?;
        let api_server = launcher.start_api_server(&access).await?;
        Ok(Self { api_server: Mutex::new(Some(api_server)), etcd, launcher, access, scratch })
    }

    /// The URL of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        self.launcher.api_server_url()
    }

    /// What is behind the API server.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(self.launcher.etcd_url())
    }

    /// A kubeconfig file whose user may do everything.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.access.kubeconfig()
    }

    /// A client that may do everything. Each call makes a new one: a client belongs to the runtime it is made in.
    pub async fn client(&self) -> Result<Client> {
        access::client(&self.kubeconfig()).await
    }

    /// kubectl with every right.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        let program = self.launcher.binaries().program("kubectl");
        Kubectl::new(program, self.kubeconfig(), self.scratch.path())
    }

    /// A kubeconfig file with the identity, and so exactly the rights, of an existing ServiceAccount.
    pub async fn kubeconfig_of_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let request = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for ServiceAccount {namespace}/{name}"))?;
        let token = request.status.context("the token request has no status")?;
        let file = format!("{namespace}-{name}.kubeconfig");
        self.access.write_kubeconfig(&file, &self.url(), &token.token)
    }

    /// A client without an identity, for requests that have one already. It repeats nothing.
    pub(crate) async fn bare_client(&self) -> Result<Client> {
        access::bare_client(&self.kubeconfig()).await
    }

    /// A kubeconfig file whose user may do everything, by way of something else that answers at `url`.
    pub(crate) fn kubeconfig_by_way_of(&self, file: &str, url: &str) -> Result<PathBuf> {
        self.access.write_admin_kubeconfig_as(file, url)
    }

    /// Applies CustomResourceDefinitions, each a YAML document, and returns when all of them are served.
    pub async fn apply_crds(&self, manifests: impl IntoIterator<Item = String>) -> Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client().await?);
        let applied = manifests.into_iter().map(|yaml| apply_crd(&api, yaml));
        try_join_all(applied).await?;
        Ok(())
    }

    /// Applies the admission policies and the roles for a controller that is this user, and returns when they are in force.
    /// They hold for whoever uses this control plane. The CRDs must be there.
    pub async fn install_policies(&self, controller_user: &str) -> Result<()> {
        const DEADLINE: Duration = Duration::from_secs(30);
        let kubectl = self.kubectl();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubectl.run_with_input(apply, &crds::policies_yaml(controller_user)?).await?;
        // The API server hears of policies, and of bindings, in their order: when the last is in force, all are.
        wait_until("the admission policies are in force", DEADLINE, async || {
            let answer = kubectl.run_with_input(["create", "--dry-run=server", "-f", "-"], EXPIRED).await;
            let refusal = answer.err().map(|error| format!("{error:#}")).unwrap_or_default();
            ensure!(refusal.contains(crds::policy::EXEMPTIONS), "an expired exemption: {refusal}");
            Ok(())
        })
        .await
    }

    /// Kills the API server, as its node would. What it had acknowledged is in etcd.
    pub async fn kill_api_server(&self) {
        if let Some(server) = self.api_server.lock().await.take() {
            server.stop();
        }
    }

    /// Starts the API server on the port and data that it had, and returns when it is ready. Kills it first if it runs.
    pub async fn restart_api_server(&self) -> Result<()> {
        let mut api_server = self.api_server.lock().await;
        drop(api_server.take());
        *api_server = Some(self.launcher.restart_api_server(&self.access).await?);
        Ok(())
    }

    /// Stops the API server in its tracks (connections stay open and get no answer), or lets it go on.
    pub async fn freeze_api_server(&self, frozen: bool) -> Result<()> {
        match self.api_server.lock().await.as_mut() {
            Some(server) => server.freeze(frozen),
            None => bail!("the API server was killed; it can only be restarted"),
        }
    }

    /// The process ids of the API server, if it runs, and of etcd.
    pub async fn pids(&self) -> Vec<i32> {
        let api_server = self.api_server.lock().await;
        let api_server = api_server.as_ref().map(Server::pid);
        api_server.into_iter().chain([self.etcd.pid()]).collect()
    }

    /// The folder of its data and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Ends the servers and removes their data. So does dropping it.
    pub fn stop(self) {
        drop(self);
    }
}

/// What the last of the policies refuses.
const EXPIRED: &str = "
apiVersion: baseward.dev/v1alpha1
kind: BaselineExemption
metadata: {name: expired, namespace: default}
spec:
  controls: [sg-no-open-admin-ports]
  resources: {names: [none]}
  reason: to see whether the policies are in force
  ticket: none
  expires: \"2001-01-01T00:00:00Z\"
";

async fn apply_crd(api: &Api<CustomResourceDefinition>, yaml: String) -> Result<()> {
    const DEADLINE: Duration = Duration::from_secs(20);
    let crd: DynamicObject = serde_saphyr::from_str(&yaml).context("a CustomResourceDefinition is not YAML")?;
    let name = crd.metadata.name.clone().unwrap_or_default();
    api.patch(&name, &PatchParams::apply("tests").force(), &Patch::Apply(crd))
        .await
        .with_context(|| format!("the API server refused CustomResourceDefinition {name}"))?;
    let established = await_condition(api.clone(), &name, is_crd_established());
    timeout(DEADLINE, established)
        .await
        .with_context(|| format!("CustomResourceDefinition {name} was never established"))??;
    Ok(())
}
