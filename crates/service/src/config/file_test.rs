//! `config/jobcast.toml` is the reference of all settings, so it must not drift from the code: it has every key,
//! each default is the real one, and each range stands in its comment.

use std::collections::BTreeMap;

use super::source::Sources;
use super::*;

const FILE: &str = include_str!("../../../../config/jobcast.toml");

/// Parses a text as a file.
fn parse(text: &str) -> Result<Config, ConfigError> {
    load::parse(&Sources::new(Some(("jobcast.toml".into(), text.to_owned()))))
}

/// A line's setting, where the line is `# key = value` or `# e.g. key = value` (or a table's head).
fn commented(line: &str) -> Option<(bool, &str)> {
    let (default, text) = match line.strip_prefix("# e.g. ") {
        Some(text) => (false, text),
        None => (true, line.strip_prefix("# ")?),
    };
    let key = text.split(" = ").next()?;
    let is_key =
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let is_head = text.starts_with('[') && !default;
    ((is_key && key.len() < text.len()) || is_head).then_some((default, text))
}

/// Each setting of the file with the comment above it, by `section.key`.
fn documented() -> BTreeMap<String, String> {
    let (mut section, mut comment, mut found) = (String::new(), String::new(), BTreeMap::new());
    for line in FILE.lines() {
        let text = commented(line).map_or(line, |(_, text)| text);
        if let Some(head) = text.strip_prefix('[') {
            section = head.trim_matches(['[', ']']).to_owned();
        } else if line.is_empty() {
            comment.clear();
        } else if let Some((key, _)) =
            text.split_once(" = ").filter(|_| text != line || !line.starts_with('#'))
        {
            found.entry(format!("{section}.{key}")).or_insert_with(|| comment.replace('\n', " "));
        } else if let Some(prose) = line.strip_prefix("# ") {
            comment.push_str(prose);
            comment.push('\n');
        }
    }
    found
}

/// The keys that the code knows in a section, as the error for an unknown one lists them.
fn allowed(head: &str, beside: &str) -> Vec<String> {
    match parse(&format!("{head}\nno_such_key = 1\n{beside}")) {
        Err(ConfigError::UnknownKey { allowed, .. }) => allowed,
        other => panic!("{head}: {other:?}"),
    }
}

#[test]
fn every_key_is_there_with_its_range() {
    let documented = documented();
    let mut sections: Vec<(String, String)> = allowed("", "")
        .into_iter()
        .filter(|section| section != "tasks")
        .map(|section| (section.clone(), format!("[{section}]")))
        .collect();
    sections.push(("auth.keys".to_owned(), "[[auth.keys]]".to_owned()));
    sections.push(("webhooks.owners.acme".to_owned(), "[webhooks.owners.acme]".to_owned()));
    sections.push(("tasks.thumbnail".to_owned(), "[tasks.thumbnail]".to_owned()));
    let mut ranges = 0;
    for (section, head) in sections {
        for key in allowed(&head, "") {
            let full = format!("{section}.{key}");
            if ["auth.keys", "webhooks.owners", "tasks.thumbnail.handler"].contains(&full.as_str()) {
                continue; // tables of their own; beside `command`, shown with tasks.wordcount
            }
            let comment = documented.get(&full).unwrap_or_else(|| panic!("`{full}` is not in the file"));
            // What no setting takes brings out its range.
            let Err(error) = parse(&format!("{head}\n{key} = 1979-05-27")) else {
                panic!("`{full}` takes a date")
            };
            let error = error.to_string();
            let Some((_, range)) = error.split_once(" from ") else { continue };
            let range = range.split(',').next().unwrap();
            if section != "tasks.thumbnail" {
                assert!(comment.contains(range), "`{full}`: {range:?} is not in {comment:?}");
                ranges += 1;
            }
        }
    }
    assert!(ranges > 40, "{ranges}");
}

#[test]
fn every_default_is_the_real_one() {
    let mut text = String::new();
    let mut in_tasks = false;
    for line in FILE.lines() {
        if line.starts_with('[') {
            in_tasks = line.starts_with("[tasks.");
        }
        let line = match commented(line) {
            Some((true, setting)) => setting,
            _ if line.starts_with('[') || in_tasks => line,
            _ => "",
        };
        text.push_str(line);
        text.push('\n');
    }
    let mut config = parse(&text).unwrap();
    config.tasks.clear();
    assert_eq!(config, Config::default());
}

#[test]
fn every_example_is_allowed() {
    let lines = FILE.lines().map(|line| match commented(line) {
        Some((false, setting)) => setting,
        _ => line,
    });
    let config = parse(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    check::check(&config).unwrap();
    let thumbnail = &config.tasks[&"thumbnail".parse().unwrap()];
    assert_eq!((thumbnail.max_attempts, config.auth.keys.len()), (Some(5), 1));
}

#[test]
fn the_file_itself_adds_the_example_tasks_alone() {
    let mut config = parse(FILE).unwrap();
    check::check(&config).unwrap();
    let tasks: Vec<_> = config.tasks.iter().map(|(name, task)| (name.as_str(), task.runs.clone())).collect();
    let handler = |name: &str| Runs::Handler(name.to_owned());
    let program = vec!["../examples/transcode/transcode.py".to_owned()];
    let expected = [
        ("census", Runs::Elsewhere),
        ("narrate", handler("narrate")),
        ("shout", Runs::Elsewhere),
        ("transcode", Runs::Command(Command { program: "python3".into(), args: program })),
        ("wordcount", handler("wordcount")),
    ];
    assert_eq!(tasks, expected);
    config.tasks.clear();
    config.worker.input_dir = WorkerConfig::default().input_dir;
    assert_eq!(config, Config::default());
}
