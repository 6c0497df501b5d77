//! The data directory: one instance's whole memory, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The file with the address of the admin port of the process that runs on a directory, as long as it does.
pub(crate) const ADMIN_FILE: &str = "admin";

/// The directory and the names in it.
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the directory on first start, and sees to it that nobody else can read it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed =
            || format!("cannot make the data directory {}: choose another with --data-dir", path.display());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(failed)?;
        Ok(Self(path.canonicalize().with_context(failed)?))
    }

    /// A name in the directory, as an absolute path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file as a whole: after a crash it is the old one or the new one.
    pub(crate) fn write(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.path(name);
        let temporary = self.path(&format!("{name}.new"));
        let write = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(contents.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            fs::File::open(&self.0)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Makes a file, unless there is one; where it is. Of processes that make it at the same time one does.
    pub(crate) fn make(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.path(name);
        if path.exists() {
            return Ok(path);
        }
        let temporary = self.path(&format!("{name}.{}.new", std::process::id()));
        let make = || -> std::io::Result<()> {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(contents.as_bytes())?;
            file.sync_all()?;
            // A link does not replace what another process has made meanwhile.
            let linked = fs::hard_link(&temporary, &path);
            fs::remove_file(&temporary)?;
            match linked {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
                _ => fs::File::open(&self.0)?.sync_all(),
            }
        };
        make().with_context(|| format!("cannot make {}", path.display()))?;
        Ok(path)
    }

    /// Removes a file, as far as that is possible.
    pub(crate) fn remove(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
    }

    /// Reads a file that an earlier start wrote; `None` when there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.path(name);
        match fs::read_to_string(&path) {
            Ok(contents) => Ok(Some(contents)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}
