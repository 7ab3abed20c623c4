//! What one database holds.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::database::Database;
use super::options::{Chat, DatabaseContent, TableRows};
use super::schema::{self, Schema, TABLES_MAX};
use crate::error::Result;
use crate::format::tree::Timestamp;

/// The most chats of one database.
pub const CHATS_MAX: usize = 100_000;

/// A database with its schema, if that is known.
pub struct Known<'d> {
    pub database: &'d Database,
    pub schema: Option<&'static Schema>,
    tables: Vec<String>,
}

impl<'d> Known<'d> {
    /// Looks at the tables.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn of(database: &'d Database) -> Result<Self> {
        let (tables, schema) = database.read(|connection| {
            let tables = schema::tables(connection)?;
            let schema = schema::recognise(connection, &tables)?;
            Ok((tables, schema))
        })?;
        if tables.len() > TABLES_MAX {
            return Err(database.too_many("tables", TABLES_MAX));
        }
        Ok(Self { database, schema, tables })
    }

    /// Returns its chats, or its tables.
    ///
    /// # Errors
    /// `Database` or `Cancelled`.
    pub fn content(&self) -> Result<DatabaseContent> {
        let Some(schema) = self.schema else {
            return self.tables().map(DatabaseContent::Tables);
        };
        let chats = self.database.read(|connection| chats(connection, schema))?;
        if chats.len() > CHATS_MAX {
            return Err(self.database.too_many("chats", CHATS_MAX));
        }
        Ok(DatabaseContent::Chats { app: schema.app, chats })
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

fn chats(connection: &Connection, schema: &Schema) -> rusqlite::Result<Vec<Chat>> {
    let chat = |row: &Row<'_>| {
        let jid = text(row, 0)?.unwrap_or_default();
        Ok(Chat {
            name: text(row, 1)?.unwrap_or_else(|| jid.clone()),
            jid,
            messages: number(row, 2)?.unwrap_or_default().unsigned_abs(),
            first: number(row, 3)?.map(time),
            last: number(row, 4)?.map(time),
            media: number(row, 5)?.unwrap_or_default().unsigned_abs(),
        })
    };
    connection.prepare(schema.chats)?.query_map([CHATS_MAX as i64 + 1], chat)?.collect()
}

/// Returns the bytes of a text; whatever else stands there is as good as nothing.
pub fn bytes<'r>(row: &'r Row<'_>, column: usize) -> rusqlite::Result<Option<&'r [u8]>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) => Some(text),
        _ => None,
    })
}

/// Returns a text.
pub fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(bytes(row, column)?.map(|text| String::from_utf8_lossy(text).into_owned()))
}

/// Returns a number; whatever else stands there is as good as nothing.
pub fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<i64>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Integer(number) => Some(number),
        _ => None,
    })
}

/// Returns the point in time so many milliseconds after 1970.
pub fn time(milliseconds: i64) -> Timestamp {
    Timestamp { seconds: milliseconds.div_euclid(1000), nanos: milliseconds.rem_euclid(1000) as u32 * 1_000_000 }
}
