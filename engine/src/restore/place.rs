//! A folder at the target: found, or made when the first thing in it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use rustix::fs::Mode;

use crate::base::{DirPath, lock};
use crate::error::{Error, Result};
use crate::format::tree::{Entry, Metadata, Node, Tree};
use crate::restore::options::{Overwrite, RestoreOptions};
use crate::restore::target_dir::{Nursery, Opening, TargetDir};
use crate::source::{FileKind, Stat};

/// Files up to this size are made in a folder that has no name yet; of longer ones, a name of their own costs nothing that
/// could be measured.
const NURSERY_FILE_BYTES_MAX: u64 = 256 * 1024;
/// A folder with fewer such files is made at its place.
const NURSERY_FILES_MIN: usize = 2;

/// How folders at the target are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ways {
    /// Nothing is made or changed.
    pub is_dry: bool,
    /// Links that lie above what is restored are followed.
    pub follows: bool,
    /// What is in the way of a folder is removed.
    pub displaces: bool,
    /// What a killed restore left is removed; not while another restore works below the same target.
    pub cleans: bool,
    /// Folders that are there get no metadata.
    pub keeps_folders: bool,
}

impl Ways {
    pub fn of(options: &RestoreOptions, cleans: bool) -> Self {
        let is_never = options.overwrite == Overwrite::Never;
        Self {
            is_dry: options.dry_run,
            follows: options.follow_target_links,
            displaces: options.delete && !is_never,
            cleans: cleans && !options.dry_run,
            keeps_folders: is_never,
        }
    }
}

/// The way from the target down to a folder, by which it is opened again.
#[derive(Debug, Default)]
pub(super) struct Trail {
    /// Each name, and whether a link may be followed there.
    steps: Vec<(Vec<u8>, bool)>,
}

impl Trail {
    /// Opens the folder, one name at a time.
    pub fn open(&self, root: &TargetDir, opening: Opening) -> Result<Option<TargetDir>> {
        let mut dir = root.try_clone()?;
        for (name, follows) in &self.steps {
            let next = if *follows { dir.follow_dir(name, opening)? } else { dir.open_dir(name, opening)? };
            let Some(next) = next else { return Ok(None) };
            dir = next;
        }
        Ok(Some(dir))
    }

    /// Opens the folder, which this restore has made or found.
    pub fn reopen(&self, root: &TargetDir) -> Result<TargetDir> {
        self.open(root, Opening::Enter)?.ok_or_else(|| Error::UnsafeTarget {
            path: self.steps.iter().fold(root.path().to_path_buf(), |path, (name, _)| path.join(text(name))),
            reason: "the folder was removed during the restore; run it again".into(),
        })
    }
}

fn text(name: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(name)
}

/// What is known of a folder at the target.
#[derive(Default)]
struct State {
    dir: Option<Arc<TargetDir>>,
    /// Whether this restore made it.
    is_new: bool,
    /// Set as long as it has a temporary name.
    nursery: Option<Nursery>,
    /// In a dry run: it was looked for.
    is_looked_for: bool,
}

/// A folder that was made or looked for.
pub(super) struct Entered {
    /// The folder; `None` in a dry run if it is not there.
    pub dir: Option<Arc<TargetDir>>,
    /// Whether this restore made it, or would.
    pub is_new: bool,
    /// Whether it has a temporary name still.
    pub is_nursery: bool,
}

impl Entered {
    /// Tells what has a name in the folder.
    pub fn find(&self, name: &[u8]) -> Result<Option<Stat>> {
        match &self.dir {
            Some(dir) if !self.is_new => match dir.stat(name) {
                // A folder that a run would let its owner into.
                Err(Error::File { source, .. })
                    if dir.is_path_only() && source.kind() == std::io::ErrorKind::PermissionDenied =>
                {
                    Ok(None)
                }
                found => found,
            },
            _ => Ok(None),
        }
    }
}

/// A folder at the target that is made when the first thing in it is.
pub(super) struct Place<'a> {
    above: Option<&'a Place<'a>>,
    pub path: DirPath<'a>,
    /// What the snapshot has in it, unless that cannot be read.
    tree: Option<&'a Tree>,
    /// Its metadata, unless it is the target itself.
    metadata: Option<&'a Metadata>,
    /// Whether it is part of what is restored, and not only above it.
    is_selected: bool,
    ways: Ways,
    state: Mutex<State>,
    trail: OnceLock<Arc<Trail>>,
}

impl<'a> Place<'a> {
    /// Returns the target itself; `None` where nothing is there and nothing is made.
    pub fn root(
        prefix: &'a [u8],
        tree: Option<&'a Tree>,
        is_selected: bool,
        dir: Option<(Arc<TargetDir>, bool)>,
        ways: Ways,
    ) -> Self {
        let (dir, is_new) = dir.map_or((None, true), |(dir, is_new)| (Some(dir), is_new));
        if let Some(dir) = &dir
            && !is_new
        {
            clean(dir, tree, ways);
        }
        let state = State { dir, is_new, nursery: None, is_looked_for: true };
        Self {
            above: None,
            path: DirPath::root(prefix),
            tree,
            metadata: None,
            is_selected,
            ways,
            state: Mutex::new(state),
            trail: OnceLock::new(),
        }
    }

    /// Returns a folder in this one.
    pub fn below(&'a self, entry: &'a Entry, tree: Option<&'a Tree>, is_selected: bool) -> Self {
        Self {
            above: Some(self),
            path: self.path.below(&entry.name),
            tree,
            metadata: Some(&entry.metadata),
            is_selected,
            ways: self.ways,
            state: Mutex::default(),
            trail: OnceLock::new(),
        }
    }

    /// Returns the path from the snapshot's root of an entry in this folder.
    pub fn join(&self, name: &[u8]) -> PathBuf {
        self.path.join(name)
    }

    /// Returns whether the folder is part of what is restored.
    pub fn is_selected(&self) -> bool {
        self.is_selected
    }

    /// Returns whether the snapshot has something of this name in the folder.
    pub fn has_entry(&self, name: &[u8]) -> bool {
        self.tree.is_some_and(|tree| tree.entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).is_ok())
    }

    /// Returns whether a link may be followed here.
    fn follows(&self) -> bool {
        self.ways.follows && !self.is_selected
    }

    /// Returns whether an entry is made before the folder has its name, if the folder is new.
    pub fn is_for_nursery(entry: &Entry) -> bool {
        match &entry.node {
            Node::Directory { .. } => false,
            Node::File { content, .. } => content.level == 0 && content.bytes() <= NURSERY_FILE_BYTES_MAX,
            _ => true,
        }
    }

    /// Returns whether the folder gets its name only when the small files in it are whole: then none of them needs a
    /// temporary name of its own, which would cost a fifth of the whole time.
    pub fn wants_nursery(&self) -> bool {
        let small = |tree: &Tree| tree.entries.iter().filter(|entry| Self::is_for_nursery(entry)).count();
        self.above.is_some() && !self.ways.is_dry && self.tree.is_some_and(|tree| small(tree) >= NURSERY_FILES_MIN)
    }

    /// Returns the folder, made if it was not there.
    pub fn make(&self) -> Result<Arc<TargetDir>> {
        let mut state = lock(&self.state);
        if let Some(dir) = &state.dir {
            return Ok(Arc::clone(dir));
        }
        let above = self.above.map(Place::make).transpose()?;
        let above = above.ok_or_else(|| Error::UnsafeTarget { path: "/".into(), reason: "has no folder".into() })?;
        let found = match self.open(&above, Opening::Enter) {
            Err(Error::UnsafeTarget { .. }) if self.displaces(&above)? => {
                above.remove_non_dir(self.path.name)?;
                None
            }
            outcome => outcome?,
        };
        let (dir, is_new) = match found {
            Some(dir) => (dir, false),
            None if self.wants_nursery() => {
                let (dir, nursery) = above.make_nursery(self.path.name, self.first_mode())?;
                state.nursery = Some(nursery);
                (dir, true)
            }
            None => above.make_dir(self.path.name, self.first_mode())?,
        };
        if !is_new {
            dir.make_writable();
            clean(&dir, self.tree, self.ways);
        }
        state.is_new = is_new;
        Ok(Arc::clone(state.dir.insert(Arc::new(dir))))
    }

    /// Returns the permissions of a folder until it gets its own: what is known to nobody gets the usual ones at once.
    fn first_mode(&self) -> Mode {
        let is_unknown = self.metadata.is_some_and(|metadata| metadata.is_unknown);
        if is_unknown { Mode::RWXU | Mode::RWXG | Mode::RWXO } else { Mode::RWXU }
    }

    fn open(&self, above: &TargetDir, opening: Opening) -> Result<Option<TargetDir>> {
        if self.above.is_some_and(Place::is_new) {
            return Ok(None);
        }
        let name = self.path.name;
        if self.follows() { above.follow_dir(name, opening) } else { above.open_dir(name, opening) }
    }

    /// Returns whether what is in the way of the folder goes.
    fn displaces(&self, above: &TargetDir) -> Result<bool> {
        let displaces = self.ways.displaces && self.is_selected;
        Ok(displaces && above.stat(self.path.name)?.is_some_and(|found| found.kind != FileKind::Directory))
    }

    /// Returns the folder if it is there, and changes nothing.
    pub fn look(&self) -> Result<Option<Arc<TargetDir>>> {
        let mut state = lock(&self.state);
        if state.is_looked_for {
            return Ok(state.dir.clone());
        }
        let above = match self.above {
            Some(above) => above.look()?,
            None => None,
        };
        let found = match &above {
            None => None,
            Some(above) => match self.open(above, Opening::Look) {
                Err(Error::UnsafeTarget { .. }) if self.displaces(above)? => None,
                outcome => outcome?.map(Arc::new),
            },
        };
        (state.is_looked_for, state.is_new) = (true, found.is_none());
        state.dir = found;
        Ok(state.dir.clone())
    }

    /// Makes the folder, or looks for it in a dry run, and tells what came of it.
    pub fn enter(&self) -> Result<Entered> {
        let dir = if self.ways.is_dry { self.look()? } else { Some(self.make()?) };
        let state = lock(&self.state);
        Ok(Entered { dir, is_new: state.is_new, is_nursery: state.nursery.is_some() })
    }

    /// Returns the folder if it was made or found.
    pub fn made(&self) -> Option<Arc<TargetDir>> {
        lock(&self.state).dir.clone()
    }

    /// Returns whether this restore made the folder, or would.
    pub fn is_new(&self) -> bool {
        lock(&self.state).is_new
    }

    /// Gives the folder its name if it has none yet.
    pub fn publish(&self) -> Result<()> {
        let nursery = lock(&self.state).nursery.take();
        match (nursery, self.above) {
            (Some(nursery), Some(above)) => above.make()?.place_nursery(&nursery, self.path.name),
            _ => Ok(()),
        }
    }

    /// Returns whether the folder gets the metadata that the snapshot has: it was made, or is part of what is restored.
    pub fn gets_metadata(&self) -> bool {
        let is_known = self.metadata.is_some_and(|metadata| !metadata.is_unknown);
        is_known && (self.is_new() || self.is_selected && !self.ways.keeps_folders)
    }

    /// Returns the way from the target down to this folder.
    pub fn trail(&self) -> Arc<Trail> {
        Arc::clone(self.trail.get_or_init(|| {
            let Some(above) = self.above else { return Arc::default() };
            let mut steps = above.trail().steps.clone();
            steps.push((self.path.name.to_vec(), self.follows()));
            Arc::new(Trail { steps })
        }))
    }
}

fn clean(dir: &TargetDir, tree: Option<&Tree>, ways: Ways) {
    if ways.cleans {
        dir.remove_left(tree.iter().flat_map(|tree| &tree.entries).map(|entry| entry.name.as_slice()));
    }
}
