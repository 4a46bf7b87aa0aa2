//! What takes minutes to build is built once, in a folder that outlives a clone.
//!
//! An entry is named by a hash of everything it is made from, so a changed input is a new entry and nothing is ever stale.
//! A build runs under a lock in a folder of its own and is renamed when whole: test binaries that run side by side build
//! once, and a build that was interrupted leaves nothing that looks finished.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};

/// Names the cache folder, where the default (`$XDG_CACHE_HOME/baseward`, else `~/.cache/baseward`) does not suit.
pub const CACHE_VARIABLE: &str = "BASEWARD_CACHE";

/// The folder that outlives a clone.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// All that an entry is made from.
#[derive(Debug, Clone, Default)]
pub struct Inputs(Sha256);

impl Inputs {
    /// Starts with what every entry depends on: the machine it is built for.
    #[must_use]
    pub fn new() -> Self {
        Self::default().text(env::consts::OS).text(env::consts::ARCH)
    }

    /// Adds a piece of text, such as a version or the flags of a build.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds the content of a file; its name does not count.
    pub fn file(self, path: &Path) -> Result<Self> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.bytes(&content))
    }

    /// The length goes in first, so that `ab` + `c` and `a` + `bc` differ.
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn name(self) -> String {
        let hash = self.0.finalize();
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Cache {
    /// The cache of this user.
    pub fn open() -> Result<Self> {
        let folder = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let root = folder(CACHE_VARIABLE)
            .or_else(|| folder("XDG_CACHE_HOME").map(|path| path.join("baseward")))
            .or_else(|| env::home_dir().map(|home| home.join(".cache/baseward")))
            .with_context(|| format!("no home folder: set {CACHE_VARIABLE} to an absolute path"))?;
        Ok(Self::at(root))
    }

    /// A cache in a folder of the caller's choice.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder of the entry `name` made from `inputs`; `build` fills it if it is not there yet.
    ///
    /// Blocks while another process builds the same entry.
    pub fn entry(&self, name: &str, inputs: Inputs, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let name = format!("{name}-{}", inputs.name());
        let entry = self.root.join(&name);
        if entry.is_dir() {
            return Ok(entry);
        }
        fs::create_dir_all(&self.root).with_context(|| {
            format!(
                "cannot create the cache folder {}: set {CACHE_VARIABLE} to one that can be written",
                self.root.display()
            )
        })?;
        let _lock = self.lock(&name)?;
        if entry.is_dir() {
            return Ok(entry);
        }
        self.build(&name, build).with_context(|| format!("cannot build {name} in {}", self.root.display()))?;
        Ok(entry)
    }

    fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                progress(&format!("waiting for another process that builds {name}"));
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(anyhow!(error).context(format!("cannot lock {}", path.display())));
            }
        }
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    fn build(&self, name: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let prefix = format!("{name}.partial-");
        self.sweep(&prefix)?;
        // The folder's name is new each time: the compiler of an interrupted build may still be writing into the old one.
        let partial = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.root)?;
        let start = Instant::now();
        build(partial.path())?;
        fs::rename(partial.keep(), self.root.join(name))?;
        progress(&format!("built {name} in {} s", start.elapsed().as_secs()));
        Ok(())
    }

    fn sweep(&self, prefix: &str) -> Result<()> {
        for left_over in fs::read_dir(&self.root)? {
            let left_over = left_over?;
            if left_over.file_name().to_string_lossy().starts_with(prefix) {
                fs::remove_dir_all(left_over.path())?;
            }
        }
        Ok(())
    }
}

/// Tells the person who waits what is going on, also where the test harness captures `eprintln!`.
pub fn progress(message: &str) {
    // Nobody reads a closed stderr, so there is nobody to tell.
    let _ = writeln!(io::stderr(), "rig: {message}");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use anyhow::{bail, ensure};

    use super::*;

    #[test]
    fn inputs_differ_in_content_and_in_how_it_is_cut() {
        let name = |parts: &[&str]| {
            let inputs = parts.iter().fold(Inputs::new(), |inputs, part| inputs.text(part));
            inputs.name()
        };
        assert_eq!(name(&["ab", "c"]), name(&["ab", "c"]));
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_ne!(name(&["ab"]), name(&["ab", ""]));
    }

    #[test]
    fn an_entry_is_built_once_however_many_ask() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let cache = Cache::at(folder.path().join("cache"));
        let builds = AtomicUsize::new(0);
        let ask = || {
            cache.entry("thing", Inputs::new().text("v1"), |path| {
                builds.fetch_add(1, Ordering::SeqCst);
                Ok(fs::write(path.join("file"), "whole")?)
            })
        };
        let found = thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("panicked"))?)
                .collect::<Result<Vec<PathBuf>>>()
        })?;
        assert_eq!(builds.load(Ordering::SeqCst), 1);
        for entry in found {
            assert_eq!(fs::read_to_string(entry.join("file"))?, "whole");
        }
        Ok(())
    }

    #[test]
    fn a_failed_build_leaves_no_entry_and_can_be_repeated() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let cache = Cache::at(folder.path().to_owned());
        let failed = cache.entry("thing", Inputs::new(), |path| {
            fs::write(path.join("file"), "half")?;
            bail!("the compiler fell over")
        });
        let error = format!("{:#}", failed.unwrap_err());
        assert!(error.contains("the compiler fell over"), "{error}");
        let entry = cache.entry("thing", Inputs::new(), |path| {
            ensure!(fs::read_dir(path)?.next().is_none(), "the folder is not empty");
            Ok(())
        })?;
        assert!(entry.is_dir());
        Ok(())
    }
}
