//! Decides where the cluster and its socket are and which user runs the server.
//!
//! Postgres refuses to run as root. So when this program is root, the server runs as an unprivileged account, which must
//! be able to reach the cluster: in the data folder if that works, otherwise under `/var/lib/verbatim`, with a link in the
//! data folder. The keys stay in the data folder.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use nix::unistd::{Uid, User, geteuid};

use super::data_dir::{DataDir, lock_folder, set_mode};
use super::error::EmbeddedError;

/// Parent of clusters whose account could not reach the data folder.
const SYSTEM_FOLDER: &str = "/var/lib/verbatim";
/// Longest socket path that works on every platform, with some room (Linux allows 107, macOS 103).
const MAX_SOCKET_PATH: usize = 100;
/// Name that Postgres gives its socket for port 5432.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// The account that runs the server when this program is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
}

/// Folders and account of the server.
#[derive(Debug)]
pub(super) struct Layout {
    /// Parent folder of the cluster.
    pub(super) base: PathBuf,
    /// Folder of the cluster; may not exist yet.
    pub(super) cluster: PathBuf,
    /// Folder of the socket, mode 0700.
    pub(super) socket: PathBuf,
    /// Account that runs the server; `None` for that of this process.
    pub(super) account: Option<Account>,
    /// Notes for the person who starts the program, one sentence each.
    pub(super) notes: Vec<String>,
    /// Held if the base is not the data folder: two data folders, one a copy of the other, may link to the same base.
    _lock: Option<File>,
}

impl Layout {
    /// Finds or decides the layout for `data`, and creates its folders.
    pub(super) fn resolve(data: &DataDir) -> Result<Self, EmbeddedError> {
        Self::resolve_under(data, Path::new(SYSTEM_FOLDER))
    }

    fn resolve_under(data: &DataDir, system: &Path) -> Result<Self, EmbeddedError> {
        let entry = data.path().join("postgres");
        let mut notes = Vec::new();
        let (base, lock) = match std::fs::symlink_metadata(&entry) {
            Ok(found) if found.is_symlink() => linked_base(&entry)?,
            Ok(_) => (data.path().to_path_buf(), None),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => match needs_other_base(data)? {
                None => (data.path().to_path_buf(), None),
                Some(account) => {
                    let (base, lock) = make_base(data.path(), system)?;
                    let cluster = base.join("postgres");
                    symlink(&cluster, &entry).map_err(EmbeddedError::io("make the link", &entry))?;
                    notes.push(format!(
                        "The user {account}, as whom Postgres runs, cannot reach {}: the database is in {}; the keys \
                         stay in the data folder, and a backup needs both.",
                        data.path().display(),
                        cluster.display()
                    ));
                    (base, Some(lock))
                }
            },
            Err(error) => return Err(EmbeddedError::io("look at", &entry)(error)),
        };
        let cluster = base.join("postgres");
        let account = account_for(&cluster, data.path())?;
        if base == data.path() {
            restrict(data, account.as_ref())?;
        }
        if let Some(account) = &account {
            notes.push(format!("Started as root: the Postgres server runs as the user {}.", account.name));
        }
        let socket = socket_folder(&base, account.as_ref())?;
        Ok(Self { base, cluster, socket, account, notes, _lock: lock })
    }
}

/// Returns the base that an earlier run linked the data folder to.
fn linked_base(entry: &Path) -> Result<(PathBuf, Option<File>), EmbeddedError> {
    let target = std::fs::read_link(entry).map_err(EmbeddedError::io("read the link", entry))?;
    let base = target.parent().map(Path::to_path_buf).unwrap_or_default();
    let base = base.canonicalize().map_err(EmbeddedError::io("use the linked folder", &base))?;
    let lock = lock_folder(&base)?;
    Ok((base, Some(lock)))
}

/// Returns the account's name if this is root and the account cannot reach the data folder, whatever its permissions.
fn needs_other_base(data: &DataDir) -> Result<Option<String>, EmbeddedError> {
    let Some(account) = account_for(&data.path().join("postgres"), data.path())? else { return Ok(None) };
    let owned_by_root =
        std::fs::metadata(data.path()).map_err(EmbeddedError::io("look at", data.path()))?.uid()
            == Uid::from_raw(0).as_raw();
    // The permissions of the data folder itself are adjusted later, if allowed.
    let from = if data.is_ours() && owned_by_root { data.path().parent() } else { Some(data.path()) };
    let reaches = from.is_none_or(|folder| folder.ancestors().all(|step| may_enter(step, &account)));
    Ok((!reaches).then_some(account.name))
}

/// Returns whether the permission bits let `account` traverse `folder`.
fn may_enter(folder: &Path, account: &Account) -> bool {
    let Ok(found) = std::fs::metadata(folder) else { return false };
    let bit = if found.uid() == account.uid {
        0o100
    } else if found.gid() == account.gid {
        0o010
    } else {
        0o001
    };
    found.mode() & bit != 0
}

/// Creates a folder under `system`, named after the data folder. One that already has a cluster belongs to a data folder
/// that was deleted or moved, and is not touched.
fn make_base(data: &Path, system: &Path) -> Result<(PathBuf, File), EmbeddedError> {
    make_passable(system)?;
    let name = short_hash(data);
    for count in 1..1000 {
        let base = system.join(if count == 1 { name.clone() } else { format!("{name}-{count}") });
        make_passable(&base)?;
        match lock_folder(&base) {
            Ok(lock) if !base.join("postgres").exists() => return Ok((base, lock)),
            Ok(_) | Err(EmbeddedError::InUse { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Err(EmbeddedError::ForeignFolder(system.join(name)))
}

fn make_passable(folder: &Path) -> Result<(), EmbeddedError> {
    match DirBuilder::new().recursive(true).mode(0o711).create(folder) {
        Ok(()) => set_mode(folder, 0o711),
        Err(error) => Err(EmbeddedError::io("make the folder", folder)(error)),
    }
}

/// Returns the server's account: the owner of the cluster or of the data folder, else `postgres`, else the `nobody` user.
fn account_for(cluster: &Path, data: &Path) -> Result<Option<Account>, EmbeddedError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    for folder in [cluster, data] {
        if let Ok(found) = std::fs::metadata(folder)
            && found.uid() != 0
        {
            let name = User::from_uid(Uid::from_raw(found.uid())).ok().flatten().map(|user| user.name);
            return Ok(Some(Account {
                uid: found.uid(),
                gid: found.gid(),
                name: name.unwrap_or_else(|| found.uid().to_string()),
            }));
        }
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .map(|user| Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name }))
        .ok_or_else(|| {
            EmbeddedError::io("find a user for the Postgres server (`postgres` or `nobody`) for", data)(
                io::ErrorKind::NotFound.into(),
            )
        })
}

/// Restricts the data folder to its owner; if this is root, the server's group may traverse it.
fn restrict(data: &DataDir, account: Option<&Account>) -> Result<(), EmbeddedError> {
    let found = std::fs::metadata(data.path()).map_err(EmbeddedError::io("look at", data.path()))?;
    if !data.is_ours() || found.uid() != geteuid().as_raw() {
        return Ok(());
    }
    let mode = match account {
        Some(account) => {
            chown(data.path(), None, Some(account.gid))
                .map_err(EmbeddedError::io("set the group of", data.path()))?;
            0o710
        }
        None => 0o700,
    };
    if found.permissions().mode() & 0o777 != mode {
        set_mode(data.path(), mode)?;
    }
    Ok(())
}

/// Returns the folder of the socket, created if missing.
fn socket_folder(base: &Path, account: Option<&Account>) -> Result<PathBuf, EmbeddedError> {
    let folder = socket_path(base);
    own_private_folder(&folder, account)?;
    Ok(folder)
}

/// Returns the path of the socket's folder: in the base if short enough, otherwise under `/tmp`.
fn socket_path(base: &Path) -> PathBuf {
    let inside = base.join("socket");
    if inside.join(SOCKET_NAME).as_os_str().len() <= MAX_SOCKET_PATH {
        inside
    } else {
        Path::new("/tmp").join(format!("verbatim-{}", short_hash(base)))
    }
}

/// Returns the socket path of the server that another process runs for this data folder.
pub(super) fn socket_of_running(data: &DataDir) -> Result<PathBuf, EmbeddedError> {
    let entry = data.path().join("postgres");
    let base = match std::fs::read_link(&entry) {
        Ok(target) => {
            let base = target.parent().map(Path::to_path_buf).unwrap_or_default();
            base.canonicalize().map_err(EmbeddedError::io("use the linked folder", &base))?
        }
        // Without a link the cluster is in the data folder.
        Err(_) => data.path().to_path_buf(),
    };
    Ok(socket_path(&base))
}

/// Creates `folder` with mode 0700 for the account; rejects links and folders of other users.
pub(super) fn own_private_folder(folder: &Path, account: Option<&Account>) -> Result<(), EmbeddedError> {
    let owner = account.map_or_else(|| geteuid().as_raw(), |account| account.uid);
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {
            if let Some(account) = account {
                lchown(folder, Some(account.uid), Some(account.gid))
                    .map_err(EmbeddedError::io("set the owner of", folder))?;
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(EmbeddedError::io("make the folder", folder)(error)),
    }
    let found = std::fs::symlink_metadata(folder).map_err(EmbeddedError::io("look at", folder))?;
    if !found.is_dir() || found.uid() != owner {
        return Err(EmbeddedError::ForeignFolder(folder.to_path_buf()));
    }
    if found.mode() & 0o777 != 0o700 {
        set_mode(folder, 0o700)?;
    }
    Ok(())
}

/// Returns twelve hexadecimal digits that identify `path`.
fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = digest(&SHA256, path.as_os_str().as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
