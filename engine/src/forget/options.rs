//! What forgetting is told, and what it tells.

use std::sync::Arc;

use super::calendar::CalendarSpan;
use crate::base::ObjectId;
use crate::error::Error;
use crate::format::tree::Timestamp;
use crate::snapshot::Snapshot;

/// Which snapshots stay. A snapshot stays if any of these rules wants it; each is applied to each group by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeepPolicy {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of the newest so many hours that have one.
    pub hourly: u32,
    /// The same of days.
    pub daily: u32,
    /// The same of weeks, which begin on Monday.
    pub weekly: u32,
    /// The same of months.
    pub monthly: u32,
    /// The same of years.
    pub yearly: u32,
    /// Those at most so much older than the newest one of the group; and once, where the next older one is further away than that, as
    /// after a pause, or under a clock that was wrong, those at most so much older than that one.
    pub within: Option<CalendarSpan>,
    /// Those with any of these tags.
    pub tags: Vec<String>,
}

/// What makes snapshots belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grouping {
    /// The machine and the paths that were backed up.
    #[default]
    HostAndPaths,
    /// The machine.
    Host,
    /// All of them do.
    All,
}

/// Returns how many seconds the user's clock is ahead of UTC at a time.
pub type UtcOffset = Arc<dyn Fn(Timestamp) -> i32 + Send + Sync>;

/// Options of [`Repository::forget_plan`](crate::Repository::forget_plan): a policy, or the snapshots by name.
#[derive(Clone)]
#[non_exhaustive]
pub struct ForgetOptions {
    /// Which snapshots stay.
    pub policy: KeepPolicy,
    /// Forget just these, each `latest` or the first digits of an id, instead of what a policy says.
    pub ids: Vec<String>,
    /// Look only at snapshots of this machine.
    pub host: Option<String>,
    /// What makes snapshots belong together.
    pub grouping: Grouping,
    /// Groups may lose their last snapshot.
    pub allow_empty_groups: bool,
    /// The clock by which hours, days, weeks, months and years begin; UTC if not set.
    pub utc_offset: UtcOffset,
}

impl Default for ForgetOptions {
    fn default() -> Self {
        Self {
            policy: KeepPolicy::default(),
            ids: Vec::new(),
            host: None,
            grouping: Grouping::default(),
            allow_empty_groups: false,
            utc_offset: Arc::new(|_| 0),
        }
    }
}

/// Why a snapshot stays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeepReason {
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Not too old.
    Within,
    /// It has this tag.
    Tag(String),
    /// Its time has not come yet, so the clock was wrong. It takes nobody's place.
    Future,
    /// It is dated before the one it was compared with, so the clock was wrong; or it is that other one, which proves it.
    Clock,
    /// Others were named.
    NotNamed,
}

/// What happens to one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Which one.
    pub snapshot: Snapshot,
    /// Why it stays; none: it goes.
    pub reasons: Vec<KeepReason>,
}

/// Snapshots that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForgetGroup {
    /// The machine; none if there may be several.
    pub host: Option<String>,
    /// The paths; none if they may differ.
    pub paths: Vec<Vec<u8>>,
    /// What happens to each, in the order in which they were made, as far as that is known: oldest first.
    pub decisions: Vec<Decision>,
}

/// What is to stay and what to go.
#[derive(Debug)]
#[non_exhaustive]
pub struct ForgetPlan {
    /// All that was looked at, by host and paths.
    pub groups: Vec<ForgetGroup>,
    /// Snapshots that cannot be read and were not named, and so stay.
    pub unreadable: Vec<Error>,
    /// Snapshots that cannot be read and were named, and so go.
    pub hurt: Vec<ObjectId>,
}

impl ForgetPlan {
    /// Returns the snapshots that go.
    pub fn forgotten(&self) -> impl Iterator<Item = &Snapshot> {
        let decisions = self.groups.iter().flat_map(|group| &group.decisions);
        decisions.filter(|decision| decision.reasons.is_empty()).map(|decision| &decision.snapshot)
    }
}
