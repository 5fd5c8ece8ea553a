//! Where each setting was set: the file's text with its positions, and the overrides laid over it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::Place;
use super::key::{Key, Part};

/// The sources of one configuration.
#[derive(Debug, Default)]
pub(super) struct Sources {
    file: Option<(PathBuf, String)>,
    /// In the order they were laid on.
    overrides: Vec<(Key, String)>,
}

impl Sources {
    pub(super) fn new(file: Option<(PathBuf, String)>) -> Self {
        Self { file, overrides: Vec::new() }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    pub(super) fn text(&self) -> &str {
        self.file.as_ref().map_or("", |(_, text)| text.as_str())
    }

    pub(super) fn overridden(&mut self, key: Key, name: String) {
        self.overrides.push((key, name));
    }

    /// The place in the file of a span of its text.
    pub(super) fn at(&self, span: Range<usize>) -> Place {
        let Some((path, text)) = &self.file else { return Place::Default };
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        Place::File { path: path.clone(), line, column }
    }

    /// Where `key` was set last.
    pub(super) fn place(&self, key: &Key) -> Place {
        let set = |(overridden, _): &&(Key, String)| key.parts().starts_with(overridden.parts());
        if let Some((_, name)) = self.overrides.iter().rev().find(set) {
            return Place::Override(name.clone());
        }
        self.span(key).map_or(Place::Default, |span| self.at(span))
    }

    fn span(&self, key: &Key) -> Option<Range<usize>> {
        let table = DeTable::parse(self.text()).ok()?;
        let (last, way) = key.parts().split_last()?;
        let mut value = &DeValue::Table(table.into_inner());
        for part in way {
            value = match (part, value) {
                (Part::Name(name), DeValue::Table(table)) => table.get(name.as_str())?.get_ref(),
                (Part::Index(index), DeValue::Array(array)) => array.get(*index)?.get_ref(),
                _ => return None,
            };
        }
        match (last, value) {
            (Part::Name(name), DeValue::Table(table)) => Some(table.get_key_value(name.as_str())?.0.span()),
            (Part::Index(index), DeValue::Array(array)) => Some(array.get(*index)?.span()),
            _ => None,
        }
    }
}
