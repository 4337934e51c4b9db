//! A real Slurm of one node: the same bytes as on one machine; a cell that fails, one that runs over its time, a node that
//! goes down in the middle, a full disk, and the same plan submitted twice.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{PLAN, SweepFolder, contents, slow, until};

/// A cluster that ends when it is dropped.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    /// None where Slurm is not installed or this is not root: said aloud, and an error in CI.
    fn start() -> Option<Self> {
        let is_there = |name: &str| {
            let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
            places.iter().any(|place| Path::new(place).join(name).exists())
        };
        let missing = ["slurmctld", "slurmd", "sbatch", "squeue", "munged"].into_iter().find(|name| !is_there(name));
        let id = Command::new("id").arg("-u").output().unwrap();
        let is_root = id.stdout == b"0\n";
        if missing.is_some() || !is_root {
            assert!(std::env::var_os("CI").is_none(), "CI must have Slurm, and be root");
            let why = missing.map_or("it needs root".to_string(), |name| format!("there is no {name}"));
            // Directly, since the harness captures the output of passing tests.
            let _best_effort =
                writeln!(std::io::stderr(), "SKIPPED: tests/sweeps/cluster.rs needs Slurm and root: {why}");
            return None;
        }
        let cluster = Self { folder: tempfile::tempdir().unwrap() };
        cluster.script("start", &["2"]);
        Some(cluster)
    }

    fn script(&self, action: &str, more: &[&str]) {
        let (succeeded, said) = self.tried(action, more);
        assert!(succeeded, "{action}: {said}");
    }

    /// Whether the script succeeds, and what it says.
    fn tried(&self, action: &str, more: &[&str]) -> (bool, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sweeps/slurm.sh");
        let log = self.folder.path().join(format!("{action}.log"));
        let file = || std::fs::File::options().create(true).append(true).open(&log).unwrap();
        // Daemons keep what they are given open, so that a pipe would never end.
        let status = Command::new("bash")
            .arg(script)
            .arg(action)
            .arg(self.folder.path())
            .args(more)
            .stdin(Stdio::null())
            .stdout(file())
            .stderr(file())
            .status()
            .unwrap();
        (status.success(), std::fs::read_to_string(&log).unwrap_or_default())
    }

    fn conf(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    /// A folder whose program talks to this cluster.
    fn place(&self, plans: &[(&str, &str)]) -> SweepFolder {
        let mut place = SweepFolder::new(plans);
        place.more.push(("SLURM_CONF".into(), self.conf()));
        place
    }

    fn slurm(&self, program: &str, words: &[&str]) -> String {
        let output = Command::new(program).args(words).env("SLURM_CONF", self.conf()).output().unwrap();
        assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn is_idle(&self) -> bool {
        self.slurm("squeue", &["--noheader"]).trim().is_empty()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _best_effort = self.tried("stop", &[]);
    }
}

/// One test for all, since a cluster takes seconds to start, and two would take each other's processes for their own.
#[test]
fn a_cluster_gives_the_same_bytes_and_what_goes_wrong_is_known() {
    let Some(cluster) = Cluster::start() else { return };
    let here = SweepFolder::new(&[("plan", PLAN)]);
    assert_eq!(here.run("--quiet sweep plan.rhai").0, 0);
    let whole = contents(&here.out().join("plan"));
    the_same_bytes_though_the_node_goes_down(&cluster, &whole);
    a_full_disk_is_said_and_what_it_cost_is_done_when_there_is_room(&cluster, &whole);
    a_cell_fails_and_one_runs_over_its_time(&cluster);
}

/// What a sweep leaves, by path.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// Nothing is there but what the sweep on one machine left, and what the cluster wrote down.
fn assert_whole(place: &SweepFolder, whole: &Contents) {
    let found = contents(&place.out().join("plan"));
    for (path, bytes) in whole {
        assert!(found.get(path) == Some(bytes), "{} differs, or is not there", path.display());
    }
    let more: Vec<_> = found.keys().filter(|path| !whole.contains_key(*path) && !path.starts_with("slurm")).collect();
    assert!(more.is_empty(), "{more:?}");
}

fn the_same_bytes_though_the_node_goes_down(cluster: &Cluster, whole: &Contents) {
    let place = cluster.place(&[("plan", PLAN)]);
    let submit = "sweep plan.rhai --engine slurm --partition all --at-once 1 --time 10 --memory 0";
    let (code, text) = place.run(submit);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("submitted jobs ") && text.contains("at work: Slurm, jobs "), "{text}");
    // The same plan once more: all of it is with the cluster.
    let (code, text) = place.run(submit);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("nothing was submitted; 4 more are in the jobs of before"), "{text}");
    until("a cell runs", || place.count("plan", "running") > 0);
    cluster.script("kill-node", &[]);
    assert!(place.count("plan", "done") < 4, "the node went down when all was over");
    until("Slurm misses the node", || cluster.slurm("sinfo", &["--noheader", "--format=%T"]).contains("down"));
    cluster.script("node", &[]);
    until("all cells are done", || place.count("plan", "done") == 4);
    // The last job gathers.
    until("the cluster is idle", || cluster.is_idle());
    assert_whole(&place, whole);
    let (code, text) = place.run(submit);
    assert_eq!(code, 0);
    assert!(text.contains("nothing was submitted") && text.contains("all cells are done"), "{text}");
}

/// A disk of a few hundred kilobytes, while there is one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this may not be mounted.
    fn mount(place: PathBuf, kilobytes: usize) -> Option<Self> {
        std::fs::create_dir_all(&place).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "none"]).arg(&place);
        let is_there = mount.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        is_there.then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn a_full_disk_is_said_and_what_it_cost_is_done_when_there_is_room(cluster: &Cluster, whole: &Contents) {
    let place = cluster.place(&[("plan", PLAN)]);
    let Some(_disk) = SmallDisk::mount(place.out(), 4096) else {
        let _best_effort =
            writeln!(std::io::stderr(), "SKIPPED: the full disk of tests/sweeps/cluster.rs needs `mount`");
        return;
    };
    // The plan fits, and what the cells share does not.
    let needed: usize = whole.values().map(Vec::len).sum();
    let ballast = place.out().join("ballast");
    std::fs::write(&ballast, vec![1; (4096 << 10) - needed / 2]).unwrap();
    let submit = "sweep plan.rhai --engine slurm --memory 0";
    let (code, text) = place.run(submit);
    assert_eq!(code, 0, "{text}");
    until("the cluster is idle", || cluster.is_idle());
    assert_eq!(place.count("plan", "done"), 0);
    let (_, text) = place.run("sweep status out/plan");
    assert!(text.contains("the disk is full") && text.contains("4 cells: 4 waiting"), "{text}");
    std::fs::remove_file(&ballast).unwrap();
    let (code, text) = place.run(submit);
    assert_eq!(code, 0, "{text}");
    until("all cells are done", || place.count("plan", "done") == 4);
    until("the cluster is idle", || cluster.is_idle());
    assert_whole(&place, whole);
}

fn a_cell_fails_and_one_runs_over_its_time(cluster: &Cluster) {
    let place = cluster.place(&[("plan", slow().as_str())]);
    let (code, text) = place.run("sweep plan.rhai --engine slurm --time 10 --memory 0");
    assert_eq!(code, 0, "{text}");
    until("one cell fails", || place.count("plan", "failed") == 1);
    until("the other runs", || place.count("plan", "running") == 1);
    // Limits are whole minutes; this one is over now, which Slurm finds out within half a minute.
    let said = cluster.slurm("squeue", &["--noheader", "--array", "--states=RUNNING", "--format=%i"]);
    cluster.slurm("scontrol", &["update", &format!("JobId={}", said.trim()), "EndTime=now"]);
    until("it is stopped", || cluster.is_idle());
    let (_, text) = place.run("sweep status out/plan");
    assert!(text.contains("2 cells: 1 failed, 1 lost") && text.contains("DUE TO TIME LIMIT"), "{text}");
    // What was lost and what failed is submitted again; cancelled, it is lost once more.
    let (_, text) = place.run("sweep plan.rhai --engine slurm --memory 0");
    assert!(text.contains("for 2 cells"), "{text}");
    until("a cell runs", || place.count("plan", "running") > 0);
    let (code, text) = place.run("sweep cancel out/plan");
    assert!(code == 0 && text.contains("were cancelled"), "{text}");
    until("the cluster is idle", || cluster.is_idle());
    assert_eq!(place.count("plan", "running"), 0);
}
