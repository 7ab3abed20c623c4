//! `chats --diff`: what came, went and changed.

use daykeep_engine::{ChatChanges, DatabaseChanges, DatabaseDiff, Message, Messages, TableChanges};

use super::{app, json, status, time};
use crate::commands::{Context, Status};
use crate::text::{self, Table};

pub fn show(context: &Context, databases: &[DatabaseDiff]) -> Status {
    if context.out.is_json() {
        json::diffs(&context.out, databases);
    } else {
        databases.iter().for_each(|database| print(context, database));
        context.out.flush();
    }
    status(context, databases.iter().filter_map(|database| database.changes.as_ref().err()))
}

/// Returns how many messages came, went and changed.
pub fn sums(chats: &[ChatChanges]) -> (u64, u64, u64) {
    let sum = |of: fn(&ChatChanges) -> &Messages| chats.iter().map(|chat| of(chat).count).sum();
    (sum(|chat| &chat.came), sum(|chat| &chat.went), sum(|chat| &chat.changed))
}

fn print(context: &Context, database: &DatabaseDiff) {
    let Ok(changes) = &database.changes else { return };
    let heading = |what: &str| context.out.line(&format!("{}: {what}", text::name(&database.path)));
    match changes {
        DatabaseChanges::Unchanged => heading("unchanged"),
        DatabaseChanges::Came => heading("came"),
        DatabaseChanges::Went => heading("went"),
        DatabaseChanges::Chats { app: program, chats } => {
            let (came, went, changed) = sums(chats);
            let counts = [came, went, changed].map(text::count);
            heading(&format!("{}, {} came, {} went, {} changed", app(*program), counts[0], counts[1], counts[2]));
            if !chats.is_empty() {
                chat_table(chats).lines().for_each(|line| context.out.line(&line));
            }
            chats.iter().for_each(|chat| messages(context, chat));
        }
        DatabaseChanges::Tables(tables) => {
            heading("unknown to daykeep");
            row_table(tables).lines().for_each(|line| context.out.line(&line));
        }
        _ => {}
    }
}

fn chat_table(chats: &[ChatChanges]) -> Table {
    let mut table = Table::new(&["CHAT", ">CAME", ">WENT", ">CHANGED"]);
    for chat in chats {
        let counts = [&chat.came, &chat.went, &chat.changed].map(|messages| text::count(messages.count));
        table.row([vec![text::escape(&chat.name)], counts.to_vec()].concat());
    }
    table
}

/// Prints the messages of one chat, `+` before those that came, `-` before those that went, `~` before changed ones.
fn messages(context: &Context, chat: &ChatChanges) {
    let sorts = [('+', &chat.came), ('-', &chat.went), ('~', &chat.changed)];
    if sorts.iter().any(|(_, messages)| !messages.latest.is_empty()) {
        context.out.line(&format!("{}:", text::escape(&chat.name)));
    }
    for (sign, messages) in sorts {
        messages.latest.iter().for_each(|message| context.out.line(&line(sign, message)));
    }
}

fn line(sign: char, message: &Message) -> String {
    let words = |text: &Option<String>| text.as_deref().map_or_else(|| "(no text)".into(), text::escape);
    let sender = if message.is_from_me { "me: " } else { "" };
    let before = if sign == '~' { format!("{} -> ", words(&message.text_before)) } else { String::new() };
    format!("  {sign} {:<19}  {sender}{before}{}", time(message.time), words(&message.text))
}

fn row_table(tables: &[TableChanges]) -> Table {
    let rows = |rows: Option<u64>| rows.map_or_else(|| "-".into(), text::count);
    let mut table = Table::new(&["TABLE", ">ROWS BEFORE", ">ROWS AFTER"]);
    for change in tables {
        table.row(vec![text::escape(&change.name), rows(change.rows_before), rows(change.rows_after)]);
    }
    table
}
