//! An event's cost with few streams and with as many as one process may hold, for a gateway and for the floor: what no cache of the
//! machine holds costs a bare loop more too.

use super::Size;
use super::flow::{fanout, floor_of, gateway_of};
use crate::figure::Record;

/// A tenth of the usual number, and the most.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let few = Size { streams: size.streams / 10, ..size };
    let many = Size { streams: size.most(), ..size };
    let (few_flow, many_flow) = (fanout(few.streams), fanout(many.streams));
    let (floor_few, ours_few) = (floor_of(&few_flow, few).await?.cpu, gateway_of(&few_flow, few).await?.cpu);
    let (floor_many, ours_many) =
        (floor_of(&many_flow, many).await?.cpu, gateway_of(&many_flow, many).await?.cpu);
    let (floor_grows, ours_grows) = (floor_many / floor_few, ours_many / ours_few);
    record.add("floor_cpu_per_event_few", floor_few);
    record.add("stream_cpu_per_event_few", ours_few);
    record.add("floor_cpu_per_event_many", floor_many);
    record.add("stream_cpu_per_event_many", ours_many);
    record.add("floor_many_to_few", floor_grows);
    record.add("many_to_few", ours_grows);
    record.add("many_to_few_to_floor", ours_grows / floor_grows);
    Ok(())
}
