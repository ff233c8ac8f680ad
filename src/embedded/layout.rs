//! Decides where the cluster and its socket stand and as whom the server runs.
//!
//! Postgres refuses to run as root. So when this program is root, the server gets an account without rights, and
//! that account must be able to reach the cluster: through the data folder where that works, else the cluster
//! stands under `/var/lib/verbatim` and the data folder holds a link to it. The keys stay in the data folder.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use nix::unistd::{Uid, User, geteuid};

use super::data_dir::{DataDir, lock_folder, set_mode};
use super::error::EmbeddedError;

/// Where clusters stand that their account could not reach in the data folder.
const SYSTEM_FOLDER: &str = "/var/lib/verbatim";
/// The longest socket path that every platform takes, with some room (Linux takes 107, macOS 103).
const MAX_SOCKET_PATH: usize = 100;
/// The file name Postgres gives its socket for port 5432.
const SOCKET_NAME: &str = ".s.PGSQL.5432";

/// The account the server runs as, when this program is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
}

/// Where everything of the server stands.
#[derive(Debug)]
pub(super) struct Place {
    /// The folder in which the cluster is made.
    pub(super) base: PathBuf,
    /// The cluster; may not exist yet.
    pub(super) cluster: PathBuf,
    /// The folder of the socket, mode 0700.
    pub(super) socket: PathBuf,
    /// As whom the server runs; `None`: as this process.
    pub(super) account: Option<Account>,
    /// What the person who starts the program should know, one sentence each.
    pub(super) notes: Vec<String>,
    /// Held when the base is not the data folder: two data folders, one a copy of the other, link to one base.
    _lock: Option<File>,
}

impl Place {
    /// Finds or decides the place for `data`, and makes its folders.
    pub(super) fn settle(data: &DataDir) -> Result<Self, EmbeddedError> {
        Self::settle_under(data, Path::new(SYSTEM_FOLDER))
    }

    fn settle_under(data: &DataDir, system: &Path) -> Result<Self, EmbeddedError> {
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

/// The base an earlier run linked the data folder to.
fn linked_base(entry: &Path) -> Result<(PathBuf, Option<File>), EmbeddedError> {
    let target = std::fs::read_link(entry).map_err(EmbeddedError::io("read the link", entry))?;
    let base = target.parent().map(Path::to_path_buf).unwrap_or_default();
    let base = base.canonicalize().map_err(EmbeddedError::io("use the linked folder", &base))?;
    let lock = lock_folder(&base)?;
    Ok((base, Some(lock)))
}

/// The account's name when this is root and the account cannot reach the data folder, whatever its permissions.
fn needs_other_base(data: &DataDir) -> Result<Option<String>, EmbeddedError> {
    let Some(account) = account_for(&data.path().join("postgres"), data.path())? else { return Ok(None) };
    let owned_by_root =
        std::fs::metadata(data.path()).map_err(EmbeddedError::io("look at", data.path()))?.uid()
            == Uid::from_raw(0).as_raw();
    // The data folder's own permissions are set right later, when they may be.
    let from = if data.is_ours() && owned_by_root { data.path().parent() } else { Some(data.path()) };
    let reaches = from.is_none_or(|folder| folder.ancestors().all(|step| may_enter(step, &account)));
    Ok((!reaches).then_some(account.name))
}

/// Whether the permission bits let `account` pass through `folder`.
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

/// Makes a new folder under `system`, named after the data folder. One that holds a cluster already belongs to
/// a data folder that was deleted or moved since: it is left alone.
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

/// As whom the server runs: the owner of the cluster or of the data folder, else `postgres`, else `nobody`.
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

/// Nobody but the owner may enter the data folder; when this is root, the server's group may pass through it.
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

/// The folder of the socket, made when missing.
fn socket_folder(base: &Path, account: Option<&Account>) -> Result<PathBuf, EmbeddedError> {
    let folder = socket_path(base);
    own_private_folder(&folder, account)?;
    Ok(folder)
}

/// Where the socket's folder is: in the base when its path is short enough, else under `/tmp`.
fn socket_path(base: &Path) -> PathBuf {
    let inside = base.join("socket");
    if inside.join(SOCKET_NAME).as_os_str().len() <= MAX_SOCKET_PATH {
        inside
    } else {
        Path::new("/tmp").join(format!("verbatim-{}", short_hash(base)))
    }
}

/// Where the socket of the server is that another process runs for this data folder.
pub(super) fn socket_of_running(data: &DataDir) -> Result<PathBuf, EmbeddedError> {
    let entry = data.path().join("postgres");
    let base = match std::fs::read_link(&entry) {
        Ok(target) => {
            let base = target.parent().map(Path::to_path_buf).unwrap_or_default();
            base.canonicalize().map_err(EmbeddedError::io("use the linked folder", &base))?
        }
        // No link: the cluster is in the data folder.
        Err(_) => data.path().to_path_buf(),
    };
    Ok(socket_path(&base))
}

/// Makes `folder` with mode 0700 for the account; one that is somebody else's, or a link, is refused.
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

/// Twelve hexadecimal digits that name `path`.
fn short_hash(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let hash = digest(&SHA256, path.as_os_str().as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn the_socket_folder_moves_to_tmp_when_the_path_is_too_long() {
        let root = tempfile::tempdir().unwrap();
        let long = root.path().join("x".repeat(90));
        std::fs::create_dir(&long).unwrap();
        let socket = socket_folder(&long, None).unwrap();
        assert!(socket.join(SOCKET_NAME).as_os_str().len() <= MAX_SOCKET_PATH);
        assert_eq!(mode(&socket), 0o700);
        std::fs::remove_dir(&socket).unwrap();
        assert_eq!(socket_folder(root.path(), None).unwrap(), root.path().join("socket"));
        assert_eq!(mode(&root.path().join("socket")), 0o700);
    }

    #[test]
    fn a_link_in_place_of_the_socket_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        symlink("/tmp", root.path().join("socket")).unwrap();
        assert!(matches!(socket_folder(root.path(), None), Err(EmbeddedError::ForeignFolder(_))));
    }

    #[test]
    fn a_folder_with_other_content_keeps_its_permissions() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("somebody's"), "file").unwrap();
        set_mode(root.path(), 0o755).unwrap();
        let data = DataDir::open(root.path()).unwrap();
        Place::settle_under(&data, &root.path().join("system")).unwrap();
        assert_eq!(mode(root.path()), 0o755);
    }

    #[test]
    fn an_empty_folder_is_made_private() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data");
        std::fs::create_dir(&dir).unwrap();
        set_mode(&dir, 0o755).unwrap();
        set_mode(root.path(), 0o755).unwrap();
        let data = DataDir::open(&dir).unwrap();
        let place = Place::settle_under(&data, &root.path().join("system")).unwrap();
        assert_eq!(place.base, data.path());
        assert_eq!(mode(&dir), if geteuid().is_root() { 0o710 } else { 0o700 });
    }

    #[test]
    fn a_base_that_holds_the_cluster_of_a_deleted_data_folder_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (first, lock) = make_base(Path::new("/root/data"), root.path()).unwrap();
        std::fs::create_dir(first.join("postgres")).unwrap();
        drop(lock);
        let (second, _lock) = make_base(Path::new("/root/data"), root.path()).unwrap();
        assert_ne!(first, second);
        assert!(first.join("postgres").is_dir());
    }
}
