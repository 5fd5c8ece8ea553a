use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    event: 1024,
    buffer: 4096,
    progress_interval: Duration::from_millis(50),
    text_interval: Duration::from_millis(25),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn json(value: u64) -> Json {
    Json::of(&value).unwrap()
}

fn progress(value: u32) -> Report {
    Report::Progress { progress: Some(Percent::clamped(f64::from(value))), message: None }
}

fn text(text: &str) -> Report {
    Report::Text(text.into())
}

/// Takes and acknowledges what is due at `now`.
fn written(outbox: &mut Outbox, now: Duration) -> Vec<Report> {
    outbox.take(now).map_or_else(Vec::new, |batch| {
        outbox.acknowledge(batch.number, now);
        batch.reports.clone()
    })
}

#[test]
fn progress_is_coalesced_and_the_last_one_kept() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.progress(Some(Percent::clamped(1.0)), "");
    assert_eq!(written(&mut outbox, ms(0)), [progress(1)], "the first at once");
    for n in 2..=10 {
        outbox.progress(Some(Percent::clamped(f64::from(n))), "");
    }
    assert_eq!(outbox.due(), Some(ms(50)));
    assert_eq!(written(&mut outbox, ms(49)), []);
    assert_eq!(written(&mut outbox, ms(50)), [progress(10)]);
    outbox.progress(Some(Percent::clamped(11.0)), "");
    outbox.close();
    assert_eq!(written(&mut outbox, ms(51)), [progress(11)], "the end doesn't wait");
    outbox.progress(Some(Percent::clamped(12.0)), "");
    assert_eq!(outbox.due(), None, "nothing comes after the end");
}

#[test]
fn outputs_go_at_once_and_texts_wait_for_more() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.text(ms(0), "a");
    outbox.text(ms(20), "b");
    assert_eq!(outbox.due(), Some(ms(25)));
    assert_eq!(written(&mut outbox, ms(24)), []);
    assert_eq!(written(&mut outbox, ms(25)), [text("ab")]);
    outbox.text(ms(30), "c");
    outbox.output(&json(1));
    outbox.output(&json(2));
    outbox.text(ms(30), "d");
    assert_eq!(
        written(&mut outbox, ms(30)),
        [text("c"), Report::Output(json(1)), Report::Output(json(2))],
        "an output pushes the text before it, not the one after it"
    );
    assert_eq!(written(&mut outbox, ms(55)), [text("d")]);
}

#[test]
fn progress_overtakes_nothing_that_was_reported_before_it() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.text(ms(0), "a");
    outbox.progress(Some(Percent::clamped(1.0)), "");
    assert_eq!(written(&mut outbox, ms(24)), []);
    assert_eq!(written(&mut outbox, ms(25)), [text("a"), progress(1)]);
    outbox.progress(Some(Percent::clamped(2.0)), "");
    outbox.output(&json(1));
    assert_eq!(
        written(&mut outbox, ms(30)),
        [Report::Output(json(1))],
        "an output doesn't wait for progress"
    );
    assert_eq!(written(&mut outbox, ms(75)), [progress(2)]);
}

#[test]
fn a_batch_stays_the_same_until_it_is_acknowledged() {
    let mut outbox = Outbox::new(LIMITS);
    outbox.output(&json(1));
    let first = outbox.take(ms(0)).unwrap();
    outbox.output(&json(2));
    assert_eq!(outbox.due(), None);
    assert_eq!(outbox.take(ms(9)), Some(first));
    outbox.acknowledge(7, ms(9));
    outbox.acknowledge(1, ms(9));
    let second = outbox.take(ms(9)).unwrap();
    assert_eq!((second.number, &second.reports[..]), (2, &[Report::Output(json(2))][..]));
}

#[test]
fn large_texts_become_several_events_of_legal_size() {
    let mut outbox = Outbox::new(LIMITS);
    let long = "ä\u{1}\n".repeat(300);
    assert_eq!(outbox.text(ms(0), &long), long.len());
    outbox.close();
    let reports = written(&mut outbox, ms(0));
    assert!(reports.len() > 1 && reports.iter().all(|report| report.event_size() <= LIMITS.event));
    assert_eq!(joined(&reports), [long]);
}

#[test]
fn the_buffer_is_bounded_and_an_empty_one_takes_any_event() {
    let mut outbox = Outbox::new(Limits { event: 8192, ..LIMITS });
    let big = Json::of(&"x".repeat(7000)).unwrap();
    assert!(outbox.output(&big));
    assert!(!outbox.output(&json(1)));
    assert_eq!(outbox.text(ms(0), "x"), 0);
    let batch = outbox.take(ms(0)).unwrap();
    assert!(!outbox.output(&json(1)), "what is in flight takes room");
    outbox.acknowledge(batch.number, ms(0));
    assert!(outbox.output(&json(1)));
    let taken = outbox.text(ms(0), &"x".repeat(9000));
    assert!((3000..4096).contains(&taken), "{taken}");
}

#[test]
fn a_million_reports_make_small_batches() {
    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    for n in 0..1000 {
        outbox.output(&json(n));
    }
    let big = Json::of(&"x".repeat(200 * 1024)).unwrap();
    outbox.output(&big);
    outbox.output(&big);
    outbox.close();
    let sizes: Vec<_> =
        std::iter::from_fn(|| Some(written(&mut outbox, ms(0)).len()).filter(|&n| n > 0)).collect();
    assert_eq!(sizes, [256, 256, 256, 232 + 1, 1]);
}

#[test]
fn a_burst_of_outputs_goes_in_few_writes_and_its_first_at_once() {
    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    let mut sizes = Vec::new();
    for now in 0..100 {
        outbox.output(&json(now));
        outbox.output(&json(now));
        sizes.extend(Some(written(&mut outbox, ms(now)).len()).filter(|&n| n > 0));
    }
    assert_eq!(sizes, [&[2][..], &[10; 19]].concat());
    assert_eq!(outbox.due(), Some(ms(100)));
    assert_eq!(written(&mut outbox, ms(100)).len(), 8);
    outbox.output(&json(0));
    outbox.close();
    assert_eq!(written(&mut outbox, ms(101)).len(), 1, "the end doesn't wait");
}

#[test]
fn a_full_batch_goes_at_once() {
    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    outbox.output(&json(0));
    written(&mut outbox, ms(0));
    for n in 0..300 {
        outbox.output(&json(n));
    }
    assert_eq!(outbox.due(), Some(ms(0)));
    assert_eq!(written(&mut outbox, ms(0)).len(), 256);
    assert_eq!(outbox.due(), Some(ms(5)));
    assert_eq!(written(&mut outbox, ms(5)).len(), 44);
    let long = Json::of(&"x".repeat(BATCH_BYTES)).unwrap();
    outbox.output(&long);
    assert_eq!(written(&mut outbox, ms(5)).len(), 1);
}

#[test]
fn a_token_stream_makes_no_more_than_forty_events_a_second() {
    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    let mut events = 0;
    for now in 0..10_000 {
        outbox.text(ms(now), "token ");
        events += written(&mut outbox, ms(now)).len();
    }
    assert!((380..=400).contains(&events), "{events}");
}

#[test]
fn the_rest_goes_with_the_end() {
    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    assert_eq!(
        {
            outbox.close();
            outbox.part(ms(0))
        },
        Parting::Last(None)
    );

    let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
    for n in 0..300 {
        outbox.output(&json(n));
    }
    outbox.close();
    let Parting::First(first) = outbox.part(ms(0)) else { panic!("more than a batch") };
    assert_eq!(outbox.part(ms(0)), Parting::First(Arc::clone(&first)), "until acknowledged");
    outbox.acknowledge(first.number, ms(0));
    let Parting::Last(Some(last)) = outbox.part(ms(0)) else { panic!("the rest") };
    assert_eq!((last.number, last.reports.len()), (2, 44));
    assert_eq!(outbox.part(ms(0)), Parting::Last(Some(last)));
}

#[test]
fn a_full_redis_gets_all_with_the_end_and_hears_what_it_may_have_already() {
    let fill = || {
        let mut outbox = Outbox::new(Limits { buffer: usize::MAX, ..LIMITS });
        for n in 0..600 {
            outbox.output(&json(n));
        }
        outbox.progress(None, "done");
        outbox
    };
    let gathered = |mut outbox: Outbox| {
        outbox.close();
        outbox.gather(ms(0));
        let Parting::Last(Some(all)) = outbox.part(ms(0)) else { panic!("all at once") };
        outbox.gather(ms(0));
        assert_eq!(outbox.part(ms(0)), Parting::Last(Some(Arc::clone(&all))), "nothing has come");
        (all.number, all.reports.len(), all.sent)
    };
    assert_eq!(gathered(fill()), (1, 601, 601));
    let mut outbox = fill();
    outbox.take(ms(0));
    assert_eq!(gathered(outbox), (1, 601, 256));
}

/// Texts next to each other joined; outputs as their JSON.
fn joined(reports: &[Report]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut after_text = false;
    for report in reports {
        match report {
            Report::Text(text) if after_text => all.last_mut().unwrap().push_str(text),
            Report::Text(text) => all.push(text.clone()),
            Report::Output(json) => all.push(format!("output {json}")),
            Report::Progress { .. } => continue,
        }
        after_text = matches!(report, Report::Text(_));
    }
    all
}

#[derive(Clone, Debug)]
enum Op {
    Output,
    Text(String),
    Progress,
    Wait(u64),
    /// A write: this many tries without an answer, then one that is acknowledged or not.
    Write {
        tries: u32,
        answered: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => Just(Op::Output),
        3 => "[a-z\\n\u{1}äß😀]{0,300}".prop_map(Op::Text),
        3 => Just(Op::Progress),
        4 => (0_u64..40).prop_map(Op::Wait),
        4 => (0_u32..3, any::<bool>()).prop_map(|(tries, answered)| Op::Write { tries, answered }),
    ]
}

/// What a Redis that keeps to the batch numbers has written, and when.
#[derive(Default)]
struct Log {
    last: u64,
    events: Vec<(Duration, Report)>,
}

impl Log {
    fn append(&mut self, now: Duration, number: u64, reports: &[Report]) {
        assert!(number <= self.last + 1, "a batch was skipped");
        if number == self.last + 1 {
            self.last = number;
            self.events.extend(reports.iter().map(|report| (now, report.clone())));
        }
    }

    /// The end's: what is written already is passed over, and nothing behind it.
    fn end(&mut self, now: Duration, batch: &Batch) {
        let written = if batch.number == self.last { batch.sent } else { 0 };
        self.last = batch.number - 1;
        self.append(now, batch.number, &batch.reports[written..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_or_doubled_or_out_of_order(ops in prop::collection::vec(op(), 0..120), full in any::<bool>()) {
        let mut outbox = Outbox::new(LIMITS);
        let mut log = Log::default();
        let (mut now, mut count) = (Duration::ZERO, 0_u64);
        let mut reported = Vec::new();
        for op in ops {
            match op {
                Op::Output => {
                    count += 1;
                    if outbox.output(&json(count)) {
                        reported.push(Report::Output(json(count)));
                    }
                }
                Op::Text(words) => {
                    let taken = outbox.text(now, &words);
                    if taken > 0 {
                        reported.push(text(&words[..taken]));
                    }
                }
                Op::Progress => {
                    count += 1;
                    outbox.progress(None, &count.to_string());
                    reported.push(Report::Progress { progress: None, message: Some(count.to_string()) });
                }
                Op::Wait(time) => now += ms(time),
                Op::Write { tries, answered } => {
                    let Some(batch) = outbox.take(now) else { continue };
                    prop_assert!(batch.reports.len() <= BATCH_REPORTS && batch.bytes <= BATCH_BYTES);
                    for _ in 0..tries {
                        log.append(now, batch.number, &batch.reports);
                        prop_assert_eq!(outbox.take(now), Some(Arc::clone(&batch)));
                    }
                    if answered {
                        log.append(now, batch.number, &batch.reports);
                        outbox.acknowledge(batch.number, now);
                    }
                }
            }
            prop_assert!(outbox.used <= LIMITS.buffer.max(LIMITS.event));
        }
        let open = log.events.len();
        outbox.close();
        if full {
            outbox.gather(now);
        }
        loop {
            match outbox.part(now) {
                Parting::First(batch) => {
                    log.append(now, batch.number, &batch.reports);
                    outbox.acknowledge(batch.number, now);
                }
                Parting::Last(batch) => {
                    if let Some(batch) = batch {
                        log.end(now, &batch);
                    }
                    break;
                }
            }
        }
        let events: Vec<_> = log.events.iter().map(|(_, report)| report.clone()).collect();
        prop_assert_eq!(joined(&events), joined(&reported), "outputs and texts");
        for report in &events {
            prop_assert!(report.event_size() <= LIMITS.event);
        }
        progress_is_in_order(&reported, &events);
        progress_is_no_faster_than_its_interval(&log.events[..open]);
    }
}

/// Each progress comes after all that was reported before it, in the order of reporting, and the last one comes.
fn progress_is_in_order(reported: &[Report], events: &[Report]) {
    let is_progress = |report: &&Report| matches!(report, Report::Progress { .. });
    assert_eq!(reported.iter().rfind(is_progress), events.iter().rfind(is_progress), "the last value");
    let bytes = |reports: &[Report]| joined(reports).concat().len();
    let mut from = 0;
    for (at, event) in events.iter().enumerate().filter(|(_, event)| is_progress(event)) {
        let place =
            from + reported[from..].iter().position(|report| report == event).expect("in order, and once");
        assert!(bytes(&events[..at]) >= bytes(&reported[..place]), "{event:?} has overtaken");
        from = place + 1;
    }
}

fn progress_is_no_faster_than_its_interval(events: &[(Duration, Report)]) {
    let times: Vec<_> = events
        .iter()
        .filter(|(_, report)| matches!(report, Report::Progress { .. }))
        .map(|(time, _)| *time)
        .collect();
    for pair in times.windows(2) {
        assert!(pair[1] >= pair[0] + LIMITS.progress_interval, "{pair:?}");
    }
}
