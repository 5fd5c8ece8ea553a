//! A language model's text, of thousands of tokens, is whole for whoever listens, and however late.

use serde_json::{Value, json};
use testkit::sse::{Event, check_history};
use whole::{SOON, System, frames};

const TOKENS: u64 = 5000;

fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

fn text(events: &[Event]) -> String {
    events.iter().filter(|event| event.event == "output").map(|event| text_of(&data(event))).collect()
}

fn text_of(data: &Value) -> String {
    data["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn five_thousand_tokens_are_whole_live_and_at_the_end() {
    let system = System::builder().gateways(2).start().await;
    let (a, b) = (system.client(0), system.client(1));
    let id = a.submit("narrate", json!({ "tokens": TOKENS, "perSecond": 1000 })).await;
    let mut live = b.stream(id).await;
    let live = live.collect_to_end(2 * SOON).await;
    check_history(&live).unwrap();
    let told: String = (0..TOKENS).map(example_tasks::token).collect();
    assert_eq!(text(&live), told, "followed live");

    for client in [a, b] {
        let late = client.events(id).await;
        assert_eq!(frames(&late), frames(&live), "opened at its end");
        assert_eq!(text(&late), told);
        let job = client.job(id).await;
        assert_eq!((&job["status"], job["progress"].as_f64()), (&json!("completed"), Some(100.0)));
        assert_eq!(job["result"]["tokens"], TOKENS);
    }

    // Texts that are ready within 25 ms are one event: at most 40 a second, however many tokens.
    let at = |event: &Event| {
        let at: model::Timestamp = serde_json::from_value(data(event)["at"].clone()).unwrap();
        at.as_millis()
    };
    let outputs: Vec<_> = live.iter().filter(|event| event.event == "output").collect();
    let took = at(outputs.last().unwrap()) - at(outputs[0]);
    assert!(outputs.len() as u64 <= took / 25 + 2, "{} events in {took} ms", outputs.len());
    system.nothing_grows().await;
}
