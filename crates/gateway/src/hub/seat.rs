//! Seats: where each stream stands.

use model::Position;

/// A stream's place in a log. The core counts the open ones, so each goes back to it by `close`.
#[derive(Debug)]
#[must_use = "a seat that is dropped instead of closed keeps frames in memory"]
pub(crate) struct Seat {
    /// The last event that the stream has seen.
    pub(super) position: Position,
    /// The number of the last read that had started when the stream came there.
    pub(super) since: u64,
    /// The stream has seen the end.
    pub(super) ended: bool,
}

/// Where the open seats stand, and how many at each place. A log has few such places: most of its streams stand at its end.
#[derive(Debug)]
pub(crate) struct Standing {
    /// By seq, ascending.
    places: Vec<(Position, u32)>,
}

impl Standing {
    /// Nobody.
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// One more at `position`.
    pub(crate) fn add(&mut self, position: Position) {
        match self.find(position) {
            Ok(i) => self.places[i].1 += 1,
            Err(i) => self.places.insert(i, (position, 1)),
        }
    }

    /// One less at `position`; whether nobody is there any more.
    pub(crate) fn remove(&mut self, position: Position) -> bool {
        let Ok(i) = self.find(position) else { return true };
        self.places[i].1 -= 1;
        let is_empty = self.places[i].1 == 0;
        if is_empty {
            self.places.remove(i);
        }
        is_empty
    }

    /// Whether nobody stands anywhere.
    pub(crate) const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether somebody stands at `position`.
    pub(crate) fn has(&self, position: Position) -> bool {
        self.find(position).is_ok()
    }

    /// The lowest seq at which somebody stands.
    pub(crate) fn lowest(&self) -> Option<u64> {
        self.places.first().map(|(position, _)| position.seq)
    }

    /// The places from seq `low` to seq `high`.
    pub(crate) fn between(&self, (low, high): (u64, u64)) -> impl Iterator<Item = Position> {
        self.places[self.first_at(low)..]
            .iter()
            .map(|&(position, _)| position)
            .take_while(move |p| p.seq <= high)
    }

    fn first_at(&self, seq: u64) -> usize {
        self.places.partition_point(|(place, _)| place.seq < seq)
    }

    /// Its index, or the one at which it would be.
    fn find(&self, position: Position) -> Result<usize, usize> {
        let first = self.first_at(position.seq);
        let mut same_seq = self.places[first..].iter().take_while(|(place, _)| place.seq == position.seq);
        same_seq.position(|&(place, _)| place == position).map(|i| first + i).ok_or(first)
    }
}
