//! The benchmark works: all figures come out. How large they are is no test's business.

use std::process::Command;

use measure::figure::{FIGURES, Figure};

/// A short run is for what is ours, and has no other server.
fn is_left_out(name: &str) -> bool {
    ["nchan", "pushpin", "valkey"].iter().any(|other| name.contains(other))
}

#[test]
fn a_short_run_measures_every_figure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("summary.json");
    let run = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--short").arg("--out").arg(&out).output();
    let run = run.expect("the benchmark starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = std::fs::read_to_string(&out).expect("it has written its summary");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let figures = summary["figures"].as_array().expect("figures");
    for Figure { name, .. } in FIGURES.iter().filter(|figure| !is_left_out(figure.name)) {
        let figure = figures.iter().find(|figure| figure["name"] == *name);
        let figure = figure.unwrap_or_else(|| panic!("{name} isn't there"));
        let median = figure["median"].as_f64().expect("a number");
        // When a job was made and started is kept in whole milliseconds, and fewer than one is 0.
        assert!(median > 0.0 || (*name == "idle_start" && median == 0.0), "{figure}");
        assert!(figure["unit"].is_string() && figure["min"].is_f64() && figure["max"].is_f64(), "{figure}");
    }
    let with_a_target = figures.iter().filter(|figure| figure["target"].is_object());
    for figure in with_a_target {
        assert!(
            ["met", "missed", "undecided"].contains(&figure["verdict"].as_str().expect("a word")),
            "{figure}"
        );
    }
}
