//! Who may reach the API server: keys, tokens and kubeconfig files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use serde_json::json;

/// The user that the kubeconfig is for, who may do everything.
pub const ADMINISTRATOR: &str = "admin";

const ADMIN: &str = "admin.kubeconfig";
const SIGNING_KEY: &str = "service-account.key";
const PUBLIC_KEY: &str = "service-account.pub";
const TOKENS: &str = "tokens.csv";

/// The secrets of one control plane, as files in its folder.
#[derive(Debug)]
pub(super) struct Access {
    folder: PathBuf,
    admin_token: String,
}

impl Access {
    /// Writes the keys of the tokens of ServiceAccounts, and the token of the administrator.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        let access = Self { folder: folder.to_owned(), admin_token: random_token()? };
        let keys = KeyPair::generate().context("cannot make the keys of ServiceAccounts")?;
        access.write(SIGNING_KEY, &keys.serialize_pem())?;
        access.write(PUBLIC_KEY, &keys.public_key_pem())?;
        let user = format!("{},{ADMINISTRATOR},{ADMINISTRATOR},\"system:masters\"\n", access.admin_token);
        access.write(TOKENS, &user)?;
        Ok(access)
    }

    /// Signs the tokens of ServiceAccounts.
    pub(super) fn signing_key(&self) -> PathBuf {
        self.folder.join(SIGNING_KEY)
    }

    /// Proves the tokens of ServiceAccounts.
    pub(super) fn public_key(&self) -> PathBuf {
        self.folder.join(PUBLIC_KEY)
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.folder.join(TOKENS)
    }

    /// Where the API server writes the certificate that it makes for itself, together with its CA.
    pub(super) fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    /// The administrator's kubeconfig file.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join(ADMIN)
    }

    /// Writes the administrator's kubeconfig file. The API server's certificate must be there.
    pub(super) fn write_admin_kubeconfig(&self, url: &str) -> Result<PathBuf> {
        self.write_admin_kubeconfig_as(ADMIN, url)
    }

    /// The same as another file.
    pub(super) fn write_admin_kubeconfig_as(&self, file: &str, url: &str) -> Result<PathBuf> {
        self.write_kubeconfig(file, url, &self.admin_token)
    }

    /// Writes a kubeconfig file for the bearer of `token`.
    pub(super) fn write_kubeconfig(&self, file: &str, url: &str, token: &str) -> Result<PathBuf> {
        // The certificate and the CA that signed it, in one file.
        let authority = self.certificates().join("apiserver.crt");
        ensure!(authority.exists(), "the API server has not written its certificate");
        // JSON is YAML.
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "tests",
                "cluster": { "server": url, "certificate-authority": authority },
            }],
            "users": [{ "name": "tests", "user": { "token": token } }],
            "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": "tests" } }],
            "current-context": "tests",
        });
        self.write(file, &format!("{kubeconfig:#}\n"))
    }

    fn write(&self, file: &str, content: &str) -> Result<PathBuf> {
        let path = self.folder.join(file);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

fn random_token() -> Result<String> {
    let random: [u8; 16] =
        ring::rand::generate(&SystemRandom::new()).map_err(|_| anyhow!("the system's random source failed"))?.expose();
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A client with the identity of a kubeconfig file, for the runtime it is called in.
pub(super) async fn client(kubeconfig: &Path) -> Result<Client> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

/// A client whose requests fail where the client's own retries would hide for a long time that nobody answers.
pub(super) async fn impatient_client(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(2));
    config.read_timeout = Some(Duration::from_secs(5));
    Ok(Client::try_from(config)?)
}

/// A client that adds no identity to its requests and sends each once.
pub(super) async fn bare_client(kubeconfig: &Path) -> Result<Client> {
    let mut config = config(kubeconfig).await?;
    config.default_retry = false;
    config.auth_info = AuthInfo::default();
    Ok(Client::try_from(config)?)
}

async fn config(kubeconfig: &Path) -> Result<Config> {
    install_crypto();
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("cannot use {}", kubeconfig.display()))?;
    // HTTPS_PROXY is for the way out of this machine.
    config.proxy_url = None;
    Ok(config)
}

/// rustls wants its cryptography chosen once in a process.
fn install_crypto() {
    // An error means that somebody chose before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
