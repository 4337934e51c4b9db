//! Arguments that all commands have, and those of the commands that a build may leave out, which are named there all the
//! same. Every other command has its arguments in its own file.

use std::ffi::OsString;

use clap::{Args, Subcommand, ValueEnum};

use crate::base::settings::MOST_THREADS;
use crate::common::*;
use crate::training::trackers::TrackerKind;

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

    /// Write the numbers of each training, fit and sweep for TRACKER into the folder `track` of the run; can be given
    /// several times.
    #[arg(long, value_enum, value_name = "TRACKER")]
    pub track: Vec<TrackerName>,

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

impl CommonArguments {
    /// Writes the options as words of a command line, for calls that other programs make elsewhere: what may be touched is
    /// meant from here, and the output folder from where the program is started.
    pub fn words(&self) -> Result<Vec<OsString>> {
        let whole = |paths: &[PathBuf]| -> Result<Vec<PathBuf>> {
            let one = |path: &PathBuf| std::path::absolute(path).map_err(|e| Error::io("find", path, &e));
            paths.iter().map(one).collect()
        };
        let placed = Self {
            allow_read: whole(&self.allow_read)?,
            deny_read: whole(&self.deny_read)?,
            allow_write: whole(&self.allow_write)?,
            deny_write: whole(&self.deny_write)?,
            ..self.clone()
        };
        let settings = [
            ("--seed", self.seed.to_string(), self.seed != 0),
            ("--device", self.device.clone(), self.device != "cpu"),
            ("--threads", self.threads.unwrap_or_default().to_string(), self.threads.is_some()),
        ];
        let mut words: Vec<OsString> = Vec::new();
        for (name, value, _) in settings.into_iter().filter(|(.., is_given)| *is_given) {
            words.extend([name.into(), value.into()]);
        }
        if self.out != Path::new("out") {
            words.extend(["--out".into(), self.out.clone().into_os_string()]);
        }
        words.extend(
            [("--fresh", self.fresh), ("--quiet", self.quiet)]
                .into_iter()
                .filter(|(_, is)| *is)
                .map(|(word, _)| word.into()),
        );
        words.extend(self.track_words());
        words.extend(placed.access_words());
        Ok(words)
    }

    /// Returns the trackers, as they are made.
    pub fn trackers(&self) -> Vec<TrackerKind> {
        let kind = |name: &TrackerName| match name {
            TrackerName::Tensorboard => TrackerKind::TensorBoard,
            TrackerName::Mlflow => TrackerKind::Mlflow,
            TrackerName::Wandb => TrackerKind::WeightsAndBiases,
        };
        self.track.iter().map(kind).collect()
    }

    /// Writes the trackers as words of a command line.
    pub fn track_words(&self) -> Vec<OsString> {
        let named = self.track.iter().filter_map(ValueEnum::to_possible_value);
        named.flat_map(|value| [OsString::from("--track"), OsString::from(value.get_name())]).collect()
    }

    /// Writes what scripts may touch as words of a command line.
    pub fn access_words(&self) -> Vec<OsString> {
        let paths = [
            ("--allow-read", &self.allow_read),
            ("--deny-read", &self.deny_read),
            ("--allow-write", &self.allow_write),
            ("--deny-write", &self.deny_write),
        ];
        let hosts = [("--allow-net", &self.allow_net), ("--deny-net", &self.deny_net)];
        let mut words: Vec<OsString> = Vec::new();
        for (name, paths) in paths {
            words.extend(paths.iter().flat_map(|path| [name.into(), path.clone().into_os_string()]));
        }
        for (name, hosts) in hosts {
            words.extend(hosts.iter().flat_map(|host| [name.into(), OsString::from(host)]));
        }
        words
    }
}

/// Programs that trainings are tracked for.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrackerName {
    /// Event files of TensorBoard.
    Tensorboard,
    /// A file store of MLflow.
    Mlflow,
    /// Offline runs of Weights & Biases.
    Wandb,
}

#[derive(Args)]
pub struct KernelArguments {
    #[command(subcommand)]
    pub action: KernelAction,
}

#[derive(Subcommand)]
pub enum KernelAction {
    /// Tell Jupyter that there is this kernel. Options before the word `kernel` hold for all its notebooks.
    Install(InstallArguments),
    /// Answer the clients of a connection file, as Jupyter starts it.
    Run {
        /// The connection file.
        file: PathBuf,
    },
}

#[derive(Args)]
pub struct InstallArguments {
    /// Install for this user, as without an option.
    #[arg(long)]
    pub user: bool,

    /// Install below DIR, which Jupyter or Python is installed in.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["user", "sys_prefix"])]
    pub prefix: Option<PathBuf>,

    /// Install in the environment of Python that is active.
    #[arg(long, conflicts_with = "user")]
    pub sys_prefix: bool,
}

/// Number of seconds that a call of an agent may take by default.
pub const CALL_SECONDS: u64 = 600;

#[derive(Args)]
pub struct McpArguments {
    /// Write the server into the settings of CLIENT in this folder, with the options that stand here.
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub install: Option<McpClient>,

    /// Listen on this port of 127.0.0.1 (0: any that is free), and show a page of what clients do, in place of standard
    /// input and output.
    #[arg(long, value_name = "PORT", conflicts_with = "install")]
    pub http: Option<u16>,

    /// Number of seconds that a call may take.
    #[arg(long, value_name = "SECONDS", default_value_t = CALL_SECONDS, value_parser = clap::value_parser!(u64).range(1..))]
    pub time: u64,

    /// Gibibytes by which a call may let the process grow [default: half of what is free].
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub memory: Option<u64>,
}

/// Programs that start servers of the Model Context Protocol.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum McpClient {
    /// Claude Code.
    Claude,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    Vscode,
    /// Zed.
    Zed,
    /// Codex.
    Codex,
}

#[derive(Args)]
pub struct ExploreArguments {
    /// The model, as `model::load` takes it [default: the one that the run has saved, or tiny].
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,

    /// A dictionary, as `sae::load` takes it; can be given several times.
    #[arg(long, value_name = "DICTIONARY", required_unless_present = "run")]
    pub dictionary: Vec<String>,

    /// The file of a tuned or a Jacobian lens, as `lens.save` writes it; can be given several times.
    #[arg(long, value_name = "LENS")]
    pub lens: Vec<String>,

    /// The folder of a recorded run: the dictionaries, the lenses and the model that it saved.
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

    /// Write the page into a folder that needs no server, with the engine, the model and the dictionaries inside.
    #[arg(long, value_name = "DIR", conflicts_with = "port")]
    pub export: Option<PathBuf>,
}

#[derive(Args)]
pub struct ServeArguments {
    /// The model, as `model::load` takes it.
    #[arg(long, value_name = "MODEL")]
    pub model: String,

    /// A name of the model in requests, beside that of --model; can be given several times.
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,

    /// A source by its name, such as 3-res-jb: a dictionary, as `sae::load` takes it, or a site, whose coordinates are
    /// then the features; can be given several times.
    #[arg(long, value_name = "ID=DICTIONARY")]
    pub source: Vec<String>,

    /// Maximum number of tokens of a prompt [default: as many as the model reads].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub token_limit: Option<u32>,

    /// The port on 127.0.0.1, by default that of Neuronpedia's own server; 0 takes any that is free.
    #[arg(long, value_name = "PORT", default_value_t = 5002)]
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
