//! Runs of the program that are killed at any moment, or run out of disk: they leave only complete files, and a resumed
//! run ends with the same bytes.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::binary::binary;
use super::dice::Dice;

/// What is run: its preparation, and the part that is killed.
pub struct KillScene {
    pub name: &'static str,
    before: &'static str,
    script: &'static str,
}

/// A model and a text, small enough that a run takes a second.
macro_rules! with_model {
    ($code:literal) => {
        concat!(
            r#"let t = data::tokenizer("to be or not to be", #{ kind: "characters", min_frequency: 1 });
            let m = model::init(#{ layers: 2, d_model: 8, heads: 2, vocab: t.size, context: 16 }, #{ tokenizer: t, seed: 1 });
            let words = [];
            for i in 0..60 { words.push("to be or not " + "be to or ".sub_string(0, i % 7) + "to not be"); }
            let text = data::texts(words);
            "#,
            $code
        )
    };
}

const HARVEST: &str = with_model!(r#"data::harvest(m, "resid_post.*", text, #{ dir: "store", shard_rows: 64 });"#);

pub const SCENES: &[KillScene] = &[
    KillScene {
        name: "fits",
        before: HARVEST,
        script: r#"let s = sae::fit(data::store("store"), #{ site: "resid_post.0", k: 2, d_sae: 24, batch: 64, steps: 30, buffer: 300,
            seed: 1, dir: "kept", every: 1 });
            s.save("dictionary");"#,
    },
    KillScene { name: "harvests", before: "", script: HARVEST },
    KillScene {
        name: "trainings",
        before: "",
        script: r#"let rows = [[1, 2, 3, 1, 2, 3], [2, 3, 1, 2, 3, 1], [3, 1, 2, 3, 1, 2]];
            let m = model::train(#{ layers: 1, d_model: 8, heads: 2, vocab: 4 }, rows, #{ steps: 60, seed: 1, dir: "kept", every: 1,
                dropout: 0.1, held: rows.extract(0, 1), held_every: 5 });
            run::save_text("steps.txt", `${m.history.to_map().rows.len()} steps`);
            m.save("model");"#,
    },
    KillScene {
        name: "sweeps",
        before: HARVEST,
        script: r#"let all = sae::fit_all(data::store("store"), #{ k: 2, ratio: 2, batch: 64, steps: 30, buffer: 300, seed: 1,
            dir: "kept", every: 1 });
            let more = sae::sweep(data::store("store").activations("resid_post.1", 0, 600), #{ k: [1, 2, 3], ratio: 2, batch: 64, steps: 20, seed: 1 });
            for i in 0..more.len() { more[i].save(`swept/${i}`); }
            sae::pareto(more, data::store("store").activations("resid_post.1", 0, 600)).chart().save("front.svg");"#,
    },
    KillScene {
        name: "saves",
        before: "",
        script: with_model!(
            r#"m.save("model");
            let x = tensor::randn([64, 16], #{ seed: 1 });
            let write = |folder, k| {
                tensor::save(`${folder}/x.safetensors`, #{ a: x * k, b: x.sum(0) });
                (x * k).save(`${folder}/x.npy`);
                run::save_json(`${folder}/x.json`, (x * k).to_array());
                run::save_text(`${folder}/x.txt`, `0123456789 ${k}`);
                sae::random(x, 32, #{ k: 2, seed: k }).save(`${folder}/dictionary`, #{ format: "saelens" });
            };
            write.call("a", 1);
            write.call("b", 2);
            for i in 0..10 {
                write.call("both", 1);
                write.call("both", 2);
            }"#
        ),
    },
    KillScene {
        name: "reports",
        before: "",
        script: r#"let items = ["Text"];
            for i in 0..6 { items.push(plot::line(tensor::randn([100], #{ seed: i }))); items.push(table([#{ a: i, b: "x" }])); }
            report("page", items).save();
            plot::heat(tensor::randn([12, 12], #{ seed: 1 })).save("heat.svg");"#,
    },
];

/// All files below a folder by their paths, except for those whose names begin with a dot.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    super::child::files_below(folder).into_iter().collect()
}

/// A folder in which a scene runs, and beside it what was prepared for it.
struct SceneFolder {
    folder: tempfile::TempDir,
    prepared: BTreeMap<String, Vec<u8>>,
}

impl SceneFolder {
    fn new(scene: &KillScene) -> Result<Self, String> {
        let mut place = Self { folder: tempfile::tempdir().unwrap(), prepared: BTreeMap::new() };
        std::fs::write(place.path("scene.rhai"), scene.script).unwrap();
        if !scene.before.is_empty() {
            std::fs::write(place.path("before.rhai"), scene.before).unwrap();
            succeed(place.start("before.rhai", |_| ()))?;
            place.prepared = tree(&place.out());
        }
        Ok(place)
    }

    /// Makes the folder what it was before the scene.
    fn begin(&self) {
        let _none = std::fs::remove_dir_all(self.out());
        for (name, bytes) in &self.prepared {
            kit::write(self.out().join(name), bytes);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    fn start(&self, script: &str, change: impl FnOnce(&mut Command)) -> Child {
        let mut command = Command::new(binary());
        command
            .args(["--quiet", "run", script])
            .current_dir(self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("MICROTOME_CACHE", self.path("cache"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        change(&mut command);
        command.spawn().unwrap()
    }

    /// Resumes to the end, and compares with an uninterrupted run.
    fn is_as(&self, wanted: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
        succeed(self.start("scene.rhai", |_| ()))?;
        let found = tree(&self.out());
        for (name, bytes) in wanted {
            if found.get(name).map(|found| told(name, found)) != Some(told(name, bytes)) {
                return Err(format!("{name} is not what it is where nobody disturbs"));
            }
        }
        match found.keys().find(|name| !wanted.contains_key(*name)) {
            Some(name) => Err(format!("{name} is left behind")),
            None => unfinished(&self.out()),
        }
    }
}

/// The part of a file that does not depend on interruptions. The record of a resumed run lists the checkpoint as an
/// input, and not the outputs that already existed.
fn told(name: &str, bytes: &[u8]) -> Vec<u8> {
    match serde_json::from_slice(bytes) {
        Ok(serde_json::Value::Object(mut record)) if name.ends_with("run.json") => {
            record.remove("read");
            record.remove("written");
            serde_json::Value::Object(record).to_string().into_bytes()
        }
        _ => bytes.to_vec(),
    }
}

fn succeed(child: Child) -> Result<(), String> {
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// No unfinished file is left anywhere below the folder.
fn unfinished(folder: &Path) -> Result<(), String> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().contains("unfinished") {
                return Err(format!("{} is left unfinished", entry.path().display()));
            }
        }
    }
    Ok(())
}

/// Every file with its final name is complete: a checkpoint or a list that grows can be parsed, a file that is overwritten
/// is the one or the other, and all others are what they are where nobody disturbs.
fn is_whole(files: &BTreeMap<String, Vec<u8>>, wanted: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    for (name, bytes) in files {
        let is_parsed = || {
            if name.ends_with(".safetensors") {
                safetensors::SafeTensors::deserialize(bytes).is_ok()
            } else {
                serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
            }
        };
        let grows = name.starts_with("kept/") || name.ends_with("manifest.json") || name.ends_with("run.json");
        let is_complete = match name.strip_prefix("both/") {
            Some(own) => ["a", "b"].iter().any(|one| wanted.get(&format!("{one}/{own}")) == Some(bytes)),
            None if grows => is_parsed(),
            None => wanted.get(name) == Some(bytes),
        };
        if !is_complete {
            return Err(format!("{name} is there in half"));
        }
    }
    Ok(())
}

/// What files stand where, by inodes, which change with every atomic write.
fn inodes(folder: &Path) -> Vec<u64> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name().into_iter().flatten();
    let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    named.filter_map(|entry| Some(entry.metadata().ok()?.ino())).collect()
}

/// Waits for this many writes of a run and some microseconds more, or until it is over.
fn after_writes(child: &mut Child, out: &Path, writes: usize, micros: u64) {
    let mut seen = 0;
    let mut last = inodes(out);
    while seen < writes && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(300));
        let now = inodes(out);
        seen += usize::from(now != last);
        last = now;
    }
    std::thread::sleep(Duration::from_micros(micros));
}

/// The results of killing a scene.
#[derive(Debug, Default, Clone, Copy)]
pub struct KillCounts {
    pub kills: usize,
    /// Runs that were killed when some outputs existed and some did not.
    pub in_the_middle: usize,
    /// Runs that resumed and ended with the same bytes.
    pub resumed: usize,
}

/// Kills runs of a scene this many times, at random moments and beside writes.
pub fn kill(scene: &KillScene, count: usize, seed: u64) -> Result<KillCounts, String> {
    let mut dice = Dice::new(seed, scene.name, 0);
    // The first run loads the program from disk, so its time is not used.
    succeed(SceneFolder::new(scene)?.start("scene.rhai", |_| ()))?;
    let undisturbed = SceneFolder::new(scene)?;
    let start = Instant::now();
    succeed(undisturbed.start("scene.rhai", |_| ()))?;
    let took = start.elapsed();
    let wanted = tree(&undisturbed.out());
    let place = SceneFolder::new(scene)?;
    let begun = tree(&place.out());
    let mut killed = KillCounts::default();
    for number in 0..count {
        let mut child = place.start("scene.rhai", |_| ());
        // Half of them at any time, resumed runs being shorter than the first one; and half beside a write, where a file
        // may be torn.
        if number % 2 == 0 {
            let share = dice.below(1000) as f64 / 1000.0 * if dice.chance(0.5) { 1.0 } else { 0.4 };
            std::thread::sleep(Duration::from_secs_f64(took.as_secs_f64() * share));
        } else {
            after_writes(&mut child, &place.out(), 1 + dice.below(24), dice.below(9000) as u64);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed.kills += 1;
        let found = tree(&place.out());
        let within = |what: String| format!("{} after kill {number}: {what}", scene.name);
        is_whole(&found, &wanted).map_err(within)?;
        killed.in_the_middle += usize::from(found != begun && found != wanted);
        // After some kills the run is resumed to its end, and a new one is prepared.
        if found == wanted || dice.chance(0.3) || number + 1 == count {
            place.is_as(&wanted).map_err(within)?;
            killed.resumed += 1;
            place.begin();
        }
    }
    Ok(killed)
}

/// A disk that is full at any write of a scene: files cannot grow beyond a limit, from zero to the size of the largest.
/// The run reports it, or is ended by the system; it leaves only complete files, and resumes once there is space.
pub fn fill_disk(scene: &KillScene, sizes: usize) -> Result<KillCounts, String> {
    let undisturbed = SceneFolder::new(scene)?;
    succeed(undisturbed.start("scene.rhai", |_| ()))?;
    let wanted = tree(&undisturbed.out());
    let place = SceneFolder::new(scene)?;
    let begun = tree(&place.out());
    let written = wanted.iter().filter(|(name, _)| !begun.contains_key(*name));
    let largest = written.map(|(_, bytes)| bytes.len()).max().unwrap_or(0) as u64;
    let mut filled = KillCounts::default();
    for step in 0..sizes as u64 {
        let limit = largest * step / sizes as u64;
        for is_heard in [true, false] {
            let child = place.start("scene.rhai", |command| limit_files(command, limit, is_heard));
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            filled.kills += 1;
            let within = |what: String| format!("{} with files of {limit} bytes at most: {what}", scene.name);
            if output.status.success() {
                return Err(within("it came to an end".into()));
            }
            if is_heard && (output.status.code() != Some(1) || !said.contains("cannot write")) {
                return Err(within(format!("it said {said}")));
            }
            let found = tree(&place.out());
            is_whole(&found, &wanted).map_err(within)?;
            if is_heard {
                unfinished(&place.out()).map_err(within)?;
            }
            filled.in_the_middle += usize::from(found != begun);
            place.is_as(&wanted).map_err(within)?;
            filled.resumed += 1;
            place.begin();
        }
    }
    Ok(filled)
}

/// Files of the program cannot grow beyond `bytes`. A write that would is an error if the signal is ignored, and
/// otherwise ends the program.
fn limit_files(command: &mut Command, bytes: u64, is_ignored: bool) {
    // SAFETY: both calls are allowed between fork and exec, and only read their arguments.
    unsafe {
        command.pre_exec(move || {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
            if is_ignored {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
            }
            match libc::setrlimit(libc::RLIMIT_FSIZE, &limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
}

/// The same on a full file system of its own, where a user may mount one: with sizes in KiB from very small up to that
/// of all files. None where the system does not allow it.
pub fn fill_file_system(scene: &KillScene, sizes: usize) -> Result<Option<KillCounts>, String> {
    let probe = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return Ok(None);
    }
    let undisturbed = SceneFolder::new(scene)?;
    succeed(undisturbed.start("scene.rhai", |_| ()))?;
    let wanted = tree(&undisturbed.out());
    let all = wanted.values().map(|bytes| bytes.len().div_ceil(4096) * 4).sum::<usize>();
    let place = SceneFolder::new(scene)?;
    let kept = place.path("before");
    std::fs::create_dir_all(place.out()).unwrap();
    std::fs::rename(place.out(), &kept).unwrap();
    let before = tree(&kept).values().map(|bytes| bytes.len().div_ceil(4096) * 4).sum::<usize>();
    let mut filled = KillCounts::default();
    for step in 0..sizes {
        // Folders take space, too, and the last files do not fit beside the ones that they replace.
        let kib = before + 8 + (all - before) * step / sizes;
        let script = format!(
            "mkdir -p out && mount -t tmpfs -o size={kib}k none out && cp -a before/. out/ && {} --quiet run scene.rhai; \
             code=$?; rm -rf after; cp -a out after; exit $code",
            binary().display()
        );
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", &script]).current_dir(place.folder.path());
        command.env("MICROTOME_CACHE", "").env("XDG_CONFIG_HOME", place.folder.path());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        filled.kills += 1;
        let within = |what: String| format!("{} on {kib} KiB: {what}", scene.name);
        if output.status.code() == Some(0) {
            continue;
        }
        if output.status.code() != Some(1) || !said.contains("cannot write") {
            return Err(within(format!("it said {said}")));
        }
        let found = tree(&place.path("after"));
        is_whole(&found, &wanted).map_err(within)?;
        unfinished(&place.path("after")).map_err(within)?;
        filled.in_the_middle += usize::from(found != tree(&kept));
        let _none = std::fs::remove_dir_all(place.out());
        std::fs::rename(place.path("after"), place.out()).unwrap();
        place.is_as(&wanted).map_err(within)?;
        filled.resumed += 1;
    }
    Ok(Some(filled))
}

/// A fit has the same result if the cache cannot be written: it reports that and continues.
pub fn read_only_cache() -> Result<(), String> {
    let scene = KillScene {
        name: "cache",
        before: "",
        script: with_model!(
            r#"sae::fit(m, "resid_post.0", text, #{ k: 2, ratio: 2, steps: 5, seed: 1 }).save("dictionary");"#
        ),
    };
    let usual = SceneFolder::new(&scene)?;
    succeed(usual.start("scene.rhai", |_| ()))?;
    let place = SceneFolder::new(&scene)?;
    // In a kernel file system not even root can create a folder.
    succeed(place.start("scene.rhai", |command| {
        command.env("MICROTOME_CACHE", "/proc/none");
    }))?;
    let [one, other] = [&usual, &place].map(|place| tree(&place.path("out/dictionary")));
    if one == other && !one.is_empty() { Ok(()) } else { Err("another dictionary without a cache".into()) }
}
