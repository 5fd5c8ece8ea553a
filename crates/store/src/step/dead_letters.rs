//! An owner's dead letters, the newest first, a page at a time. Reads, not a step, as `list` is.

use std::fmt;
use std::str::FromStr;

use futures_util::future::try_join_all;
use model::webhook::DeliveryId;
use model::wire::{DeadLetterFilter, DeliveryStatus};
use model::{Owner, Partition, Timestamp};

use super::deliveries::Delivery;
use super::reply::Reply;
use crate::connect::Request;
use crate::keys::keys_of;
use crate::{Store, StoreError};

/// How many letters a page looks at, at least, where only some pass the filter's URL.
const LOOK: usize = 100;

/// Which dead letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLettersQuery {
    /// Whose.
    pub owner: Owner,
    /// Those that pass it.
    pub filter: DeadLetterFilter,
    /// Those before this one.
    pub after: Option<DeadLetterPlace>,
    /// How many at most, from 1.
    pub limit: usize,
}

/// A place in the list: when the letter died, and its name. Its text is opaque to clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DeadLetterPlace {
    at: Timestamp,
    id: DeliveryId,
}

/// Text that is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no place in a list of dead letters; send the `next` of the page before")]
pub struct BadPlace;

impl fmt::Display for DeadLetterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.as_millis(), self.id)
    }
}

impl FromStr for DeadLetterPlace {
    type Err = BadPlace;
    fn from_str(text: &str) -> Result<Self, BadPlace> {
        let (at, id) = text.split_once('-').ok_or(BadPlace)?;
        let at = at.parse().ok().filter(|at| *at < 1 << 53).ok_or(BadPlace)?;
        Ok(Self { at: Timestamp::from_millis(at), id: id.parse().map_err(|_| BadPlace)? })
    }
}

/// A page of dead letters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetters {
    /// The letters, the newest first. Those that went meanwhile are left out.
    pub letters: Vec<Delivery>,
    /// The next page is [`after`](DeadLettersQuery::after) this place; `None` if there are no more.
    pub next: Option<DeadLetterPlace>,
}

impl Store {
    /// A page of an owner's dead letters. With a filter of URLs it may be short, even empty, and yet have a next one: it looks at
    /// no more than `limit` of them, or at 100 if that is more.
    pub async fn dead_letters(&self, query: &DeadLettersQuery) -> Result<DeadLetters, StoreError> {
        let limit = query.limit.max(1);
        let look = if query.filter.url.is_some() { limit.max(LOOK) } else { limit };
        let partitions = self.partitions().await?;
        let pages =
            try_join_all(partitions.map(|partition| self.dead_places(partition, query, look + 1))).await?;
        let mut places: Vec<_> = pages.into_iter().flatten().collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        let mut more = places.len() > look;
        places.truncate(look);
        let found = try_join_all(places.iter().map(|place| self.delivery(place.id))).await?;
        let wanted = |letter: &Delivery| {
            let url = query.filter.url.as_ref();
            letter.status == DeliveryStatus::Dead
                && url.is_none_or(|url| letter.url.starts_with(url.as_str()))
        };
        let (mut letters, mut last) = (Vec::new(), None);
        for (place, letter) in places.iter().zip(found) {
            if letters.len() == limit {
                more = true;
                break;
            }
            letters.extend(letter.filter(wanted));
            last = Some(*place);
        }
        Ok(DeadLetters { letters, next: last.filter(|_| more) })
    }

    /// The next `wanted` places of one partition.
    async fn dead_places(
        &self,
        partition: Partition,
        query: &DeadLettersQuery,
        wanted: usize,
    ) -> Result<Vec<DeadLetterPlace>, StoreError> {
        let keys = keys_of(self.prefix(), partition)?;
        let (after, filter) = (query.after.map(|place| place.at), &query.filter);
        let from = match (after, filter.until) {
            (Some(at), until) if until.is_none_or(|until| at < until) => at.as_millis().to_string(),
            (_, Some(until)) => format!("({}", until.as_millis()),
            (_, None) => "+inf".to_owned(),
        };
        let to = filter.since.map_or_else(|| "-inf".to_owned(), |since| since.as_millis().to_string());
        let (mut places, mut offset) = (Vec::new(), 0);
        loop {
            let mut cmd = redis::cmd("ZREVRANGEBYSCORE");
            cmd.arg(keys.dead_of(&query.owner)).arg(&from).arg(&to).arg(&["WITHSCORES", "LIMIT"]);
            cmd.arg(offset).arg(wanted);
            let mut reply = Reply::new(self.router().call(keys.slot, &Request::Command(&cmd)).await?)?;
            let mut read = 0;
            while !reply.is_empty() {
                let (id, at) = reply.scored()?;
                let place = DeadLetterPlace { at, id };
                read += 1;
                // Of those that died in the same millisecond some were in the page before.
                if query.after.is_none_or(|after| place < after) {
                    places.push(place);
                }
            }
            if read < wanted || places.len() >= wanted {
                return Ok(places);
            }
            offset += read;
        }
    }
}
