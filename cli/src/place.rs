//! Which repository is meant, and what opens it.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use daykeep_engine::{Access, Chunking, Error, Location, OpenOptions, RecoveryKey, Repository, Result, Secret};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::OtherKey;
use crate::commands::Context;
use crate::output::note;
use crate::secret::{self, OTHER_PASSWORD, PASSWORD};

const HOW_TO_OPEN: &str = "set DAYKEEP_PASSWORD, DAYKEEP_PASSWORD_FILE or DAYKEEP_KEY_FILE, or use --key-file";
const HOW_TO_OPEN_OTHER: &str =
    "set DAYKEEP_OTHER_PASSWORD, DAYKEEP_OTHER_PASSWORD_FILE or DAYKEEP_OTHER_KEY_FILE, or use --other-key-file";
const HOW_TO_MAKE: &str =
    "set DAYKEEP_PASSWORD or DAYKEEP_PASSWORD_FILE, or use --key-file to have a key written there";
const PROMPTS: usize = 3;
/// The engine takes no less.
const MEMORY_BYTES_LEAST: usize = 64 << 20;

/// A repository's place, and where its key file is kept.
pub struct Place {
    pub location: Location,
    pub is_default: bool,
    /// Whether it is the other one of two repositories, which has a key of its own.
    is_other: bool,
    key_file: Option<PathBuf>,
}

/// What a new repository shall be.
#[derive(Default)]
pub struct New {
    /// How it cuts files, if as another one does.
    pub chunking: Option<Chunking>,
    /// How much parity it adds.
    pub parity_percent: u8,
    /// Whether somebody asked for it, rather than for a backup.
    pub is_asked_for: bool,
}

/// An open repository, and the password that opened it if one did.
pub struct Opened {
    pub repository: Repository,
    pub password: Option<Zeroizing<String>>,
}

/// Returns the user's folder of a kind, as the XDG base directory specification has it.
fn user_dir(variable: &str, below_home: &str) -> Option<PathBuf> {
    // Relative paths are to be ignored, says the specification.
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|home| home.is_absolute()).map(|home| home.join(below_home));
    set.or_else(home).map(|dir| dir.join("daykeep"))
}

impl Place {
    /// Returns the place that the options name, or the default.
    ///
    /// # Errors
    /// If they name none that can be used, or if there is no home folder for the default.
    pub fn find(context: &Context) -> Result<Self> {
        let key_file = context.global.key_file.clone();
        if let Some(named) = &context.global.repository {
            return Ok(Self { location: parse(named)?, is_default: false, is_other: false, key_file });
        }
        let no_home = || Error::InvalidOption {
            option: "repository",
            reason: "there is no home folder for the default one; name one with --repository".into(),
        };
        let path = user_dir("XDG_DATA_HOME", ".local/share").ok_or_else(no_home)?.join("default.redb");
        let default_key_file = || Some(user_dir("XDG_CONFIG_HOME", ".config")?.join("default.key"));
        let key_file = key_file.or_else(default_key_file);
        Ok(Self { location: Location::File(path), is_default: true, is_other: false, key_file })
    }

    /// Returns whether there is anything at the place.
    fn exists(&self) -> bool {
        // What cannot be looked at may be there; opening it will tell.
        self.location.path().try_exists().unwrap_or(true)
    }

    fn missing(&self) -> Error {
        let hint = if self.is_default {
            " (the default; `daykeep backup PATH` makes it, --repository or DAYKEEP_REPOSITORY names another)"
        } else {
            ""
        };
        Error::RepositoryNotFound { repository: format!("{}{hint}", self.location) }
    }

    /// Opens the repository with what is configured, or with what the user types.
    fn open(&self, context: &Context, access: Access, options: &OpenOptions) -> Result<Opened> {
        let open = |secret: &Secret| Repository::open(&self.location, secret, access, options);
        let (repository, password) = self.unlock(context, open)?;
        Ok(Opened { repository, password })
    }

    /// Does what needs a secret, and returns what came of it, and the password if it was one.
    ///
    /// # Errors
    /// `RepositoryNotFound`; `WrongKey`; `InvalidKey` if nothing is there to open it with; what `open` returns.
    pub fn unlock<T>(
        &self,
        context: &Context,
        open: impl Fn(&Secret) -> Result<T>,
    ) -> Result<(T, Option<Zeroizing<String>>)> {
        if !self.exists() {
            return Err(self.missing());
        }
        let is_given = self.is_other || context.global.key_file.is_some();
        let (password, how_to_open) =
            if self.is_other { (&OTHER_PASSWORD, HOW_TO_OPEN_OTHER) } else { (&PASSWORD, HOW_TO_OPEN) };
        if let Some(path) = self.key_file.as_ref().filter(|path| is_given || path.exists()) {
            return Ok((open(&Secret::Recovery(secret::read_key_file(path)?))?, None));
        }
        if let Some(text) = secret::password_from_environment(password)? {
            return try_all(text, &open);
        }
        let prompt = format!("Password of {}: ", crate::text::escape(&self.location.to_string()));
        for _ in 1..PROMPTS {
            match try_all(secret::ask(&context.signals, &prompt, how_to_open)?, &open) {
                Err(Error::WrongKey { .. }) => note("this password opens nothing; try again"),
                outcome => return outcome,
            }
        }
        try_all(secret::ask(&context.signals, &prompt, how_to_open)?, &open)
    }

    /// Makes the repository, with a key file or a password, and tells the user the recovery key.
    fn create(&self, context: &Context, new: &New) -> Result<Repository> {
        if self.location.path().is_file() {
            return Err(Error::RepositoryExists { repository: self.location.to_string() });
        }
        let mut password = secret::password_from_environment(&PASSWORD)?;
        if password.is_none() && self.key_file.is_none() {
            password = Some(secret::ask_new(&context.signals, HOW_TO_MAKE)?);
        }
        // The key file comes first: there must never be a repository whose key nobody has.
        let (key, is_new) = self.key(context)?;
        if let (true, Some(parent)) = (self.is_default, self.location.path().parent()) {
            make_private_dir(parent)?;
        }
        let mut options = open_options(context);
        (options.chunking, options.parity_percent) = (new.chunking, new.parity_percent);
        let created = Repository::create(&self.location, &key, password.as_deref().map(String::as_str), &options);
        let repository = created.inspect_err(|_| {
            // A key that the user named a place for belongs to no repository now, and would be in the way of the next
            // try. The default one is kept: the next try takes it.
            if let (true, Some(path)) = (is_new && context.global.key_file.is_some(), &self.key_file) {
                let _ = std::fs::remove_file(path);
            }
        })?;
        tell_created(context, &repository, &key, new.is_asked_for, self.key_file.as_deref(), password.is_some());
        Ok(repository)
    }

    /// Returns the recovery key for a new repository, and whether a key file was written for it.
    fn key(&self, context: &Context) -> Result<(RecoveryKey, bool)> {
        let Some(path) = &self.key_file else {
            return Ok((secret::new_key()?, false));
        };
        if context.global.key_file.is_none() {
            if path.exists() {
                return Ok((secret::read_key_file(path)?, false));
            }
            path.parent().map_or(Ok(()), make_private_dir)?;
        }
        let key = secret::new_key()?;
        secret::write_key_file(path, &key)?;
        Ok((key, true))
    }
}

/// Reads a place as the engine does, and takes names that are not UTF-8 too.
pub fn parse(named: &OsStr) -> Result<Location> {
    match named.to_str() {
        Some(text) => Location::parse(text),
        None if named.as_bytes().ends_with(b"/") || Path::new(named).is_dir() => Ok(Location::Directory(named.into())),
        None => Ok(Location::File(named.into())),
    }
}

fn try_all<T>(text: Zeroizing<String>, open: &impl Fn(&Secret) -> Result<T>) -> Result<(T, Option<Zeroizing<String>>)> {
    let mut outcome = Err(Error::Cancelled);
    for secret in secret::secrets_of(&text) {
        outcome = open(&secret).map(|opened| (opened, secret));
        if !matches!(outcome, Err(Error::WrongKey { .. })) {
            break;
        }
    }
    let (opened, secret) = outcome?;
    Ok((opened, matches!(secret, Secret::Password(_)).then_some(text)))
}

/// Makes a folder, and those above it, that only the user may look into.
fn make_private_dir(path: &Path) -> Result<()> {
    let failed = |source| Error::File { path: path.to_owned(), action: "make this folder", source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)
}

/// Returns the engine's options from the command line's.
pub fn open_options(context: &Context) -> OpenOptions {
    let mut options = OpenOptions::default();
    options.cache_dir = cache_dir(context);
    options.memory_bytes = context.global.memory.unwrap_or(options.memory_bytes);
    options.wait = context.global.wait;
    options.cancel = context.signals.cancel_token().clone();
    options
}

/// Returns where the rebuildable indexes lie.
pub fn cache_dir(context: &Context) -> Option<PathBuf> {
    context.global.cache_dir.clone().or_else(|| user_dir("XDG_CACHE_HOME", ".cache"))
}

/// Opens the repository that the options name.
///
/// # Errors
/// As the engine's `open`; `InvalidKey` if nothing is there to open it with.
pub fn open(context: &Context, access: Access) -> Result<Opened> {
    Place::find(context)?.open(context, access, &open_options(context))
}

/// Opens the repository; the default one is made if it is not there.
///
/// # Errors
/// As [`open`] and [`create`].
pub fn open_or_create_default(context: &Context, place: &Place) -> Result<Repository> {
    if place.is_missing_default() {
        return place.create(context, &New::default());
    }
    place.open(context, Access::Write, &open_options(context)).map(|opened| opened.repository)
}

/// Makes the repository that the options name.
///
/// # Errors
/// As the engine's `create`; if the key file cannot be written, or there is one already.
pub fn create(context: &Context, new: &New) -> Result<Repository> {
    Place::find(context)?.create(context, new)
}

/// Opens another repository than the one that the options name.
///
/// # Errors
/// As [`open`].
pub fn open_other(
    context: &Context,
    named: &OsStr,
    key: &OtherKey,
    access: Access,
    options: &OpenOptions,
) -> Result<Repository> {
    let key_file = key.other_key_file.clone();
    let place = Place { location: parse(named)?, is_default: false, is_other: true, key_file };
    place.open(context, access, options).map(|opened| opened.repository)
}

/// Returns whether two paths lead to the same file or folder.
fn is_same(one: &Path, other: &Path) -> bool {
    let number = |path: &Path| path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
    number(one).is_some_and(|one| Some(one) == number(other))
}

/// Opens the repository that the options name, and for writing another one. Both share the memory budget.
///
/// # Errors
/// As [`open`]; `InvalidOption` if both are the same.
pub fn open_two(context: &Context, named: &OsStr, key: &OtherKey) -> Result<(Repository, Repository)> {
    let mut options = open_options(context);
    options.memory_bytes = (options.memory_bytes / 2).max(MEMORY_BYTES_LEAST);
    let place = Place::find(context)?;
    if is_same(place.location.path(), parse(named)?.path()) {
        let reason = format!("{}: both are the same repository; name another one", place.location);
        return Err(Error::InvalidOption { option: "to", reason });
    }
    let one = place.open(context, Access::Read, &options)?.repository;
    Ok((one, open_other(context, named, key, Access::Write, &options)?))
}

impl Place {
    /// Returns whether this is the default repository and nobody made it yet.
    pub fn is_missing_default(&self) -> bool {
        self.is_default && !self.exists()
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "created")]
struct JsonCreated<'a> {
    repository: String,
    repository_id: String,
    key_file: Option<String>,
    /// Not there where nobody asked for a repository to be made: what runs by itself has its output kept in a log.
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<&'a str>,
}

/// Prints the recovery key, the one time that it is shown unasked, and so even to those who want quiet. It is shown on a
/// terminal alone: cron mails what a command prints, and systemd keeps it in a journal.
fn tell_created(
    context: &Context,
    repository: &Repository,
    key: &RecoveryKey,
    is_asked_for: bool,
    key_file: Option<&Path>,
    password: bool,
) {
    let (out, key) = (&context.out, key.to_hex());
    if out.is_json() {
        out.json(&JsonCreated {
            repository: repository.location(),
            repository_id: repository.id().to_string(),
            key_file: key_file.map(|path| path.display().to_string()),
            recovery_key: is_asked_for.then_some(key.as_str()),
        });
    } else {
        out.line(&format!("Made the repository {}", crate::text::escape(&repository.location())));
        if let Some(path) = key_file {
            out.line(&format!("Its key file is {}", crate::text::name(path.as_os_str().as_bytes())));
        }
        if out.is_terminal() {
            out.line(&format!("Recovery key: {}", key.as_str()));
        } else {
            out.line("Recovery key: `daykeep key show-recovery` shows it, on a terminal of yours");
        }
        let otherwise = match (key_file.is_some(), password) {
            (true, true) => "the key file and the password are lost",
            (true, false) => "the key file is lost",
            (false, _) => "the password is lost",
        };
        out.line(&format!(
            "Write the recovery key down and keep it away from this machine: it opens your backups when {otherwise}, \
             and without any of them nobody can."
        ));
    }
    out.flush();
}
