//! `transcode`: a real program around ffmpeg, on a real video.

use std::process::Command;

use serde_json::json;
use testkit::sse::check_history;
use whole::{SOON, System, repository};

async fn start() -> System {
    let made = Command::new(repository().join("scripts/sample-video")).status().unwrap();
    assert!(made.success(), "scripts/sample-video makes the video");
    let program = repository().join("examples/transcode/transcode.py").display().to_string();
    System::builder()
        .settings(&format!("[tasks.transcode]\ncommand = [\"python3\", {program:?}]"))
        .start()
        .await
}

/// The arguments of the ffmpeg that runs for `job`, if one does.
fn ffmpeg_of(job: &str) -> Option<String> {
    let found = Command::new("pgrep").args(["-af", &format!("^ffmpeg.*{job}")]).output().unwrap();
    Some(String::from_utf8(found.stdout).unwrap()).filter(|lines| !lines.is_empty())
}

#[tokio::test]
async fn a_video_becomes_smaller_and_the_bar_moves() {
    let system = start().await;
    let client = system.client(0);
    let id = client.submit("transcode", json!({ "input": "sample.mp4", "width": 160 })).await;
    let events = client.events(id).await;
    check_history(&events).unwrap();
    assert!(events.iter().filter(|event| event.event == "progress").count() > 2);
    let job = client.ended(id).await;
    assert_eq!(job["status"], "completed", "{job}");
    let path = repository().join(job["result"]["path"].as_str().unwrap());
    let size = std::fs::metadata(&path).unwrap().len();
    std::fs::remove_file(path).unwrap();
    assert_eq!(job["result"]["size"], size);
    assert!((59.0..61.0).contains(&job["result"]["duration"].as_f64().unwrap()));
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_cancel_kills_ffmpeg() {
    let system = start().await;
    let client = system.client(0);
    let id = client.submit("transcode", json!({ "input": "sample.mp4", "width": 2560, "crf": 0 })).await;
    let job = id.to_string();
    testkit::eventually(SOON, "ffmpeg runs", async || ffmpeg_of(&job).is_some()).await;
    assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!(null)).await.status(), 202);
    testkit::eventually(SOON, "ffmpeg is gone", async || ffmpeg_of(&job).is_none()).await;
    let out = repository().join("examples/transcode/out");
    testkit::eventually(SOON, "no half file is left", async || {
        std::fs::read_dir(&out)
            .unwrap()
            .all(|file| !file.unwrap().file_name().to_string_lossy().contains(&job))
    })
    .await;
    system.nothing_grows().await;
}

#[tokio::test]
async fn what_it_cannot_do_it_says() {
    let system = start().await;
    let client = system.client(0);
    for (payload, says) in [
        (json!({ "input": "../../README.md" }), "there is no file"),
        (json!({ "input": "book.txt" }), "is no video"),
        (json!({ "input": "sample.mp4", "width": 1 }), "width is a whole number"),
        (json!("x"), "the payload is"),
    ] {
        let job = client.ended(client.submit("transcode", payload.clone()).await).await;
        let error = job["error"].as_str().unwrap();
        assert!(job["status"] == "failed" && error.contains(says), "{payload}: {job}");
    }
}
