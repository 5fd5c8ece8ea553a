//! A client of one gateway.

use std::time::Duration;

use model::JobId;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use testkit::sse::{Event, FollowOptions, Follower, SseStream, follow};

use crate::{Answer, SOON};

/// Calls one gateway.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    /// A client of the gateway at `base`, a URL without a slash at its end.
    pub fn new(base: impl Into<String>) -> Self {
        Self { http: testkit::http().build().unwrap(), base: base.into(), key: None }
    }

    /// The same client with this API key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.into()), ..self.clone() }
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A request, to be completed and sent by the test.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.url(path)).timeout(SOON);
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// A GET.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    /// A POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.unwrap()
    }

    /// A GET, answered.
    pub async fn ask(&self, path: &str) -> Answer {
        Answer::of(self.get(path).await).await
    }

    /// A POST of JSON, answered.
    pub async fn tell(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.post(path, body).await).await
    }

    /// Submits a job of `task`, with `payload`.
    pub async fn submit(&self, task: &str, payload: Value) -> JobId {
        self.submit_with(&serde_json::json!({ "task": task, "payload": payload })).await
    }

    /// Submits; the whole body is the caller's.
    pub async fn submit_with(&self, body: &Value) -> JobId {
        let response = self.post("/api/jobs", body).await;
        let (status, body) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 202, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["jobId"].as_str().unwrap().parse().unwrap()
    }

    /// The job as polled.
    pub async fn job(&self, id: JobId) -> Value {
        let response = self.get(&format!("/api/jobs/{id}")).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// The job once it has ended.
    pub async fn ended(&self, id: JobId) -> Value {
        testkit::eventually_some(SOON, "the job has ended", async || {
            let job = self.job(id).await;
            ["completed", "failed", "cancelled"].contains(&job["status"].as_str().unwrap()).then_some(job)
        })
        .await
    }

    /// The URL of the job's stream.
    pub fn events_url(&self, id: JobId) -> String {
        self.url(&format!("/api/jobs/{id}/events"))
    }

    /// The job's stream, from the beginning.
    pub async fn stream(&self, id: JobId) -> SseStream {
        SseStream::open(&self.events_url(id)).await
    }

    /// The job's stream after `cursor`.
    pub async fn stream_after(&self, id: JobId, cursor: &str) -> SseStream {
        SseStream::builder(self.events_url(id)).last_event_id(cursor).open().await
    }

    /// All events of the job, to the stream's end.
    pub async fn events(&self, id: JobId) -> Vec<Event> {
        self.stream(id).await.collect_to_end(SOON).await
    }

    /// Follows the job as a browser does, reconnecting by itself.
    pub fn follow(&self, id: JobId) -> Follower {
        self.follow_also(id, &[])
    }

    /// The same, through this gateway and the `others` in turn.
    pub fn follow_also(&self, id: JobId, others: &[&Self]) -> Follower {
        let also = others.iter().map(|other| other.events_url(id)).collect();
        let options = FollowOptions {
            also,
            max_retry: Duration::from_millis(500),
            deadline: 2 * SOON,
            ..Default::default()
        };
        follow(self.events_url(id), options)
    }

    /// The value of a metric, all of its labels summed; 0 if it isn't there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text().await.unwrap();
        let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// The same for a metric that counts: a whole number.
    pub async fn count(&self, name: &str) -> usize {
        self.metric(name).await.to_string().parse().unwrap()
    }
}
