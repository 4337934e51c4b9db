//! The file by which Jupyter knows this kernel.

use std::ffi::OsString;

use serde_json::json;

use crate::common::*;

/// The folder of the kernel among those of others, and its name.
const NAME: &str = "microtome";

/// Places where Jupyter looks for kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelPlace {
    /// The user's own folder.
    User,
    /// A folder that Jupyter or Python is installed in.
    Prefix(PathBuf),
    /// The environment of Python that is active.
    Environment,
}

impl KernelPlace {
    /// Returns the folder of all kernels.
    fn kernels(&self) -> Result<PathBuf> {
        let data = match self {
            Self::User => user_data()?,
            Self::Prefix(prefix) => prefix.join("share/jupyter"),
            Self::Environment => {
                let active = ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().find_map(std::env::var_os);
                let active = active.ok_or_else(|| {
                    err!(Argument, "expected an active environment of Python for --sys-prefix, found none")
                        .hint("activate it, or name its folder: --prefix DIR")
                })?;
                Path::new(&active).join("share/jupyter")
            }
        };
        Ok(data.join("kernels"))
    }
}

/// Returns the folder of the user's own data of Jupyter.
fn user_data() -> Result<PathBuf> {
    use etcetera::BaseStrategy;
    if let Some(place) = std::env::var_os("JUPYTER_DATA_DIR").filter(|place| !place.is_empty()) {
        return Ok(place.into());
    }
    let strategy = etcetera::choose_base_strategy().map_err(|e| err!(File, "cannot find the user's folder: {e}"))?;
    Ok(match std::env::consts::OS {
        "macos" => strategy.home_dir().join("Library/Jupyter"),
        "windows" => strategy.config_dir().join("jupyter"),
        _ => strategy.data_dir().join("jupyter"),
    })
}

/// Writes the file of the kernel, whose program is started with these words before its command; returns its folder.
pub fn install(place: &KernelPlace, program: &Path, words: &[OsString]) -> Result<PathBuf> {
    let folder = place.kernels()?.join(NAME);
    let written = |word: &OsString| {
        let text = word.to_str().map(String::from);
        text.ok_or_else(|| err!(Argument, "{} cannot be written in the file of the kernel", Path::new(word).display()))
    };
    let own = [OsString::from("kernel"), "run".into(), "{connection_file}".into()];
    let all = [program.as_os_str().to_os_string()].into_iter().chain(words.iter().cloned()).chain(own);
    let content = json!({
        "argv": all.map(|word| written(&word)).collect::<Result<Vec<_>>>()?,
        "display_name": NAME,
        "language": "rhai",
        "interrupt_mode": "message",
        "metadata": { "debugger": false },
    });
    std::fs::create_dir_all(&folder).map_err(|e| Error::io("make", &folder, &e))?;
    // The user has named the place, as far as it is not Jupyter's own.
    let files = Files::unrecorded(&folder)?;
    files.save_whole(&folder.join("kernel.json"), format!("{content:#}\n"))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_starts_this_program_with_its_options() {
        let folder = tempfile::tempdir().unwrap();
        let place = KernelPlace::Prefix(folder.path().into());
        let words = ["--allow-net", "example.org"].map(OsString::from);
        // A second time replaces the first.
        for _ in 0..2 {
            let made = install(&place, Path::new("/bin/microtome"), &words).unwrap();
            assert_eq!(made, folder.path().join("share/jupyter/kernels/microtome"));
            let text = std::fs::read_to_string(made.join("kernel.json")).unwrap();
            let found: serde_json::Value = serde_json::from_str(&text).unwrap();
            let argv = ["/bin/microtome", "--allow-net", "example.org", "kernel", "run", "{connection_file}"];
            assert_eq!(found["argv"], json!(argv));
            assert_eq!(std::fs::read_dir(made).unwrap().count(), 1);
        }
    }
}
