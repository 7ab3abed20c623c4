//! What one database holds.

use std::cmp::Reverse;

use super::database::Database;
use super::lines::{ChatNames, Line, bytes, time};
use super::options::{Chat, DatabaseContent, TableRows};
use super::schema::{self, Questions, TABLES_MAX};
use crate::error::Result;

/// A database with what it is asked, if its schema is known.
pub struct Known<'d> {
    pub database: &'d Database,
    pub questions: Option<Questions>,
    tables: Vec<String>,
}

impl<'d> Known<'d> {
    /// Looks at the tables.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn of(database: &'d Database) -> Result<Self> {
        let (tables, questions) = database.read(|connection| {
            let tables = schema::tables(connection)?;
            let questions = schema::recognise(connection, &tables)?;
            Ok((tables, questions))
        })?;
        if tables.len() > TABLES_MAX {
            return Err(database.too_many("tables", TABLES_MAX));
        }
        Ok(Self { database, questions, tables })
    }

    /// Returns its chats, or its tables.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn content(&self) -> Result<DatabaseContent> {
        match &self.questions {
            Some(questions) => {
                let chats = chats(self.database, questions)?;
                Ok(DatabaseContent::Chats { app: questions.schema.app, chats })
            }
            None => self.tables().map(DatabaseContent::Tables),
        }
    }

    /// Returns its tables with their rows.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn tables(&self) -> Result<Vec<TableRows>> {
        let rows = |name: &String| {
            let rows = self.database.read(|connection| schema::rows(connection, name))?;
            Ok(TableRows { name: name.clone(), rows })
        };
        self.tables.iter().map(rows).collect()
    }
}

/// What is counted of one chat.
#[derive(Clone, Default)]
struct Sum {
    messages: u64,
    media: u64,
    first: Option<i64>,
    last: Option<i64>,
}

/// Returns the sum of the chat that has this key.
fn sum_of<'s>(sums: &'s mut Vec<Sum>, names: &mut ChatNames, key: &[u8]) -> Option<&'s mut Sum> {
    let number = names.find(key)?;
    sums.resize(names.len(), Sum::default());
    sums.get_mut(number)
}

fn chats(database: &Database, questions: &Questions) -> Result<Vec<Chat>> {
    let mut names = ChatNames::read(database, questions)?;
    let mut sums = Vec::new();
    database.each(questions.schema.messages, &mut |row| {
        let line = Line::of(row)?;
        if let Some(sum) = sum_of(&mut sums, &mut names, line.chat) {
            sum.messages += 1;
            sum.first = sum.first.into_iter().chain(line.time).min();
            sum.last = sum.last.max(line.time);
        }
        Ok(true)
    })?;
    database.each(questions.media, &mut |row| {
        if let Some(sum) = sum_of(&mut sums, &mut names, bytes(row, 0)?.unwrap_or_default()) {
            sum.media += 1;
        }
        Ok(true)
    })?;
    names.check(database)?;
    let mut held: Vec<(usize, Sum)> = sums.into_iter().enumerate().filter(|(_, sum)| sum.messages > 0).collect();
    held.sort_by_key(|(_, sum)| Reverse(sum.last));
    let chat = |(number, sum): (usize, Sum)| {
        let name = names.name(number).clone();
        let (first, last) = (sum.first.map(time), sum.last.map(time));
        Chat { name: name.name, jid: name.jid, messages: sum.messages, media: sum.media, first, last }
    };
    Ok(held.into_iter().map(chat).collect())
}
