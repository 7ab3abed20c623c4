//! Calls into redb that cannot take the process down.
//!
//! redb trusts a file that was closed cleanly, and panics when bytes in it were altered since. Both users of redb, the
//! embedded store and the catalog, therefore make every call through [`guarded`], which turns a panic into a value.
//! The panic hook still runs, and the default one prints to standard error: a program that does not want to see that
//! sets a hook of its own.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What kept redb from doing what was asked.
#[derive(Debug)]
pub enum Trouble {
    /// Another process has the file open.
    InUse,
    /// The file was not closed cleanly and can only be repaired by opening it for writing.
    NeedsRepair,
    /// The file is no redb file, of another version of redb, or does not have the tables that were expected.
    Foreign(String),
    /// redb found that the file is not what it wrote.
    Damaged(String),
    /// redb panicked. Its locks may be poisoned, so that whatever the call touched is not to be used again, nor dropped.
    Panicked(String),
    /// The system below failed.
    System(io::Error),
    /// Anything else, such as a call after an earlier failure.
    Other(String),
}

/// Runs `work` and returns what it returned, with panics and errors sorted by what is to be done about them.
///
/// Whatever redb gave out and can panic when it is dropped (transactions, tables, the database itself) should be
/// dropped within `work`.
///
/// # Errors
/// See [`Trouble`].
pub fn guarded<T, E: Into<redb::Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Trouble> {
    // Asserting is right here: after a panic the callers never use again what `work` borrowed.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| sort(error.into())),
        Err(payload) => {
            IS_UNWINDING.set(false);
            Err(Trouble::Panicked(panic_text(payload.as_ref())))
        }
    }
}

thread_local! {
    /// Whether a panic that a hook has noted on this thread was not caught yet.
    static IS_UNWINDING: Cell<bool> = const { Cell::new(false) };
}

/// For a program's panic hook, to be called in it: returns whether this panic ends the process.
///
/// What redb had open is dropped when it panics, and where the tables are damaged by which it knows its free pages, the drop
/// panics too. Rust aborts the process then, which nothing can catch; the hook is the last to run and can say why.
pub fn is_second_panic() -> bool {
    IS_UNWINDING.replace(true)
}

/// Drops what redb gave out.
///
/// # Errors
/// `Panicked` if that made it panic; what it can tell by an error it keeps to itself.
pub fn drop_guarded<T>(value: T) -> Result<(), Trouble> {
    guarded(|| {
        drop(value);
        Ok::<_, redb::Error>(())
    })
}

/// Returns what the panic said.
fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}

/// Sorts an error of redb's by what is to be done about it.
fn sort(error: redb::Error) -> Trouble {
    use redb::Error as E;
    match error {
        E::DatabaseAlreadyOpen | E::LockProtocolMismatch => Trouble::InUse,
        E::RepairAborted => Trouble::NeedsRepair,
        E::Corrupted(text) => Trouble::Damaged(text),
        E::UpgradeRequired(_)
        | E::TableTypeMismatch { .. }
        | E::TableIsMultimap(_)
        | E::TableIsNotMultimap(_)
        | E::TypeDefinitionChanged { .. }
        | E::TableDoesNotExist(_) => Trouble::Foreign(error.to_string()),
        // redb says so of a file that does not begin as its own do.
        E::Io(source) if source.kind() == io::ErrorKind::InvalidData => Trouble::Foreign(source.to_string()),
        E::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            Trouble::Damaged("it is shorter than it says".to_owned())
        }
        E::Io(source) => Trouble::System(source),
        other => Trouble::Other(other.to_string()),
    }
}
