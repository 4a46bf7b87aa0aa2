//! Where the programs of the control plane come from.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cache::{Cache, Inputs, progress};
use crate::process::run;

/// Names a folder that holds the programs, as in Kubernetes' own `envtest`.
pub const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The go.mod and go.sum that pin every program. For another version of Kubernetes change it there, in `require` and in
/// every `replace` (v0.36.3 is v1.36.3), and run `go mod tidy`.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/controlplane");

/// The programs and their packages, in an order in which the small one shows first that the compiler works.
const PROGRAMS: [(&str, &str); 3] = [
    ("etcd", "go.etcd.io/etcd/server/v3"),
    ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
];

/// The folder that holds `etcd`, `kube-apiserver` and `kubectl`.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Takes the programs from `KUBEBUILDER_ASSETS` if it is set, else from the cache, where the first use builds them.
    ///
    /// Blocks: the build takes minutes.
    pub fn locate() -> Result<Self> {
        let folder = match env::var_os(ASSETS_VARIABLE).filter(|value| !value.is_empty()) {
            Some(folder) => PathBuf::from(folder),
            None => build()?,
        };
        for (program, _) in PROGRAMS {
            ensure!(
                folder.join(program).is_file(),
                "there is no {program} in {}: put etcd, kube-apiserver and kubectl there, or unset {ASSETS_VARIABLE} \
                 to have them built",
                folder.display()
            );
        }
        Ok(Self { folder })
    }

    /// The path of one of the programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

fn build() -> Result<PathBuf> {
    let sources = Path::new(SOURCES);
    let version = Version::pinned(&sources.join("go.mod"))?;
    let mut inputs = Inputs::new().file(&sources.join("go.mod"))?.file(&sources.join("go.sum"))?;
    for (program, package) in PROGRAMS {
        inputs = inputs.text(program).text(package).text(&version.linker_flags(program));
    }
    Cache::open()?.entry("controlplane", inputs, |folder| {
        require_go(sources, &version.go)?;
        progress(&format!(
            "building the control plane (Kubernetes {}) from source; once, 3 to 10 minutes, {ASSETS_VARIABLE} avoids it",
            version.kubernetes
        ));
        for (program, package) in PROGRAMS {
            progress(&format!("  go build {package}"));
            let mut build = Command::new("go");
            build
                .current_dir(sources)
                .args(["build", "-mod=readonly", "-trimpath", "-ldflags"])
                .arg(version.linker_flags(program))
                .arg("-o")
                .arg(folder.join(program))
                .arg(package);
            run(&mut build)?;
        }
        Ok(())
    })
}

/// What go.mod asks for.
struct Version {
    go: String,
    kubernetes: String,
}

impl Version {
    fn pinned(go_mod: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(go_mod).with_context(|| format!("cannot read {}", go_mod.display()))?;
        let value = |name: &str| {
            let mut lines = text.lines().map(str::split_whitespace);
            lines
                .find_map(|mut words| (words.next()? == name).then(|| words.next())?)
                .with_context(|| format!("{} has no line `{name} VERSION`", go_mod.display()))
        };
        Ok(Self { go: value("go")?.to_owned(), kubernetes: value("k8s.io/kubernetes")?.to_owned() })
    }

    /// The Kubernetes programs tell their version only if the linker sets it, and clients look at it.
    fn linker_flags(&self, program: &str) -> String {
        let mut flags = "-s -w".to_owned();
        let mut numbers = self.kubernetes.trim_start_matches('v').split('.');
        if program != "etcd"
            && let (Some(major), Some(minor)) = (numbers.next(), numbers.next())
        {
            for (name, value) in [("gitVersion", self.kubernetes.as_str()), ("gitMajor", major), ("gitMinor", minor)] {
                flags.push_str(&format!(" -X k8s.io/component-base/version.{name}={value}"));
            }
        }
        flags
    }
}

/// Fails with what to do, where the compiler is missing or older than go.mod asks.
fn require_go(sources: &Path, needed: &str) -> Result<()> {
    let remedy = format!(
        "the tests build a real kube-apiserver and need Go {needed} or newer (https://go.dev/dl); with programs of your \
         own, set {ASSETS_VARIABLE} to a folder that holds etcd, kube-apiserver and kubectl"
    );
    // In the folder of go.mod a newer Go that is allowed to download the right toolchain says that one's version.
    let mut command = Command::new("go");
    command.current_dir(sources).args(["env", "GOVERSION"]);
    let version = run(&mut command).with_context(|| remedy.clone())?;
    let version = version.trim();
    if numbers(version.trim_start_matches("go")) < numbers(needed) {
        bail!("{version} is too old: {remedy}");
    }
    Ok(())
}

fn numbers(version: &str) -> Vec<u32> {
    let digits = |part: &str| {
        let end = part.find(|c: char| !c.is_ascii_digit());
        part.split_at(end.unwrap_or(part.len())).0.parse().ok()
    };
    version.split('.').map_while(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("1.9.1") < numbers("1.26.0"));
        assert!(numbers("1.26.8") >= numbers("1.26.0"));
        assert!(numbers("1.27rc1") > numbers("1.26.0"));
    }

    #[test]
    fn the_pinned_versions_are_found() -> Result<()> {
        let version = Version::pinned(&Path::new(SOURCES).join("go.mod"))?;
        assert!(version.kubernetes.starts_with("v1."), "{}", version.kubernetes);
        assert!(numbers(&version.go) >= numbers("1.24"), "{}", version.go);
        let flags = version.linker_flags("kube-apiserver");
        assert!(flags.contains(&format!("gitVersion={}", version.kubernetes)));
        assert_eq!(version.linker_flags("etcd"), "-s -w");
        Ok(())
    }
}
