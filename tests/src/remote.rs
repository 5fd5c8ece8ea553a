//! A worker in the test's hands, over the HTTP worker API: the test writes each event.

use model::JobId;
use serde_json::{Value, json};

use crate::{Client, SOON};

/// One attempt at one job. Nothing renews its lease but its calls.
#[derive(Clone, Debug)]
pub struct Remote {
    client: Client,
    job: JobId,
    token: String,
}

impl Remote {
    /// Claims the next job of `task` through `client`, as soon as there is one.
    pub async fn claim(client: &Client, task: &str) -> Self {
        let claimed = testkit::eventually_some(SOON, "there is a job to claim", async || {
            let response = client.post("/api/work/claim?wait=10", &json!({ "tasks": [task] })).await;
            (response.status() == 200).then_some(response)
        })
        .await;
        let claimed: Value = claimed.json().await.unwrap();
        let text = |name: &str| claimed[name].as_str().unwrap().to_owned();
        Self { client: client.clone(), job: text("jobId").parse().unwrap(), token: text("leaseToken") }
    }

    /// The job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The lease's token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The work call `name` with `fields` beside the token; its status and answer.
    pub async fn call(&self, name: &str, mut fields: Value) -> (u16, Value) {
        fields["leaseToken"] = json!(self.token);
        let response = self.client.post(&format!("/api/work/{}/{name}", self.job), &fields).await;
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The same, and it must be accepted.
    pub async fn must(&self, name: &str, fields: Value) -> Value {
        let (status, answer) = self.call(name, fields).await;
        assert_eq!(status, 200, "{name}: {answer}");
        answer
    }

    /// Writes one `output` event.
    pub async fn output(&self, output: impl Into<Value>) {
        self.must("output", json!({ "output": output.into() })).await;
    }

    /// Writes one `output` event for each of `outputs`, at most 1,000 of them, in one step.
    pub async fn outputs<T: Into<Value>>(&self, outputs: impl IntoIterator<Item = T>) {
        let items: Vec<_> = outputs.into_iter().map(|output| json!({ "output": output.into() })).collect();
        self.must("output", json!({ "outputs": items })).await;
    }

    /// Ends the job as completed.
    pub async fn complete(&self, result: impl Into<Value>) {
        self.must("complete", json!({ "result": result.into() })).await;
    }
}
