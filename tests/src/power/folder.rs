//! The files and folders below a directory store, what was synced apart from the rest.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use daykeep_engine::internals::store::{FileLayer, OpenFile};
use daykeep_engine::{DirectoryStore, Store, StoreError};
use rustix::io::Errno;

use super::Disk;
use super::file::Bytes;
use crate::faults::{Call, Faults};
use crate::noise::Rng;

/// What there is at first.
const ABOVE: &str = "/above";
/// Where the store will be, in a folder that is missing too.
const STORE: &str = "/above/new/store";

type File = Arc<Mutex<Bytes>>;
/// Files, and folders (`None`), by their paths.
type Nodes = BTreeMap<PathBuf, Option<File>>;

/// Something done to the names in a folder. After a power loss it is done or not, but never half.
#[derive(Clone)]
struct Change {
    folder: PathBuf,
    removed: Option<PathBuf>,
    added: Option<(PathBuf, Option<File>)>,
}

impl Change {
    fn apply(self, nodes: &mut Nodes) {
        if let Some(path) = self.removed {
            nodes.remove(&path);
        }
        nodes.extend(self.added);
    }
}

/// The names that every process sees, and those that are safe.
struct Names {
    live: Nodes,
    durable: Nodes,
    unsynced: Vec<Change>,
}

impl Names {
    fn new() -> Self {
        let nodes = Nodes::from([(ABOVE.into(), None)]);
        Self { live: nodes.clone(), durable: nodes, unsynced: Vec::new() }
    }

    fn node(&self, path: &Path) -> io::Result<&Option<File>> {
        Ok(self.live.get(path).ok_or(Errno::NOENT)?)
    }

    fn file(&self, path: &Path) -> io::Result<File> {
        Ok(self.node(path)?.clone().ok_or(Errno::ISDIR)?)
    }

    /// Takes one name away and adds another, which must be new.
    fn change(&mut self, removed: Option<&Path>, added: Option<(&Path, Option<File>)>) -> io::Result<()> {
        if added.as_ref().is_some_and(|(path, _)| self.live.contains_key(*path)) {
            return Err(Errno::EXIST.into());
        }
        self.change_over(removed, added)
    }

    /// Takes one name away and adds another, in place of what has it.
    fn change_over(&mut self, removed: Option<&Path>, added: Option<(&Path, Option<File>)>) -> io::Result<()> {
        let folder = removed.or(added.as_ref().map(|(path, _)| *path)).and_then(Path::parent).unwrap().to_owned();
        if self.node(&folder)?.is_some() {
            return Err(Errno::NOTDIR.into());
        }
        let (removed, added) = (removed.map(Path::to_owned), added.map(|(path, node)| (path.to_owned(), node)));
        let change = Change { folder, removed, added };
        change.clone().apply(&mut self.live);
        self.unsynced.push(change);
        Ok(())
    }

    /// Returns what was changed in a folder since its last sync, which is forgotten here.
    fn take_changes(&mut self, folder: &Path) -> Vec<Change> {
        let (of_folder, others) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|change| change.folder == folder);
        self.unsynced = others;
        of_folder
    }

    fn sync(&mut self, folder: &Path) {
        self.take_changes(folder).into_iter().for_each(|change| change.apply(&mut self.durable));
    }

    /// Forgets what a sync that failed was to make durable.
    fn drop_unsynced(&mut self, folder: &Path) {
        self.take_changes(folder);
        let is_in = |path: &PathBuf| path.parent() == Some(folder);
        self.live.retain(|path, _| !is_in(path));
        self.live.extend(
            self.durable.iter().filter(|(path, _)| is_in(path)).map(|(path, node)| (path.clone(), node.clone())),
        );
    }

    /// Each change is there or not, whichever came first; what is in a folder that is not there is lost.
    fn lose_power(&mut self, rng: &mut Rng) {
        let percent = [0, 20, 50, 80, 100][rng.below(5)];
        let mut changes = std::mem::take(&mut self.unsynced);
        while !changes.is_empty() {
            let change = changes.swap_remove(rng.below(changes.len()));
            if rng.below(100) < percent {
                change.apply(&mut self.durable);
            }
        }
        self.live = Nodes::new();
        for (path, node) in std::mem::take(&mut self.durable) {
            let above = path.parent().unwrap();
            // A folder comes before what is in it.
            if above == Path::new("/") || self.live.contains_key(above) {
                node.iter().for_each(|file| file.lock().unwrap().lose_power(rng));
                self.live.insert(path, node);
            }
        }
        self.durable = self.live.clone();
    }
}

/// Files and folders in memory.
#[derive(Clone)]
struct VolatileFiles {
    names: Arc<Mutex<Names>>,
    faults: Arc<Faults>,
    /// Whether files can be renamed without replacing others.
    renames_new: bool,
}

impl fmt::Debug for VolatileFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolatileFiles")
    }
}

impl VolatileFiles {
    fn names(&self, call: Call) -> io::Result<MutexGuard<'_, Names>> {
        self.faults.call(call)?;
        Ok(self.names.lock().unwrap())
    }

    fn opened(&self, file: File) -> Box<dyn OpenFile> {
        Box::new(VolatileFile { bytes: file, faults: Arc::clone(&self.faults) })
    }

    fn made(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let file = File::default();
        self.names(Call::Name)?.change(None, Some((path, Some(Arc::clone(&file)))))?;
        Ok(self.opened(file))
    }
}

impl FileLayer for VolatileFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        self.made(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let file = self.names(Call::Look)?.file(path)?;
        Ok(self.opened(file))
    }

    fn open_lock(&self, path: &Path, make: bool) -> io::Result<Box<dyn OpenFile>> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => self.made(path),
            outcome => outcome,
        }
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(self.names(Call::Look)?.node(path)?.is_none())
    }

    fn bytes(&self, path: &Path) -> io::Result<u64> {
        let names = self.names(Call::Look)?;
        Ok(names.node(path)?.as_ref().map_or(0, |file| file.lock().unwrap().live.len() as u64))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        let names = self.names(Call::Look)?;
        names.node(folder)?;
        let inside = names.live.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).collect())
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.names(Call::Name)?.change(None, Some((folder, None)))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let names = || self.names.lock().unwrap();
        names().node(folder)?;
        self.faults.sync(|| names().sync(folder), || names().drop_unsynced(folder))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names(Call::Name)?;
        if !self.renames_new {
            return Err(Errno::INVAL.into());
        }
        let file = names.file(from)?;
        names.change(Some(from), Some((to, Some(file))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names(Call::Name)?;
        let file = names.file(from)?;
        names.change_over(Some(from), Some((to, Some(file))))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names(Call::Name)?;
        let file = names.file(from)?;
        names.change(None, Some((to, Some(file))))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names(Call::Remove)?;
        names.file(path)?;
        names.change(Some(path), None)
    }
}

/// A file that is open.
struct VolatileFile {
    bytes: File,
    faults: Arc<Faults>,
}

impl fmt::Debug for VolatileFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VolatileFile")
    }
}

impl VolatileFile {
    /// Returns how many of `len` bytes are read or written.
    fn share(&self, call: Call, len: usize) -> io::Result<usize> {
        Ok(if self.faults.call(call)? { len.div_ceil(2) } else { len })
    }
}

impl FileExt for VolatileFile {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let len = self.share(Call::Read, out.len())?;
        let bytes = self.bytes.lock().unwrap();
        let found = bytes.live.get(offset as usize..).unwrap_or_default();
        let found = &found[..found.len().min(len)];
        out[..found.len()].copy_from_slice(found);
        Ok(found.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let len = self.share(Call::Write, bytes.len())?;
        self.bytes.lock().unwrap().write(offset as usize, &bytes[..len]);
        Ok(len)
    }
}

impl OpenFile for VolatileFile {
    fn plain_bytes(&self) -> io::Result<Option<u64>> {
        self.faults.call(Call::Look)?;
        Ok(Some(self.bytes.lock().unwrap().live.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let bytes = || self.bytes.lock().unwrap();
        self.faults.sync(|| bytes().sync(), || bytes().drop_unsynced())
    }

    /// One process at a time has it open.
    fn try_lock(&self, _alone: bool) -> io::Result<()> {
        self.faults.call(Call::Look).map(drop)
    }
}

/// A disk with a directory store, of which unsynced names and unsynced sectors of files are lost one by one.
pub struct DirectoryDisk(VolatileFiles);

impl DirectoryDisk {
    /// Makes an empty one, on a file system that can or cannot rename files without replacing others.
    pub fn new(renames_new: bool) -> Self {
        Self(VolatileFiles { names: Arc::new(Mutex::new(Names::new())), faults: Arc::default(), renames_new })
    }
}

/// All that can be seen becomes safe in the copy.
impl Clone for DirectoryDisk {
    fn clone(&self) -> Self {
        let copy = Self::new(self.0.renames_new);
        let mut names = copy.0.names.lock().unwrap();
        for (path, node) in &self.0.names.lock().unwrap().live {
            let file = node.as_ref().map(|file| {
                let mut bytes = file.lock().unwrap().clone();
                bytes.sync();
                Arc::new(Mutex::new(bytes))
            });
            names.live.insert(path.clone(), file);
        }
        names.durable = names.live.clone();
        drop(names);
        copy
    }
}

impl Disk for DirectoryDisk {
    fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(DirectoryStore::over(Arc::new(self.0.clone()), Path::new(STORE))?))
    }

    fn faults(&self) -> &Faults {
        &self.0.faults
    }

    fn lose_power(&self, rng: &mut Rng) {
        self.0.names.lock().unwrap().lose_power(rng);
    }

    fn crash(&self, rng: &mut Rng) {
        if rng.below(4) > 0 {
            self.lose_power(rng);
        }
    }
}
