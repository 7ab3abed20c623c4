//! What goes wrong below a store: one plan of faults for every layer that a test puts there.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

/// A sort of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Looks for names and lengths, opens, locks.
    Look,
    /// Reads bytes.
    Read,
    /// Writes bytes, or changes a length.
    Write,
    /// Makes or changes a name.
    Name,
    /// Takes a name away.
    Remove,
    /// Makes something durable.
    Sync,
}

impl Call {
    const fn changes(self) -> bool {
        matches!(self, Self::Write | Self::Name | Self::Remove | Self::Sync)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process has ended: from the call on, no other does anything. Calls that change something are counted, since what
    /// comes between two of them makes no difference to what is left.
    End,
    /// Any call fails with `EIO`.
    Io,
    /// A call that changes something fails with `ENOSPC`.
    NoSpace,
    /// A sync fails with `EIO`, and what it was to make durable is gone.
    Sync,
    /// A signal comes before anything is done.
    Interrupted,
    /// Fewer bytes are read or written than were asked for.
    Short,
}

impl Fault {
    const fn concerns(self, call: Call) -> bool {
        match self {
            Self::End | Self::NoSpace => call.changes(),
            Self::Io | Self::Interrupted => true,
            Self::Sync => matches!(call, Call::Sync),
            Self::Short => matches!(call, Call::Read | Call::Write),
        }
    }
}

/// Which of the calls that a fault concerns it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hits {
    /// The one that comes after so many others.
    Once(u64),
    /// All that come after so many others.
    From(u64),
    /// Every other one.
    EverySecond,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<(Fault, Hits)>,
    calls: u64,
    has_ended: bool,
    failed: Option<Call>,
}

/// Lets calls fail as planned.
#[derive(Debug, Default)]
pub struct Faults(Mutex<State>);

impl Faults {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count, and lets it go wrong as planned.
    pub fn plan(&self, fault: Fault, hits: Hits) {
        *self.state() = State { plan: Some((fault, hits)), ..State::default() };
    }

    /// Lets nothing go wrong any more. Returns how many calls the fault concerned, and the first that it hit.
    pub fn heal(&self) -> (u64, Option<Call>) {
        let state = std::mem::take(&mut *self.state());
        (state.calls, state.failed)
    }

    /// Notes a call. Returns whether it is to be cut short.
    ///
    /// # Errors
    /// The fault that hits it.
    pub fn call(&self, call: Call) -> io::Result<bool> {
        let mut state = self.state();
        if state.has_ended {
            return Err(io::Error::other("the process has ended"));
        }
        let Some((fault, hits)) = state.plan.filter(|(fault, _)| fault.concerns(call)) else { return Ok(false) };
        let number = state.calls;
        state.calls += 1;
        let is_hit = match hits {
            Hits::Once(at) => number == at,
            Hits::From(at) => number >= at,
            Hits::EverySecond => number.is_multiple_of(2),
        };
        if !is_hit {
            return Ok(false);
        }
        state.failed.get_or_insert(call);
        match fault {
            Fault::End => {
                state.has_ended = true;
                Err(io::Error::other("the process has ended"))
            }
            Fault::Io | Fault::Sync => Err(Errno::IO.into()),
            Fault::NoSpace => Err(Errno::NOSPC.into()),
            Fault::Interrupted => Err(Errno::INTR.into()),
            Fault::Short => Ok(true),
        }
    }

    /// Makes a sync: `work`, or what comes of a failure, after which a second sync would find nothing to do.
    ///
    /// # Errors
    /// The fault that hits it.
    pub fn sync(&self, work: impl FnOnce(), failed: impl FnOnce()) -> io::Result<()> {
        let outcome = self.call(Call::Sync).map(drop);
        match outcome.as_ref().map_err(io::Error::raw_os_error) {
            Ok(()) => work(),
            // A signal loses nothing, and neither does the end of the process.
            Err(None) => {}
            Err(Some(code)) if code == Errno::INTR.raw_os_error() => {}
            Err(Some(_)) => failed(),
        }
        outcome
    }
}
