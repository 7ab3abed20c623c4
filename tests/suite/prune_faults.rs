//! A prune that is interrupted, or told what is no longer so: nothing is lost, and the next one does the rest.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daykeep_engine::internals::base::ShortId;
use daykeep_engine::internals::chunks::load_index;
use daykeep_engine::internals::codec::Codec;
use daykeep_engine::internals::delta::DeltaEncoder;
use daykeep_engine::internals::format::content::{Content, Part};
use daykeep_engine::internals::format::index::{ChunkKind, DeltaRecord, FrameTable, Index, PackRecord, Reach};
use daykeep_engine::{
    Access, CheckOptions, Error, MemoryStore, ObjectId, ObjectKind, ObjectName, OpenOptions, PruneOptions, Repository,
    Store, StoreErrorKind,
};
use daykeep_tests::forge::{Forge, file, tree_writer};
use daykeep_tests::inventory::{assert_same, read};
use daykeep_tests::noise::{self, Rng};
use daykeep_tests::place::{assert_clean, assert_restores, back_up, key, restore, secret, temp};
use daykeep_tests::stores::{FailingStore, OBJECT_BYTES_MAX, objects, replace};

use crate::prune::{Days, Snapshots, all_restore, back_up_days, forget, prune_with, thorough};

fn options() -> OpenOptions {
    OpenOptions::default().memory_bytes(64 << 20)
}

fn open(store: &Arc<dyn Store>, cache: &Path) -> Result<Repository, Error> {
    Repository::open_in(Arc::clone(store), &secret(), Access::Write, &options().cache_dir(cache))
}

/// A repository in memory of which half of the snapshots are forgotten; its objects, to begin anew from.
struct Forgotten {
    dir: tempfile::TempDir,
    source: PathBuf,
    objects: Vec<(ObjectName, Vec<u8>)>,
    kept: Snapshots,
}

impl Forgotten {
    fn new() -> Self {
        let (dir, memory) = (temp(), Arc::new(MemoryStore::with_pack_bytes(2 << 20)));
        let repository = Repository::create_in(memory.clone(), &key(), None, &options()).unwrap();
        let mut days = Days::new(dir.path().join("source"));
        let mut snapshots = back_up_days(&repository, &mut days, 6);
        fs::copy(days.source.join("chats.db"), dir.path().join("older.db")).unwrap();
        snapshots.extend(back_up_days(&repository, &mut days, 3));
        fs::copy(days.source.join("chats.db"), dir.path().join("newest.db")).unwrap();
        let kept = forget(memory.as_ref(), snapshots, |number| number % 4 == 3);
        let objects = objects(memory.as_ref());
        Self { source: days.source, dir, objects, kept }
    }

    fn store(&self) -> Arc<MemoryStore> {
        let store = MemoryStore::with_pack_bytes(2 << 20);
        for (name, bytes) in &self.objects {
            store.put(name, bytes).unwrap();
        }
        Arc::new(store)
    }

    /// All that is kept restores, and another prune reclaims the rest.
    fn is_whole_after(&self, store: &Arc<dyn Store>, cache: &Path, what: &str) {
        let mut repository = open(store, cache).unwrap();
        let report = repository.check(&CheckOptions::default()).unwrap();
        assert_eq!(report.errors, [""; 0], "{what}");
        for (id, wanted) in &self.kept {
            let target = temp();
            let restored = restore(&repository, &id.to_string(), &self.source, target.path());
            assert_same(wanted, &read(&restored));
        }
        // What is used again must be all there: what the source was on the last, forgotten day, and on one before.
        for version in ["newest.db", "older.db"] {
            fs::copy(self.dir.path().join(version), self.source.join("chats.db")).unwrap();
            let wanted = read(&self.source);
            back_up(&repository, &self.source);
            assert_restores(&repository, "latest", &self.source, &wanted);
        }
        let wanted = read(&self.source);
        // What the interrupted one wrote twice may keep bases, which go with the copies that stand on them.
        prune_with(&mut repository, &thorough());
        prune_with(&mut repository, &thorough());
        let plan = repository.prune_plan(&thorough()).unwrap();
        assert!(plan.is_empty(), "{what}: {:?}", plan.figures);
        assert_clean(&repository);
        all_restore(&repository, &self.source, &self.kept);
        assert_restores(&repository, "latest", &self.source, &wanted);
    }
}

/// Nothing is rewritten but index objects.
fn sparing() -> PruneOptions {
    let mut options = PruneOptions::default();
    options.repack_bytes_max = Some(0);
    options
}

fn every_call_of_a_prune_may_fail(options: &PruneOptions, for_ever: bool, keeps_cache: bool) {
    let forgotten = Forgotten::new();
    let mut whats = HashSet::new();
    for call in 0.. {
        let failing = Arc::new(FailingStore::new(forgotten.store(), StoreErrorKind::Io));
        let store: Arc<dyn Store> = failing.clone();
        let cache = forgotten.dir.path().join(format!("cache-{call}"));
        let mut repository = open(&store, &cache).unwrap();
        failing.fail_after(call, for_ever);
        let outcome = repository.prune_plan(options).and_then(|plan| repository.prune(plan, options));
        let calls = failing.heal();
        let failed = failing.failed();
        assert_eq!(outcome.is_err(), failed.is_some(), "call {call} of {calls}: {failed:?} failed, {outcome:?}");
        let Some(failed) = failed else { break };
        let text = outcome.unwrap_err().to_string();
        assert!(text.contains("the test let it fail"), "call {call}: {text}");
        if !keeps_cache {
            drop(repository);
            fs::remove_dir_all(&cache).unwrap();
        } else {
            // The process may go on with what it has open.
            let wanted = read(&forgotten.source);
            back_up(&repository, &forgotten.source);
            assert_restores(&repository, "latest", &forgotten.source, &wanted);
            drop(repository);
        }
        forgotten.is_whole_after(&store, &cache, &format!("{failed} failed at call {call}"));
        whats.insert(failed);
    }
    for what in ["list", "get", "put", "sync", "delete"] {
        assert!(whats.contains(what), "{what} has failed");
    }
}

#[test]
fn every_call_of_a_prune_may_fail_once() {
    every_call_of_a_prune_may_fail(&thorough(), false, true);
    every_call_of_a_prune_may_fail(&sparing(), false, true);
}

#[test]
fn every_call_of_a_prune_may_be_the_last() {
    every_call_of_a_prune_may_fail(&thorough(), true, true);
    every_call_of_a_prune_may_fail(&sparing(), true, true);
}

#[test]
fn every_call_of_a_prune_may_be_the_last_and_the_cache_lost() {
    every_call_of_a_prune_may_fail(&thorough(), true, false);
    every_call_of_a_prune_may_fail(&sparing(), true, false);
}

#[test]
fn whatever_cannot_be_read_nothing_is_deleted() {
    let forgotten = Forgotten::new();
    let mut named = 0;
    for (name, bytes) in &forgotten.objects {
        if matches!(name.kind, ObjectKind::Config | ObjectKind::Key) {
            continue;
        }
        let memory = forgotten.store();
        let store: Arc<dyn Store> = memory.clone();
        let mut hurt = bytes.clone();
        let at = hurt.len() / 3;
        hurt[at] ^= 1;
        replace(store.as_ref(), name, &hurt);
        let before = objects(store.as_ref());
        let cache = temp();
        let mut repository = open(&store, cache.path()).unwrap();
        let outcome = repository.prune_plan(&thorough()).and_then(|plan| repository.prune(plan, &thorough()));
        match outcome {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("check"), "{name}: {text}");
                // What replaces may have been written.
                let after: HashSet<_> = objects(store.as_ref()).into_iter().collect();
                assert!(before.iter().all(|object| after.contains(object)), "{name}: {text}");
                named += 1;
            }
            // A pack whose hurt frames nobody needs, or that is not rewritten.
            Ok(_) => assert_eq!(name.kind, ObjectKind::Pack, "{name}"),
        }
    }
    assert!(named > 8, "only {named} objects matter");
}

#[test]
fn a_missing_pack_keeps_everything() {
    let forgotten = Forgotten::new();
    let (mut refused, mut has_advice) = (0, false);
    for (name, _) in forgotten.objects.iter().filter(|(name, _)| name.kind == ObjectKind::Pack) {
        let store: Arc<dyn Store> = forgotten.store();
        store.delete(name).unwrap();
        let cache = temp();
        let mut repository = open(&store, cache.path()).unwrap();
        match repository.prune_plan(&thorough()) {
            Err(error) => {
                assert!(matches!(error, Error::Unprunable { .. }), "{error}");
                has_advice |= error.to_string().contains("repair --read-data` makes copies");
                refused += 1;
            }
            Ok(plan) => {
                repository.prune(plan, &thorough()).unwrap();
                assert_clean(&repository);
                all_restore(&repository, &forgotten.source, &forgotten.kept);
            }
        }
    }
    assert!(refused >= 2 && has_advice);
}

#[test]
fn a_plan_is_good_only_while_nothing_changes() {
    let forgotten = Forgotten::new();
    let store: Arc<dyn Store> = forgotten.store();
    let cache = temp();
    let mut repository = open(&store, cache.path()).unwrap();
    let plan = repository.prune_plan(&thorough()).unwrap();
    back_up(&repository, &forgotten.source);
    let error = repository.prune(plan, &thorough()).unwrap_err();
    assert!(error.to_string().contains("make a new plan"), "{error}");
    forgotten.is_whole_after(&store, cache.path(), "a plan that was late");
}

#[test]
fn a_snapshot_made_during_the_grace_keeps_everything() {
    let forgotten = Forgotten::new();
    let store: Arc<dyn Store> = forgotten.store();
    let cache = temp();
    let mut repository = open(&store, cache.path()).unwrap();
    let mut options = thorough();
    options.grace = std::time::Duration::from_millis(600);
    let plan = repository.prune_plan(&options).unwrap();
    let before: HashSet<_> = objects(store.as_ref()).into_iter().collect();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(200));
            // Another writer's; what it is does not matter.
            let (name, bytes) = before.iter().find(|(name, _)| name.kind == ObjectKind::Snapshot).unwrap();
            store.put(&ObjectName::new(name.kind, ObjectId::from_bytes([77; 32])), bytes).unwrap();
        });
        repository.prune(plan, &options)
    });
    assert!(outcome.unwrap_err().to_string().contains("has changed"));
    let after: HashSet<_> = objects(store.as_ref()).into_iter().collect();
    assert!(before.is_subset(&after));
}

/// A store that can forget, as a power loss does, some of what was done since the last sync.
struct Unsynced {
    now: MemoryStore,
    safe: std::sync::Mutex<Vec<(ObjectName, Vec<u8>)>>,
    since: std::sync::Mutex<Vec<(ObjectName, Option<Vec<u8>>)>>,
    /// How many more calls change anything.
    left: std::sync::atomic::AtomicU64,
}

impl Unsynced {
    fn new(objects: &[(ObjectName, Vec<u8>)], calls: u64) -> Self {
        let now = MemoryStore::with_pack_bytes(2 << 20);
        objects.iter().for_each(|(name, bytes)| now.put(name, bytes).unwrap());
        let safe = std::sync::Mutex::new(objects.to_vec());
        Self { now, safe, since: std::sync::Mutex::default(), left: calls.into() }
    }

    fn call(&self) -> Result<(), daykeep_engine::StoreError> {
        use std::sync::atomic::Ordering;
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let gone = || daykeep_engine::StoreError::new(StoreErrorKind::Io, "store", "the power is gone");
        left.map(drop).map_err(|_| gone())
    }

    /// What is left after the power was lost: all that was synced, and of the rest whatever happened to be written.
    fn after_the_loss(&self, rng: &mut Rng) -> Arc<dyn Store> {
        let left = MemoryStore::with_pack_bytes(2 << 20);
        self.safe.lock().unwrap().iter().for_each(|(name, bytes)| left.put(name, bytes).unwrap());
        for (name, bytes) in self.since.lock().unwrap().iter().filter(|_| rng.below(2) == 0) {
            match bytes {
                Some(bytes) => left.put(name, bytes).unwrap(),
                None => left.delete(name).unwrap(),
            }
        }
        Arc::new(left)
    }
}

impl Store for Unsynced {
    fn location(&self) -> String {
        "unsynced".into()
    }

    fn pack_bytes(&self) -> usize {
        self.now.pack_bytes()
    }

    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().push((*name, Some(bytes.to_vec())));
        self.now.put(name, bytes)
    }

    fn replace(&self, name: &ObjectName, _: &[u8]) -> Result<(), daykeep_engine::StoreError> {
        unreachable!("a prune heals nothing, and yet {name} is replaced")
    }

    fn get(&self, name: &ObjectName, bytes_max: usize) -> Result<Vec<u8>, daykeep_engine::StoreError> {
        self.now.get(name, bytes_max)
    }

    fn get_range(
        &self,
        name: &ObjectName,
        offset: u64,
        len: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), daykeep_engine::StoreError> {
        self.now.get_range(name, offset, len, out)
    }

    fn list(&self, kind: ObjectKind) -> Result<Vec<(ObjectId, u64)>, daykeep_engine::StoreError> {
        self.now.list(kind)
    }

    fn delete(&self, name: &ObjectName) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().push((*name, None));
        self.now.delete(name)
    }

    fn sync(&self) -> Result<(), daykeep_engine::StoreError> {
        self.call()?;
        self.since.lock().unwrap().clear();
        *self.safe.lock().unwrap() = objects(&self.now);
        Ok(())
    }
}

#[test]
fn the_power_may_be_lost_at_any_call() {
    the_power_may_be_lost(&thorough());
    the_power_may_be_lost(&sparing());
}

fn the_power_may_be_lost(options: &PruneOptions) {
    let forgotten = Forgotten::new();
    let mut rng = Rng::new(5);
    for calls in 0.. {
        let store = Arc::new(Unsynced::new(&forgotten.objects, calls));
        let cache = forgotten.dir.path().join(format!("cache-{calls}"));
        let mut repository = open(&(store.clone() as Arc<dyn Store>), &cache).unwrap();
        let outcome = repository.prune_plan(options).and_then(|plan| repository.prune(plan, options));
        drop(repository);
        let turns = if daykeep_tests::is_long() { 10 } else { 2 };
        for turn in 0..turns {
            // The cache outlives the loss, or is older than it.
            let own = forgotten.dir.path().join(format!("cache-{calls}-{turn}"));
            let _ = fs::create_dir(&own);
            if turn % 2 == 0 {
                for folder in fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()) {
                    let copy = own.join(folder.file_name().unwrap());
                    fs::create_dir(&copy).unwrap();
                    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
                        fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
                    }
                }
            }
            forgotten.is_whole_after(&store.after_the_loss(&mut rng), &own, &format!("loss after {calls} calls"));
        }
        if outcome.is_ok() {
            break;
        }
        assert!(outcome.unwrap_err().to_string().contains("the power is gone"));
    }
}

/// Makes a snapshot of one file of one part.
fn snapshot_of(forge: &mut Forge, part: Part) -> ObjectId {
    let mut out = tree_writer();
    file(&mut out, b"file", &Content { level: 0, parts: vec![part] });
    let root = forge.tree(&out.finish());
    forge.snapshot(root)
}

fn put_index(store: &dyn Store, codec: &Codec, id: ObjectId, index: &Index) {
    let name = ObjectName::new(ObjectKind::Index, id);
    store.put(&name, &codec.seal_object(&name, &index.encode()).unwrap()).unwrap();
    store.sync().unwrap();
}

/// No index object lists what is not there, and these bytes can be saved by the catalog of `cache` and by a new one.
fn assert_lists_what_is_there(store: &Arc<dyn Store>, codec: &Codec, cache: &Path, bytes: &[u8]) {
    let packs: HashSet<ObjectId> = store.list(ObjectKind::Pack).unwrap().into_iter().map(|(id, _)| id).collect();
    for (id, _) in store.list(ObjectKind::Index).unwrap() {
        for record in load_index(store.as_ref(), codec, id).unwrap().packs {
            assert!(packs.contains(&record.id), "index/{id} lists packs/{}", record.id);
        }
    }
    let (source, new) = (temp(), temp());
    fs::write(source.path().join("file"), bytes).unwrap();
    let before = objects(store.as_ref());
    for cache in [cache, new.path()] {
        let memory: Arc<dyn Store> = Arc::new(MemoryStore::with_pack_bytes(2 << 20));
        before.iter().for_each(|(name, bytes)| memory.put(name, bytes).unwrap());
        let repository = open(&memory, cache).unwrap();
        back_up(&repository, source.path());
        assert_restores(&repository, "latest", source.path(), &read(source.path()));
        assert_clean(&repository);
    }
}

/// The ids that a new index object is given: lower and higher than those of all others.
const NEW_IDS: [ObjectId; 2] = [ObjectId::from_bytes([1; 32]), ObjectId::from_bytes([255; 32])];

/// Killed before it deleted the index objects in whose place others are, a prune leaves packs that two list, one of them
/// with fewer chunks to be used. Once these packs go, none may list them any more.
#[test]
fn whichever_of_two_index_objects_counts_neither_outlives_its_packs() {
    for new_id in NEW_IDS {
        let mut forge = Forge::new();
        let (base, target, kept) = (noise::text(1, 5000), noise::text(2, 4000), noise::random(3, 5000));
        let id: ShortId = forge.chunk(ChunkKind::Data, &base);
        forge.flush();
        let mut delta = Vec::new();
        DeltaEncoder::new(3).unwrap().encode(&base, &target, &mut delta).unwrap();
        let bases = vec![id.as_bytes()[..8].try_into().unwrap()];
        forge.delta(&target, &delta, DeltaRecord { bytes: 4000, reach: Reach { depth: 1, closure: 1 }, bases });
        let part = forge.part(ChunkKind::Data, &kept);
        forge.flush();
        let snapshot = snapshot_of(&mut forge, part);
        // It ends once the new index object is safe, in which the delta is void.
        let before = objects(forge.store.as_ref());
        let (killed, cache) = (Arc::new(Unsynced::new(&before, 2)), temp());
        let mut repository = open(&(killed.clone() as Arc<dyn Store>), cache.path()).unwrap();
        let outcome = repository.prune_plan(&sparing()).and_then(|plan| repository.prune(plan, &sparing()));
        assert!(outcome.unwrap_err().to_string().contains("the power is gone"));
        drop(repository);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::with_pack_bytes(2 << 20));
        before.iter().for_each(|(name, bytes)| store.put(name, bytes).unwrap());
        let after = objects(&killed.now);
        let new: Vec<&ObjectName> =
            after.iter().filter(|object| !before.contains(object)).map(|(name, _)| name).collect();
        assert!(after.len() == before.len() + 1 && new[0].kind == ObjectKind::Index, "{new:?}");
        let index = load_index(&killed.now, &forge.codec, new[0].id).unwrap();
        let mut chunks = index.packs.iter().flat_map(|record| &record.table.chunks);
        assert!(chunks.any(|chunk| chunk.is_void()));
        put_index(store.as_ref(), &forge.codec, new_id, &index);
        // Nothing of that is needed any more.
        let (cache, other) = (temp(), temp());
        let mut repository = open(&store, cache.path()).unwrap();
        fs::write(other.path().join("file"), noise::random(4, 5000)).unwrap();
        back_up(&repository, other.path());
        store.delete(&ObjectName::new(ObjectKind::Snapshot, snapshot)).unwrap();
        prune_with(&mut repository, &thorough());
        drop(repository);
        assert_lists_what_is_there(&store, &forge.codec, cache.path(), &kept);
    }
}

/// Killed before it deleted the index objects in whose place others are, a repair leaves a hurt pack that one lists as whole
/// and one as not to be used. What could be read of it lies elsewhere, and that is what counts.
#[test]
fn what_a_killed_repair_condemned_stays_condemned() {
    for new_id in NEW_IDS {
        let mut forge = Forge::new();
        let kept = noise::random(3, 5000);
        let part = forge.part(ChunkKind::Data, &kept);
        forge.flush();
        let (hurt, _) = forge.store.list(ObjectKind::Pack).unwrap()[0];
        snapshot_of(&mut forge, part);
        // Of the pack with the copy less is needed, so that the other would be the one to keep.
        forge.chunk(ChunkKind::Data, &kept);
        forge.chunk(ChunkKind::Data, &noise::random(4, 50_000));
        forge.flush();
        let (store, name) = (Arc::clone(&forge.store), ObjectName::new(ObjectKind::Pack, hurt));
        let mut bytes = store.get(&name, OBJECT_BYTES_MAX).unwrap();
        let record = PackRecord { id: hurt, bytes: bytes.len() as u32, table: FrameTable::default() };
        put_index(store.as_ref(), &forge.codec, new_id, &Index { packs: vec![record] });
        bytes[2000] ^= 1;
        replace(store.as_ref(), &name, &bytes);
        let cache = temp();
        let mut repository = open(&store, cache.path()).unwrap();
        prune_with(&mut repository, &thorough());
        assert_clean(&repository);
        drop(repository);
        assert!(store.list(ObjectKind::Pack).unwrap().iter().all(|(id, _)| *id != hurt));
        assert_lists_what_is_there(&store, &forge.codec, cache.path(), &kept);
    }
}
