//! What damage means: which files of which snapshots are hurt.
//!
//! First every distinct tree and list piece is proved, once, on all cores; as a rule all is well, and that is the end of it.
//! Otherwise the paths of all snapshots are walked at once, into folders only in which something is hurt.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rayon::prelude::*;

use crate::base::limits::TREE_DEPTH_MAX;
use crate::base::{Event, ShortId, lock, shown};
use crate::catalog::{MARK_BYTES, Marks, Proven};
use crate::check::run::Check;
use crate::error::{Error, Result};
use crate::format::content::Content;
use crate::format::index::ChunkKind;
use crate::format::tree::{Entry, Node};
use crate::snapshot::Snapshot;
use crate::tree::{self, PieceWalk, Runs, VersionWalk, Visitor};

/// So many hurt files are named one by one; whoever loses more has lost a folder, or everything.
const NAMED_MAX: usize = 1000;
/// So many are counted, and told to the observer. A few trees that name one another can stand for more paths than anyone can
/// visit.
const COUNTED_MAX: u64 = 1_000_000;
/// So many versions of hurt files and of the folders above them are held at once.
const HELD_MAX: usize = 200_000;

/// What is known of a tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    /// It was looked at, and what it names itself is well.
    Seen = 1,
    /// It cannot be read, or a file in it is hurt.
    Hurt = 2,
    /// All below it is well.
    Clean = 3,
    /// Something below it is hurt.
    Above = 4,
}

impl Note {
    const fn mark(self) -> [u8; MARK_BYTES] {
        [self as u8, 0, 0, 0]
    }

    fn of(mark: [u8; MARK_BYTES]) -> Option<Self> {
        [Self::Seen, Self::Hurt, Self::Clean, Self::Above].into_iter().find(|note| note.mark() == mark)
    }
}

/// A walk over trees.
pub(super) struct Walk<'c, 'a> {
    check: &'c Check<'a>,
    notes: Mutex<Marks>,
    pieces: PieceWalk,
    proven: Proven,
    trees: AtomicU64,
    is_hurt: AtomicBool,
    is_too_deep: AtomicBool,
}

/// What is hurt, in words.
#[derive(Default)]
pub(super) struct Hurt {
    /// A line for each of the first files, and one for the rest.
    pub lines: Vec<String>,
    /// Versions of files and folders that are hurt.
    pub files: u64,
    /// Distinct trees that could be read.
    pub trees: u64,
}

impl<'c, 'a> Walk<'c, 'a> {
    /// Walks the trees of all snapshots. An eighth of the memory budget each is for notes, and for chunks that were found.
    ///
    /// # Errors
    /// `Cancelled`, or if notes cannot be made. Damage is in what is returned.
    pub fn run(check: &'c Check<'a>, snapshots: &[Snapshot]) -> Result<Hurt> {
        let notes = Mutex::new(Marks::new(check.repo.cache_dir.as_deref(), check.repo.memory_bytes / 8));
        let (pieces, trees) = (PieceWalk::default(), AtomicU64::new(0));
        let (is_hurt, is_too_deep) = (AtomicBool::new(false), AtomicBool::new(false));
        let proven = Proven::new(check.repo.memory_bytes / 8);
        let walk = Self { check, notes, pieces, proven, trees, is_hurt, is_too_deep };
        snapshots.iter().try_for_each(|snapshot| walk.prove(&snapshot.record.root, 0))?;
        let mut hurt = Hurt::default();
        if walk.is_hurt.load(Ordering::Relaxed) {
            let naming = Naming { walk: &walk, snapshots, hurt };
            let mut paths = VersionWalk::new(&check.reader, &check.options.cancel, HELD_MAX, naming);
            paths.run(snapshots.iter().map(|snapshot| &snapshot.record.root))?;
            hurt = paths.visitor.finish();
        }
        if walk.is_too_deep.load(Ordering::Relaxed) {
            hurt.files += 1;
            hurt.lines
                .push(format!("trees: are nested deeper than {TREE_DEPTH_MAX} folders; what is below is not restored"));
        }
        hurt.trees = walk.trees.load(Ordering::Relaxed);
        Ok(hurt)
    }

    fn note(&self, id: ShortId, note: Note) -> Result<()> {
        Ok(lock(&self.notes).set(id, note.mark())?)
    }

    fn note_of(&self, id: &ShortId) -> Result<Option<Note>> {
        Ok(lock(&self.notes).get(id)?.and_then(Note::of))
    }

    fn note_hurt(&self, id: ShortId) -> Result<()> {
        self.is_hurt.store(true, Ordering::Relaxed);
        self.note(id, Note::Hurt)
    }

    /// Looks at a tree and all below it that was not looked at before.
    fn prove(&self, content: &Content, depth: usize) -> Result<()> {
        self.check.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            self.is_too_deep.store(true, Ordering::Relaxed);
            return Ok(());
        }
        let id = tree::fingerprint(content).short();
        {
            let mut notes = lock(&self.notes);
            if notes.get(&id)?.is_some() {
                return Ok(());
            }
            notes.set(id, Note::Seen.mark())?;
        }
        let Ok(tree) = tree::load(&self.check.reader, content) else { return self.note_hurt(id) };
        self.trees.fetch_add(1, Ordering::Relaxed);
        tree.entries.par_iter().try_for_each(|entry: &Entry| match &entry.node {
            Node::Directory { content } => self.prove(content, depth + 1),
            Node::File { content, .. } if self.problem(content)?.is_some() => self.note_hurt(id),
            _ => Ok(()),
        })
    }

    /// Returns why a file cannot be restored, if so: a chunk of it is not listed, of another length, or hurt.
    fn problem(&self, content: &Content) -> Result<Option<String>> {
        let Check { reader, hurt, .. } = self.check;
        let visit = |id: &ShortId, bytes| {
            self.check.check_cancel()?;
            if let Some(pack) = hurt.get(id) {
                let reason = format!("lies in packs/{pack}, which could not be read there");
                return Err(Error::Damaged { object: format!("chunk {id}"), reason });
            }
            if !self.proven.has(id, bytes) {
                let location = reader.locate(id, ChunkKind::Data)?;
                tree::check_length(id, u64::from(location.bytes), bytes)?;
                self.proven.add(id, bytes);
            }
            Ok(())
        };
        match self.pieces.data_bytes(reader, content, &visit) {
            Ok(_) => Ok(None),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            Err(error) => Ok(Some(reason(&error))),
        }
    }

    /// Returns whether a tree or anything below it is hurt. Each is looked at once, however many name it.
    fn is_above_hurt(&self, content: &Content, depth: usize) -> Result<bool> {
        let id = tree::fingerprint(content).short();
        match self.note_of(&id)? {
            Some(Note::Hurt | Note::Above) => return Ok(true),
            Some(Note::Clean) => return Ok(false),
            Some(Note::Seen) | None => {}
        }
        self.check.check_cancel()?;
        if depth > TREE_DEPTH_MAX {
            return Ok(false);
        }
        let is_above = match tree::load(&self.check.reader, content) {
            Ok(tree) => {
                let mut folders = Vec::new();
                folders.extend(tree.entries.into_iter().filter_map(|entry| match entry.node {
                    Node::Directory { content } => Some(content),
                    _ => None,
                }));
                let mut is_above = false;
                for folder in &folders {
                    is_above = is_above || self.is_above_hurt(folder, depth + 1)?;
                }
                is_above
            }
            Err(_) => true,
        };
        self.note(id, if is_above { Note::Above } else { Note::Clean })?;
        Ok(is_above)
    }
}

/// Says what is wrong, without what the error would say to do: that is being done.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Damaged { object, reason } => format!("{object}: {reason}"),
        Error::Missing { object } => format!("{object} is missing"),
        other => other.to_string(),
    }
}

/// Names what is hurt.
struct Naming<'w, 'c, 'a> {
    walk: &'w Walk<'c, 'a>,
    snapshots: &'w [Snapshot],
    hurt: Hurt,
}

impl Naming<'_, '_, '_> {
    fn name(&mut self, path: Vec<u8>, reason: String, runs: &Runs) {
        let of_number = |at| self.snapshots.get(at).map(|snapshot: &Snapshot| snapshot.id);
        self.hurt.files += 1;
        if self.hurt.lines.len() < NAMED_MAX {
            let ids: Vec<String> =
                runs.numbers().filter_map(of_number).map(|id| id.to_string()[..8].to_owned()).collect();
            let held = match ids.as_slice() {
                [only] => format!("snapshot {only}"),
                [first, .., last] => format!("{} snapshots, {first} to {last}", ids.len()),
                [] => "no snapshot".into(),
            };
            self.hurt.lines.push(format!("{}: {reason}; in {held}", shown(&path)));
        }
        if let Some(observer) = &self.walk.check.options.observer {
            let snapshots = runs.numbers().filter_map(of_number).collect();
            observer.event(&Event::Hurt { path, reason, snapshots });
        }
    }

    fn finish(mut self) -> Hurt {
        let more = self.hurt.files - self.hurt.lines.len() as u64;
        if self.hurt.files >= COUNTED_MAX {
            self.hurt
                .lines
                .push(format!("more than {more} more files are hurt; a restore names all that it leaves out"));
        } else if more > 0 {
            self.hurt.lines.push(format!("{more} more files are hurt; --json names them all"));
        }
        self.hurt
    }
}

impl Visitor for Naming<'_, '_, '_> {
    fn wants(&mut self, _: &[u8], entry: &Entry) -> Result<bool> {
        match &entry.node {
            Node::File { content, .. } => Ok(self.walk.problem(content)?.is_some()),
            _ => Ok(false),
        }
    }

    fn enters(&mut self, content: &Content) -> Result<bool> {
        self.walk.is_above_hurt(content, 0)
    }

    fn is_same(&self, one: &Entry, other: &Entry) -> bool {
        one.node.content() == other.node.content()
    }

    fn tell(&mut self, path: &[u8], entry: &Entry, runs: &Runs) {
        // Asked again, since to keep the answers of a large folder would take more than to find them.
        let problem = entry.node.content().and_then(|content| self.walk.problem(content).ok().flatten());
        self.name(path.to_vec(), problem.unwrap_or_default(), runs);
    }

    fn fail(&mut self, path: &[u8], error: Error, runs: &Runs) {
        self.name([path, b"/"].concat(), reason(&error), runs);
    }

    fn goes_on(&self) -> bool {
        self.hurt.files < COUNTED_MAX
    }
}
