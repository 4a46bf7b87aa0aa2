//! The real kubectl, as users run it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// kubectl with one identity and, possibly, a namespace.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    cache: PathBuf,
    namespace: Option<String>,
    user: Option<String>,
}

/// What a successful kubectl wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The answer.
    pub stdout: String,
    /// Warnings, among them those of the API server.
    pub stderr: String,
}

impl Kubectl {
    pub(crate) fn new(program: PathBuf, kubeconfig: PathBuf, scratch: &Path) -> Self {
        Self { program, kubeconfig, cache: scratch.join("kubectl-cache"), namespace: None, user: None }
    }

    /// The same kubectl in a namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same kubectl in the name of another user, by impersonation: with exactly the rights that were bound to that user.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..self.clone() }
    }

    /// The same kubectl with the identity of another kubeconfig file.
    #[must_use]
    pub fn with_kubeconfig(&self, kubeconfig: PathBuf) -> Self {
        Self { kubeconfig, ..self.clone() }
    }

    /// `kubectl apply -f -`. If the API server refuses, the error holds its message.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        self.run_with_input(["apply", "-f", "-"], yaml).await
    }

    /// `kubectl delete -f -`, without waiting for finalizers.
    pub async fn delete(&self, yaml: &str) -> Result<Output> {
        self.run_with_input(["delete", "--wait=false", "-f", "-"], yaml).await
    }

    /// `kubectl get ARGUMENTS`, for instance `["configmap", "name", "-o", "yaml"]`: its stdout.
    pub async fn get<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        self.answer("get", arguments).await
    }

    /// `kubectl explain PATH`, for instance `securitygroupbaseline.spec.internet`: its stdout.
    pub async fn explain(&self, path: &str) -> Result<String> {
        self.answer("explain", [path]).await
    }

    /// `kubectl describe KIND NAME`: its stdout.
    pub async fn describe(&self, kind: &str, name: &str) -> Result<String> {
        self.answer("describe", [kind, name]).await
    }

    /// kubectl with any arguments.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Result<Output> {
        self.run_with_input(arguments, "").await
    }

    async fn answer<S: AsRef<OsStr>>(&self, verb: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
        let mut words = vec![OsStr::new(verb).to_owned()];
        words.extend(arguments.into_iter().map(|word| word.as_ref().to_owned()));
        Ok(self.run(words).await?.stdout)
    }

    /// kubectl with any arguments and `input` on its stdin.
    pub async fn run_with_input<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &str,
    ) -> Result<Output> {
        let mut command = self.command();
        command.args(arguments);
        let line = format!("{:?}", command.as_std());
        let mut child = command.spawn().with_context(|| format!("cannot run {line}"))?;
        let mut stdin = child.stdin.take().context("kubectl has no stdin")?;
        let feed = async {
            // kubectl may end without reading: its own message then says why.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        let output = output.with_context(|| format!("cannot wait for {line}"))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        if !output.status.success() {
            bail!("{line} failed ({}):\n{stderr}{stdout}", output.status);
        }
        Ok(Output { stdout, stderr })
    }

    /// kubectl that nobody waits for: its outcome is of no concern.
    pub(crate) fn detach(&self, arguments: &[&str]) {
        let mut command = self.command();
        command.args(arguments).kill_on_drop(false);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        drop(command.spawn());
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            // What a user's own kubectl remembers of other clusters, and how he likes it, is of no concern here.
            .env("KUBECACHEDIR", &self.cache)
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        if let Some(user) = &self.user {
            command.args(["--as", user]);
        }
        command
    }
}
