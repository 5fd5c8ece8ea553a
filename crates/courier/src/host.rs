//! The hosts that deliveries go to: each with its rules, those that wait for it, and its own HTTP client.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::Options;
use crate::crowd::{Crowd, Seat};
use crate::destinations::Destination;
use crate::gate::{Bounds, Ended, Entry, Gate, PATIENCE};
use crate::http::{Http, Sender};
use crate::memory::{Memory, Share, Taken};

/// Hosts are remembered up to so many; then those that were used least recently are forgotten, however they stood.
const MOST_HOSTS: usize = 20_000;

/// The most that a claim is held back for the sake of a host that is quick but has enough to do.
const RELIEF: Duration = Duration::from_millis(50);
/// The same for a host of which nothing is known, and for which many wait: so long it has to show how quick it is.
const NEWCOMER: Duration = Duration::from_millis(10);
/// In about how long one that found no memory comes again: others have it for as long as their receivers take.
const SCARCITY: Duration = Duration::from_secs(3);
/// How many a claim may bring.
const A_CLAIM: u32 = 100;

/// All hosts that are known; `W` is what waits for them.
pub(crate) struct Hosts<W> {
    table: Mutex<HashMap<String, Arc<Host<W>>>>,
    bounds: Bounds,
    crowd: Arc<Crowd>,
    strangers: Arc<Crowd>,
    memory: Memory,
    sender: Sender,
}

impl<W> Hosts<W> {
    /// None yet. Of [`Options::concurrency`] deliveries a quarter may wait, and half may be under way to hosts that haven't shown that
    /// they take anything: what is left is for those that have, however many others there are.
    pub(crate) fn new(options: &Options, sender: Sender) -> Self {
        let &Options { concurrency, per_host, max_retry_delay, bodies, .. } = options;
        let bounds = Bounds { most: per_host, waiting: (concurrency / 4).max(1), delay: max_retry_delay };
        let (crowd, strangers) = (Crowd::of(concurrency / 4), Crowd::of(concurrency / 2));
        Self { table: Mutex::default(), bounds, crowd, strangers, memory: Memory::of(bodies), sender }
    }

    /// The host of `destination`.
    pub(crate) fn of(&self, destination: &Destination) -> Result<Arc<Host<W>>, reqwest::Error> {
        let mut table = self.table.lock();
        if let Some(host) = table.get(&destination.host) {
            return Ok(Arc::clone(host));
        }
        if table.len() >= MOST_HOSTS {
            make_room(&mut table);
        }
        let host = Arc::new(Host {
            state: Mutex::new(State {
                gate: Gate::new(self.bounds, Instant::now()),
                line: VecDeque::new(),
                is_watched: false,
            }),
            bounds: self.bounds,
            crowd: Arc::clone(&self.crowd),
            strangers: Arc::clone(&self.strangers),
            memory: self.memory.share(),
            eased: Notify::new(),
            http: self.sender.to(&destination.target)?,
        });
        table.insert(destination.host.clone(), Arc::clone(&host));
        Ok(host)
    }

    /// Forgets the hosts that have been idle for a while; how many of the others are not sent to because they fail.
    pub(crate) fn tidy(&self) -> usize {
        let now = Instant::now();
        let mut table = self.table.lock();
        table.retain(|_, host| Arc::strong_count(host) > 1 || !host.state.lock().gate.is_forgettable(now));
        table.values().filter(|host| !host.state.lock().gate.is_closed()).count()
    }
}

/// Forgets a tenth of all hosts: of those that are idle, those that were used least recently.
fn make_room<W>(table: &mut HashMap<String, Arc<Host<W>>>) {
    let idle = table.iter().filter(|(_, host)| Arc::strong_count(host) == 1);
    let mut idle: Vec<_> =
        idle.map(|(address, host)| (host.state.lock().gate.last_used(), address.clone())).collect();
    idle.sort();
    for (_, address) in idle.iter().take(MOST_HOSTS / 10) {
        table.remove(address);
    }
}

/// One host and port.
pub(crate) struct Host<W> {
    state: Mutex<State<W>>,
    bounds: Bounds,
    /// All that wait.
    crowd: Arc<Crowd>,
    /// All that are under way to hosts that haven't shown that they take anything.
    strangers: Arc<Crowd>,
    memory: Share,
    /// Its line is no longer long.
    eased: Notify,
    http: Http,
}

struct State<W> {
    gate: Gate,
    /// Those that wait for a place, who came first being first.
    line: VecDeque<Waiting<W>>,
    /// Whether somebody looks at the line: see [`Host::look`].
    is_watched: bool,
}

struct Waiting<W> {
    what: W,
    until: Instant,
    _seat: Seat,
}

/// What may be done with what came to a host.
pub(crate) enum Admission<W> {
    /// Send it now.
    Go(Place<W>, W),
    /// Nothing: it stands in the line. Unless that is watched, the caller has to: see [`Host::look`].
    Waits { is_watched: bool },
    /// It is to come again in so long.
    Later(W, Duration),
}

/// Who waits no longer.
pub(crate) struct Turn<W> {
    /// These have a place.
    pub(crate) begin: SmallVec<[(Place<W>, W); 1]>,
    /// These won't get one, and are to come again in so long.
    pub(crate) later: Vec<(W, Duration)>,
}

impl<W> Host<W> {
    /// The way to it.
    pub(crate) fn http(&self) -> &Http {
        &self.http
    }

    /// Asks for a place for `what`.
    pub(crate) fn enter(self: &Arc<Self>, what: W) -> Admission<W> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let waiting = state.line.len();
        if let Some(standing) = self.standing(&state.gate) {
            match state.gate.enter(now, waiting) {
                Entry::Go => return Admission::Go(Place::new(self, standing), what),
                Entry::Wait => {
                    let room = self.crowd.open_to(&state.gate);
                    if let Some(seat) = Seat::take(&self.crowd, room) {
                        state.line.push_back(Waiting { what, until: now + PATIENCE, _seat: seat });
                        return Admission::Waits { is_watched: mem::replace(&mut state.is_watched, true) };
                    }
                }
                Entry::Later => {}
            }
        }
        Admission::Later(what, state.gate.later(now, waiting, rand::random()))
    }

    /// Who waits no longer as time goes by, and when to look again; `None` where nobody waits, and nobody needs to look until it is
    /// said anew.
    pub(crate) fn look(self: &Arc<Self>) -> (Turn<W>, Option<Instant>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        // A place that was dropped without a word was given to nobody.
        let begin = self.admit(&mut state, now);
        let late = state.line.iter().take_while(|waiting| waiting.until <= now).count();
        let late: Vec<_> = state.line.drain(..late).map(|waiting| waiting.what).collect();
        let again = state.line.front().map(|waiting| waiting.until);
        state.is_watched = again.is_some();
        (Turn { begin, later: put_off(&mut state, late, now) }, again)
    }

    /// All that wait; none of them does any more.
    pub(crate) fn clear(&self) -> Vec<W> {
        let mut state = self.state.lock();
        state.is_watched = false;
        state.line.drain(..).map(|waiting| waiting.what).collect()
    }

    /// As what a request is under way; `None` where there are enough such.
    fn standing(&self, gate: &Gate) -> Option<Standing> {
        if gate.is_proven() {
            return Some(Standing::Known);
        }
        Seat::take(&self.strangers, self.strangers.most).map(Standing::Stranger)
    }

    /// A time for one that found no place: in how long it is to come again.
    pub(crate) fn later(&self) -> Duration {
        let mut state = self.state.lock();
        let waiting = state.line.len();
        state.gate.later(Instant::now(), waiting, rand::random())
    }

    /// How long it is best to claim nothing more, unless its line becomes short sooner (see [`Self::relieved`]): a host that is quick but
    /// has a long line takes what there is within a moment, and to put it off would cost more. Zero for slow ones, who must
    /// hold up nobody.
    pub(crate) fn relief(&self) -> Duration {
        let state = self.state.lock();
        let waiting = u32::try_from(state.line.len()).unwrap_or(u32::MAX);
        if state.gate.is_new() && waiting >= A_CLAIM / 2 {
            return NEWCOMER;
        }
        let enough = u32::try_from(self.enough()).unwrap_or(u32::MAX);
        if !state.gate.is_closed() || (waiting < enough && !self.crowd.is_full()) {
            return Duration::ZERO;
        }
        let too_many = waiting.saturating_sub(enough).saturating_add(A_CLAIM);
        let relief = state.gate.interval(Instant::now()).saturating_mul(too_many);
        // Requests that ended quickly come first: it may take longer than it seems.
        if relief <= RELIEF { RELIEF.min(2 * relief) } else { Duration::ZERO }
    }

    /// Waits for its [`relief`](Self::relief), and no longer than until it is there.
    pub(crate) async fn relieved(&self) {
        let is_short = || {
            let state = self.state.lock();
            let enough = if state.gate.is_new() { A_CLAIM as usize / 2 } else { self.enough() };
            state.line.len() < enough && !self.crowd.is_full()
        };
        let eased = async {
            loop {
                let eased = self.eased.notified();
                if is_short() {
                    return;
                }
                eased.await;
            }
        };
        drop(timeout(self.relief(), eased).await);
    }

    /// How many in its line are enough for now.
    fn enough(&self) -> usize {
        self.bounds.waiting / 2
    }

    fn leave(self: &Arc<Self>, ended: Ended) -> Turn<W> {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.gate.leave(now, ended, rand::random());
        if state.gate.is_closed() {
            return Turn { begin: self.admit(&mut state, now), later: Vec::new() };
        }
        // There will be no place for a while.
        let all = state.line.drain(..).map(|waiting| waiting.what).collect();
        self.eased.notify_waiters();
        Turn { begin: SmallVec::new(), later: put_off(&mut state, all, now) }
    }

    /// Gives places to those who wait, as there are.
    fn admit(self: &Arc<Self>, state: &mut State<W>, now: Instant) -> SmallVec<[(Place<W>, W); 1]> {
        let mut begin = SmallVec::new();
        while !state.line.is_empty()
            && let Some(standing) = self.standing(&state.gate)
            && state.gate.admit(now)
            && let Some(next) = state.line.pop_front()
        {
            begin.push((Place::new(self, standing), next.what));
            if [self.enough(), A_CLAIM as usize / 2].contains(&(state.line.len() + 1)) {
                self.eased.notify_waiters();
            }
        }
        begin
    }
}

/// A time for each of `all`, who get no place.
fn put_off<W>(state: &mut State<W>, all: Vec<W>, now: Instant) -> Vec<(W, Duration)> {
    let State { gate, line, .. } = state;
    all.into_iter().map(|what| (what, gate.later(now, line.len(), rand::random()))).collect()
}

/// The right to one request to a host. Dropped without a word it says nothing of the host.
pub(crate) struct Place<W> {
    host: Arc<Host<W>>,
    standing: Standing,
    is_held: bool,
}

/// As what a request is under way.
enum Standing {
    /// To a host that has taken the newest one.
    Known,
    /// To any other.
    Stranger(#[expect(dead_code, reason = "it counts for as long as it lives")] Seat),
}

impl<W> Place<W> {
    fn new(host: &Arc<Host<W>>, standing: Standing) -> Self {
        Self { host: Arc::clone(host), standing, is_held: true }
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host<W> {
        &self.host
    }

    /// Memory for a body that tells so many `bytes`, now or within a moment; or in how long to come again, if it isn't there by then.
    pub(crate) async fn memory(&self, bytes: u64) -> Result<Taken, Duration> {
        let is_known = matches!(self.standing, Standing::Known);
        let taking = |limit| timeout(limit, self.host.memory.take(bytes, is_known));
        if let Ok(Some(taken)) = taking(Duration::ZERO).await {
            return Ok(taken);
        }
        let room = if is_known { self.host.crowd.most } else { self.host.crowd.most.div_ceil(2) };
        if let Some(_seat) = Seat::take(&self.host.crowd, room)
            && let Ok(Some(taken)) = taking(PATIENCE).await
        {
            return Ok(taken);
        }
        let delay = SCARCITY.mul_f64(rand::random_range(0.5..1.5));
        Err(self.host.later().max(delay))
    }

    /// Gives the place back, and tells what came of it. Who waits no longer.
    pub(crate) fn leave(mut self, ended: Ended) -> Turn<W> {
        self.is_held = false;
        self.host.leave(ended)
    }
}

impl<W> Drop for Place<W> {
    fn drop(&mut self) {
        if self.is_held {
            // Who waits hears of it at the next end, or at the next look.
            self.host.state.lock().gate.leave(Instant::now(), Ended::Abandoned, rand::random());
        }
    }
}

#[cfg(test)]
mod tests {
    use model::webhook::{Allow, TargetRules};

    use super::*;
    use crate::authorities::Authorities;
    use crate::destinations::Destinations;
    use crate::resolve::SystemLookup;

    #[tokio::test]
    async fn a_place_that_is_dropped_without_a_word_is_given_to_who_waits_at_the_next_look() {
        let rules = Arc::new(TargetRules::new(vec!["127.0.0.0/8".parse::<Allow>().unwrap()]));
        let lookup = Arc::new(SystemLookup::default());
        let sender = Sender::new(Authorities::default(), Arc::clone(&rules), lookup, 1).unwrap();
        let hosts = Hosts::new(&Options { per_host: 1, ..Options::default() }, sender);
        let host = hosts.of(&Destinations::new(rules).of("http://127.0.0.1/").unwrap()).unwrap();
        let Admission::Go(place, "first") = host.enter("first") else { panic!("there is a place") };
        assert!(matches!(host.enter("second"), Admission::Waits { is_watched: false }));
        assert!(matches!(host.enter("third"), Admission::Waits { is_watched: true }));
        assert!(host.look().0.begin.is_empty());
        drop(place);
        let (turn, again) = host.look();
        assert_eq!(turn.begin.iter().map(|(_, what)| *what).collect::<Vec<_>>(), ["second"]);
        assert!(turn.later.is_empty() && again.is_some());
        assert_eq!(host.clear(), ["third"]);
        assert!(host.look().1.is_none(), "nobody waits");
    }
}
