//! The sessions by their names, and what all of them share.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::front::EnvMaker;
use super::results::Results;
use super::session_state::SessionState;
use super::session_thread::SessionThread;
use crate::base::access::Access;
use crate::base::locked;
use crate::common::*;

/// The name of the session of calls that name none.
pub const MAIN: &str = "main";

/// Number of sessions at a time.
const MOST: usize = 8;

/// Characters of the name of a session.
const LONGEST: usize = 40;

/// Time that sessions have to end when the client has gone.
const LAST: Duration = Duration::from_millis(1500);

/// Time between two looks at sessions that are to end.
const GLANCE: Duration = Duration::from_millis(20);

/// Sessions side by side.
pub struct Sessions {
    make: EnvMaker,
    /// Permissions of all of them.
    access: Access,
    running: Mutex<BTreeMap<String, Arc<SessionThread>>>,
    /// The session that answers questions on the reference, and has no name.
    desk: Mutex<Option<Arc<SessionThread>>>,
}

impl Sessions {
    /// Makes a list without sessions, of which each has these permissions.
    pub fn new(make: EnvMaker, access: Access) -> Self {
        Self { make, access, running: Mutex::default(), desk: Mutex::default() }
    }

    /// Returns the session of a name, which begins if there is none.
    pub fn named(&self, name: &str) -> Result<Arc<SessionThread>> {
        check_name(name)?;
        let mut running = locked(&self.running);
        if let Some(session) = running.get(name).filter(|session| !session.has_ended()) {
            return Ok(session.clone());
        }
        if running.len() >= MOST && !running.contains_key(name) {
            let names: Vec<&str> = running.keys().map(String::as_str).collect();
            return Err(err!(Argument, "expected at most {MOST} sessions at a time")
                .hint(format!("reset one that is no longer needed: {}", names.join(", "))));
        }
        // One whose thread has ended by a mistake of the program goes on with its results.
        let results = running.get(name).map(|session| session.results()).unwrap_or_default();
        let session = self.begun(name, results)?;
        let _ended = running.insert(name.into(), session.clone());
        Ok(session)
    }

    fn begun(&self, name: &str, results: Arc<Mutex<Results>>) -> Result<Arc<SessionThread>> {
        let state = SessionState::new(self.folder(name), results);
        Ok(Arc::new(SessionThread::start(&self.make, state)?))
    }

    /// Takes a folder for a session below the output folder: its name, with a number where an earlier session, perhaps
    /// of another program, has that. Where nothing may be written, none is made.
    fn folder(&self, name: &str) -> PathBuf {
        if self.access.to_write(Path::new(name)).is_ok() {
            // Where this fails, so does whatever is written, which says why.
            let _made_already = std::fs::create_dir_all(self.access.out());
        }
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.to_string()).chain(numbered).map(PathBuf::from);
        let is_free = |folder: &PathBuf| {
            let made = self.access.to_write(folder).map(std::fs::create_dir);
            !matches!(made, Ok(Err(error)) if error.kind() == std::io::ErrorKind::AlreadyExists)
        };
        names.find(is_free).unwrap_or_else(|| name.into())
    }

    /// Returns the session of a name, if there is one.
    pub fn existing(&self, name: &str) -> Option<Arc<SessionThread>> {
        locked(&self.running).get(name).cloned()
    }

    /// Lists the sessions by their names.
    pub fn all(&self) -> Vec<(String, Arc<SessionThread>)> {
        locked(&self.running).iter().map(|(name, session)| (name.clone(), session.clone())).collect()
    }

    /// Returns the session that answers questions on the reference.
    pub fn desk(&self) -> Result<Arc<SessionThread>> {
        let mut desk = locked(&self.desk);
        if let Some(running) = desk.as_ref().filter(|desk| !desk.has_ended()) {
            return Ok(running.clone());
        }
        let begun = Arc::new(SessionThread::start(&self.make, SessionState::default())?);
        Ok(desk.insert(begun).clone())
    }

    /// Ends a session; the next call of its name begins another one, which goes on with the numbers of its results.
    pub fn reset(&self, name: &str) -> Result<Option<PathBuf>> {
        let Some(before) = locked(&self.running).remove(name) else { return Ok(None) };
        let folder = before.state.folder.clone();
        let results = before.results();
        let has_results = locked(&results).next() > 1;
        end(vec![before]);
        if has_results {
            let _begun = locked(&self.running).insert(name.into(), self.begun(name, results)?);
        }
        Ok(has_results.then_some(folder))
    }

    /// Stops all calls, of a client that has gone.
    pub fn stop_all(&self) {
        locked(&self.running).values().for_each(|session| session.state.stop_all());
    }

    /// Ends all sessions; what runs is stopped, and scripts and records are written.
    pub fn finish(&self) {
        let mut all: Vec<Arc<SessionThread>> = std::mem::take(&mut *locked(&self.running)).into_values().collect();
        all.extend(locked(&self.desk).take());
        end(all);
    }
}

/// Ends sessions, and waits for them a while.
fn end(sessions: Vec<Arc<SessionThread>>) {
    let begun = Instant::now();
    let mut ending = Vec::new();
    for session in sessions {
        session.state.stop_all();
        match Arc::try_unwrap(session) {
            Ok(session) => ending.push(session.end()),
            // Whoever waits for it still drops it soon.
            Err(shared) => drop(shared),
        }
    }
    while begun.elapsed() < LAST && ending.iter().any(|(_, thread)| !thread.is_finished()) {
        // A training that ends early goes on behind it, so one interruption may not be enough.
        ending.iter().for_each(|(state, _)| state.stop_all());
        std::thread::sleep(GLANCE);
    }
}

/// Refuses names that are no names of folders.
fn check_name(name: &str) -> Result<()> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(is_plain) {
        return Err(err!(Argument, "expected a name for `session`, found {name:?}")
            .hint(format!("a name has at most {LONGEST} letters, digits, - and _")));
    }
    Ok(())
}
