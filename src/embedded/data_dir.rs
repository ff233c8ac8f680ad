//! The data folder: made private, held by one process at a time, keeper of the keys made once.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use super::error::EmbeddedError;

/// The key that wraps every user's data key. Without it the stored text cannot be read.
pub const MASTER_KEY: &str = "master-key";
/// The secret that signs access tokens. Without it everybody has to log in again, no more.
pub const JWT_SECRET: &str = "jwt-secret";

/// Bytes in a kept secret.
const SECRET_BYTES: usize = 32;

/// The data folder, locked for this process until dropped, or looked at beside the process that holds it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    ours: bool,
    lock: Option<File>,
}

impl DataDir {
    /// Makes the folder when missing (mode 0700) and locks it.
    ///
    /// # Errors
    /// [`EmbeddedError::InUse`] when another process holds it, [`EmbeddedError::Io`] when it cannot be made.
    pub fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let path = std::path::absolute(path).map_err(EmbeddedError::io("use the data folder", path))?;
        make_private(&path)?;
        let path = path.canonicalize().map_err(EmbeddedError::io("use the data folder", &path))?;
        let ours = path.join("lock").exists() || is_empty(&path);
        let lock = lock_folder(&path)?;
        Ok(Self { path, ours, lock: Some(lock) })
    }

    /// The folder that another process holds, for reading its keys. Nothing may be written through this.
    ///
    /// # Errors
    /// [`EmbeddedError::Io`] when it is not there.
    pub(super) fn beside(path: &Path) -> Result<Self, EmbeddedError> {
        let path = path.canonicalize().map_err(EmbeddedError::io("use the data folder", path))?;
        Ok(Self { path, ours: false, lock: None })
    }

    /// Whether the folder holds nothing but this program's files, so that its permissions may be changed: a
    /// `DATA_DIR` that names a folder with other content, `/tmp` say, keeps the permissions it has.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// The folder's absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The 32 bytes kept under `name`, made from the system's randomness at the first call.
    ///
    /// # Errors
    /// [`EmbeddedError::KeyDamaged`] when the file holds something else: it is never replaced.
    pub fn secret(&self, name: &str) -> Result<Zeroizing<[u8; SECRET_BYTES]>, EmbeddedError> {
        if let Some(kept) = self.kept_secret(name)? {
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

    /// The 32 bytes kept under `name`, or nothing when there are none yet.
    ///
    /// # Errors
    /// As [`DataDir::secret`].
    pub fn kept_secret(&self, name: &str) -> Result<Option<Zeroizing<[u8; SECRET_BYTES]>>, EmbeddedError> {
        let path = self.path.join(name);
        let text = match std::fs::read(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EmbeddedError::io("read the key file", &path)(error)),
        };
        unhex(text.trim_ascii()).map(Some).ok_or(EmbeddedError::KeyDamaged(path))
    }
}

/// Makes `path` and its missing parents, the last with mode 0700.
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

/// Takes the lock of `folder`, without waiting. The kernel lets go of it however the process ends.
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
            // Only for the sentence: a lock file that cannot be read still locks.
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

/// Writes `path` whole or not at all, readable by its owner only, and lasting: file and folder are synced.
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

/// Gives `path` to the folder's owner, so that a run as root does not lock the folder's owner out of it later.
fn own_like_folder(folder: &Path, path: &Path) -> io::Result<()> {
    let (folder, file) = (std::fs::metadata(folder)?, std::fs::metadata(path)?);
    if nix::unistd::geteuid().is_root() && folder.uid() != file.uid() {
        chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

/// Makes the names in `folder` last.
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
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_made_once_and_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/data");
        let dir = DataDir::open(&path).unwrap();
        assert!(dir.kept_secret(MASTER_KEY).unwrap().is_none());
        let made = dir.secret(MASTER_KEY).unwrap();
        assert_ne!(*made, [0; 32]);
        assert_eq!(*dir.secret(MASTER_KEY).unwrap(), *made);
        assert_ne!(*dir.secret(JWT_SECRET).unwrap(), *made);
        drop(dir);
        assert_eq!(*DataDir::open(&path).unwrap().secret(MASTER_KEY).unwrap(), *made);
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join(MASTER_KEY)), 0o600);
        assert_eq!(mode(&path.join("lock")), 0o600);
    }

    #[test]
    fn a_damaged_secret_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        dir.secret(MASTER_KEY).unwrap();
        for damaged in ["", "abc", &"z".repeat(64), &"0".repeat(63)] {
            std::fs::write(root.path().join(MASTER_KEY), damaged).unwrap();
            assert!(matches!(dir.secret(MASTER_KEY), Err(EmbeddedError::KeyDamaged(_))), "{damaged:?}");
            assert_eq!(std::fs::read_to_string(root.path().join(MASTER_KEY)).unwrap(), damaged);
        }
    }

    #[test]
    fn what_a_crash_left_half_written_does_not_stop_the_next_run() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path()).unwrap();
        std::fs::write(root.path().join("master-key.new"), "half").unwrap();
        let made = dir.secret(MASTER_KEY).unwrap();
        assert_eq!(*dir.secret(MASTER_KEY).unwrap(), *made);
    }

    #[test]
    fn the_second_holder_is_refused_and_told_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let first = DataDir::open(root.path()).unwrap();
        let refused = DataDir::open(root.path()).unwrap_err();
        let EmbeddedError::InUse { holder, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*holder, Some(std::process::id()));
        drop(first);
        DataDir::open(root.path()).unwrap();
    }
}
