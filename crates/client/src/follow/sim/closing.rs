//! A poll has told the end: how long the stream is waited for, and what makes the end doubtful.

use model::Status;

use super::*;

const S: fn(u64) -> Duration = Duration::from_secs;

/// A follower that has seen two of four events when a poll tells it the end.
fn closing(rules: Rules) -> Sim {
    let mut sim = Sim::new(Start::BEGINNING);
    sim.state = State::new(id(), Start::BEGINNING, rules);
    (0..3).for_each(|_| sim.world.grow(false));
    sim.turn(Op::Serve(2));
    sim.world.grow(true);
    assert_eq!(lose(&mut sim, Lost::Useless(away())), None);
    assert!(matches!(sim.state.next(sim.now), Next::Poll { .. }));
    assert_eq!(sim.state.polled(Polled::Job(Box::new(sim.world.job())), sim.now, 0.5), None);
    sim
}

/// Waits for the next stream.
#[track_caller]
fn open(sim: &mut Sim) -> Start {
    loop {
        match sim.state.next(sim.now) {
            Next::Sleep(wait) => sim.now += wait,
            Next::Stream(start) => return start,
            other => panic!("{other:?}"),
        }
    }
}

/// Loses the next stream.
#[track_caller]
fn lose(sim: &mut Sim, lost: Lost) -> Option<Event> {
    open(sim);
    sim.state.lost(lost, sim.now, 0.5)
}

#[track_caller]
fn assert_end(told: Option<Event>) {
    assert!(matches!(&told, Some(Event::Polled(job)) if job.status == Status::Completed), "{told:?}");
}

#[test]
fn an_end_that_only_a_poll_can_tell_is_told() {
    let mut sim = closing(rules());
    // A stream that ends may come through what holds back one that doesn't.
    assert_eq!(lose(&mut sim, Lost::Useless(away())), None);
    assert_end(lose(&mut sim, Lost::Useless(away())));
    assert!(matches!(sim.state.next(sim.now), Next::Over));
}

#[test]
fn a_moment_without_streams_takes_no_event_away() {
    let mut sim = closing(rules());
    for lost in [Lost::Away(busy(S(1))), Lost::Away(away()), Lost::Away(busy(S(1)))] {
        assert_eq!(lose(&mut sim, lost), None);
    }
    while sim.turn(Op::Serve(1)) {}
    assert!(sim.told.over, "the stream told the end");
}

#[test]
fn streams_that_stay_away_are_not_waited_for_for_ever() {
    for (give_up_after, most) in [(None, S(60)), (Some(S(5)), S(5)), (Some(Duration::MAX), S(60))] {
        let mut sim = closing(Rules { give_up_after, ..rules() });
        let begin = sim.now;
        let told = loop {
            if let told @ Some(_) = lose(&mut sim, Lost::Away(away())) {
                break told;
            }
        };
        assert_end(told);
        let waited = sim.now.saturating_sub(begin);
        assert!(most / 3 < waited && waited < most, "{waited:?} with {give_up_after:?}");
    }
}

#[test]
fn who_gives_up_tells_the_end_if_a_poll_has_told_it() {
    let mut sim = closing(Rules { give_up_after: Some(S(3)), ..rules() });
    open(&mut sim);
    sim.now += S(5);
    assert_eq!(lose(&mut sim, Lost::Useless(away())), None);
    assert_end(lose(&mut sim, Lost::Useless(away())));
}

#[test]
fn an_end_that_redis_lost_is_not_told() {
    // The first loses what was seen, too, so that the stream says so; after the others it just goes on.
    for (lost, news) in [(4, true), (2, true), (2, false)] {
        let mut sim = closing(rules());
        let polled = sim.world.last();
        sim.world.rewind(lost);
        if news {
            sim.world.grow(false);
        }
        let start = open(&mut sim);
        sim.state.heard(sim.now);
        for frame in sim.world.stream(start).unwrap() {
            assert!(matches!(sim.state.frame(&frame), Took::Event(_)));
        }
        sim.now += S(60);
        sim.state.heard(sim.now);
        assert_eq!(sim.state.lost(Lost::Closed, sim.now, 0.5), None);
        for _ in 0..2 {
            assert_eq!(lose(&mut sim, Lost::Closed), None, "{polled} is lost: {lost}, {news}");
        }
        // The job has an end in the end, and a poll may tell that one.
        sim.world.grow(true);
        assert_eq!(lose(&mut sim, Lost::Useless(away())), None);
        let Next::Poll { known, .. } = sim.state.next(sim.now) else { panic!("polls serve again") };
        assert_ne!(known, Some(polled));
        assert_eq!(sim.state.polled(Polled::Job(Box::new(sim.world.job())), sim.now, 0.5), None);
        assert_eq!(lose(&mut sim, Lost::Useless(away())), None);
        assert_end(lose(&mut sim, Lost::Useless(away())));
    }
}

#[test]
fn an_end_is_asked_for_again_after_news() {
    let mut sim = closing(rules());
    sim.turn(Op::Useless);
    let before = sim.told.at;
    while sim.told.at == before {
        sim.turn(Op::Serve(1));
    }
    // The same end as before: that it was polled already must not hide it.
    for _ in 0..10 {
        sim.turn(Op::Useless);
    }
    assert!(sim.told.by_poll, "it ends");
}
