//! The load tester: each scenario against a real system, and what it says of one that breaks its promise.

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::{Jobcast, JobcastBuilder};
use whole::{Fault, Meddler, SOON, System};

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The report, of a run with `--json -`.
    #[track_caller]
    fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// `jobcast load` with these arguments before the gateways at `urls`.
fn load(urls: &[&str], args: &[&str]) -> JobcastBuilder {
    let urls = urls.iter().flat_map(|url| ["--url", url]);
    let builder = Jobcast::builder().arg("load").args(args).args(urls);
    builder.env("JOBCAST_URL", "").env("JOBCAST_KEY", "")
}

async fn end(running: Jobcast) -> Ended {
    let status = running.wait_exit(2 * SOON).await;
    Ended { code: status.code(), stdout: running.stdout(), stderr: running.stderr() }
}

async fn run(urls: &[&str], args: &[&str]) -> Ended {
    end(load(urls, args).start()).await
}

/// A system of two gateways and no worker.
async fn system() -> System {
    System::builder().gateways(2).workers(0).start().await
}

/// For how long a gateway stalls.
const STALL: Duration = Duration::from_secs(3);

const CLEAN: [&str; 10] = [
    "lost",
    "streamsWithLoss",
    "repeated",
    "reordered",
    "rewritten",
    "trimmed",
    "rewound",
    "notOpened",
    "notEnded",
    "lostJobs",
];

#[track_caller]
fn assert_clean(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = ended.report();
    for fault in CLEAN {
        assert_eq!(report["faults"][fault], 0, "{fault}: {report:#}");
    }
    report
}

#[tokio::test]
async fn every_scenario_finds_every_event_on_every_stream() {
    let system = system().await;
    let urls = [&*system.client(0).url(""), &system.client(1).url("")];
    for (scenario, jobs, rate) in [
        ("idle", 3, None),
        ("fanout", 1, Some(40)),
        ("jobs", 15, Some(60)),
        ("burst", 4, Some(400)),
        ("storm", 3, Some(50)),
    ] {
        let rate_text = rate.unwrap_or(0).to_string();
        let mut args = vec![scenario, "--streams", "30", "--duration", "2s", "--json", "-"];
        if rate.is_some() {
            args.extend(["--rate", &rate_text]);
        }
        let report = assert_clean(&run(&urls, &args).await);
        // Each stream tells `queued`, `started` and `completed` of its job, and its outputs.
        let outputs = 2 * rate.unwrap_or(0);
        assert_eq!(report["events"]["published"], outputs, "{scenario}");
        assert_eq!((&report["streams"]["opened"], &report["streams"]["ended"]), (&json!(30), &json!(30)));
        assert_eq!(report["plan"]["jobs"], jobs, "{scenario}");
        let delivered = report["events"]["delivered"].as_u64().unwrap();
        if scenario != "jobs" && scenario != "burst" {
            assert_eq!(report["latency"]["count"], outputs * 30 / jobs, "{scenario}");
            assert_eq!(delivered, 90 + outputs * 30 / jobs, "{scenario}");
        }
        assert_eq!(delivered, report["latency"]["count"].as_u64().unwrap() + 90, "{scenario}");
        assert_eq!(report["storm"].is_object(), scenario == "storm");
    }
    for (index, client) in system.clients.iter().enumerate() {
        assert!(client.metric("jobcast_events_sent_total").await > 0.0, "gateway {index} had its share");
    }
    assert_eq!(jobs_that_live(&system).await, 0, "nothing is left to run");
}

async fn jobs_that_live(system: &System) -> usize {
    let mut living = 0;
    for status in ["pending", "processing"] {
        let page: Value =
            system.client(0).get(&format!("/api/jobs?status={status}")).await.json().await.unwrap();
        living += page["jobs"].as_array().unwrap().len();
    }
    living
}

#[tokio::test]
async fn a_stream_that_breaks_its_promise_is_counted() {
    let system = system().await;
    let upstream = system.client(0).url("");
    for (faults, found) in [
        (&[Fault::Drop(5)][..], json!({ "lost": 10, "streamsWithLoss": 10 })),
        (&[Fault::Repeat(5)], json!({ "repeated": 10 })),
        (&[Fault::Swap(5)], json!({ "reordered": 10 })),
        (&[Fault::Mark(5)], json!({ "repeated": 10, "rewritten": 10 })),
        (&[Fault::Cut(5)], json!({})),
        (
            &[Fault::Drop(4), Fault::Drop(5), Fault::Repeat(7), Fault::Swap(9)],
            json!({ "lost": 20, "streamsWithLoss": 10, "repeated": 10, "reordered": 10 }),
        ),
    ] {
        let meddler = Meddler::start(&upstream, faults).await;
        let args = ["fanout", "--streams", "10", "--rate", "20", "--duration", "1s", "--json", "-"];
        let ended = run(&[meddler.url()], &args).await;
        let report = ended.report();
        for fault in CLEAN {
            let expected = found.get(fault).cloned().unwrap_or(json!(0));
            assert_eq!(report["faults"][fault], expected, "{faults:?}: {fault}: {report:#}");
        }
        let is_clean = found == json!({});
        assert_eq!(ended.code, Some(i32::from(!is_clean)), "{faults:?}");
        assert_eq!(report["streams"]["cuts"], if is_clean { 10 } else { 0 }, "{faults:?}");
    }
}

#[tokio::test]
async fn the_last_events_of_a_stream_may_be_lost_too() {
    let system = system().await;
    // 20 outputs have the numbers 3 to 22.
    let meddler = Meddler::start(&system.client(0).url(""), &[Fault::Drop(22), Fault::Drop(23)]).await;
    let args = ["fanout", "--streams", "3", "--rate", "20", "--duration", "1s"];
    let ended = run(&[meddler.url()], &args).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("FAULTS: 6 events lost, 3 streams with loss"), "{ended:?}");
}

#[tokio::test]
async fn a_gateway_that_dies_loses_nothing() {
    let system = system().await;
    let urls = [&*system.client(0).url(""), &system.client(1).url("")];
    let args = ["jobs", "--streams", "20", "--rate", "50", "--duration", "6s", "--json", "-"];
    let running = load(&urls, &args).start();
    let sent = async || system.client(1).metric("jobcast_events_sent_total").await > 100.0;
    testkit::eventually(SOON, "events flow", sent).await;
    system.gateways[0].kill();
    let report = assert_clean(&end(running).await);
    assert!(report["streams"]["cuts"].as_u64().unwrap() > 0, "{report:#}");
}

#[tokio::test]
async fn a_gateway_that_stalls_is_late_for_all_that_was_due() {
    let system = System::builder().workers(0).start().await;
    let args = ["fanout", "--streams", "2", "--rate", "50", "--duration", "6s", "--json", "-"];
    let running = load(&[&system.client(0).url("")], &args).start();
    let sent = async || system.client(0).metric("jobcast_events_sent_total").await > 20.0;
    testkit::eventually(SOON, "events flow", sent).await;
    system.gateways[0].pause();
    tokio::time::sleep(STALL).await;
    system.gateways[0].resume();
    let report = assert_clean(&end(running).await);
    assert_eq!(report["latency"]["count"], 600, "nothing was left out");
    // Half of all events fell due meanwhile. A tester that waits for answers would have sent one, and called it the slow one.
    let p90 = report["latency"]["p90"].as_f64().unwrap();
    assert!(p90 > 1000.0, "a tenth of all events was late by more than a second: {report:#}");
}

#[tokio::test]
async fn several_processes_share_a_run() {
    let system = system().await;
    let url = &system.client(0).url("");
    let address = format!("127.0.0.1:{}", testkit::free_port());
    let args = ["storm", "--streams", "30", "--jobs", "4", "--rate", "40", "--duration", "2s", "--json", "-"];
    let args = [&args[..], &["--lead", &address, "--processes", "3"]].concat();
    let joined: Vec<_> = (0..2).map(|_| load(&[], &["--join", &address]).start()).collect();
    let report = assert_clean(&run(&[url], &args).await);
    assert_eq!(report["plan"]["processes"], 3);
    assert_eq!((&report["streams"]["opened"], &report["streams"]["ended"]), (&json!(30), &json!(30)));
    assert_eq!(report["storm"]["reopening"]["count"], 30, "the others' streams came back too");
    for one in joined {
        let ended = end(one).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    }
}

#[tokio::test]
async fn a_process_that_is_lost_is_named() {
    let system = system().await;
    let address = format!("127.0.0.1:{}", testkit::free_port());
    let args = ["fanout", "--streams", "10", "--duration", "1m", "--lead", &address, "--processes", "2"];
    let leads = load(&[&system.client(0).url("")], &args).start();
    let joins = load(&[], &["--join", &address]).start();
    let open = async || system.client(0).metric("jobcast_open_streams").await >= 10.0;
    testkit::eventually(SOON, "the streams are open", open).await;
    joins.kill();
    let ended = end(leads).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("process 2 of the run was lost"), "{ended:?}");
    assert_eq!(jobs_that_live(&system).await, 0, "nothing is left to run");
}

#[tokio::test]
async fn the_report_is_a_table_a_document_and_a_page() {
    let system = system().await;
    // Of the machine's sockets these alone are sure to hold something at any moment.
    let _sockets = sockets_with_unread_bytes();
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (json, html) = (file("report.json"), file("report.html"));
    let urls = [0, 1].map(|gateway| system.client(gateway).url(""));
    let [a, b] = [0, 1].map(|gateway| system.gateways[gateway].pid().to_string());
    let args =
        ["burst", "--streams", "8", "--duration", "3s", "--rate", "100", "--json", &json, "--html", &html];
    let args = [&args[..], &["--pid", &a, "--pid", &b, "--redis-pid", &a]].concat();
    let args = [&args[..], &["--bind", "127.0.0.2", "--bind", "127.0.0.3"]].concat();
    let ended = run(&[&urls[0], &urls[1]], &args).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    for row in [
        "streams  ",
        "events  ",
        "check       ok: every",
        "latency     p50",
        &format!("server      pid {a}"),
        &format!("server      pid {b}"),
        "redis  ",
        "kernel      TCP memory of this machine",
    ] {
        assert!(ended.stdout.contains(row), "{row:?}: {}", ended.stdout);
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let processes = report["processes"].as_array().unwrap();
    let roles: Vec<_> = processes.iter().map(|process| (&process["role"], &process["pid"])).collect();
    let pids = [&a, &b, &a].map(|pid| json!(pid.parse::<u64>().unwrap()));
    let wanted = ["server", "server", "redis"].map(|role| json!(role));
    assert_eq!(roles, wanted.iter().zip(&pids).collect::<Vec<_>>());
    for process in processes {
        assert!(process["memoryOpen"].as_u64().unwrap() > 1_000_000, "{report:#}");
    }
    for when in ["memoryBefore", "memoryOpen", "memoryEnd"] {
        let bytes = report["kernel"][when].as_u64().unwrap();
        assert!(bytes > 0 && bytes.is_multiple_of(4096), "{when}: {report:#}");
    }
    assert!(report["seconds"].as_array().unwrap().len() >= 3, "{report:#}");
    assert_page(&fs::read_to_string(&html).unwrap());
}

/// A connection whose receiver doesn't read: megabytes, where the kernel's count may be wrong by one for each processor.
fn sockets_with_unread_bytes() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sends = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (receives, _) = listener.accept().unwrap();
    sends.set_nonblocking(true).unwrap();
    while sends.write(&[0; 16_384]).is_ok() {}
    [sends, receives]
}

/// The page, of a run of three seconds that watched three processes, says it all by itself; its plots show something.
#[track_caller]
fn assert_page(page: &str) {
    assert!(page.contains("every stream told every event once"), "{page}");
    for elsewhere in ["<script", "src=", "<link", "url(", "@import"] {
        assert!(!page.contains(elsewhere), "a page of its own has no {elsewhere:?}");
    }
    // How many lines there are, and how many points at least in each.
    for (heading, lines, least) in [
        ("Latency, from when an event was due until it came", 3, 2),
        ("Latency by share of events", 1, 2),
        ("Events delivered", 1, 3),
        ("Streams", 2, 3),
        ("Processor time", 3, 3),
        ("Memory", 3, 3),
    ] {
        let section =
            page.split("<section>").find(|section| section.starts_with(&format!("<h2>{heading}</h2>")));
        let section = section.unwrap_or_else(|| panic!("{heading}: {page}"));
        let drawn: Vec<_> = section.split("<path class=\"l").skip(1).map(points).collect();
        assert_eq!(drawn.len(), lines, "{heading}: {section}");
        for line in drawn {
            assert!(line.len() >= least, "{heading}: {section}");
            let (xs, ys): (Vec<_>, Vec<_>) = line.into_iter().unzip();
            assert!(xs.is_sorted() && xs[0] < xs[xs.len() - 1], "{heading}: {xs:?}");
            assert!(xs.iter().chain(&ys).all(|at| (0.0..=720.0).contains(at)), "{heading}: {section}");
        }
    }
}

/// The points of a line, of which this is the rest of its element.
fn points(path: &str) -> Vec<(f64, f64)> {
    let path = path.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
    let points = path.split(['M', 'L']).skip(1).map(|point| point.split_once(' ').unwrap());
    points.map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).collect()
}

#[tokio::test]
async fn what_is_wrong_is_said_before_the_load() {
    let system = System::builder().workers(0).keys(&keys()).start().await;
    let url = &*system.client(0).url("");
    let nowhere = &*format!("http://127.0.0.1:{}", testkit::free_port());
    for (args, code, says) in [
        (&["fanout", "--url", nowhere][..], 3, "Is a gateway running there?"),
        (&["fanout", "--url", url], 1, "Give a key by JOBCAST_KEY"),
        (&["fanout", "--url", url, "--key", "reader"], 1, "The key needs the scopes submit, read and work"),
        (&["fanout", "--url", url, "--key", "all", "--url", nowhere], 3, nowhere),
        (&["fanout", "--url", url, "--key", "all", "--task", "nope"], 1, "--task"),
        (&["fanout", "--url", url, "--key", "all", "--streams", "9999999"], 1, "Raise the limit (ulimit -n)"),
        (&["fanout", "--url", url, "--key", "all", "--pid", "4194999"], 1, "there is no process 4194999"),
        (&["fanout", "--url", url, "--json", "/nowhere/a.json"], 2, "/nowhere/a.json"),
        (&["fanout", "--url", "127.0.0.1:8080"], 2, "a gateway's URL is such as"),
        (&["jobs", "--streams", "5", "--jobs", "6"], 2, "more jobs than streams"),
        (&["fanout", "--streams", "0"], 2, "--streams is at least 1"),
        (&["fanout", "--lead", "127.0.0.1:0"], 2, "--processes"),
        (&["fanout", "--config", "x.toml"], 2, "leave them out"),
        (&[], 2, "SCENARIO"),
        (&["nope"], 2, "invalid value"),
    ] {
        let ended = run(&[], &[args, &["--duration", "1s"]].concat()).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
    }
    let clean =
        run(&[url], &["fanout", "--key", "all", "--streams", "3", "--duration", "1s", "--json", "-"]).await;
    assert_clean(&clean);
}

/// Keys `all` and `reader`.
fn keys() -> String {
    let key = |sha256: &str, scopes: &str| {
        format!("[[auth.keys]]\nowner = \"acme\"\nsha256 = \"{sha256}\"\nscopes = [{scopes}]\n")
    };
    key("5ef5ef0364b6939c4ca61f34b393f7b368d1be8619647aaf83d5b395919ab629", r#""submit", "read", "work""#)
        + &key("3d0941964aa3ebdcb00ccef58b1bb399f9f898465e9886d5aec7f31090a0fb30", r#""read""#)
}

#[tokio::test]
async fn cut_short_it_reports_what_there_was() {
    let system = system().await;
    let args = ["fanout", "--streams", "10", "--duration", "1h"];
    let running = load(&[&system.client(0).url("")], &args).start();
    let sent = async || system.client(0).metric("jobcast_events_sent_total").await > 100.0;
    testkit::eventually(SOON, "events flow", sent).await;
    running.interrupt();
    let ended = end(running).await;
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stdout.contains("ok: every stream told every event once"), "{ended:?}");

    let address = format!("127.0.0.1:{}", testkit::free_port());
    let args = ["fanout", "--lead", &address, "--processes", "2"];
    let waits = load(&[&system.client(0).url("")], &args).start();
    let listens = async || tokio::net::TcpStream::connect(&address).await.is_ok();
    testkit::eventually(SOON, "it waits for another process", listens).await;
    waits.interrupt();
    let ended = end(waits).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("cut short before any stream was opened"), "{ended:?}");
    assert_eq!(jobs_that_live(&system).await, 0, "nothing is left to run");
}
