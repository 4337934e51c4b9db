//! Arguments of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::base::settings::MOST_THREADS;

#[derive(Parser)]
#[command(
    name = "microtome",
    version,
    about = "A workbench for the interpretability of language models",
    long_about = "A workbench for the interpretability of language models: tensors, models, dictionaries and circuits, scripted in Rhai.\n\nWithout a command it opens the interactive prompt.",
    after_help = "Exit codes: 0 done, 1 the script failed, 2 wrong usage, 3 a check of the script failed, 130 interrupted.",
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(flatten)]
    pub options: CommonArguments,

    /// Evaluate CODE and print its value.
    #[arg(short = 'e', value_name = "CODE", allow_hyphen_values = true)]
    pub eval: Option<String>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options that stand before the command and hold for all of them.
#[derive(Args, Clone)]
pub struct CommonArguments {
    /// Print the value of the last expression as JSON on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,

    /// The random seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// The output folder; relative paths are written below it.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    /// Worker threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    pub threads: Option<u16>,

    /// The device for tensors: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: String,

    /// Fit dictionaries and draw texts again, and overwrite the cached ones.
    #[arg(long)]
    pub fresh: bool,

    /// Hide progress bars and notes.
    #[arg(short, long)]
    pub quiet: bool,

    /// Let scripts read below DIR (by default they may read all but /proc, /sys and /dev).
    #[arg(long, value_name = "DIR", help_heading = "Access")]
    pub allow_read: Vec<PathBuf>,

    /// Do not let scripts read below DIR; the longest matching rule decides.
    #[arg(long, value_name = "DIR", help_heading = "Access")]
    pub deny_read: Vec<PathBuf>,

    /// Let scripts write below DIR, as well as below the output folder.
    #[arg(long, value_name = "DIR", help_heading = "Access")]
    pub allow_write: Vec<PathBuf>,

    /// Do not let scripts write below DIR, not even in the output folder.
    #[arg(long, value_name = "DIR", help_heading = "Access")]
    pub deny_write: Vec<PathBuf>,

    /// Let scripts download from HOST, as well as from the model hub (a name or an address, with or without a port,
    /// *.domain, or *).
    #[arg(long, value_name = "HOST", help_heading = "Access")]
    pub allow_net: Vec<String>,

    /// Do not let scripts download from HOST, not even from the model hub.
    #[arg(long, value_name = "HOST", help_heading = "Access")]
    pub deny_net: Vec<String>,
}

#[derive(Subcommand)]
pub enum Command {
    /// Run a script, or repeat a recorded run and compare.
    Run(RunArguments),
    /// Show the differences of two recorded runs.
    #[command(after_help = "Exit codes: 0 the same, 1 different, 2 an error.")]
    Diff(DiffArguments),
    /// Find mistakes in a script without running it.
    Check(CheckArguments),
    /// Format scripts in place: indentation, blanks, commas at the end of lists.
    Fmt(FmtArguments),
    /// Make a new library.
    New(NewArguments),
    /// Add a library to the project of this folder, once it is said what it may touch.
    Add(AddArguments),
    /// Run the tests of scripts and libraries.
    Test(TestArguments),
    /// Look at features while typing: a page for the browser, on this machine alone.
    Explore(ExploreArguments),
    /// Fit dictionaries over a grid, on this machine or on a cluster.
    Sweep(SweepArguments),
    /// Show the reference and the guide: a name, or the places that speak of something.
    Doc(DocArguments),
    /// List what the cache has, or clear it.
    Cache(CacheArguments),
    /// Print a completion script for a shell.
    Completions(CompletionsArguments),
}

#[derive(Args)]
pub struct RunArguments {
    /// The script, or - for standard input.
    #[arg(value_name = "FILE", required_unless_present = "again")]
    pub file: Option<String>,

    /// Repeat this recorded run from its own texts, with nothing from the cache of dictionaries and drawn texts, and
    /// compare the results byte for byte.
    #[arg(long, value_name = "RUN.JSON", conflicts_with = "file")]
    pub again: Option<PathBuf>,

    /// Fit dictionaries and draw texts again, and overwrite the cached ones (--again always does).
    #[arg(long)]
    pub fresh: bool,

    /// The script's own arguments, as --name value.
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

#[derive(Args)]
pub struct DiffArguments {
    /// The record of the first run, out/NAME/run.json.
    #[arg(value_name = "RUN.JSON")]
    pub before: PathBuf,

    /// The record of the second run, out/NAME/run.json.
    #[arg(value_name = "RUN.JSON")]
    pub now: PathBuf,
}

#[derive(Args)]
pub struct CheckArguments {
    /// The scripts to be checked.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

#[derive(Args)]
pub struct FmtArguments {
    /// Scripts, folders of them, or - for standard input.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<String>,

    /// Write nothing; print what would change, and exit with 1 if something would.
    #[arg(long)]
    pub check: bool,
}

#[derive(Args)]
pub struct NewArguments {
    #[command(subcommand)]
    pub what: NewAction,
}

#[derive(Subcommand)]
pub enum NewAction {
    /// A folder with a library that others can add: microtome.toml, a module, a test.
    Lib {
        /// The library's name, which is that of the folder, too.
        name: String,
    },
}

#[derive(Args)]
pub struct AddArguments {
    /// A folder, or the address of a .tar.gz as forges give it for a tag or a commit; if left out, all that
    /// microtome.toml names.
    pub place: Option<String>,

    /// The SHA-256 that the archive must have.
    #[arg(long, requires = "place")]
    pub hash: Option<String>,

    /// Grant what the libraries want to touch without being asked.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct TestArguments {
    /// A folder, with those below it, or one script.
    #[arg(value_name = "DIR", default_value = ".")]
    pub place: PathBuf,

    /// Only tests that have this in their file or name.
    #[arg(long, value_name = "WORD")]
    pub only: Option<String>,

    /// Number of tests that run at a time [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    pub jobs: Option<u16>,

    /// Run each test twice, and compare what it printed and wrote byte for byte.
    #[arg(long)]
    pub again: bool,
}

#[derive(Args)]
pub struct ExploreArguments {
    /// The model, as `model::load` takes it [default: the one that the run has saved, or tiny].
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,

    /// A dictionary, as `sae::load` takes it; can be given several times.
    #[arg(long, value_name = "DICTIONARY", required_unless_present = "run")]
    pub dictionary: Vec<String>,

    /// The folder of a recorded run: the dictionaries and the model that it saved.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// The text that cards and trees are made from, as `data::text` takes it.
    #[arg(long, value_name = "TEXT", default_value = "sample")]
    pub text: String,

    /// Maximum number of tokens of the text.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub tokens: u64,

    /// Explanations of features: the file of a table (.csv, .json, .parquet) with the columns `feature`, such as
    /// resid_post.3/12, and `description`, `explanation` or `label`.
    #[arg(long, value_name = "FILE")]
    pub descriptions: Option<String>,

    /// The port on 127.0.0.1; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct SweepArguments {
    /// The plan: a script whose value is a map, as docs/sweeps.md has it. Tasks that are done are skipped.
    #[arg(value_name = "PLAN", required = true)]
    pub plan: Option<PathBuf>,

    #[command(subcommand)]
    pub action: Option<SweepAction>,

    /// The engine that does the work: processes on this machine, or jobs of a cluster.
    #[arg(long, value_enum, default_value = "local")]
    pub engine: SweepEngine,

    /// Number of processes that run at a time [default: one for each of the plan's threads that this machine has].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_THREADS)))]
    pub jobs: Option<u16>,

    /// The partition of the jobs.
    #[arg(long, value_name = "NAME", help_heading = "Slurm")]
    pub partition: Option<String>,

    /// The account of the jobs.
    #[arg(long, value_name = "NAME", help_heading = "Slurm")]
    pub account: Option<String>,

    /// The time that each task may take, such as 2:00:00.
    #[arg(long, value_name = "TIME", help_heading = "Slurm")]
    pub time: Option<String>,

    /// The memory of each task, such as 16G.
    #[arg(long, value_name = "SIZE", help_heading = "Slurm")]
    pub memory: Option<String>,

    /// CPUs of each task [default: the threads of the plan].
    #[arg(long, value_name = "N", help_heading = "Slurm", value_parser = clap::value_parser!(u16).range(1..))]
    pub cpus: Option<u16>,

    /// GPUs of each task.
    #[arg(long, value_name = "N", help_heading = "Slurm", value_parser = clap::value_parser!(u16).range(1..))]
    pub gpus: Option<u16>,

    /// Number of tasks that run at once.
    #[arg(long, value_name = "N", help_heading = "Slurm", value_parser = clap::value_parser!(u32).range(1..))]
    pub at_once: Option<u32>,

    /// Number of seconds that a command of Slurm may take.
    #[arg(long, value_name = "SECONDS", help_heading = "Slurm", default_value_t = 60, global = true)]
    pub patience: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SweepEngine {
    /// Processes of this program.
    Local,
    /// Job arrays, by sbatch.
    Slurm,
}

#[derive(Subcommand)]
pub enum SweepAction {
    /// Show the progress of a sweep.
    Status {
        /// The folder of the sweep, such as out/plan.
        dir: PathBuf,
    },
    /// Show the progress again and again, until nobody works on the sweep.
    Watch {
        /// The folder of the sweep.
        dir: PathBuf,
    },
    /// End the processes or jobs that work on a sweep; what is done is kept.
    Cancel {
        /// The folder of the sweep.
        dir: PathBuf,
    },
    /// Make the table and the page of the cells that are done.
    Gather {
        /// The folder of the sweep.
        dir: PathBuf,
    },
    /// Do one harvest or cell of a sweep, as the engines start it.
    Work {
        /// The folder of the sweep.
        dir: PathBuf,
        /// The folder of the task in that of the sweep, such as cells/0123456789abcdef.
        task: String,
        /// End when standard input does.
        #[arg(long)]
        tied: bool,
    },
}

#[derive(Args)]
pub struct DocArguments {
    /// A name or a page, or words to search for; the whole reference if left out.
    pub words: Vec<String>,

    /// Write the whole reference as Markdown pages.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "definitions", "html"])]
    pub markdown: Option<PathBuf>,

    /// Write a site: the pages of this folder, or else the guide; and the reference, of a library where there is a
    /// microtome.toml.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["words", "definitions"])]
    pub html: Option<PathBuf>,

    /// Write definition files for Rhai's language server.
    #[arg(long, value_name = "DIR", conflicts_with = "words")]
    pub definitions: Option<PathBuf>,
}

#[derive(Args)]
pub struct CacheArguments {
    #[command(subcommand)]
    pub action: Option<CacheAction>,
}

#[derive(Subcommand)]
pub enum CacheAction {
    /// List the cache, as `microtome cache` alone does.
    List,
    /// Remove cached dictionaries, which can be fitted again; texts and answers of language models go only by their
    /// name, downloaded models never.
    Clear {
        /// Kind of cached data that is removed.
        #[arg(value_enum, value_name = "WHAT", default_value = "dictionaries")]
        what: CachePart,

        /// Only data that was not used for this many days.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CachePart {
    /// Cached dictionaries and transcoders.
    Dictionaries,
    /// Cached texts that models wrote.
    Texts,
    /// Kept answers of language models, which were paid for.
    Exchanges,
}

#[derive(Args)]
pub struct CompletionsArguments {
    /// The shell that the script is for.
    pub shell: Shell,
}
