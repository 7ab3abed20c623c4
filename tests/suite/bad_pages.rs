//! Pages of a redb file that the disk does not give out: parity makes them good; without, only what lies there is lost.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use daykeep_engine::{
    Access, CancelToken, CheckOptions, CheckReport, ForgetOptions, Location, ObjectId, ObjectKind, ObjectName,
    OpenOptions, PruneOptions, ReadData, Repository, Result,
};
use daykeep_tests::bad_file::{BadPages, PAGE_BYTES};
use daykeep_tests::inventory::{Inventory, read};
use daykeep_tests::is_long;
use daykeep_tests::noise::{Rng, Seed, random};
use daykeep_tests::place::{Kind, Place, assert_restores, back_up, below, secret, temp, try_restore};
use daykeep_tests::stores::objects;

use crate::repair::change;

struct World {
    place: Place,
    bad: BadPages,
    /// The file before anything was bad.
    bytes: Vec<u8>,
    packs: Vec<(ObjectName, Vec<u8>)>,
    wanted: Vec<(ObjectId, Inventory)>,
}

impl World {
    fn new(percent: u8, video_bytes: usize) -> Self {
        let place = Place::with_parity(Kind::Redb, percent);
        let source = place.folder("source");
        fs::write(source.join("video.mp4"), [b"\0\0\0\x18ftypmp42".as_slice(), &random(9, video_bytes)].concat())
            .unwrap();
        let backed_up = |turn| {
            change(&source, turn);
            let id = back_up(&place.open(), &source).snapshot.unwrap();
            (id, read(&source))
        };
        let wanted = (0..3).map(backed_up).collect();
        let bytes = fs::read(place.location().unwrap().path()).unwrap();
        let mut world = Self { place, bad: BadPages::default(), bytes, packs: Vec::new(), wanted };
        world.packs = world.packs_now();
        world
    }

    fn path(&self) -> PathBuf {
        self.place.path("repository.redb")
    }

    fn packs_now(&self) -> Vec<(ObjectName, Vec<u8>)> {
        let mut all = objects(self.bad.open(&self.path()).as_ref());
        all.retain(|(name, _)| name.kind == ObjectKind::Pack);
        all
    }

    /// Returns the pages that a pack lies in. The first has redb's own header of it too.
    fn pages(&self, pack: &[u8]) -> Range<u64> {
        let at = self.bytes.windows(pack.len()).position(|window| window == pack).unwrap() as u64;
        at / PAGE_BYTES..(at + pack.len() as u64).div_ceil(PAGE_BYTES)
    }

    /// Makes the file what it was, with other pages bad: what they held is gone, whoever asks.
    fn begin(&self, bad: impl IntoIterator<Item = u64>) {
        let mut bytes = self.bytes.clone();
        let mut pages = self.bad.get();
        pages.clear();
        for page in bad {
            let at = (page * PAGE_BYTES) as usize;
            let end = (at + PAGE_BYTES as usize).min(bytes.len());
            bytes[at..end].fill(0xaa);
            pages.insert(page);
        }
        fs::write(self.path(), bytes).unwrap();
    }

    fn try_open(&self) -> Result<Repository> {
        let store = self.bad.try_open(&self.path())?;
        Repository::open_in(std::sync::Arc::new(store), &secret(), Access::Write, &options())
    }

    /// Demands that backups go on beside packs with bad pages, and that a prune deletes them when nobody needs them.
    fn assert_prunes(&self, bad: &[u64]) {
        self.begin(bad.iter().copied());
        let mut repository = self.try_open().unwrap();
        let source = self.place.path("source");
        let id = back_up(&repository, &source).snapshot.unwrap();
        assert_restores(&repository, &id.to_string(), &source, &self.wanted[2].1);
        let mut all = ForgetOptions::default();
        all.ids = repository.snapshots().unwrap().0.iter().map(|snapshot| snapshot.id.to_string()).collect();
        all.allow_empty_groups = true;
        let plan = repository.forget_plan(&all).unwrap();
        repository.forget(&plan, &CancelToken::new()).unwrap();
        let mut options = PruneOptions::default();
        options.unused_percent_max = 0;
        let plan = repository.prune_plan(&options).unwrap();
        repository.prune(plan, &options).unwrap();
        drop(repository);
        assert_eq!(self.packs_now(), []);
    }

    fn assert_restores(&self, repository: &Repository) {
        for (id, wanted) in &self.wanted {
            assert_restores(repository, &id.to_string(), &self.place.path("source"), wanted);
        }
    }
}

fn options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

fn check(repository: &Repository, repair: bool) -> Result<CheckReport> {
    let mut options = CheckOptions::default();
    (options.read_data, options.repair) = (ReadData::All, repair);
    repository.check(&options)
}

#[test]
fn parity_heals_pages_of_packs() {
    heals(&World::new(5, 100), if is_long() { 200 } else { 5 });
}

/// These are as long as redb's cache allows, and are read from the file each time.
#[test]
fn parity_heals_pages_of_full_packs() {
    heals(&World::new(5, 9 << 20), if is_long() { 100 } else { 3 });
}

fn heals(world: &World, turns: usize) {
    let mut rng = Rng::new(Seed::first());
    assert!(world.packs.len() >= 3);
    for turn in 0..turns {
        let mut bad = Vec::new();
        for (_, pack) in &world.packs {
            let pages = world.pages(pack);
            // The first page, where redb's own header of a pack stands, in every other turn.
            let page = if turn % 2 == 0 { rng.below((pages.end - pages.start) as usize) as u64 } else { 0 };
            bad.push(pages.start + page);
        }
        let count = bad.len() as u64;
        world.begin(bad.clone());
        let repository = world.try_open().unwrap();
        world.assert_restores(&repository);
        let report = check(&repository, false).unwrap();
        assert_eq!((report.files_hurt, report.objects_healable), (0, count), "{bad:?}: {:?}", report.errors);
        assert_eq!(report.errors.len() as u64, count);
        let report = check(&repository, true).unwrap();
        assert_eq!((report.errors, report.objects_healed), (vec![], count), "{bad:?}");
        drop(repository);
        assert!(world.packs_now() == world.packs, "{bad:?}: the bytes are what they were");
        assert_eq!(check(&world.try_open().unwrap(), false).unwrap().errors, [""; 0], "{bad:?}");
        if turn == 0 {
            world.assert_prunes(&bad);
        }
    }
}

/// One page after another of the whole file, redb's own among them: nothing comes back other than it was, and what comes
/// back not at all is named; a rescue has the rest.
#[test]
fn of_any_page_only_what_lies_there_is_lost() {
    let world = World::new(0, 100);
    let source = world.place.path("source");
    let step = if is_long() { 1 } else { 9 };
    let in_packs: Vec<Range<u64>> = world.packs.iter().map(|(_, pack)| world.pages(pack)).collect();
    let (mut partial, mut refused) = (0, 0);
    for page in (Seed::first() % step..world.bytes.len() as u64 / PAGE_BYTES).step_by(step as usize) {
        world.begin([page]);
        // Of a short pack nobody knows whether it is alone in redb's leaf.
        let is_of_pack =
            in_packs.iter().any(|pages| pages.contains(&page) && (pages.start != page || pages.end - pages.start > 3));
        let outcome = world.try_open().and_then(|repository| {
            let report = check(&repository, false)?;
            for (id, wanted) in &world.wanted {
                let target = temp();
                let restored = try_restore(&repository, &id.to_string(), target.path())?;
                let below = below(target.path(), &source);
                let found = if below.exists() { read(&below) } else { Inventory::new() };
                let missing = wanted.iter().filter(|(path, item)| found.get(*path) != Some(item)).count();
                assert_eq!(missing > 0, !restored.warnings.is_empty(), "page {page}: {:?}", restored.warnings);
                assert!(missing == 0 || report.files_hurt > 0, "page {page}: {:?}", report.errors);
                partial += usize::from(missing > 0 && missing < wanted.len());
            }
            Ok(())
        });
        if let Err(error) = outcome {
            assert!(!is_of_pack, "page {page}: {error}");
            refused += 1;
        }
        if page % 5 == 0 {
            let to = Location::Directory(world.place.path(format!("rescued-{page}")));
            let rescued = Repository::rescue(&world.path(), &secret(), &to, &options(), &CancelToken::new());
            assert!(rescued.unwrap().packs + 1 >= world.packs.len() as u64, "page {page}");
        }
    }
    assert!(partial > 0, "nothing was lost");
    println!("{refused} pages kept a command from its end");
}
