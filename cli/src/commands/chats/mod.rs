//! `chats`: looks into the chat databases of a snapshot, or compares those of two.

mod diff;
mod json;

use std::os::unix::ffi::OsStrExt;

use daykeep_engine::{
    Access, Chat, ChatApp, ChatsOptions, DatabaseContent, DatabaseReport, Error, Result, SnapshotPath, TableRows,
    Timestamp,
};

use super::{Context, Status};
use crate::args::ChatsArgs;
use crate::output::note;
use crate::place;
use crate::text::{self, Table};

pub fn run(context: &Context, args: ChatsArgs) -> Result<Status> {
    let mut options = ChatsOptions::default();
    options.limit = args.limit;
    options.threads = context.global.threads;
    options.cancel = context.signals.cancel_token().clone();
    if let [before, after] = args.diff.as_slice() {
        let (mut before, mut after) = (SnapshotPath::parse(before.as_bytes())?, SnapshotPath::parse(after.as_bytes())?);
        let repository = place::open(context, Access::Read)?.repository;
        args.latest.choose_of(&repository, [&mut before, &mut after])?;
        return Ok(diff::show(context, &repository.chats_diff(&before, &after, &options)?));
    }
    let mut path = SnapshotPath::parse(args.snapshot.unwrap_or_default().as_bytes())?;
    let repository = place::open(context, Access::Read)?.repository;
    args.latest.choose_of(&repository, [&mut path])?;
    Ok(show(context, &repository.chats(&path, &options)?))
}

fn show(context: &Context, databases: &[DatabaseReport]) -> Status {
    if context.out.is_json() {
        json::databases(&context.out, databases);
    } else {
        databases.iter().for_each(|database| print(context, database));
        context.out.flush();
    }
    status(context, databases.iter().filter_map(|database| database.content.as_ref().err()))
}

/// Names the databases that could not be read.
fn status<'e>(context: &Context, errors: impl Iterator<Item = &'e Error>) -> Status {
    let mut status = Status::Done;
    for error in errors {
        context.out.flush();
        note(&format!("error: {error}"));
        status = Status::Incomplete;
    }
    status
}

/// Returns the name of a program.
fn app(app: ChatApp) -> &'static str {
    match app {
        ChatApp::WhatsAppAndroid => "WhatsApp on Android",
        ChatApp::WhatsAppIos => "WhatsApp on an iPhone",
        _ => "chats",
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.map(text::local_time).unwrap_or_default()
}

fn print(context: &Context, database: &DatabaseReport) {
    let Ok(content) = &database.content else { return };
    let (what, table) = match content {
        DatabaseContent::Chats { app: program, chats } => {
            let messages = chats.iter().map(|chat| chat.messages).sum();
            let chat_count = text::counted(chats.len() as u64, "chat", "chats");
            let message_count = text::counted(messages, "message", "messages");
            (format!("{}, {chat_count}, {message_count}", app(*program)), chat_table(chats))
        }
        DatabaseContent::Tables(tables) => (
            format!("unknown to daykeep, {}", text::counted(tables.len() as u64, "table", "tables")),
            row_table(tables),
        ),
        _ => return,
    };
    context.out.line(&format!("{}: {}, {what}", text::name(&database.path), text::size(database.bytes)));
    table.lines().for_each(|line| context.out.line(&line));
}

fn chat_table(chats: &[Chat]) -> Table {
    let mut table = Table::new(&["CHAT", ">MESSAGES", ">MEDIA", "FIRST", "LAST"]);
    for chat in chats {
        table.row(vec![
            text::escape(&chat.name),
            text::count(chat.messages),
            text::count(chat.media),
            time(chat.first),
            time(chat.last),
        ]);
    }
    table
}

fn row_table(tables: &[TableRows]) -> Table {
    let mut table = Table::new(&["TABLE", ">ROWS"]);
    for rows in tables {
        table.row(vec![text::escape(&rows.name), text::count(rows.rows)]);
    }
    table
}
