//! A run as a picture: time goes right; above, what was struck when; below, what reached clients.

use std::collections::BTreeMap;

use super::scale::Scale;
use super::svg::Picture;
use crate::checker::Verdict;
use crate::record::{FaultKind, FaultRecord, Run, Saw, Target};

const WIDTH: f64 = 1200.0;
const LEFT: f64 = 118.0;
const RIGHT: f64 = 1176.0;
const ROW: f64 = 15.0;
const LANE_GAP: f64 = 7.0;
const CURVE: f64 = 110.0;

const KINDS: [FaultKind; 9] = [
    FaultKind::Kill,
    FaultKind::Stop,
    FaultKind::Pause,
    FaultKind::Cut,
    FaultKind::CloseReplies,
    FaultKind::DropMessages,
    FaultKind::SlotMove,
    FaultKind::Failover,
    FaultKind::Rollover,
];

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #3c4350 }
.title { font-size: 17px; font-weight: 600; fill: #14181f }
.end { text-anchor: end } .mid { text-anchor: middle } .dim { fill: #69717f }
.ground { fill: #fff }
.lane { fill: #f3f4f6 } .grid { stroke: #dfe2e7 } .axis { stroke: #9aa1ad } .load { stroke: #69717f; stroke-dasharray: 4 3 }
.kill { fill: #dc3d43 } .stop { fill: #f08a4b } .pause { fill: #3e74dd } .cut { fill: #8e4ec6 }
.close-replies { fill: #12a594 } .drop-messages { fill: #d6409f } .slot-move { fill: #a18072 } .failover { fill: #e5a000 }
.rollover { fill: #46a758 }
.events { fill: #3e74dd; fill-opacity: .25; stroke: #3e74dd; stroke-width: 1.2 }
.reconnects { fill: #12a594; fill-opacity: .25; stroke: #12a594; stroke-width: 1.2 }
.rewind { fill: #e5a000 } .violation { fill: #dc3d43 } .trim { fill: #8b93a1 }
@media (prefers-color-scheme: dark) {
text { fill: #c3c9d4 } .title { fill: #eef1f6 } .dim { fill: #8b93a1 }
.ground { fill: #14171c } .lane { fill: #1e2229 } .grid { stroke: #2b3039 } .axis { stroke: #69717f }
}
";

/// Draws a run and its verdict as an SVG that needs nothing else.
pub fn timeline(run: &Run, verdict: &Verdict) -> String {
    let mut drawing = Drawing::new(run);
    drawing.head(verdict);
    drawing.lanes();
    drawing.marks(verdict);
    let (events, reconnects) = per_second(run);
    drawing.curve("events", "events / s", &events);
    drawing.curve("reconnects", "reconnects / s", &reconnects);
    drawing.axis();
    let title = format!("{} {}, seed {}", run.topology.name(), run.durability.name(), run.seed);
    let Drawing { picture, y, .. } = drawing;
    picture.finish((WIDTH, y + 16.0), STYLE, &title)
}

/// What clients received and how often they reconnected, in each second.
fn per_second(run: &Run) -> (Vec<u64>, Vec<u64>) {
    let (mut events, mut reconnects) = (Vec::new(), Vec::new());
    for client in &run.clients {
        let mut opens = 0;
        for sighting in &client.sightings {
            let second = usize::try_from(sighting.at_ms / 1_000).unwrap_or_default();
            match &sighting.saw {
                Saw::Frame { .. } => add(&mut events, second),
                Saw::Opened { .. } => {
                    opens += 1;
                    if opens > 1 {
                        add(&mut reconnects, second);
                    }
                }
                _ => {}
            }
        }
    }
    (events, reconnects)
}

fn add(counts: &mut Vec<u64>, second: usize) {
    if counts.len() <= second {
        counts.resize(second + 1, 0);
    }
    counts[second] += 1;
}

fn number(of: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a picture is no more exact")]
    let number = of as f64;
    number
}

struct Drawing<'r> {
    run: &'r Run,
    picture: Picture,
    time: Scale,
    /// What is above is drawn.
    y: f64,
    /// Where the lanes begin.
    top: f64,
}

impl<'r> Drawing<'r> {
    fn new(run: &'r Run) -> Self {
        let seen = run.clients.iter().flat_map(|client| &client.sightings).map(|sighting| sighting.at_ms);
        let struck = run.faults.iter().map(|fault| fault.until_ms);
        let last = seen.chain(struck).chain([run.seconds * 1_000]).max().unwrap_or_default();
        let time = Scale::new(number(last), LEFT, RIGHT);
        Self { run, picture: Picture::default(), time, y: 0.0, top: 0.0 }
    }

    fn at(&self, ms: u64) -> f64 {
        self.time.at(number(ms))
    }

    fn head(&mut self, verdict: &Verdict) {
        let (run, counts) = (self.run, &verdict.counts);
        let planted =
            run.planted.as_ref().map(|planted| format!(" · planted: {planted}")).unwrap_or_default();
        let (topology, durability, seed) = (run.topology.name(), run.durability.name(), run.seed);
        let title =
            format!("{topology}, {durability}, seed {seed}, {} s · {}{planted}", run.seconds, run.server);
        self.picture.text("title", 16.0, 28.0, &title);
        let line = format!(
            "{} clients, {} jobs, {} events, {} reconnects, {} rewinds, {} trims, {} ends lost, {} violations",
            counts.clients,
            counts.jobs,
            counts.events,
            counts.reconnects,
            counts.rewinds,
            counts.trims,
            counts.ends_lost,
            verdict.violations.len()
        );
        self.picture.text("", 16.0, 48.0, &line);
        self.legend(70.0);
        (self.y, self.top) = (94.0, 94.0);
    }

    /// The kinds of faults that there were.
    fn legend(&mut self, y: f64) {
        let mut x = 16.0;
        for kind in KINDS {
            let count = self.run.faults.iter().filter(|fault| fault.kind == kind).count();
            if count == 0 {
                continue;
            }
            let text = format!("{} ({count})", kind.name());
            self.picture.bar(&class(kind), (x, y - 9.0), (11.0, 11.0), kind.name());
            self.picture.text("", x + 16.0, y, &text);
            x += 34.0 + 6.6 * number(text.len() as u64);
        }
    }

    /// A lane for each part that was struck; what overlaps is drawn in rows.
    fn lanes(&mut self) {
        let mut lanes: BTreeMap<&Target, Vec<&FaultRecord>> = BTreeMap::new();
        for fault in &self.run.faults {
            lanes.entry(&fault.target).or_default().push(fault);
        }
        for (target, mut faults) in lanes {
            faults.sort_by_key(|fault| fault.from_ms);
            let (rows, count) = in_rows(&faults);
            let height = number(count) * ROW + 2.0;
            self.picture.bar("lane", (LEFT, self.y), (RIGHT - LEFT, height), "");
            let name = match target.n {
                0 => format!("{}s", target.role.name().trim_end_matches('s')),
                n => format!("{} {n}", target.role.name()),
            };
            self.picture.text("end", LEFT - 10.0, self.y + height / 2.0 + 4.0, &name);
            for (fault, row) in faults.into_iter().zip(rows) {
                let (from, until) = (self.at(fault.from_ms), self.at(fault.until_ms));
                let y = self.y + 1.0 + number(row) * ROW + 1.5;
                let told = told(fault);
                self.picture.bar(&class(fault.kind), (from, y), ((until - from).max(3.0), ROW - 3.0), &told);
            }
            self.y += height + LANE_GAP;
        }
    }

    /// Rewinds and violations, where clients met them.
    fn marks(&mut self, verdict: &Verdict) {
        let middle = self.y + 8.0;
        self.picture.text("end", LEFT - 10.0, middle + 4.0, "told, found");
        let mut any = false;
        for (ms, reason) in self.snapshots() {
            let x = self.at(ms);
            any = true;
            let (class, size) = if reason == "rewound" { ("rewind", 6.0) } else { ("trim", 4.0) };
            let triangle = [(x - size, middle + size), (x + size, middle + size), (x, middle - size)];
            self.picture.path(class, &triangle, true, &format!("{reason} at {ms} ms"));
        }
        for violation in &verdict.violations {
            let Some(ms) = violation.at_ms else { continue };
            let x = self.at(ms);
            any = true;
            let diamond = [(x - 6.0, middle), (x, middle - 7.0), (x + 6.0, middle), (x, middle + 7.0)];
            let told = format!("{} at {ms} ms: {}", violation.kind.name(), violation.sentence);
            self.picture.path("violation", &diamond, true, &told);
        }
        if any {
            let key = "\u{25b2} amber: rewound, grey: trimmed; \u{25c6} red: violation";
            self.picture.text("dim", LEFT, self.y + 30.0, key);
        } else {
            self.picture.text("dim", LEFT, middle + 4.0, "no rewind, no trim, no violation");
        }
        self.y += if any { 44.0 } else { 26.0 };
    }

    /// When a client was told that its history is void, and why.
    fn snapshots(&self) -> Vec<(u64, &'static str)> {
        let all = self.run.clients.iter().flat_map(|client| &client.sightings);
        let told = all.filter_map(|sighting| match &sighting.saw {
            Saw::Frame { event, data, .. } if event == "snapshot" => {
                let rewound = data.contains("\"reason\":\"rewound\"");
                Some((sighting.at_ms, if rewound { "rewound" } else { "trimmed" }))
            }
            _ => None,
        });
        // Rewinds last, so that they lie on top.
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|(ms, reason)| (*reason == "rewound", *ms));
        told
    }

    fn curve(&mut self, class: &str, name: &str, counts: &[u64]) {
        let (top, bottom) = (self.y + 8.0, self.y + CURVE);
        let most = counts.iter().copied().max().unwrap_or_default();
        let scale = Scale::round(number(most), bottom, top);
        for tick in scale.ticks(3.0) {
            let y = scale.at(tick);
            self.picture.line("grid", (LEFT, y), (RIGHT, y));
            self.picture.text("end dim", LEFT - 10.0, y + 4.0, &format!("{tick}"));
        }
        self.picture.text("", 16.0, top + 4.0 - 14.0, name);
        let mut points = vec![(LEFT, bottom)];
        for (second, count) in counts.iter().enumerate() {
            points.push((self.at(second as u64 * 1_000 + 500), scale.at(number(*count))));
        }
        points.push((points.last().map_or(LEFT, |(x, _)| *x), bottom));
        self.picture.path(class, &points, true, &format!("{name}, {most} at most"));
        self.y = bottom + 26.0;
    }

    fn axis(&mut self) {
        let bottom = self.y - 26.0;
        self.picture.line("axis", (LEFT, bottom), (RIGHT, bottom));
        let last = self.time;
        for tick in last.ticks(14.0) {
            let x = last.at(tick);
            self.picture.line("axis", (x, bottom), (x, bottom + 5.0));
            self.picture.text("mid dim", x, bottom + 19.0, &format!("{:.0} s", tick / 1_000.0));
        }
        let end = self.at(self.run.seconds * 1_000);
        if end < RIGHT - 1.0 {
            self.picture.line("load", (end, self.top), (end, bottom));
            let (class, x) = if end > RIGHT - 90.0 { ("end dim", end - 5.0) } else { ("dim", end + 5.0) };
            self.picture.text(class, x, self.top - 5.0, "faults end");
        }
        self.y = bottom + 22.0;
    }
}

/// In which row of its lane each fault lies, so that none covers another; and how many rows that takes.
fn in_rows(faults: &[&FaultRecord]) -> (Vec<u64>, u64) {
    let mut free_from: Vec<u64> = Vec::new();
    let mut rows = Vec::new();
    for fault in faults {
        let row = free_from.iter().position(|free| *free <= fault.from_ms).unwrap_or(free_from.len());
        if row == free_from.len() {
            free_from.push(0);
        }
        free_from[row] = fault.until_ms.max(fault.from_ms + 1);
        rows.push(row as u64);
    }
    (rows, free_from.len() as u64)
}

fn class(kind: FaultKind) -> String {
    kind.name().replace(' ', "-")
}

fn told(fault: &FaultRecord) -> String {
    let (kind, from, until) = (fault.kind.name(), fault.from_ms, fault.until_ms);
    let primary = if fault.primary { ", a primary" } else { "" };
    let note = fault.note.as_ref().map(|note| format!(", {note}")).unwrap_or_default();
    format!("{kind} from {from} to {until} ms{primary}{note}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{check, made_up};
    use crate::record::Topology;

    #[test]
    fn a_picture_is_whole_and_has_every_fault() {
        let run = made_up::run(Topology::Cluster, 5);
        let picture = timeline(&run, &check(&run));
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        let kills = picture.matches(r#"<rect class="kill""#).count();
        assert_eq!(kills, run.faults.len() + 1, "each fault, and one in the legend");
        for tag in ["text", "title", "path"] {
            let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
            assert_eq!(picture.matches(&open).count(), picture.matches(&close).count(), "{tag}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        // A run of nothing can be drawn, too.
        let empty = made_up::empty(Topology::Single);
        assert!(timeline(&empty, &check(&empty)).contains("no rewind"));
    }

    #[test]
    fn what_overlaps_lies_in_rows() {
        let run = made_up::run(Topology::Cluster, 5);
        let fault = |from_ms, until_ms| FaultRecord { from_ms, until_ms, ..run.faults[0].clone() };
        let all = [fault(0, 10), fault(5, 20), fault(10, 12), fault(11, 15), fault(20, 20)];
        assert_eq!(in_rows(&all.each_ref()), (vec![0, 1, 0, 2, 0], 3));
    }
}
