//! Whose turn it is at a host. A place has a task, which sends one delivery after the other as long as some wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep_until;

use crate::attempt::Ready;
use crate::courier::Courier;
use crate::deliver::{Delivery, now};
use crate::host::{Admission, Host, Place, Turn};

/// Begins `delivery`: it is sent, waits for a place at its host, or is put off; or what follows at once is written. The host that it
/// goes to.
pub(crate) fn begin(courier: &Arc<Courier>, delivery: Delivery) -> Option<Arc<Host<Ready>>> {
    let (destination, host, secrets) = match delivery.way() {
        Ok(way) => way,
        Err(verdict) => {
            delivery.settle(verdict, now(), Duration::ZERO, None);
            return None;
        }
    };
    match host.enter(Ready { delivery, destination, secrets }) {
        Admission::Go(place, ready) => spawn(courier, place, ready),
        Admission::Waits { is_watched: true } => {}
        Admission::Waits { is_watched: false } => {
            courier.deliveries.spawn(watch(Arc::clone(courier), Arc::clone(&host)));
        }
        Admission::Later(ready, delay) => ready.delivery.put_off(delay),
    }
    Some(host)
}

fn spawn(courier: &Arc<Courier>, place: Place<Ready>, ready: Ready) {
    courier.deliveries.spawn(send_in_turn(Arc::clone(courier), place, ready));
}

/// Sends `ready`, and then who has the place after it, as long as there are such.
async fn send_in_turn(courier: Arc<Courier>, place: Place<Ready>, ready: Ready) {
    let mut next = Some((place, ready));
    while let Some((place, ready)) = next {
        next = go_on(&courier, ready.send(place).await);
    }
}

/// Sees to the line of `host`, until nobody waits there. At the soft stop all who wait are given back.
async fn watch(courier: Arc<Courier>, host: Arc<Host<Ready>>) {
    loop {
        let (turn, again) = host.look();
        if let Some((place, ready)) = go_on(&courier, turn) {
            spawn(&courier, place, ready);
        }
        let Some(again) = again else { return };
        if courier.soft.run_until_cancelled(sleep_until(again)).await.is_none() {
            return host.clear().into_iter().for_each(|ready| ready.delivery.give_back());
        }
    }
}

/// Does what follows for those who wait no longer. One who has a place is the caller's, the others get tasks of their own.
fn go_on(courier: &Arc<Courier>, turn: Turn<Ready>) -> Option<(Place<Ready>, Ready)> {
    for (ready, delay) in turn.later {
        ready.delivery.put_off(delay);
    }
    let mut begin = turn.begin.into_iter();
    if courier.soft.is_cancelled() {
        begin.for_each(|(_, ready)| ready.delivery.give_back());
        return None;
    }
    let first = begin.next();
    for (place, ready) in begin {
        spawn(courier, place, ready);
    }
    first
}
