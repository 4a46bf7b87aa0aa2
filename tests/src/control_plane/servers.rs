//! How etcd and the API server are started.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::access::{Access, impatient_client};
use super::binaries::Binaries;
use crate::process::Server;

/// Long enough for a busy machine with two cores; a server that ends early is noticed at once.
const DEADLINE: Duration = Duration::from_secs(120);

/// How often a port may be taken by another process between its choice and its use.
const ATTEMPTS: usize = 5;

/// Starts the servers, and remembers where they listen.
#[derive(Debug)]
pub(super) struct Launcher {
    binaries: Binaries,
    folder: PathBuf,
    etcd_port: u16,
    api_server_port: u16,
}

impl Launcher {
    pub(super) fn new(binaries: Binaries, folder: &Path) -> Self {
        Self { binaries, folder: folder.to_owned(), etcd_port: 0, api_server_port: 0 }
    }

    pub(super) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    pub(super) fn api_server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_server_port)
    }

    pub(super) fn etcd_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.etcd_port)
    }

    /// Starts etcd on ports of its own and waits until it is healthy.
    pub(super) async fn start_etcd(&mut self) -> Result<Server> {
        let log = self.folder.join("etcd.log");
        for _ in 0..ATTEMPTS {
            let [port, peer_port] = free_ports()?;
            self.etcd_port = port;
            let mut server = Server::start("etcd", &self.etcd_command(peer_port), &log)?;
            let health = format!("{}/health", self.etcd_url());
            let http = reqwest::Client::new();
            let healthy = server.ready(DEADLINE, async || {
                let response = http.get(&health).send().await?;
                Ok(response.error_for_status()?)
            });
            match healthy.await {
                Ok(_) => return Ok(server),
                Err(_) if port_was_taken(&server) => {}
                Err(error) => return Err(error),
            }
        }
        bail!("each of {ATTEMPTS} ports chosen for etcd was taken before etcd could use it")
    }

    /// Starts the API server on a port of its own and waits until it is ready. Etcd must run.
    pub(super) async fn start_api_server(&mut self, access: &Access) -> Result<Server> {
        for _ in 0..ATTEMPTS {
            let [port] = free_ports()?;
            self.api_server_port = port;
            match self.try_api_server(access).await? {
                Started::Ready(server) => return Ok(server),
                Started::PortTaken => {}
            }
        }
        bail!("each of {ATTEMPTS} ports chosen for the API server was taken before it could use it")
    }

    /// Starts the API server on the port that it had.
    pub(super) async fn restart_api_server(&self, access: &Access) -> Result<Server> {
        match self.try_api_server(access).await? {
            Started::Ready(server) => Ok(server),
            Started::PortTaken => {
                bail!("another process took port {} while the API server was down", self.api_server_port)
            }
        }
    }

    async fn try_api_server(&self, access: &Access) -> Result<Started> {
        let log = self.folder.join("kube-apiserver.log");
        let command = self.api_server_command(access);
        let mut server = Server::start("kube-apiserver", &command, &log)?;
        let ready = server.ready(DEADLINE, async || self.probe(access).await);
        match ready.await {
            Ok(()) => Ok(Started::Ready(server)),
            Err(_) if port_was_taken(&server) => Ok(Started::PortTaken),
            Err(error) => Err(error),
        }
    }

    async fn probe(&self, access: &Access) -> Result<()> {
        let kubeconfig = access.write_admin_kubeconfig(&self.api_server_url())?;
        // A new client each time: the one before may have read the certificate while it was being written.
        let client = impatient_client(&kubeconfig).await?;
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let answer = client.request_text(request).await?;
        ensure!(answer == "ok", "/readyz answers {answer}");
        Ok(())
    }

    fn etcd_command(&self, peer_port: u16) -> Command {
        let client = self.etcd_url();
        let peer = format!("http://127.0.0.1:{peer_port}");
        let mut command = Command::new(self.binaries.program("etcd"));
        command
            .arg("--data-dir")
            .arg(self.folder.join("etcd"))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            // A test needs no data after a power cut.
            .arg("--unsafe-no-fsync");
        command
    }

    fn api_server_command(&self, access: &Access) -> Command {
        let file = |flag: &str, path: PathBuf| format!("--{flag}={}", path.display());
        let mut command = Command::new(self.binaries.program("kube-apiserver"));
        command
            .arg(format!("--etcd-servers={}", self.etcd_url()))
            .arg(format!("--secure-port={}", self.api_server_port))
            .arg("--bind-address=127.0.0.1")
            .arg(file("cert-dir", access.certificates()))
            .arg("--service-account-issuer=https://localhost")
            .arg(file("service-account-key-file", access.public_key()))
            .arg(file("service-account-signing-key-file", access.signing_key()))
            .arg(file("token-auth-file", access.tokens()))
            .arg("--authorization-mode=RBAC")
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // Without a controller manager there are no default ServiceAccounts to wait for,
            .arg("--disable-admission-plugins=ServiceAccount")
            // and without nodes nobody is to be told where this server is.
            .arg("--endpoint-reconciler-type=none");
        command
    }
}

enum Started {
    Ready(Server),
    PortTaken,
}

/// Different free ports: all are bound at once before any is given back.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener.as_ref().ok().context("no free port is left")?;
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn port_was_taken(server: &Server) -> bool {
    server.output().tail().contains("address already in use")
}
