//! What a day does to a database: new messages, and all that happens to older ones.
//!
//! Every event is a transaction of its own, as on a phone: that decides how the full-text index grows and which pages
//! `auto_vacuum` moves.

use rusqlite::{Connection, OptionalExtension, Statement, params};

use crate::chats::media;
use crate::chats::people::{Chat, People};
use crate::chats::rows::{ARRIVED, Post, READ, Rows, time_of_day};
use crate::random::Random;
use crate::text::Language;

/// How often things happen, for a thousand new messages.
const READS_PER_MILLE: u64 = 600;
const REACTIONS_PER_MILLE: u64 = 40;
const EDITS_PER_MILLE: u64 = 10;
const REVOKED_PER_MILLE: u64 = 8;
const DELETED_PER_MILLE: u64 = 7;
const CALLS_PER_MILLE: u64 = 4;
const STARS_PER_MILLE: u64 = 4;
/// How many messages are looked at to find one that fits.
const TRIES: usize = 8;

/// An older message that something happens to.
struct Older {
    row: i64,
    chat: usize,
    from_me: bool,
    kind: i64,
}

struct Day<'c> {
    people: &'c People,
    language: &'c Language,
    rows: Rows<'c>,
    random: Random,
    now: i64,
    newest: i64,
    begin: Statement<'c>,
    commit: Statement<'c>,
    find: Statement<'c>,
    touch_chat: Statement<'c>,
    status: Statement<'c>,
    arrived: Statement<'c>,
    read: Statement<'c>,
    flag: Statement<'c>,
    star: Statement<'c>,
    edit: Statement<'c>,
    edit_text: Statement<'c>,
    edit_info: Statement<'c>,
    revoke: Statement<'c>,
    revoked: Statement<'c>,
    delete_media: Statement<'c>,
    delete_thumbnail: Statement<'c>,
    delete_text: Statement<'c>,
    delete: Statement<'c>,
}

/// Writes the `messages` messages of the day that begins at `start` (milliseconds since 1970), with all that happens to
/// older ones meanwhile. `root` must be another one each day.
pub(super) fn write(
    connection: &Connection,
    language: &Language,
    people: &People,
    chats_root: &Random,
    root: &Random,
    start: i64,
    messages: u64,
) -> rusqlite::Result<()> {
    let mut day = Day::new(connection, language, people, chats_root, root.fork("events"))?;
    let mut talk = root.fork("talk");
    let mut chat = people.chat(&mut talk);
    for index in 0..messages {
        day.now = time_of_day(&mut talk, start, index, messages);
        if talk.chance(250) {
            chat = people.chat(&mut talk);
        }
        day.post(chat, index)?;
        day.happen()?;
    }
    Ok(())
}

impl<'c> Day<'c> {
    fn new(
        connection: &'c Connection,
        language: &'c Language,
        people: &'c People,
        chats_root: &Random,
        random: Random,
    ) -> rusqlite::Result<Day<'c>> {
        let prepare = |sql| connection.prepare(sql);
        let newest = connection.query_row(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'message'), 0)",
            [],
            |row| row.get(0),
        )?;
        Ok(Day {
            people,
            language,
            rows: Rows::new(connection, language, chats_root)?,
            random,
            now: 0,
            newest,
            begin: prepare("BEGIN")?,
            commit: prepare("COMMIT")?,
            find: prepare("SELECT chat_row_id, from_me, message_type FROM message WHERE _id = ?1")?,
            touch_chat: prepare(
                "UPDATE chat SET display_message_row_id = ?2, last_message_row_id = ?2, sort_timestamp = ?3,
                    last_read_message_row_id = CASE WHEN ?4 THEN ?2 ELSE last_read_message_row_id END,
                    unseen_message_count = CASE WHEN ?4 THEN 0 ELSE unseen_message_count + 1 END,
                    unseen_row_count = CASE WHEN ?4 THEN 0 ELSE unseen_row_count + 1 END
                 WHERE _id = ?1",
            )?,
            status: prepare("UPDATE message SET status = ?2 WHERE _id = ?1 AND status < ?2")?,
            arrived: prepare("UPDATE receipt_user SET receipt_timestamp = ?2 WHERE message_row_id = ?1")?,
            read: prepare(
                "UPDATE receipt_user SET read_timestamp = ?2 WHERE _id = (SELECT _id FROM receipt_user
                    WHERE message_row_id = ?1 AND read_timestamp IS NULL ORDER BY receipt_user_jid_row_id LIMIT 1)",
            )?,
            flag: prepare("UPDATE message SET message_add_on_flags = 1 WHERE _id = ?1")?,
            star: prepare("UPDATE message SET starred = 1 WHERE _id = ?1")?,
            edit: prepare("UPDATE message SET text_data = ?2 WHERE _id = ?1")?,
            edit_text: prepare("UPDATE message_ftsv2 SET content = ?2 WHERE docid = ?1")?,
            edit_info: prepare(
                "INSERT OR REPLACE INTO message_edit_info
                    (message_row_id, original_key_id, edited_timestamp, sender_timestamp)
                 SELECT _id, key_id, ?2, ?2 FROM message WHERE _id = ?1",
            )?,
            revoke: prepare("UPDATE message SET message_type = ?2, text_data = NULL WHERE _id = ?1")?,
            revoked: prepare(
                "INSERT OR REPLACE INTO message_revoked (message_row_id, revoked_key_id, revoke_timestamp)
                 SELECT _id, key_id, ?2 FROM message WHERE _id = ?1",
            )?,
            delete_media: prepare("DELETE FROM message_media WHERE message_row_id = ?1")?,
            delete_thumbnail: prepare("DELETE FROM message_thumbnail WHERE message_row_id = ?1")?,
            delete_text: prepare("DELETE FROM message_ftsv2 WHERE docid = ?1")?,
            delete: prepare("DELETE FROM message WHERE _id = ?1")?,
        })
    }

    /// Writes a new message; if the owner of the phone sent it, it arrives on the other phones soon.
    fn post(&mut self, chat: &Chat, index: u64) -> rusqlite::Result<()> {
        self.newest += 1;
        let row = self.newest;
        self.begin.execute([])?;
        let from_me = self.rows.post(&Post { row, chat, time: self.now, index, past: false })?;
        self.rows.index_texts(self.people)?;
        self.touch_chat.execute(params![chat.row, row, self.now, from_me])?;
        self.commit.execute([])?;
        if from_me {
            self.begin.execute([])?;
            self.status.execute([row, ARRIVED])?;
            self.arrived.execute([row, self.now + 1000])?;
            self.commit.execute([])?;
        }
        Ok(())
    }

    /// Lets happen to older messages what happens after a new one.
    fn happen(&mut self) -> rusqlite::Result<()> {
        let root = self.random.nth(self.newest as u64);
        for (label, per_mille, event) in [
            ("read", READS_PER_MILLE, Day::be_read as fn(&mut Self, &mut Random) -> rusqlite::Result<()>),
            ("react", REACTIONS_PER_MILLE, Day::react),
            ("edit", EDITS_PER_MILLE, Day::edit),
            ("revoke", REVOKED_PER_MILLE, Day::revoke),
            ("delete", DELETED_PER_MILLE, Day::delete),
            ("star", STARS_PER_MILLE, Day::star),
            ("call", CALLS_PER_MILLE, |day, random| day.rows.call(random, day.people, day.now)),
        ] {
            let mut random = root.fork(label);
            if random.chance(per_mille) {
                self.begin.execute([])?;
                event(self, &mut random)?;
                self.commit.execute([])?;
            }
        }
        Ok(())
    }

    /// Returns an older message that fits, mostly one of the last hours.
    fn older(&mut self, random: &mut Random, fits: impl Fn(&Older) -> bool) -> rusqlite::Result<Option<Older>> {
        for _ in 0..TRIES {
            let row = self.newest - random.skewed(self.newest as u64) as i64;
            let found = self.find.query_row([row], |columns| {
                let chat: i64 = columns.get(0)?;
                Ok(Older { row, chat: chat as usize - 1, from_me: columns.get(1)?, kind: columns.get(2)? })
            });
            if let Some(found) = found.optional()?
                && fits(&found)
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn be_read(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |older| older.from_me)? {
            self.read.execute([older.row, self.now])?;
            self.status.execute([older.row, READ])?;
        }
        Ok(())
    }

    fn react(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |older| older.kind != media::REVOKED)? {
            self.rows.react(random, &self.people.chats[older.chat], older.row, self.now)?;
            self.flag.execute([older.row])?;
        }
        Ok(())
    }

    fn star(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |older| older.kind != media::REVOKED)? {
            self.star.execute([older.row])?;
        }
        Ok(())
    }

    fn edit(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |older| older.kind == media::TEXT)? {
            let mut text = String::new();
            self.language.message(random, &mut text);
            self.edit.execute(params![older.row, text])?;
            self.edit_text.execute(params![older.row, text])?;
            self.edit_info.execute([older.row, self.now])?;
        }
        Ok(())
    }

    /// Takes a message back: its row stays, what it said goes.
    fn revoke(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |older| older.kind != media::REVOKED)? {
            self.revoke.execute([older.row, media::REVOKED])?;
            self.revoked.execute([older.row, self.now])?;
            for statement in [&mut self.delete_media, &mut self.delete_thumbnail, &mut self.delete_text] {
                statement.execute([older.row])?;
            }
        }
        Ok(())
    }

    /// Deletes a message from this phone, with all that belongs to it.
    fn delete(&mut self, random: &mut Random) -> rusqlite::Result<()> {
        if let Some(older) = self.older(random, |_| true)? {
            self.delete_text.execute([older.row])?;
            self.delete.execute([older.row])?;
        }
        Ok(())
    }
}
