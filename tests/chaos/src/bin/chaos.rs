//! `make chaos`: breaks a whole system at random, and says what was lost.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chaos::outcome::{self, Outcome};
use chaos::plant::{PLANTS, Plant};
use chaos::record::{Durability, RecordError, Run, Topology};
use chaos::{Orders, drive};
use clap::{Parser, ValueEnum};

/// Breaks a whole system at random, and says what was lost.
#[derive(Debug, Parser)]
struct Args {
    /// How Redis stands
    #[arg(long, value_enum, default_value = "single")]
    topology: Form,
    /// What everything that is left to chance is made from: a number, or several as 1-10
    #[arg(long, default_value = "1", value_parser = seeds)]
    seed: Seeds,
    /// How long faults and load go on, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// When a submission or an end is acknowledged: store.durability
    #[arg(long, value_enum, default_value = "local")]
    durability: When,
    /// How many clients follow at once
    #[arg(long, default_value_t = 500)]
    clients: u32,
    /// How many jobs are submitted a minute
    #[arg(long, default_value_t = 240)]
    jobs: u64,
    /// Breaks the product on purpose; the run fails if the checker doesn't find what that does. "all" is a run for each fault
    #[arg(long, value_name = "FAULT", value_parser = plant)]
    plant: Option<String>,
    /// How long after the faults all may take to come to an end, in seconds [default: 180; 20 with a planted fault]
    #[arg(long)]
    deadline: Option<u64>,
    /// Where the record, the timeline and the logs go
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// Judges the record of a run that is over, and does nothing else
    #[arg(long, value_name = "RUN.JSON")]
    judge: Option<PathBuf>,
    /// Keeps the parts' logs also where all was well
    #[arg(long)]
    keep: bool,
    /// Shows what would be done, and does nothing
    #[arg(long)]
    plan: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Single,
    Sentinel,
    Cluster,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Local,
    Replicated,
}

#[derive(Clone, Debug)]
struct Seeds(Vec<u64>);

fn seeds(text: &str) -> Result<Seeds, String> {
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| format!("{text:?} is no seed"));
    match text.split_once('-') {
        None => Ok(Seeds(vec![number(text)?])),
        Some((first, last)) => Ok(Seeds((number(first)?..=number(last)?).collect())),
    }
}

fn plant(text: &str) -> Result<String, String> {
    if text == "all" || Plant::named(text).is_some() {
        return Ok(text.to_owned());
    }
    Err(format!("no such fault; there are: all, {}", PLANTS.map(|plant| plant.name).join(", ")))
}

impl Args {
    /// The faults to plant, each in a run of its own; or none.
    fn plants(&self) -> Vec<Option<String>> {
        match self.plant.as_deref() {
            None => vec![None],
            Some("all") => PLANTS.iter().map(|plant| Some(plant.name.to_owned())).collect(),
            Some(plant) => vec![Some(plant.to_owned())],
        }
    }

    fn orders(&self, seed: u64, planted: Option<&str>) -> Orders {
        let topology = match self.topology {
            // One server rewinds nothing.
            Form::Single if planted == Some("rewind-off") => Topology::Sentinel,
            Form::Single => Topology::Single,
            Form::Sentinel => Topology::Sentinel,
            Form::Cluster => Topology::Cluster,
        };
        let durability = match self.durability {
            When::Local => Durability::Local,
            When::Replicated => Durability::Replicated,
        };
        let suffix = planted.map(|planted| format!("-{planted}")).unwrap_or_default();
        let name = format!("{}-{}{suffix}-{seed}", topology.name(), durability.name());
        // What a planted fault has broken needn't be waited for.
        let deadline = self.deadline.unwrap_or(if planted.is_some() { 20 } else { 180 });
        Orders {
            topology,
            seed,
            seconds: self.seconds,
            durability,
            clients: self.clients,
            jobs_a_minute: self.jobs,
            planted: planted.map(str::to_owned),
            deadline: Duration::from_secs(deadline),
            logs: self.out.join(name),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(record) = &args.judge {
        return match Run::read(record).map(|run| Outcome::of(&run)) {
            Ok(outcome) => verdict(&[outcome]),
            Err(error) => failure(&error),
        };
    }
    let mut outcomes = Vec::new();
    let plants = args.plants();
    for (&seed, planted) in args.seed.0.iter().flat_map(|seed| plants.iter().map(move |plant| (seed, plant)))
    {
        let orders = args.orders(seed, planted.as_deref());
        if args.plan {
            print(&orders.schedule().to_string());
            continue;
        }
        let run = drive(&orders).await;
        match outcome::judge(&run, &orders.logs, args.keep) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => return failure(&error),
        }
    }
    if !outcomes.is_empty() {
        print(&outcome::table(&outcomes));
    }
    verdict(&outcomes)
}

fn verdict(outcomes: &[Outcome]) -> ExitCode {
    if outcomes.iter().all(Outcome::is_as_it_should_be) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failure(error: &RecordError) -> ExitCode {
    eprintln!("chaos: {error}");
    ExitCode::FAILURE
}

fn print(text: &str) {
    // A reader that has seen enough is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
