//! What secrets of webhooks are encrypted with where the configuration has no key: one that stays with the jobs, so that those
//! which survive a restart can be told of.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use model::webhook::SealKey;

/// The key of the data in `folder`, which the caller has locked: as it is there, or else `random` from now on.
pub(super) fn seal_key(folder: &Path, random: [u8; 32]) -> io::Result<SealKey> {
    let path = folder.join("webhooks.key");
    match fs::read(&path) {
        // One that a crash cut short has sealed nothing yet.
        Ok(bytes) => {
            if let Ok(bytes) = bytes.try_into() {
                return Ok(SealKey::new(bytes));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(&random)?;
    file.sync_all()?;
    Ok(SealKey::new(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(seal_key(folder.path(), [1; 32]).unwrap(), SealKey::new([1; 32]));
        assert_eq!(seal_key(folder.path(), [2; 32]).unwrap(), SealKey::new([1; 32]));
        fs::write(folder.path().join("webhooks.key"), "short").unwrap();
        assert_eq!(seal_key(folder.path(), [3; 32]).unwrap(), SealKey::new([3; 32]));
        assert_eq!(seal_key(folder.path(), [4; 32]).unwrap(), SealKey::new([3; 32]));
        assert!(seal_key(Path::new("/nowhere"), [1; 32]).is_err());
    }
}
