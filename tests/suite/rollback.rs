//! An older copy of a repository that is put back in its place is noticed, and what is no such thing is not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use daykeep_engine::{
    BackupOptions, CheckOptions, Event, ForgetOptions, GoneSnapshot, ObjectId, Repository, TagOptions,
};
use daykeep_tests::place::{Kind, Place, back_up, secret};

fn gone(repository: &Repository) -> Option<GoneSnapshot> {
    let (snapshots, _) = repository.snapshots().unwrap();
    repository.gone_snapshot(&snapshots).unwrap()
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let _ = fs::remove_file(to);
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn forget(repository: &Repository, id: ObjectId) {
    let mut options = ForgetOptions::default();
    (options.ids, options.allow_empty_groups) = (vec![id.to_string()], true);
    repository.forget(&repository.forget_plan(&options).unwrap(), &Default::default()).unwrap();
}

/// Opens the repository as another client does, whose cache is elsewhere.
fn elsewhere(place: &Place) -> Repository {
    let options = place.options().cache_dir(place.path("cache of another")).wait(std::time::Duration::from_secs(10));
    Repository::open(&place.location().unwrap(), &secret(), daykeep_engine::Access::Write, &options).unwrap()
}

/// Both have the same id, but each a history of its own.
#[test]
fn a_copy_in_another_place_is_not_taken_for_an_older_one() {
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let source = place.folder("source");
        let path = place.location().unwrap().path().to_owned();
        back_up(&place.open(), &source);
        let aside = if kind == Kind::Redb { place.path("copy.redb") } else { place.path("copy") };
        copy(&path, &aside);
        let location = if kind == Kind::Redb {
            daykeep_engine::Location::File(aside)
        } else {
            daykeep_engine::Location::Directory(aside)
        };
        let other = || Repository::open(&location, &secret(), daykeep_engine::Access::Write, &place.options()).unwrap();
        fs::write(source.join("new"), "new").unwrap();
        back_up(&place.open(), &source);
        assert_eq!(gone(&other()), None, "{kind:?}");
        back_up(&other(), &source);
        assert_eq!(gone(&place.open()), None, "{kind:?}");
    }
}

#[test]
fn an_older_copy_is_noticed_until_the_next_backup() {
    for kind in Kind::ON_DISK {
        let place = Place::new(kind);
        let source = place.folder("source");
        let path = place.location().unwrap().path().to_owned();
        back_up(&place.open(), &source);
        copy(&path, &place.path("aside"));
        fs::write(source.join("new"), "new").unwrap();
        let newest = back_up(&place.open(), &source).snapshot.unwrap();
        assert_eq!(gone(&place.open()), None);
        copy(&place.path("aside"), &path);
        let found = gone(&place.open()).unwrap();
        assert_eq!(found.id, newest, "{kind:?}");
        let text = found.to_string();
        assert!(text.contains("forgotten elsewhere") && text.contains("older copy"), "{text}");
        assert_eq!(gone(&place.open()), Some(found), "it is said again");
        let report = place.open().check(&CheckOptions::default()).unwrap();
        assert_eq!((report.errors, report.gone_snapshot), (vec![text.clone()], Some(found)));
        // Another client cannot know.
        assert_eq!(gone(&elsewhere(&place)), None);
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let options = BackupOptions::default().observer(move |event: &Event| {
            if let Event::Warning { message, .. } = event {
                heard.lock().unwrap().push(message.clone());
            }
        });
        let report = place.open().backup(&[&source], &options).unwrap();
        assert_eq!((report.gone_snapshot, told.lock().unwrap().clone()), (Some(found), vec![text]));
        assert_eq!(gone(&place.open()), None, "the backup is the newest now");
        // Whoever loses the cache loses the memory.
        copy(&place.path("aside"), &path);
        fs::remove_dir_all(place.options().cache_dir.unwrap()).unwrap();
        assert_eq!(gone(&place.open()), None);
    }
}

#[test]
fn what_was_done_here_or_hurts_nothing_is_not_noticed() {
    let place = Place::new(Kind::Directory);
    let source = place.folder("source");
    let ids: Vec<ObjectId> = (0..4)
        .map(|day| {
            fs::write(source.join("day"), day.to_string()).unwrap();
            back_up(&place.open(), &source).snapshot.unwrap()
        })
        .collect();
    forget(&place.open(), ids[3]);
    assert_eq!(gone(&place.open()), None, "it was forgotten here");
    // Other tags, from here or elsewhere, make it another object.
    let mut tags = TagOptions::default();
    let here = Place::open;
    for (open, tag) in [(here as fn(&Place) -> Repository, "a"), (elsewhere, "b")] {
        tags.add = vec![tag.into()];
        open(&place).tag(&["latest".into()], &tags).unwrap();
        assert_eq!(gone(&place.open()), None, "{tag}");
    }
    forget(&elsewhere(&place), ids[0]);
    assert_eq!(gone(&place.open()), None, "an old one may go");
    let newest = elsewhere(&place).snapshot("latest").unwrap();
    forget(&elsewhere(&place), newest.id);
    assert_eq!(gone(&place.open()).map(|gone| gone.first_id), Some(newest.first_id()), "the newest went elsewhere");
    // Any text in its place is no memory, and no harm.
    let folder = place.options().cache_dir.unwrap().join(place.open().id().to_string());
    let files = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let seen = |path: &std::path::PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b"newest-seen");
    assert_eq!(files().filter(seen).count(), 1);
    let file = files().find(seen).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    for text in ["", "x", "00 11 22 33", &"9".repeat(10_000)] {
        fs::write(&file, text).unwrap();
        assert_eq!(gone(&place.open()), None);
    }
}
