//! The data folder: private, locked by one process at a time, with the generated keys.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use super::error::EmbeddedError;

/// File name of the key that wraps every user's data key. Without it stored text cannot be read.
pub const MASTER_KEY: &str = "master-key";
/// File name of the secret that signs access tokens. Without it all users have to sign in again.
pub const JWT_SECRET: &str = "jwt-secret";

/// Size of a stored secret.
const SECRET_BYTES: usize = 32;

/// The data folder, locked for this process until dropped, or opened read-only beside the process that holds it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    ours: bool,
    lock: Option<File>,
}

impl DataDir {
    /// Creates the folder if missing (mode 0700) and locks it.
    ///
    /// # Errors
    /// [`EmbeddedError::InUse`] if another process holds it, [`EmbeddedError::Io`] if it cannot be created.
    pub fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path).map_err(EmbeddedError::io("use the data folder", path))?;
        make_private(&path)?;
        let path = path.canonicalize().map_err(EmbeddedError::io("use the data folder", &path))?;
        let ours = path.join("lock").exists() || is_empty(&path);
        let lock = lock_folder(&path)?;
        Ok(Self { path, ours, lock: Some(lock) })
    }

    /// Opens a folder that another process holds, for reading its keys. Must not be used for writing.
    ///
    /// # Errors
    /// [`EmbeddedError::Io`] if it does not exist.
    pub(super) fn open_running(path: &Path) -> Result<Self, EmbeddedError> {
        let path = path.canonicalize().map_err(EmbeddedError::io("use the data folder", path))?;
        Ok(Self { path, ours: false, lock: None })
    }

    /// Returns whether the folder contains only this program's files, so that its permissions may be changed. A `DATA_DIR`
    /// with other content, e.g. `/tmp`, keeps its permissions.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Returns the absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the 32 bytes of secret `name`, generating them on the first call.
    ///
    /// # Errors
    /// [`EmbeddedError::KeyDamaged`] if the file has other content: it is never replaced.
    pub fn secret(&self, name: &str) -> Result<Zeroizing<[u8; SECRET_BYTES]>, EmbeddedError> {
        if let Some(kept) = self.existing_secret(name)? {
            return Ok(kept);
        }
        if self.lock.is_none() {
            return Err(EmbeddedError::KeyMissing { dir: self.path.clone(), name: name.to_owned() });
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        SystemRandom::new().fill(secret.as_mut_slice()).map_err(|_| EmbeddedError::Randomness)?;
        let mut text = Zeroizing::new(hex(secret.as_slice()));
        text.push('\n');
        let path = self.path.join(name);
        write_private(&self.path, &path, text.as_bytes())
            .map_err(EmbeddedError::io("write the key file", &path))?;
        Ok(secret)
    }

    /// Returns the 32 bytes of secret `name`, or `None` if it does not exist yet.
    ///
    /// # Errors
    /// As [`DataDir::secret`].
    pub fn existing_secret(
        &self,
        name: &str,
    ) -> Result<Option<Zeroizing<[u8; SECRET_BYTES]>>, EmbeddedError> {
        let path = self.path.join(name);
        let text = match std::fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EmbeddedError::io("read the key file", &path)(error)),
        };
        unhex(text.trim_ascii()).map(Some).ok_or(EmbeddedError::KeyDamaged(path))
    }
}

/// Creates `path` and its missing parents, the last with mode 0700.
pub(super) fn make_private(path: &Path) -> Result<(), EmbeddedError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(EmbeddedError::io("make the folder", parent))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(EmbeddedError::io("make the folder", path)(error))
        }
        _ => Ok(()),
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Locks `folder` without waiting. The kernel releases the lock however the process ends.
pub(super) fn lock_folder(folder: &Path) -> Result<File, EmbeddedError> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(EmbeddedError::io("open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the error text: a lock file that cannot be read still locks.
            let holder = file.read_to_string(&mut holder).ok().and_then(|_| holder.trim().parse().ok());
            return Err(EmbeddedError::InUse { dir: folder.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(EmbeddedError::io("lock", &path)(error)),
    }
    own_like_folder(folder, &path).map_err(EmbeddedError::io("hand over", &path))?;
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(EmbeddedError::io("write the lock file", &path))?;
    Ok(file)
}

/// Writes `path` atomically and durably, readable by its owner only: file and folder are synced.
fn write_private(folder: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    own_like_folder(folder, &temporary)?;
    std::fs::rename(&temporary, path)?;
    sync_folder(folder)
}

/// Gives `path` to the folder's owner, so that a run as root does not lock the owner out later.
fn own_like_folder(folder: &Path, path: &Path) -> io::Result<()> {
    let (folder, file) = (std::fs::metadata(folder)?, std::fs::metadata(path)?);
    if nix::unistd::geteuid().is_root() && folder.uid() != file.uid() {
        chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

/// Syncs the directory entries of `folder`.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Sets the permission bits of `path`.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<(), EmbeddedError> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(EmbeddedError::io("set the permissions of", path))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2 + 1);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &[u8]) -> Option<Zeroizing<[u8; SECRET_BYTES]>> {
    if text.len() != SECRET_BYTES * 2 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let mut digits = 0;
        for digit in pair {
            digits = digits * 16 + char::from(*digit).to_digit(16)?;
        }
        *byte = u8::try_from(digits).ok()?;
        digits.zeroize();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
