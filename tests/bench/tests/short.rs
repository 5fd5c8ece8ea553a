//! The benchmark works: all figures come out. How large they are is no test's business.

use std::process::Command;

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
    for name in [
        "store_submissions",
        "http_submissions",
        "worker_jobs_to_bare",
        "round_trips_per_job",
        "courier_deliveries_to_bare",
        "courier_cpu_bare_to_delivery",
        "good_delivery_p99_beside_bad",
        "stream_memory_few_logs",
        "stream_to_floor_fanout",
        "stream_to_floor_jobs",
        "burst_to_fanout",
        "opens_cpu_floor_to_stream",
        "latency_p99_half_load",
        "latency_p99_append",
        "storm_opens",
        "storm_log_reads",
        "many_to_few",
        "floor_many_to_few",
        "many_to_few_to_floor",
        "throughput_jobs",
        "fleet_redis_many_to_few",
    ] {
        let figure = figures.iter().find(|figure| figure["name"] == name).expect("the figure is there");
        assert!(figure["median"].as_f64() > Some(0.0), "{figure}");
        assert!(figure["unit"].is_string() && figure["min"].is_f64() && figure["max"].is_f64(), "{figure}");
    }
    let with_a_target = figures.iter().filter(|figure| figure["target"].is_object());
    for figure in with_a_target {
        assert!(["yes", "no", "undecided"].contains(&figure["met"].as_str().expect("a word")), "{figure}");
    }
}
