//! Chats for programs.

use daykeep_engine::{
    ChatApp, ChatChanges, DatabaseChanges, DatabaseContent, DatabaseDiff, DatabaseReport, Message, Timestamp,
};
use serde::Serialize;

use super::diff::sums;
use crate::commands::JsonPath;
use crate::output::Out;
use crate::text;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Database {
        #[serde(flatten)]
        path: JsonPath,
        bytes: u64,
        app: Option<&'static str>,
        error: Option<String>,
    },
    Chat {
        database: &'a str,
        name: &'a str,
        jid: &'a str,
        messages: u64,
        media: u64,
        first: Option<String>,
        last: Option<String>,
    },
    Table {
        database: &'a str,
        name: &'a str,
        rows: u64,
    },
    DatabaseChanges {
        #[serde(flatten)]
        path: JsonPath,
        app: Option<&'static str>,
        /// `unchanged`, `came`, `went`, or `changed`, after which its chats or tables follow.
        change: Option<&'static str>,
        error: Option<String>,
    },
    ChatChanges {
        database: &'a str,
        name: &'a str,
        jid: &'a str,
        came: u64,
        went: u64,
        changed: u64,
    },
    Message {
        database: &'a str,
        jid: &'a str,
        change: &'static str,
        time: Option<String>,
        from_me: bool,
        text: Option<&'a str>,
        text_before: Option<&'a str>,
    },
    TableChanges {
        database: &'a str,
        name: &'a str,
        rows_before: Option<u64>,
        rows_after: Option<u64>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    databases: usize,
    chats: usize,
    messages: u64,
    errors: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct DiffSummary {
    databases: usize,
    came: u64,
    went: u64,
    changed: u64,
    errors: usize,
}

fn app(app: ChatApp) -> Option<&'static str> {
    match app {
        ChatApp::WhatsAppAndroid => Some("whatsapp_android"),
        ChatApp::WhatsAppIos => Some("whatsapp_ios"),
        _ => None,
    }
}

fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(text::utc_time)
}

/// Prints what databases hold.
pub fn databases(out: &Out, databases: &[DatabaseReport]) {
    let mut summary = Summary { databases: databases.len(), chats: 0, messages: 0, errors: 0 };
    for database in databases {
        let path = String::from_utf8_lossy(&database.path);
        let program = match &database.content {
            Ok(DatabaseContent::Chats { app: program, .. }) => app(*program),
            _ => None,
        };
        let error = database.content.as_ref().err().map(ToString::to_string);
        summary.errors += usize::from(error.is_some());
        out.json(&Line::Database {
            path: JsonPath::of_bytes(&database.path),
            bytes: database.bytes,
            app: program,
            error,
        });
        match &database.content {
            Ok(DatabaseContent::Chats { chats, .. }) => {
                for chat in chats {
                    summary.chats += 1;
                    summary.messages += chat.messages;
                    out.json(&Line::Chat {
                        database: &path,
                        name: &chat.name,
                        jid: &chat.jid,
                        messages: chat.messages,
                        media: chat.media,
                        first: time(chat.first),
                        last: time(chat.last),
                    });
                }
            }
            Ok(DatabaseContent::Tables(tables)) => {
                tables.iter().for_each(|table| {
                    out.json(&Line::Table { database: &path, name: &table.name, rows: table.rows });
                });
            }
            _ => {}
        }
    }
    out.json(&summary);
}

/// Prints what happened to databases.
pub fn diffs(out: &Out, databases: &[DatabaseDiff]) {
    let mut summary = DiffSummary { databases: databases.len(), came: 0, went: 0, changed: 0, errors: 0 };
    for database in databases {
        let path = String::from_utf8_lossy(&database.path);
        let (change, program) = match &database.changes {
            Ok(DatabaseChanges::Unchanged) => (Some("unchanged"), None),
            Ok(DatabaseChanges::Came) => (Some("came"), None),
            Ok(DatabaseChanges::Went) => (Some("went"), None),
            Ok(DatabaseChanges::Chats { app: program, .. }) => (Some("changed"), app(*program)),
            Ok(_) => (Some("changed"), None),
            Err(_) => (None, None),
        };
        let error = database.changes.as_ref().err().map(ToString::to_string);
        summary.errors += usize::from(error.is_some());
        out.json(&Line::DatabaseChanges { path: JsonPath::of_bytes(&database.path), app: program, change, error });
        match &database.changes {
            Ok(DatabaseChanges::Chats { chats, .. }) => {
                let (came, went, changed) = sums(chats);
                (summary.came, summary.went, summary.changed) =
                    (summary.came + came, summary.went + went, summary.changed + changed);
                chats.iter().for_each(|chat| chat_changes(out, &path, chat));
            }
            Ok(DatabaseChanges::Tables(tables)) => {
                for table in tables {
                    out.json(&Line::TableChanges {
                        database: &path,
                        name: &table.name,
                        rows_before: table.rows_before,
                        rows_after: table.rows_after,
                    });
                }
            }
            _ => {}
        }
    }
    out.json(&summary);
}

fn chat_changes(out: &Out, database: &str, chat: &ChatChanges) {
    out.json(&Line::ChatChanges {
        database,
        name: &chat.name,
        jid: &chat.jid,
        came: chat.came.count,
        went: chat.went.count,
        changed: chat.changed.count,
    });
    let message = |change: &'static str, message: &Message| {
        out.json(&Line::Message {
            database,
            jid: &chat.jid,
            change,
            time: time(message.time),
            from_me: message.is_from_me,
            text: message.text.as_deref(),
            text_before: message.text_before.as_deref(),
        });
    };
    chat.came.latest.iter().for_each(|came| message("came", came));
    chat.went.latest.iter().for_each(|went| message("went", went));
    chat.changed.latest.iter().for_each(|changed| message("changed", changed));
}
