//! What came, went and changed between two databases.
//!
//! Of each message of the earlier one a mark is kept, 56 bytes; the later one is read past them. Texts are read again for
//! what is shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use super::database::Database;
use super::lines::{CHATS_MAX, ChatName, ChatNames, Hash, Line, beginning, first_bytes, time};
use super::listing::Known;
use super::options::{ChatChanges, DatabaseChanges, Message, Messages, TableChanges};
use super::schema::{Questions, Schema};
use crate::error::{Error, Result};

/// The most messages of one database; their marks take 224 MB.
const MESSAGES_MAX: usize = 4_000_000;
/// The most characters of a text that are shown.
const TEXT_CHARS_MAX: usize = 500;
/// The most messages of one database that are shown.
const SHOWN_MAX: usize = 50_000;
/// The most messages that are kept to be shown, of all chats; they take 24 MB.
const PICKS_MAX: usize = 500_000;

/// Compares two databases: messages if both are of one program, otherwise tables.
///
/// # Errors
/// `Database` or `Cancelled`.
pub fn diff(before: &Known<'_>, after: &Known<'_>, limit: usize) -> Result<DatabaseChanges> {
    match (&before.questions, &after.questions) {
        (Some(asked_before), Some(asked_after)) if asked_before.schema.app == asked_after.schema.app => {
            let mut before = Side::read(before.database, asked_before)?;
            let mut after = Side::read(after.database, asked_after)?;
            before.names.call_as(&after.names);
            after.names.call_as(&before.names);
            let chats = messages(before, after, limit)?;
            Ok(DatabaseChanges::Chats { app: asked_after.schema.app, chats })
        }
        _ => tables(before, after).map(DatabaseChanges::Tables),
    }
}

fn tables(before: &Known<'_>, after: &Known<'_>) -> Result<Vec<TableChanges>> {
    let mut tables: BTreeMap<String, (Option<u64>, Option<u64>)> = BTreeMap::new();
    for table in before.tables()? {
        tables.entry(table.name).or_default().0 = Some(table.rows);
    }
    for table in after.tables()? {
        tables.entry(table.name).or_default().1 = Some(table.rows);
    }
    let changes = |(name, (rows_before, rows_after))| TableChanges { name, rows_before, rows_after };
    Ok(tables.into_iter().map(changes).collect())
}

/// A message of one database.
#[derive(Clone, Copy)]
struct Mark {
    /// The hash of jid, sender and key: 128 bits of BLAKE3, so that no two messages share it by chance.
    id: [u8; 16],
    /// The hash of kind and text.
    content: [u8; 8],
    row: i64,
    time: Option<i64>,
    chat: u32,
    /// Of the first one of those with the same id: how many of them, in their order, the later database has too.
    found: u32,
}

const _: () = assert!(size_of::<Mark>() <= 56);

/// One of the two databases.
struct Side<'d> {
    database: &'d Database,
    schema: &'static Schema,
    names: ChatNames,
}

impl<'d> Side<'d> {
    fn read(database: &'d Database, questions: &Questions) -> Result<Self> {
        Ok(Self { database, schema: questions.schema, names: ChatNames::read(database, questions)? })
    }

    /// Calls `visit` with the mark of each message and the name of its chat.
    fn each(&mut self, visit: &mut dyn FnMut(Mark, &ChatName)) -> Result<()> {
        let mut count = 0;
        let names = &mut self.names;
        self.database.each(self.schema.messages, &mut |row| {
            let line = Line::of(row)?;
            let Some(chat) = names.find(line.chat) else { return Ok(false) };
            let name = names.name(chat);
            let (id, content) = (id_of(&line, name), content_of(&line));
            visit(Mark { id, content, row: line.row, time: line.time, chat: chat as u32, found: 0 }, name);
            count += 1;
            Ok(count <= MESSAGES_MAX)
        })?;
        names.check(self.database)?;
        if count > MESSAGES_MAX { Err(self.database.too_many("messages", MESSAGES_MAX)) } else { Ok(()) }
    }

    /// Returns whether the owner sent the message of a row, and its text.
    fn shown(&self, row: i64) -> Result<(bool, Option<String>)> {
        let sql = format!("{} AND rowid = ?1", self.schema.messages);
        self.database.read(|connection| {
            connection.prepare(&sql)?.query_row([row], |row| {
                let line = Line::of(row)?;
                Ok((line.is_mine, line.text.map(|text| beginning(text, TEXT_CHARS_MAX))))
            })
        })
    }
}

fn id_of(line: &Line<'_>, chat: &ChatName) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&chat.id).update(&[u8::from(line.is_mine)]).update(line.key);
    if line.key.is_empty() {
        // Written by some other tool: then only time and text tell messages apart.
        hasher.update(&line.time.unwrap_or_default().to_le_bytes()).update(&content_of(line));
    }
    first_bytes(&hasher)
}

fn content_of(line: &Line<'_>) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&line.kind.unwrap_or(-1).to_le_bytes());
    hasher.update(&[u8::from(line.text.is_some())]).update(line.text.unwrap_or_default());
    first_bytes(&hasher)
}

fn messages(mut before: Side<'_>, mut after: Side<'_>, limit: usize) -> Result<Vec<ChatChanges>> {
    let mut marks = Vec::new();
    before.each(&mut |mark, _| marks.push(mark))?;
    marks.sort_unstable_by_key(|mark| (mark.id, mark.row));
    let mut changes = Changes { limit: limit.min(SHOWN_MAX), numbers: HashMap::new(), chats: Vec::new(), picks: 0 };
    after.each(&mut |mark, name| {
        let start = marks.partition_point(|was| was.id < mark.id);
        let mut at = start;
        if let Some(first) = marks.get_mut(start).filter(|was| was.id == mark.id) {
            at += first.found as usize;
            first.found += 1;
        }
        let pick = |before| Pick { time: mark.time, before, after: Some(mark.row) };
        match marks.get(at).filter(|was| was.id == mark.id) {
            None => changes.add(name, |chat| &mut chat.came, pick(None)),
            Some(was) if was.content != mark.content => {
                changes.add(name, |chat| &mut chat.changed, pick(Some(was.row)));
            }
            Some(_) => {}
        }
    })?;
    for of_one_id in marks.chunk_by(|a, b| a.id == b.id) {
        let found = of_one_id.first().map_or(0, |first| first.found as usize);
        for mark in of_one_id.iter().skip(found) {
            let pick = Pick { time: mark.time, before: Some(mark.row), after: None };
            changes.add(before.names.name(mark.chat as usize), |chat| &mut chat.went, pick);
        }
        before.database.check_cancel()?;
    }
    if changes.chats.len() > CHATS_MAX {
        return Err(after.database.too_many("chats that changed", CHATS_MAX));
    }
    changes.show(&before, &after)
}

/// Where a message is that may be shown.
#[derive(Clone, Copy)]
struct Pick {
    time: Option<i64>,
    before: Option<i64>,
    after: Option<i64>,
}

#[derive(Default)]
struct Pile {
    count: u64,
    latest: Vec<Pick>,
}

impl Pile {
    /// Keeps the latest ones, in the order of their times, and returns how many went.
    fn keep_latest(&mut self, limit: usize) -> usize {
        self.latest.sort_by_key(|pick| pick.time);
        self.latest.drain(..self.latest.len().saturating_sub(limit)).count()
    }
}

/// A chat in which something changed.
struct Changed {
    name: ChatName,
    latest: Option<i64>,
    came: Pile,
    went: Pile,
    changed: Pile,
}

struct Changes {
    limit: usize,
    numbers: HashMap<Hash, usize>,
    chats: Vec<Changed>,
    /// How many are kept in all piles.
    picks: usize,
}

impl Changes {
    fn add(&mut self, name: &ChatName, pile: impl Fn(&mut Changed) -> &mut Pile, pick: Pick) {
        let number = match self.numbers.get(&name.id) {
            Some(&number) => number,
            None => {
                let (came, went, changed) = (Pile::default(), Pile::default(), Pile::default());
                self.chats.push(Changed { name: name.clone(), latest: None, came, went, changed });
                self.numbers.insert(name.id, self.chats.len() - 1);
                self.chats.len() - 1
            }
        };
        let chat = &mut self.chats[number];
        chat.latest = chat.latest.max(pick.time);
        let pile = pile(chat);
        pile.count += 1;
        pile.latest.push(pick);
        self.picks += 1;
        // Now and then, so that it costs little.
        if pile.latest.len() > 2 * self.limit {
            self.picks -= pile.keep_latest(self.limit);
        }
        while self.picks > PICKS_MAX && self.limit > 0 {
            self.limit /= 2;
            let piles = self.chats.iter_mut().flat_map(|chat| [&mut chat.came, &mut chat.went, &mut chat.changed]);
            self.picks -= piles.map(|pile| pile.keep_latest(self.limit)).sum::<usize>();
        }
    }

    /// Reads the texts of what is to be shown, of the chat with the latest change first.
    fn show(mut self, before: &Side<'_>, after: &Side<'_>) -> Result<Vec<ChatChanges>> {
        self.chats.sort_by_key(|chat| Reverse(chat.latest));
        let mut room = SHOWN_MAX;
        let mut shown = |mut pile: Pile| {
            pile.keep_latest(self.limit.min(room));
            room -= pile.latest.len();
            let latest = pile.latest.iter().map(|pick| message(pick, before, after)).collect::<Result<_>>()?;
            Ok::<_, Error>(Messages { count: pile.count, latest })
        };
        let mut chats = Vec::with_capacity(self.chats.len());
        for chat in self.chats {
            let ChatName { name, jid, .. } = chat.name;
            let (came, went, changed) = (shown(chat.came)?, shown(chat.went)?, shown(chat.changed)?);
            chats.push(ChatChanges { name, jid, came, went, changed });
        }
        Ok(chats)
    }
}

fn message(pick: &Pick, before: &Side<'_>, after: &Side<'_>) -> Result<Message> {
    let was = pick.before.map(|row| before.shown(row)).transpose()?;
    let is = pick.after.map(|row| after.shown(row)).transpose()?;
    let (text_before, is) = match (was, is) {
        (Some((_, text)), Some(is)) => (text, is),
        (was, is) => (None, is.or(was).unwrap_or_default()),
    };
    Ok(Message { time: pick.time.map(time), is_from_me: is.0, text: is.1, text_before })
}
