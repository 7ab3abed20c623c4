//! The folders that hold a database: one for each day, or one that is advanced in place.

use std::fs;
use std::path::{Path, PathBuf};

use crate::chats::{Options, advance, create, encrypt, seed_of};
use crate::error::Error;
use crate::folder::{beside, create_empty};

/// The name of the database.
pub const DATABASE: &str = "msgstore.db";
/// The name of the database if its pages are encrypted: Signal's on a phone.
pub const ENCRYPTED: &str = "signal.db";

/// A database that is advanced day by day, always at the same path, and closed in between, so that it can be backed up.
#[derive(Debug)]
pub struct State {
    /// The database that lives: the one that is backed up, or what its pages are made from.
    plain: PathBuf,
    encrypted: Option<(PathBuf, u64)>,
}

impl State {
    /// Writes the database of the first day to the empty or new `folder`. With `encrypted` the folder holds
    /// [`ENCRYPTED`], and the database it is made from lies beside it, in a folder whose name ends in `.plain`; otherwise
    /// it holds [`DATABASE`].
    ///
    /// # Errors
    /// A folder is not empty, or as [`create`].
    pub fn create(folder: &Path, options: &Options, encrypted: bool) -> Result<State, Error> {
        create_empty(folder)?;
        let state = if encrypted {
            let plain = beside(folder, ".plain")?;
            create_empty(&plain)?;
            State { plain: plain.join(DATABASE), encrypted: Some((folder.join(ENCRYPTED), options.seed)) }
        } else {
            State { plain: folder.join(DATABASE), encrypted: None }
        };
        create(&state.plain, options)?;
        state.encrypt()?;
        Ok(state)
    }

    /// Opens the folder that [`State::create`] wrote.
    ///
    /// # Errors
    /// It holds no database, or the one it is made from is gone.
    pub fn open(folder: &Path) -> Result<State, Error> {
        let encrypted = folder.join(ENCRYPTED);
        let is_encrypted = encrypted.is_file();
        let home = if is_encrypted { beside(folder, ".plain")? } else { folder.to_owned() };
        let plain = home.join(DATABASE);
        if !plain.is_file() {
            return Err(Error::refused(&plain, "is not there; make the database with --in-place first"));
        }
        let seed = seed_of(&plain)?;
        Ok(State { plain, encrypted: is_encrypted.then_some((encrypted, seed)) })
    }

    /// Lets `days` days pass.
    ///
    /// # Errors
    /// As [`advance`].
    pub fn advance(&self, days: u64) -> Result<(), Error> {
        advance(&self.plain, days)?;
        self.encrypt()
    }

    /// Returns the path of the database that is backed up.
    pub fn path(&self) -> &Path {
        self.encrypted.as_ref().map_or(&self.plain, |(path, _)| path)
    }

    fn encrypt(&self) -> Result<(), Error> {
        match &self.encrypted {
            Some((path, seed)) => encrypt(&self.plain, path, *seed),
            None => Ok(()),
        }
    }
}

/// Writes the database of the first day and of `days` further ones, each to a folder of its own in the empty or new
/// `folder`: `day-00/msgstore.db`, `day-01/msgstore.db` and so on, `signal.db` with `encrypted`.
///
/// # Errors
/// The folder is not empty, or as [`create`] and [`advance`].
pub fn write_days(folder: &Path, options: &Options, days: u64, encrypted: bool) -> Result<(), Error> {
    create_empty(folder)?;
    let day = |number: u64| folder.join(format!("day-{number:02}"));
    let mut before: Option<PathBuf> = None;
    for number in 0..=days {
        let here = day(number);
        fs::create_dir(&here).map_err(Error::io(&here))?;
        let plain = here.join(DATABASE);
        match &before {
            None => create(&plain, options)?,
            Some(before) => {
                fs::copy(before, &plain).map_err(Error::io(&plain))?;
                advance(&plain, 1)?;
            }
        }
        if encrypted {
            encrypt(&plain, &here.join(ENCRYPTED), options.seed)?;
            // The plain database is needed for one more day.
            if let Some(before) = &before {
                fs::remove_file(before).map_err(Error::io(before))?;
            }
        }
        before = Some(plain);
    }
    match before {
        Some(last) if encrypted => fs::remove_file(&last).map_err(Error::io(&last)),
        _ => Ok(()),
    }
}
