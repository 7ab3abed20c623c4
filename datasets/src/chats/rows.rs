//! Writes a message with all that belongs to it.

use rusqlite::{Connection, Statement, params};

use crate::chats::media::{self, Kind, Media, Sent};
use crate::chats::people::{Chat, People};
use crate::random::{Random, Zipf};
use crate::text::Language;

/// How many of a thousand messages the owner of the phone wrote, to one person and in a group.
const FROM_ME_PER_MILLE: (u64, u64) = (480, 180);
const QUOTES_PER_MILLE: u64 = 80;
const REACTIONS_PER_MILLE: u64 = 40;
const STARRED_PER_MILLE: u64 = 4;
/// How many of a thousand messages of the past were never read.
const UNREAD_PER_MILLE: u64 = 120;
const REACTIONS: [&str; 8] = ["👍", "❤️", "😂", "🙏", "😮", "😢", "🎉", "👏"];
/// A day, in milliseconds.
pub(super) const DAY: i64 = 86_400_000;

const RECEIPT: &str = "INSERT INTO receipt_user
    (message_row_id, receipt_user_jid_row_id, receipt_timestamp, read_timestamp) VALUES ";
const RECEIPT_ROW: &str = "(?, ?, ?, ?)";

/// Numbers of `message.status`: sent, arrived on the other phone, read.
pub(super) const SENT: i64 = 4;
pub(super) const ARRIVED: i64 = 5;
pub(super) const READ: i64 = 13;

/// Where a message stands: who wrote when.
pub(super) struct Post<'p> {
    pub(super) row: i64,
    pub(super) chat: &'p Chat,
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The how-manieth of its day it is.
    pub(super) index: u64,
    /// Long ago: it was delivered and read, or not, and people reacted to it, or not. Otherwise it was just sent.
    pub(super) past: bool,
}

/// The prepared statements and what they are fed from.
pub(super) struct Rows<'c> {
    language: &'c Language,
    root: Random,
    reactions: Zipf,
    media: Media<'c>,
    message: Statement<'c>,
    text: Statement<'c>,
    thumbnail: Statement<'c>,
    receipt: Statement<'c>,
    eight_receipts: Statement<'c>,
    receipt_values: Vec<Option<i64>>,
    quote: Statement<'c>,
    add_on: Statement<'c>,
    reaction: Statement<'c>,
    call: Statement<'c>,
    /// The newest message of each chat, by its row less one; 0 if there is none.
    pub(super) newest: Vec<i64>,
    /// What the full-text table does not have yet: row, beginning in `unindexed_words`, index of the chat, kind.
    unindexed: Vec<(i64, usize, usize, &'static str)>,
    unindexed_words: String,
    words: String,
    bytes: Vec<u8>,
}

impl<'c> Rows<'c> {
    pub(super) fn new(connection: &'c Connection, language: &'c Language, root: &Random) -> rusqlite::Result<Rows<'c>> {
        let prepare = |sql: &str| connection.prepare(sql);
        let newest = prepare("SELECT coalesce(last_message_row_id, 0) FROM chat ORDER BY _id")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        Ok(Rows {
            language,
            root: root.fork("messages"),
            reactions: Zipf::new(REACTIONS.len() as u32, 0.5),
            media: Media::new(connection)?,
            message: prepare(
                "INSERT INTO message (_id, chat_row_id, from_me, key_id, sender_jid_row_id, status, broadcast,
                    recipient_count, participant_hash, origination_flags, origin, timestamp, received_timestamp,
                    receipt_server_timestamp, message_type, text_data, starred, lookup_tables, message_add_on_flags,
                    sort_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, ?8, 0, 0, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?1)",
            )?,
            text: prepare(
                "INSERT INTO message_ftsv2 (docid, content, fts_jid, fts_namespace) VALUES (?1, ?2, ?3, ?4)",
            )?,
            thumbnail: prepare("INSERT INTO message_thumbnail (message_row_id, thumbnail) VALUES (?1, ?2)")?,
            receipt: prepare(&format!("{RECEIPT}{RECEIPT_ROW}"))?,
            // A statement that writes eight rows takes half the time of eight.
            eight_receipts: prepare(&format!("{RECEIPT}{}", [RECEIPT_ROW; 8].join(", ")))?,
            receipt_values: Vec::new(),
            quote: prepare(
                "INSERT INTO message_quoted (message_row_id, chat_row_id, parent_message_chat_row_id, from_me,
                    sender_jid_row_id, key_id, timestamp, message_type, origin, text_data, lookup_tables)
                 SELECT ?1, ?2, chat_row_id, from_me, sender_jid_row_id, key_id, timestamp, message_type, 0, text_data, 0
                 FROM message WHERE _id = ?3",
            )?,
            add_on: prepare(
                "INSERT INTO message_add_on (chat_row_id, from_me, key_id, sender_jid_row_id, parent_message_row_id,
                    timestamp, status, message_add_on_type, received_timestamp)
                 VALUES (?1, 0, ?2, ?3, ?4, ?5, 0, 56, ?6)",
            )?,
            reaction: prepare(
                "INSERT INTO message_add_on_reaction (message_add_on_row_id, reaction, sender_timestamp)
                 VALUES (last_insert_rowid(), ?1, ?2)",
            )?,
            call: prepare(
                "INSERT INTO call_log (jid_row_id, from_me, call_id, transaction_id, timestamp, video_call, duration,
                    call_result, bytes_transferred)
                 VALUES (?1, ?2, ?3, -1, ?4, ?5, ?6, ?7, ?8)",
            )?,
            newest,
            unindexed: Vec::new(),
            unindexed_words: String::new(),
            words: String::new(),
            bytes: Vec::new(),
        })
    }

    /// Writes a message with its media, thumbnail, quote, receipts and reaction; [`Rows::index_texts`] must follow.
    /// Returns whether the owner of the phone sent it.
    pub(super) fn post(&mut self, post: &Post) -> rusqlite::Result<bool> {
        let Post { row, chat, time, index, past } = *post;
        let root = self.root.nth(row as u64);
        let mut random = root.fork("message");
        let from_me = random.chance(if chat.group { FROM_ME_PER_MILLE.1 } else { FROM_ME_PER_MILLE.0 });
        let sender = match from_me || !chat.group {
            true => 0,
            false => chat.members[random.skewed(chat.members.len() as u64) as usize],
        };
        let kind = Kind::draw(&mut random);
        let quote = random.chance(QUOTES_PER_MILLE);
        let reaction = past && random.chance(REACTIONS_PER_MILLE);
        let read = past && !random.chance(UNREAD_PER_MILLE);
        self.words.clear();
        if kind.number == media::TEXT || random.chance(kind.captions) {
            self.language.message(&mut root.fork("text"), &mut self.words);
        }
        let text = (!self.words.is_empty()).then_some(self.words.as_str());
        self.message.execute(params![
            row,
            chat.row,
            from_me,
            key(&mut root.fork("key")),
            sender,
            match from_me {
                true if read => READ,
                true if past => ARRIVED,
                true => SENT,
                false => 0,
            },
            if from_me && chat.group { chat.members.len() as i64 } else { 0 },
            if from_me { chat.hash.as_deref() } else { None },
            time,
            time + random.below(3000) as i64,
            if from_me { time + 200 + random.below(2000) as i64 } else { -1 },
            kind.number,
            text,
            random.chance(STARRED_PER_MILLE),
            i64::from(quote) * 2,
            reaction,
        ])?;
        if let Some(text) = text {
            self.unindexed.push((row, self.unindexed_words.len(), chat.row as usize - 1, kind.namespace));
            self.unindexed_words.push_str(text);
        }
        if kind.number != media::TEXT {
            let sent = Sent { message_row: row, chat_row: chat.row, from_me, time, index };
            self.media.write(&mut root.fork("media"), kind, &sent)?;
        }
        if kind.has_thumbnail(&mut random, text) {
            media::thumbnail(&mut root.fork("thumbnail"), &mut self.bytes);
            self.thumbnail.execute(params![row, self.bytes])?;
        }
        let newest = &mut self.newest[chat.row as usize - 1];
        if quote && *newest != 0 {
            self.quote.execute([row, chat.row, *newest])?;
        }
        *newest = row;
        if from_me {
            self.receipts(&mut root.fork("receipts"), post, read)?;
        }
        if reaction {
            self.react(&mut root.fork("reaction"), chat, row, time + random.skewed(DAY as u64) as i64)?;
        }
        Ok(from_me)
    }

    /// Gives the full-text table what was posted since the last time.
    ///
    /// FTS4 writes a segment of its index at the end of a transaction, but also before each other statement that might
    /// fail half-way: so the texts of many messages are written in one go if they are to share a segment.
    pub(super) fn index_texts(&mut self, people: &People) -> rusqlite::Result<()> {
        let starts = self.unindexed.iter().map(|&(_, start, ..)| start);
        let ends = starts.skip(1).chain([self.unindexed_words.len()]);
        for (&(row, start, chat, namespace), end) in self.unindexed.iter().zip(ends) {
            self.text.execute(params![row, &self.unindexed_words[start..end], people.chats[chat].tag, namespace])?;
        }
        self.unindexed.clear();
        self.unindexed_words.clear();
        Ok(())
    }

    /// Writes a row for each person a message went to.
    fn receipts(&mut self, random: &mut Random, post: &Post, read: bool) -> rusqlite::Result<()> {
        for &member in &post.chat.members {
            let arrived = post.time + random.below(60_000) as i64;
            let seen = arrived + random.skewed(DAY as u64) as i64;
            let unseen = post.chat.group && random.chance(UNREAD_PER_MILLE);
            let read = (read && !unseen).then_some(seen);
            self.receipt_values.extend([Some(post.row), Some(member), post.past.then_some(arrived), read]);
        }
        let (eights, rest) = self.receipt_values.as_chunks::<{ 8 * 4 }>();
        for values in eights {
            self.eight_receipts.execute(*values)?;
        }
        for values in rest.as_chunks::<4>().0 {
            self.receipt.execute(*values)?;
        }
        self.receipt_values.clear();
        Ok(())
    }

    /// Writes a reaction of a member of `chat` to its message `row`.
    pub(super) fn react(&mut self, random: &mut Random, chat: &Chat, row: i64, time: i64) -> rusqlite::Result<()> {
        let member = chat.members[random.below(chat.members.len() as u64) as usize];
        self.add_on.execute(params![chat.row, key(random), member, row, time, time + 500])?;
        self.reaction.execute(params![REACTIONS[self.reactions.rank(random)], time])?;
        Ok(())
    }

    /// Writes a call with a contact.
    pub(super) fn call(&mut self, random: &mut Random, people: &People, time: i64) -> rusqlite::Result<()> {
        let video = random.chance(300);
        let seconds = if random.chance(300) { 0 } else { random.skewed(5400) };
        self.call.execute(params![
            people.chat(random).members[0],
            random.chance(500),
            format!("call:{}", key(random)),
            time,
            video,
            seconds as i64,
            if seconds == 0 { 2 } else { 5 },
            seconds as i64 * if video { 90_000 } else { 6_000 },
        ])?;
        Ok(())
    }
}

/// Returns 32 random hexadecimal digits: the name of a message among all phones.
pub(super) fn key(random: &mut Random) -> String {
    format!("{:016X}{:016X}", random.next(), random.next())
}

/// Returns when the message `index` of `count` in the day that begins at `day` is sent: in rising order, between 7 and
/// 23 o'clock. All times are milliseconds.
pub(super) fn time_of_day(random: &mut Random, day: i64, index: u64, count: u64) -> i64 {
    let (first, open) = (7 * DAY / 24, 16 * DAY as u64 / 24);
    let slot = open / count.max(1);
    day + first + (index * slot + random.below(slot)) as i64
}
