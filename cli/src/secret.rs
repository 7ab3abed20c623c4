//! Passwords and keys: from the environment, from files, or asked for at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use daykeep_engine::{Error, RecoveryKey, Result, Secret};
use zeroize::Zeroizing;

use crate::signals::Signals;

/// A password longer than this is a wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a password may stand in the environment.
pub struct PasswordVariables {
    text: &'static str,
    file: Option<&'static str>,
}

/// The password that opens a repository, or is to open a new one.
pub const PASSWORD: PasswordVariables =
    PasswordVariables { text: "DAYKEEP_PASSWORD", file: Some("DAYKEEP_PASSWORD_FILE") };

/// The password that opens the other of two repositories.
pub const OTHER_PASSWORD: PasswordVariables =
    PasswordVariables { text: "DAYKEEP_OTHER_PASSWORD", file: Some("DAYKEEP_OTHER_PASSWORD_FILE") };

/// The password that is to be added.
pub const NEW_PASSWORD: PasswordVariables = PasswordVariables { text: "DAYKEEP_NEW_PASSWORD", file: None };

fn invalid(object: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::InvalidKey { object: object.into(), reason: reason.into() }
}

/// Returns the value of a variable; one that is set to nothing counts as not set.
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the password that the environment has.
///
/// # Errors
/// `InvalidKey` if it is there but cannot be used.
pub fn password_from_environment(variables: &PasswordVariables) -> Result<Option<Zeroizing<String>>> {
    if let Some(value) = variable(variables.text) {
        let text = value.into_string().map_err(|_| invalid(variables.text, "it is not UTF-8"))?;
        return Ok(Some(Zeroizing::new(text)));
    }
    let path = variables.file.and_then(variable);
    path.map(|path| password_from_file(Path::new(&path))).transpose()
}

/// Returns the first line of a file.
///
/// # Errors
/// `InvalidKey` if the file cannot be read or its first line is empty.
pub fn password_from_file(path: &Path) -> Result<Zeroizing<String>> {
    let text = read(path)?;
    let line = without_mark(&text).lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(invalid(path.display().to_string(), "its first line is empty; write the password there"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Some editors begin a file with a byte order mark, which nobody typed.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let failed = |error: io::Error| invalid(path.display().to_string(), format!("cannot be read: {error}"));
    // Allocated once, so that no copy is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX as usize));
    File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text)).map_err(failed)?;
    Ok(text)
}

/// Returns the recovery key in a key file.
///
/// # Errors
/// `InvalidKey` if there is none.
pub fn read_key_file(path: &Path) -> Result<RecoveryKey> {
    let reason = "it does not hold the 64 hexadecimal digits of a recovery key";
    RecoveryKey::parse(without_mark(&read(path)?)).ok_or_else(|| invalid(path.display().to_string(), reason))
}

/// Returns a new recovery key.
///
/// # Errors
/// If the system has no random numbers to give.
pub fn new_key() -> Result<RecoveryKey> {
    let failed = |source| Error::File { path: "random numbers".into(), action: "ask the system for them", source };
    RecoveryKey::generate().map_err(failed)
}

/// Writes a recovery key to a new file that only its owner may read.
///
/// # Errors
/// If there is a file already, or the system's own; then there is no new file.
pub fn write_key_file(path: &Path, key: &RecoveryKey) -> Result<()> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => {
            let reason = format!("{}: there is already a file here; name another place", path.display());
            Error::InvalidOption { option: "key file", reason }
        }
        _ => Error::File { path: path.to_owned(), action: "write a new key file", source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let mut text = key.to_hex();
    text.push('\n');
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // The key must outlast a crash that the repository outlasts, so its name is made durable too.
    written.and_then(|()| File::open(parent)?.sync_all()).map_err(|error| {
        let _ = std::fs::remove_file(path);
        failed(error)
    })
}

/// Returns what a text typed or configured as password may be: a recovery key, if it looks like one, or a password.
pub fn secrets_of(text: &str) -> Vec<Secret> {
    let recovery = RecoveryKey::parse(text).map(Secret::Recovery);
    recovery.into_iter().chain([Secret::password(text)]).collect()
}

/// Returns whether someone is there to be asked.
pub fn can_ask() -> bool {
    // Without this, a run under a supervisor that kept its controlling terminal would wait for ever.
    (io::stdin().is_terminal() || io::stderr().is_terminal()) && File::open("/dev/tty").is_ok()
}

/// Asks for a password at the terminal; what is typed is not shown.
///
/// # Errors
/// `InvalidKey` that says what to set instead if nobody can be asked; `Cancelled` on Ctrl-C.
pub fn ask(signals: &Signals, prompt: &str, instead: &str) -> Result<Zeroizing<String>> {
    if !can_ask() {
        let reason = format!("none was given and there is no terminal to ask at; {instead}");
        return Err(invalid("password", reason));
    }
    let answer = signals.at_prompt(|| rpassword::prompt_password(prompt));
    match answer {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(Error::Cancelled),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            // Ctrl-D ends no line, and what follows is not to stand beside the prompt.
            let _ = io::stderr().write_all(b"\n");
            Err(Error::Cancelled)
        }
        Err(error) => Err(invalid("password", format!("ask for it at the terminal: {error}; {instead}"))),
    }
}

/// Asks for a new password, twice.
///
/// # Errors
/// As [`ask`]; `InvalidKey` if it is empty or the two differ.
pub fn ask_new(signals: &Signals, instead: &str) -> Result<Zeroizing<String>> {
    let password = ask(signals, "New password: ", instead)?;
    if password.is_empty() {
        return Err(invalid("password", "an empty password protects nothing; choose another"));
    }
    if ask(signals, "The same again: ", instead)? != password {
        return Err(invalid("password", "the two differ; nothing was changed"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_holds_the_key_is_private_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = RecoveryKey::generate().unwrap();
        write_key_file(&path, &key).unwrap();
        assert_eq!(read_key_file(&path).unwrap().to_hex(), key.to_hex());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write_key_file(&path, &RecoveryKey::generate().unwrap()).is_err());
        assert_eq!(read_key_file(&path).unwrap().to_hex(), key.to_hex());
    }

    #[test]
    fn files_that_hold_no_secret_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for content in ["", "\nsecond", "\r\n"] {
            std::fs::write(&path, content).unwrap();
            assert!(password_from_file(&path).unwrap_err().to_string().contains("secret"), "{content:?}");
        }
        std::fs::write(&path, "first line\r\nsecond").unwrap();
        assert_eq!(password_from_file(&path).unwrap().as_str(), "first line");
        assert!(matches!(read_key_file(&path), Err(Error::InvalidKey { .. })));
        assert!(matches!(read_key_file(&dir.path().join("none")), Err(Error::InvalidKey { .. })));
    }

    #[test]
    fn what_looks_like_a_recovery_key_is_tried_as_one_first() {
        assert!(matches!(secrets_of("password").as_slice(), [Secret::Password(_)]));
        let key = RecoveryKey::generate().unwrap().to_hex();
        assert!(matches!(secrets_of(&key).as_slice(), [Secret::Recovery(_), Secret::Password(_)]));
    }
}
