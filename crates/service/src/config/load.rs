//! From a file and overrides to a checked configuration, or to an error that names the place.

use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::{Table, Value};

use super::error::{ConfigError, Place};
use super::key::{Key, Part};
use super::overrides::Override;
use super::refusal::refused;
use super::source::Sources;
use super::tasks::Runs;
use super::{Config, Loaded, check};

pub(super) fn load(path: Option<&Path>, overrides: &[Override]) -> Result<Loaded, ConfigError> {
    let mut sources = Sources::new(read(path)?);
    // The file alone first: its errors carry positions, which a table built from it no longer has.
    let mut config = parse(&sources)?;
    let mut table: Table = sources.text().parse().map_err(|error| syntax(&sources, &error))?;
    for one in overrides {
        (config, table) = lay_over(table, one)?;
        sources.overridden(one.key.clone(), one.name.clone());
    }
    check::check(&config).map_err(|clash| clash.located(&sources))?;
    let file = sources.file().map(Path::to_path_buf);
    let dir = folder(file.as_deref()).map_err(ConfigError::NoFolder)?;
    resolve(&mut config, &dir);
    Ok(Loaded { config, file, dir })
}

/// The file's path and text; none if none was named and there is none at the usual place.
fn read(path: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let named = path.is_some();
    let path = path.unwrap_or(Path::new(Config::DEFAULT_FILE));
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some((path.to_path_buf(), text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_path_buf(), source }),
    }
}

/// The configuration that the file alone makes.
pub(super) fn parse(sources: &Sources) -> Result<Config, ConfigError> {
    let document = toml::Deserializer::parse(sources.text()).map_err(|error| syntax(sources, &error))?;
    serde_path_to_error::deserialize(document).map_err(|error| {
        let key = Key::of(error.path());
        let error = error.into_inner();
        let at = error.span().map_or_else(|| sources.place(&key), |span| sources.at(span));
        refused(at, key, error.message())
    })
}

fn syntax(sources: &Sources, error: &toml::de::Error) -> ConfigError {
    let at = sources.at(error.span().unwrap_or(0..0));
    ConfigError::Syntax { at, message: error.message().to_owned() }
}

/// Lays one setting over `table`. Its text is taken as a TOML value (`15`, `true`, `["a"]`) where that fits, else
/// as the text of a string (`15s`, `redis://…`), so that nothing needs quotes.
fn lay_over(table: Table, one: &Override) -> Result<(Config, Table), ConfigError> {
    if one.key.parts().first() == Some(&Part::Name("tasks".to_owned())) {
        return Err(ConfigError::TaskOutsideFile { name: one.name.clone() });
    }
    let text = Value::String(one.value.clone());
    let typed = one.value.parse().unwrap_or_else(|_| text.clone());
    let first = with(table.clone(), one, typed.clone());
    if first.is_ok() || typed == text {
        return first;
    }
    with(table, one, text).or(first)
}

fn with(mut table: Table, one: &Override, value: Value) -> Result<(Config, Table), ConfigError> {
    let at = || Place::Override(one.name.clone());
    set(&mut table, one.key.parts(), value);
    match serde_path_to_error::deserialize(table.clone()) {
        Ok(config) => Ok((config, table)),
        Err(error) => {
            let key = Key::of(error.path());
            let error: toml::de::Error = error.into_inner();
            Err(refused(at(), key, error.message()))
        }
    }
}

/// Sets a value deep in a table, making the tables on the way. What is no table on the way is replaced by one:
/// deserializing then tells what should be there.
fn set(table: &mut Table, parts: &[Part], value: Value) {
    let Some((Part::Name(name), rest)) = parts.split_first() else { return };
    if rest.is_empty() {
        table.insert(name.clone(), value);
        return;
    }
    let inner = table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()));
    if !inner.is_table() {
        *inner = Value::Table(Table::new());
    }
    if let Value::Table(inner) = inner {
        set(inner, rest, value);
    }
}

/// The folder that relative paths start from.
fn folder(file: Option<&Path>) -> io::Result<PathBuf> {
    let folder = file.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    std::path::absolute(folder.unwrap_or(Path::new(".")))
}

fn resolve(config: &mut Config, dir: &Path) {
    config.worker.input_dir = dir.join(&config.worker.input_dir);
    if let Some(file) = &mut config.webhooks.ca_file {
        *file = dir.join(&file);
    }
    for task in config.tasks.values_mut() {
        if let Runs::Command(command) = &mut task.runs {
            command.resolve(dir);
        }
    }
}
