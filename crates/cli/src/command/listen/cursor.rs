//! Where the place in the feed is kept.

use std::env;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use client::FeedCursor;
use tempfile::NamedTempFile;

use crate::command::people::Failure;

/// The folder within the user's state folder.
const FOLDER: &str = "jobcast/listen";

/// A file that holds a cursor, and this process' right to it.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    /// Beside the file, for a lock stays with what is replaced. The system frees it with the process, however that ends.
    _lock: File,
}

/// The file of who asks `identity` for `subscription`, in the user's state folder.
pub(super) fn default_path(identity: &str, subscription: &str) -> Result<PathBuf, Failure> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
    let state = state.ok_or_else(|| {
        Failure::Usage(
            "there is no HOME to keep the place in the feed in; name a file by --cursor-file".into(),
        )
    })?;
    let mut name = model::fingerprint::sha256(format!("{identity}\n{subscription}").as_bytes());
    name.truncate(16);
    Ok(state.join(FOLDER).join(name))
}

impl CursorFile {
    /// Takes the file at `path`, which needn't be there yet. Refused while another process has it.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let lock = Self::lock(&path).map_err(|error| match error {
            TryLockError::WouldBlock => Failure::Usage(format!(
                "another `jobcast listen` keeps its place in {}; stop it, or give this one a --cursor-file of its own",
                path.display()
            )),
            TryLockError::Error(source) => Failure::Kept { path: path.clone(), source },
        })?;
        Ok(Self { path, _lock: lock })
    }

    fn lock(path: &Path) -> Result<File, TryLockError> {
        fs::create_dir_all(folder(path)).map_err(TryLockError::Error)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".lock");
        let lock = File::options().create(true).append(true).open(beside).map_err(TryLockError::Error)?;
        lock.try_lock().map(|()| lock)
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The cursor, if one was kept.
    pub(super) fn read(&self) -> Result<Option<FeedCursor>, Failure> {
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Failure::Kept { path: self.path.clone(), source }),
            Ok(text) => text.trim_end().parse().map(Some).map_err(|_| {
                let path = self.path.display();
                Failure::Usage(format!(
                    "there is no cursor in {path}; begin anew by --from-now or --from-start"
                ))
            }),
        }
    }

    /// Keeps a cursor: after a crash at any moment there is this one or the one before.
    pub(super) fn write(&self, cursor: &FeedCursor) -> Result<(), Failure> {
        let written = NamedTempFile::new_in(folder(&self.path)).and_then(|mut file| {
            writeln!(file, "{cursor}")?;
            file.persist(&self.path).map_err(io::Error::from)
        });
        written.map(drop).map_err(|source| Failure::Kept { path: self.path.clone(), source })
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_kept_and_belongs_to_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/place");
        let file = CursorFile::open(path.clone()).unwrap();
        assert_eq!(file.read().unwrap(), None);
        for word in ["a-1", "b_2"] {
            file.write(&word.parse().unwrap()).unwrap();
            assert_eq!(file.read().unwrap().unwrap().as_str(), word);
        }
        let said = CursorFile::open(path.clone()).unwrap_err().to_string();
        assert!(said.contains("another `jobcast listen`"), "{said}");
        drop(file);
        let file = CursorFile::open(path.clone()).unwrap();
        fs::write(&path, "no cursor\n").unwrap();
        assert!(file.read().unwrap_err().to_string().contains("there is no cursor in"));
    }

    #[test]
    fn each_subscription_has_a_file_of_its_own() {
        let path = |identity, subscription| default_path(identity, subscription).unwrap();
        assert_eq!(path("a", "b"), path("a", "b"));
        assert_ne!(path("a", "b"), path("a", "c"));
        assert!(path("a", "b").to_string_lossy().contains("/jobcast/listen/"));
    }
}
