//! The command line as a whole: the options that stand before a command, and the commands.

use clap::{Parser, Subcommand};

use super::add::AddArguments;
use super::args::{CommonArguments, ExploreArguments, KernelArguments, McpArguments, ServeArguments, SweepArguments};
use super::cache::CacheArguments;
use super::check::CheckArguments;
use super::completions::CompletionsArguments;
use super::diff::DiffArguments;
use super::doc::DocArguments;
use super::fmt::FmtArguments;
use super::new::NewArguments;
use super::publish::PublishArguments;
use super::run::RunArguments;
use super::search::SearchArguments;
use super::test::TestArguments;

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
    /// Find libraries of an index by words.
    Search(SearchArguments),
    /// Put a library into an index that is a folder, once its tests have passed.
    Publish(PublishArguments),
    /// Run the tests of scripts and libraries.
    Test(TestArguments),
    /// Look at features while typing: a page for the browser, on this machine alone.
    Explore(ExploreArguments),
    /// Answer as Neuronpedia's inference server does, for its page, on this machine alone.
    Serve(ServeArguments),
    /// Be a kernel of Jupyter, for notebooks.
    Kernel(KernelArguments),
    /// Be a language server on standard input and output, for editors.
    Lsp,
    /// Be a server of the Model Context Protocol on standard input and output, for agents.
    Mcp(McpArguments),
    /// Print what an agent is to know that works with this program, as a SKILL.md.
    Skill,
    /// Fit dictionaries over a grid, on this machine or on a cluster.
    Sweep(SweepArguments),
    /// Show the reference and the guide: a name, or the places that speak of something.
    Doc(DocArguments),
    /// List what the cache has, or clear it.
    Cache(CacheArguments),
    /// Print a completion script for a shell.
    Completions(CompletionsArguments),
}
