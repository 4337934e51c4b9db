//! `microtome check FILE`: finds mistakes without running the script.

use super::prelude::*;

#[derive(Args)]
pub struct CheckArguments {
    /// The scripts to be checked.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

pub fn run(options: &CommonArguments, check: &CheckArguments) -> Result<Exit> {
    let session = Session::new(setup::env(options, SessionNeeds::default())?);
    let mut found = 0;
    for file in &check.files {
        let text = session.env().files.script(file)?;
        for failure in session.check(&file.display().to_string(), &text) {
            found += 1;
            show_failure(&session, &failure);
        }
    }
    if found > 0 {
        tell(&format!("{} found", count(found, "mistake")));
        return Ok(Exit::Failed);
    }
    if !options.quiet {
        tell("no mistakes found");
    }
    Ok(Exit::Done)
}
