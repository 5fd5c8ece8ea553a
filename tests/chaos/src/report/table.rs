//! Runs as a table in Markdown that reads well as it is, too.

use super::summary::Summary;

type Cell = fn(&Summary) -> u64;

/// The columns that are numbers; all but the last can be summed up.
const NUMBERS: &[(&str, Cell)] = &[
    ("kills", |run| run.faults("kill")),
    ("stops", |run| run.faults("stop")),
    ("pauses", |run| run.faults("pause")),
    ("cuts", |run| run.faults("cut")),
    ("replies closed", |run| run.faults("close replies")),
    ("messages dropped", |run| run.faults("drop messages")),
    ("slot moves", |run| run.faults("slot move")),
    ("failovers", |run| run.faults("failover")),
    ("clients", |run| run.counts.clients),
    ("jobs", |run| run.counts.jobs),
    ("events", |run| run.counts.events),
    ("reconnects", |run| run.counts.reconnects),
    ("rewinds", |run| run.counts.rewinds),
    ("trims", |run| run.counts.trims),
    ("deadlines passed", |run| run.counts.deadlines_passed),
    ("jobs lost", |run| run.counts.jobs_lost),
    ("ends lost", |run| run.counts.ends_lost),
    ("ends acknowledged", |run| run.counts.ends_acknowledged),
    ("of these lost", |run| run.counts.acknowledged_ends_lost),
    ("webhooks", |run| run.counts.told),
    ("webhooks again", |run| run.counts.told_again),
    ("clients that had left", |run| run.counts.had_left),
    ("violations", |run| run.broken() as u64),
];

/// The columns of which the largest counts.
const LARGEST: &[(&str, Cell)] = &[
    ("most snapshots of a client", |run| run.counts.snapshots.max),
    ("latest end after a deadline ms", |run| run.counts.late_ms.max),
    ("99 % of events within ms", |run| run.counts.delay_ms.p99),
    ("slowest event ms", |run| run.counts.delay_ms.max),
];

/// A row a run, and one for all of them if there are several.
pub fn table(runs: &[Summary]) -> String {
    let names = ["run", "seed"].into_iter().map(str::to_owned);
    let numbers = NUMBERS.iter().chain(LARGEST).map(|(name, _)| (*name).to_owned());
    let mut rows = vec![names.chain(numbers).collect::<Vec<_>>()];
    rows.extend(runs.iter().map(row));
    if runs.len() > 1 {
        rows.push(all(runs));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text += &line(row, &widths);
        if number == 0 {
            let rules = widths.iter().enumerate().map(|(column, width)| match column {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width.saturating_sub(1))),
            });
            text += &line(&rules.collect::<Vec<_>>(), &widths);
        }
    }
    text
}

fn row(run: &Summary) -> Vec<String> {
    let planted = run.planted.as_ref().map(|planted| format!(", planted {planted}")).unwrap_or_default();
    let name = format!(
        "{} {}, {} s, {}{planted}",
        run.topology.name(),
        run.durability.name(),
        run.seconds,
        run.server
    );
    let numbers = NUMBERS.iter().chain(LARGEST).map(|(_, cell)| cell(run).to_string());
    [name, run.seed.to_string()].into_iter().chain(numbers).collect()
}

fn all(runs: &[Summary]) -> Vec<String> {
    let sums = NUMBERS.iter().map(|(_, cell)| runs.iter().map(cell).sum::<u64>().to_string());
    let largest = LARGEST.iter().map(|(_, cell)| runs.iter().map(cell).max().unwrap_or_default().to_string());
    let passed = runs.iter().filter(|run| run.passed).count();
    let name = format!("all: {passed} of {} without a violation", runs.len());
    [name, String::new()].into_iter().chain(sums).chain(largest).collect()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    });
    format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{check, made_up};
    use crate::record::Topology;

    #[test]
    fn every_row_has_every_column_and_the_last_sums_up() {
        let runs = [1, 2].map(|seed| {
            let run = made_up::run(Topology::Cluster, seed);
            Summary::of(&run, &check(&run))
        });
        let text = table(&runs);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
        let events = runs.iter().map(|run| run.counts.events).sum::<u64>();
        assert!(lines[4].contains("all: 2 of 2") && lines[4].contains(&events.to_string()), "{text}");
        assert_eq!(table(&runs[..1]).lines().count(), 3);
    }
}
