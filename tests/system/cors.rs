//! Pages of other origins (CORS): what a browser asks first, and what it lets a page read.

use std::collections::BTreeSet;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use testkit::sse::SseStream;
use whole::{Client, SOON, System};

const FRIEND: &str = "https://app.example.com";
const OTHER_FRIEND: &str = "http://localhost:5173";
const STRANGER: &str = "https://evil.example.com";

/// The words of a header that is a list, in small letters.
fn list(headers: &HeaderMap, name: &str) -> BTreeSet<String> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_ascii_lowercase());
    let text = values.collect::<Vec<_>>().join(",");
    text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

/// What a browser asks before it sends `method` with `headers` (the names of those that aren't simple, sorted).
async fn preflight(
    client: &Client,
    origin: &str,
    method: &str,
    path: &str,
    headers: &str,
) -> (u16, HeaderMap) {
    let request = client
        .request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", headers);
    let response = request.send().await.unwrap();
    let headers = response.headers().clone();
    (response.status().as_u16(), headers)
}

/// Whether a browser, told so, sends the call (Fetch standard, CORS-preflight fetch; no credentials).
fn allows((status, headers): &(u16, HeaderMap), origin: &str, method: &str, names: &str) -> bool {
    let origins = list(headers, "access-control-allow-origin");
    let methods = list(headers, "access-control-allow-methods");
    let allowed = list(headers, "access-control-allow-headers");
    // A wildcard never covers Authorization.
    let has = |name: &str| allowed.contains(name) || (allowed.contains("*") && name != "authorization");
    (200..300).contains(status)
        && (origins == BTreeSet::from([origin.to_owned()]) || origins == BTreeSet::from(["*".to_owned()]))
        && (["get", "head", "post"].contains(&method.to_ascii_lowercase().as_str())
            || methods.contains(&method.to_ascii_lowercase()))
        && names.split(',').filter(|name| !name.is_empty()).all(has)
}

async fn system(origins: &str) -> System {
    let settings = format!("[gateway]\ncors_origins = {origins}\narticle = true\ndefault_task = \"remote\"");
    System::builder().workers(0).settings(&settings).start().await
}

#[tokio::test]
async fn a_configured_origin_may_make_every_call() {
    let system = system(&format!("[{FRIEND:?}, {OTHER_FRIEND:?}]")).await;
    let client = system.client(0);
    let id = client.submit("remote", Value::Null).await;
    let job = format!("/api/jobs/{id}");
    let events = format!("{job}/events");
    for (method, path, headers) in [
        ("POST", "/api/jobs", "authorization,content-type,idempotency-key,prefer"),
        ("POST", "/api/tokens", "authorization,content-type"),
        ("GET", &job, "authorization,if-none-match,prefer"),
        ("POST", &format!("{job}/cancel"), "authorization"),
        ("GET", "/api/jobs?status=failed", "authorization"),
        ("POST", &format!("{job}/retry"), "authorization,idempotency-key"),
        ("DELETE", &job, "authorization"),
        ("GET", &events, "authorization,cache-control,last-event-id"),
        ("POST", "/api/process", "authorization,content-type,idempotency-key"),
        ("GET", "/api/process-sse?data=1", "cache-control,last-event-id"),
    ] {
        for origin in [FRIEND, OTHER_FRIEND] {
            let answer = preflight(client, origin, method, path, headers).await;
            assert!(allows(&answer, origin, method, headers), "{method} {path}: {answer:?}");
            let (_, headers) = answer;
            assert!(
                list(&headers, "vary").contains("origin"),
                "one origin's answer is no other's: {headers:?}"
            );
            assert!(headers["access-control-max-age"].to_str().unwrap().parse::<u32>().unwrap() >= 600);
            // Keys and tokens are all the credentials there are.
            assert!(!headers.contains_key("access-control-allow-credentials"));
        }
        for origin in [STRANGER, "null", "https://app.example.com.evil.example", "http://app.example.com"] {
            let answer = preflight(client, origin, method, path, headers).await;
            assert!(!answer.1.contains_key("access-control-allow-origin"), "{origin}: {answer:?}");
        }
    }
    // What no call needs isn't allowed.
    for (method, header) in
        [("PATCH", "authorization"), ("PUT", ""), ("GET", "x-anything"), ("GET", "cookie")]
    {
        let answer = preflight(client, FRIEND, method, &job, header).await;
        assert!(!allows(&answer, FRIEND, method, header), "{method} {header}: {answer:?}");
    }
    assert_eq!(client.tell(&format!("{job}/cancel"), &json!({})).await.status, 202);
    system.nothing_grows().await;
}

#[tokio::test]
async fn a_page_may_read_answers_streams_and_problems() {
    let system = system(&format!("[{FRIEND:?}]")).await;
    let client = system.client(0);
    let call = async |method: Method, path: &str, origin: &str, body: Option<Value>| {
        let mut request = client.request(method, path).header("Origin", origin);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.headers().clone())
    };
    let id = client.submit("remote", Value::Null).await;
    let job = format!("/api/jobs/{id}");
    let none: Option<Value> = None;
    for (method, path, body, status) in [
        (Method::POST, "/api/jobs", Some(json!({ "task": "remote" })), 202),
        (Method::POST, "/api/jobs", Some(json!({ "task": "absent" })), 422),
        (Method::POST, "/api/jobs", Some(json!([])), 400),
        (Method::GET, &job, none.clone(), 200),
        (Method::GET, "/api/jobs/absent", none.clone(), 404),
        (Method::GET, "/api/absent", none.clone(), 404),
        (Method::PUT, &job, none.clone(), 405),
        (Method::GET, &format!("{job}/events?lastEventId=x"), none.clone(), 400),
    ] {
        let (got, headers) = call(method.clone(), path, FRIEND, body.clone()).await;
        assert_eq!(got, status, "{method} {path}");
        assert_eq!(headers["access-control-allow-origin"], FRIEND, "{method} {path}: {headers:?}");
        assert!(list(&headers, "vary").contains("origin"), "{method} {path}: {headers:?}");
        let shown = list(&headers, "access-control-expose-headers");
        for name in ["etag", "idempotency-replayed", "location", "preference-applied", "retry-after"] {
            assert!(shown.contains(name), "{name}: {shown:?}");
        }
        // A stranger's page gets an answer too, and its browser keeps it from the page.
        let (_, headers) = call(method.clone(), path, STRANGER, body).await;
        assert!(!headers.contains_key("access-control-allow-origin"), "{method} {path}: {headers:?}");
    }
    for path in [format!("{job}/events"), "/api/process-sse?data=1".into()] {
        let mut stream = SseStream::builder(client.url(&path)).header("Origin", FRIEND).open().await;
        assert_eq!(stream.headers()["access-control-allow-origin"], FRIEND);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        if path.starts_with("/api/jobs") {
            assert_eq!(stream.next_within(SOON).await.unwrap().event, "queued");
        }
    }
}

#[tokio::test]
async fn a_preflight_needs_no_key() {
    let settings = format!("[gateway]\ncors_origins = [{FRIEND:?}]");
    let system = System::builder().keys("").workers(0).settings(&settings).start().await;
    let client = system.client(0);
    let answer = preflight(client, FRIEND, "POST", "/api/jobs", "authorization,content-type").await;
    assert!(allows(&answer, FRIEND, "POST", "authorization,content-type"), "{answer:?}");
    let refused = client.request(Method::GET, "/api/jobs/x").header("Origin", FRIEND).send().await.unwrap();
    assert_eq!(refused.status(), 401, "and the page may read why");
    assert_eq!(refused.headers()["access-control-allow-origin"], FRIEND);
}

#[tokio::test]
async fn any_origin_where_configured_and_none_by_default() {
    let any = system(r#"["*"]"#).await;
    let answer = preflight(any.client(0), STRANGER, "POST", "/api/jobs", "authorization,content-type").await;
    assert!(allows(&answer, STRANGER, "POST", "authorization,content-type"), "{answer:?}");

    let none = System::builder().workers(0).start().await;
    let (status, headers) = preflight(none.client(0), FRIEND, "POST", "/api/jobs", "content-type").await;
    assert_eq!((status, headers.contains_key("access-control-allow-origin")), (405, false));
    let page =
        none.client(0).request(Method::GET, "/api/jobs/x").header("Origin", FRIEND).send().await.unwrap();
    assert!(!page.headers().contains_key("access-control-allow-origin"));
}
