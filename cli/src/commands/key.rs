//! `key`: what opens the repository.

use daykeep_engine::{Access, KeyInfo, KeyOpens, ObjectId, Result};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Context, Status, report};
use crate::args::{KeyCommand, NewPassword};
use crate::place;
use crate::secret::{self, NEW_PASSWORD, PASSWORD};
use crate::text::{self, Table};

const HOW_TO_NAME_NEW: &str = "set DAYKEEP_NEW_PASSWORD or use --new-password-file";
const HOW_TO_NAME_OLD: &str = "set DAYKEEP_PASSWORD or DAYKEEP_PASSWORD_FILE to the password to replace";

pub fn run(context: &Context, command: KeyCommand) -> Result<Status> {
    match command {
        KeyCommand::List => list(context),
        KeyCommand::Add { label, new } => add(context, &label, &new),
        KeyCommand::ChangePassword { new } => change_password(context, &new),
        KeyCommand::Remove { id } => remove(context, &id),
        KeyCommand::ShowRecovery => show_recovery(context),
    }
}

fn list(context: &Context) -> Result<Status> {
    let (keys, errors) = place::open(context, Access::Read)?.repository.keys()?;
    let out = &context.out;
    if out.is_json() {
        keys.iter().for_each(|key| out.json(&JsonKey::of(key)));
        out.json(&JsonSummary { count: keys.len() });
    } else {
        let mut table = Table::new(&["ID", "OPENS WITH", "LABEL", "MADE", "STATE"]);
        for key in &keys {
            table.row(vec![
                text::short_id(&key.id),
                opens(key).to_owned(),
                text::escape(&key.label),
                text::local_time(key.created),
                if key.is_intact { "intact" } else { "forged or damaged" }.to_owned(),
            ]);
        }
        table.lines().for_each(|line| out.line(&line));
    }
    out.flush();
    let all_intact = keys.iter().all(|key| key.is_intact);
    Ok(if all_intact { report(&errors) } else { Status::Failed })
}

fn opens(key: &KeyInfo) -> &'static str {
    match key.opens {
        KeyOpens::Password => "password",
        KeyOpens::RecoveryKey => "recovery key",
        _ => "other",
    }
}

fn add(context: &Context, label: &str, new: &NewPassword) -> Result<Status> {
    let repository = place::open(context, Access::Write)?.repository;
    let id = repository.add_password(&new_password(context, new)?, label)?;
    done(context, "added", &id);
    Ok(Status::Done)
}

fn change_password(context: &Context, new: &NewPassword) -> Result<Status> {
    let opened = place::open(context, Access::Write)?;
    // The repository may have been opened by its key file, which says nothing of the password to replace.
    let old = match opened.password {
        Some(password) => password,
        None => match secret::password_from_environment(&PASSWORD)? {
            Some(password) => password,
            None => secret::ask(&context.signals, "Password to replace: ", HOW_TO_NAME_OLD)?,
        },
    };
    let id = opened.repository.change_password(&old, &new_password(context, new)?)?;
    done(context, "changed", &id);
    Ok(Status::Done)
}

fn remove(context: &Context, id: &str) -> Result<Status> {
    let removed = place::open(context, Access::Write)?.repository.remove_key(&id.to_ascii_lowercase())?;
    done(context, "removed", &removed);
    Ok(Status::Done)
}

fn show_recovery(context: &Context) -> Result<Status> {
    let key = place::open(context, Access::Read)?.repository.recovery_key()?.to_hex();
    if context.out.is_json() {
        context.out.json(&JsonRecovery { recovery_key: &key });
    } else {
        context.out.line(&key);
    }
    Ok(Status::Done)
}

fn new_password(context: &Context, new: &NewPassword) -> Result<Zeroizing<String>> {
    if let Some(path) = &new.new_password_file {
        return secret::password_from_file(path);
    }
    match secret::password_from_environment(&NEW_PASSWORD)? {
        Some(password) => Ok(password),
        None => secret::ask_new(&context.signals, HOW_TO_NAME_NEW),
    }
}

fn done(context: &Context, what: &'static str, id: &ObjectId) {
    if context.out.is_json() {
        context.out.json(&JsonDone { action: what, id: id.to_string() });
    } else if !context.global.quiet {
        context.out.line(&format!("Key {} {what}", text::short_id(id)));
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "key")]
struct JsonKey<'a> {
    id: String,
    opens: &'static str,
    label: &'a str,
    created: String,
    is_intact: bool,
}

impl<'a> JsonKey<'a> {
    fn of(key: &'a KeyInfo) -> Self {
        Self {
            id: key.id.to_string(),
            opens: opens(key),
            label: &key.label,
            created: text::utc_time(key.created),
            is_intact: key.is_intact,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    count: usize,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonDone {
    action: &'static str,
    id: String,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonRecovery<'a> {
    recovery_key: &'a str,
}
