use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { most: 8, waiting: 100, delay: Duration::from_hours(1) };
const MS: Duration = Duration::from_millis(1);

fn gate() -> (Gate, Instant) {
    let now = Instant::now();
    (Gate::new(BOUNDS, now), now)
}

/// As many places as there are.
fn fill(gate: &mut Gate, now: Instant) -> u32 {
    let mut places = 0;
    while gate.enter(now, 0) == Entry::Go {
        places += 1;
    }
    places
}

#[test]
fn a_host_begins_with_one_request_and_each_success_allows_one_more() {
    let (mut gate, now) = gate();
    assert_eq!(fill(&mut gate, now), 1);
    for expected in [2, 3, 4, 5, 6, 7, 8, 8, 8] {
        gate.leave(now, Ended::Took(MS), 0.5);
        fill(&mut gate, now);
        assert_eq!(gate.running, expected);
    }
}

#[test]
fn a_failure_takes_it_back_to_one() {
    for ended in [Ended::Failed(MS), Ended::Failed(15_000 * MS)] {
        let (mut gate, now) = gate();
        for _ in 0..8 {
            fill(&mut gate, now);
            gate.leave(now, Ended::Took(MS), 0.5);
        }
        let running = gate.running + fill(&mut gate, now);
        gate.leave(now, ended, 0.5);
        for _ in 1..running {
            assert!(!gate.admit(now), "while more than one are running");
            gate.leave(now, Ended::Abandoned, 0.5);
        }
        assert_eq!(fill(&mut gate, now), 1);
    }
}

#[test]
fn five_failures_in_a_row_open_the_breaker_and_a_probe_decides() {
    let (mut gate, mut now) = gate();
    for _ in 0..4 {
        assert_eq!(gate.enter(now, 0), Entry::Go);
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    gate.enter(now, 0);
    gate.leave(now, Ended::Took(MS), 0.5);
    for _ in 0..5 {
        assert_eq!(gate.enter(now, 0), Entry::Go);
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    for cool_down in [5, 10, 20, 40, 80, 160, 300, 300] {
        now += Duration::from_millis(cool_down * 1000 - 1);
        assert_eq!(gate.enter(now, 0), Entry::Later, "{cool_down} s");
        assert!(!gate.is_closed() && !gate.admit(now));
        now += MS;
        assert_eq!(gate.enter(now, 0), Entry::Go, "{cool_down} s: a probe");
        assert_eq!(gate.enter(now, 0), Entry::Later, "one alone");
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    now += Duration::from_mins(5);
    gate.enter(now, 0);
    gate.leave(now, Ended::Abandoned, 0.5);
    assert_eq!(gate.enter(now, 0), Entry::Go, "a probe that says nothing is sent again");
    gate.leave(now, Ended::Took(MS), 0.5);
    assert!(gate.is_closed());
    for _ in 0..4 {
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    assert!(gate.is_closed(), "it begins anew");
}

#[test]
fn only_a_quick_host_is_waited_for() {
    let (mut gate, mut now) = gate();
    gate.enter(now, 0);
    assert_eq!(gate.enter(now, 0), Entry::Wait);
    assert_eq!(gate.enter(now, BOUNDS.waiting), Entry::Later, "not by all");
    now += Duration::from_millis(500);
    assert_eq!(gate.enter(now, 1), Entry::Wait, "one before it, at half a second each");
    assert_eq!(gate.enter(now, 2), Entry::Later);
    now += Duration::from_millis(501);
    assert_eq!(gate.enter(now, 0), Entry::Later, "it hasn't answered for longer than anybody waits");
}

#[test]
fn a_host_with_many_places_may_stand_still_for_a_moment() {
    let (mut gate, mut now) = gate();
    for _ in 0..8 {
        fill(&mut gate, now);
        gate.leave(now, Ended::Took(MS), 0.5);
    }
    fill(&mut gate, now);
    now += 100 * MS;
    assert_eq!(gate.enter(now, 79), Entry::Wait, "all eight may end at once");
    assert_eq!(gate.enter(now, 80), Entry::Later);
    assert!(gate.later(now, 80, 0.5) < Duration::from_secs(2));
    now += 901 * MS;
    assert_eq!(gate.enter(now, 0), Entry::Later, "it hasn't answered for longer than anybody waits");
}

#[test]
fn a_slow_past_is_forgiven() {
    let (mut gate, now) = gate();
    gate.enter(now, 0);
    gate.leave(now, Ended::Failed(15_000 * MS), 0.5);
    for _ in 0..8 {
        gate.enter(now, 0);
        gate.leave(now, Ended::Took(MS), 0.5);
    }
    assert!(gate.interval(now) < 3 * MS, "{:?}", gate.interval(now));
    assert!(gate.is_proven());
    gate.leave(now, Ended::Failed(MS), 0.5);
    assert!(!gate.is_proven());
}

#[test]
fn a_dead_host_with_very_many_deliveries_is_asked_rarely() {
    let (mut gate, now) = gate();
    for _ in 0..FAILURES {
        gate.enter(now, 0);
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    let mut delays: Vec<_> =
        (0..100_000).map(|n: u32| gate.later(now, 0, (f64::from(n) * 0.618).fract())).collect();
    assert!(delays.iter().all(|delay| *delay >= Duration::from_secs(5) && *delay <= BOUNDS.delay));
    delays.sort();
    let quickest = delays.windows(6000).map(|delays| delays[5999].saturating_sub(delays[0])).min().unwrap();
    assert!(quickest > Duration::from_mins(1), "6000 of them within {quickest:?}");
    // And when it is well again the next ones don't queue up behind those.
    gate.enter(now + Duration::from_secs(6), 0);
    gate.leave(now + Duration::from_secs(6), Ended::Took(MS), 0.5);
    assert!(gate.later(now + Duration::from_secs(6), 0, 0.5) < Duration::from_secs(1));
}

#[test]
fn those_that_were_put_off_come_sooner_once_a_host_turns_out_quick() {
    let (mut gate, now) = gate();
    gate.enter(now, 0);
    let slow: Vec<_> = (0..1000).map(|_| gate.later(now, 100, 0.5)).collect();
    assert!(slow[999] > Duration::from_secs(5), "{:?}", slow[999]);
    for _ in 0..20 {
        gate.leave(now, Ended::Took(MS), 0.5);
        gate.enter(now, 0);
    }
    assert!(gate.later(now, 100, 0.5) < Duration::from_millis(300), "{:?}", gate.later(now, 100, 0.5));
}

#[test]
fn an_idle_host_is_forgotten_in_time() {
    let (mut gate, now) = gate();
    gate.enter(now, 0);
    assert!(!gate.is_forgettable(now + Duration::from_hours(9)), "it is in use");
    gate.leave(now, Ended::Took(MS), 0.5);
    assert!(!gate.is_forgettable(now + REMEMBERED / 2));
    assert!(gate.is_forgettable(now + REMEMBERED));
    for _ in 0..FAILURES {
        gate.leave(now, Ended::Failed(MS), 0.5);
    }
    assert!(!gate.is_forgettable(now + LONGEST_COOL_DOWN));
    assert!(gate.is_forgettable(now + 3 * LONGEST_COOL_DOWN));
}

#[derive(Clone, Debug)]
enum Op {
    Enter(usize),
    Admit,
    Leave(u8, u64),
    Later(usize, f64),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..200_usize).prop_map(Op::Enter),
        Just(Op::Admit),
        (0..3_u8, 0..20_000_u64).prop_map(|(how, ms)| Op::Leave(how, ms)),
        (0..200_usize, 0.0..1.0).prop_map(|(waiting, random)| Op::Later(waiting, random)),
        (0..60_000_u64).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Whatever happens: never more requests than allowed, no more than one begins while the breaker is open, nobody is put off
    /// for longer than may be, and a host that is well can always be sent to again.
    #[test]
    fn holds_its_bounds(ops in prop::collection::vec(op(), 1..200)) {
        let (mut gate, mut now) = gate();
        let mut running = 0_u32;
        for op in ops {
            let was_closed = gate.is_closed();
            match op {
                Op::Enter(waiting) => {
                    if gate.enter(now, waiting) == Entry::Go {
                        running += 1;
                        prop_assert!(!was_closed || waiting == 0);
                        if !was_closed {
                            prop_assert_eq!(gate.enter(now, 0), Entry::Later);
                        }
                    }
                }
                Op::Admit => {
                    if gate.admit(now) {
                        running += 1;
                        prop_assert!(was_closed);
                    }
                }
                Op::Leave(..) if running == 0 => {}
                Op::Leave(how, ms) => {
                    running -= 1;
                    let took = Duration::from_millis(ms);
                    gate.leave(now, [Ended::Took(took), Ended::Failed(took), Ended::Abandoned][usize::from(how)], 0.3);
                }
                Op::Later(waiting, random) => {
                    let delay = gate.later(now, waiting, random);
                    prop_assert!(delay >= LEAST_DELAY && delay <= BOUNDS.delay);
                }
                Op::Pass(ms) => now += Duration::from_millis(ms),
            }
            prop_assert_eq!(gate.running, running);
            prop_assert!(running <= BOUNDS.most + 1, "a probe may begin while others end");
        }
        for _ in 0..running {
            gate.leave(now, Ended::Abandoned, 0.5);
        }
        now += 2 * LONGEST_COOL_DOWN;
        prop_assert_eq!(gate.enter(now, 0), Entry::Go);
    }
}
