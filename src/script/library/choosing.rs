//! Choosing versions: of each library that is needed by name one version that all who need it can use. The versions of
//! a library are tried from the best one on, and an earlier choice is taken back where a later need does not fit it.

use semver::{Version, VersionReq};

use crate::script::prelude::*;

/// Number of versions that are tried before a choice is given up.
const MOST_TRIES: usize = 10_000;

/// A library of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LibraryId {
    pub index: String,
    pub name: String,
}

/// The versions of a library that someone can use.
#[derive(Debug, Clone)]
pub struct Need {
    pub library: LibraryId,
    pub versions: VersionReq,
    pub who: String,
}

/// A version that may be chosen.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub version: Version,
    /// The address and the hash of its archive.
    pub address: String,
    pub hash: String,
    /// The libraries of the same index that it needs.
    pub needs: BTreeMap<String, VersionReq>,
}

/// A library with its version.
#[derive(Debug)]
pub struct Chosen {
    pub library: LibraryId,
    pub candidate: Candidate,
    /// The first who needs it.
    pub who: String,
}

/// The versions that there are of libraries.
pub trait Versions {
    /// Returns the best version of a library after as many others; none after the last one.
    fn candidate(&mut self, library: &LibraryId, after: usize) -> Result<Option<Candidate>>;

    /// Writes in words which versions there are.
    fn listed(&mut self, library: &LibraryId) -> Result<String>;
}

/// Chooses a version of each library that is needed, of those that they need, and so on; sorted by name.
pub fn choose(versions: &mut dyn Versions, needs: Vec<Need>) -> Result<Vec<Chosen>> {
    let mut search = VersionSearch { versions, needs, chosen: BTreeMap::new(), tries: 0, conflict: None };
    if !search.fulfils(0)? {
        return Err(search.refusal());
    }
    let VersionSearch { needs, chosen, .. } = search;
    for name in chosen.keys() {
        if let Some(circle) = circle(name, &chosen, &mut Vec::new(), &mut BTreeSet::new()) {
            return Err(err!(File, "libraries need each other in a circle: {circle}"));
        }
    }
    let first = |name: &str| needs.iter().find(|need| need.library.name == name).map(|need| need.who.clone());
    let one = |(name, (library, candidate)): (String, (LibraryId, Candidate))| {
        let who = first(&name).unwrap_or_default();
        Chosen { library, candidate, who }
    };
    Ok(chosen.into_iter().map(one).collect())
}

type ChosenVersions = BTreeMap<String, (LibraryId, Candidate)>;

struct VersionSearch<'a> {
    versions: &'a mut dyn Versions,
    /// Needs so far; those of a version were put behind all others when it was chosen.
    needs: Vec<Need>,
    chosen: ChosenVersions,
    tries: usize,
    /// The first need that no version could fulfil beside the others.
    conflict: Option<Error>,
}

impl VersionSearch<'_> {
    /// Returns whether versions were found for all needs from this place on.
    fn fulfils(&mut self, at: usize) -> Result<bool> {
        let Some(Need { library, versions, .. }) = self.needs.get(at).cloned() else { return Ok(true) };
        if let Some((known, candidate)) = self.chosen.get(&library.name) {
            if *known == library && versions.matches(&candidate.version) {
                return self.fulfils(at + 1);
            }
            self.note_conflict(&library)?;
            return Ok(false);
        }
        let mut tried = 0;
        let mut has_fitting = false;
        while let Some(candidate) = self.versions.candidate(&library, tried)? {
            tried += 1;
            self.tries += 1;
            if self.tries > MOST_TRIES {
                return Err(self.refusal());
            }
            if !self.fits(&library, &candidate.version) {
                continue;
            }
            has_fitting = true;
            let before = self.needs.len();
            let who = format!("{} {}", library.name, candidate.version);
            for (name, versions) in &candidate.needs {
                let library = LibraryId { index: library.index.clone(), name: name.clone() };
                self.needs.push(Need { library, versions: versions.clone(), who: who.clone() });
            }
            self.chosen.insert(library.name.clone(), (library.clone(), candidate));
            if self.fulfils(at + 1)? {
                return Ok(true);
            }
            self.chosen.remove(&library.name);
            self.needs.truncate(before);
        }
        if !has_fitting {
            self.note_conflict(&library)?;
        }
        Ok(false)
    }

    /// Returns whether all who need a library, so far as they are known, can use a version of it.
    fn fits(&self, library: &LibraryId, version: &Version) -> bool {
        let mut needs = self.needs.iter().filter(|need| need.library.name == library.name);
        needs.all(|need| need.library == *library && need.versions.matches(version))
    }

    /// Returns why there is no choice.
    fn refusal(&mut self) -> Error {
        self.conflict.take().unwrap_or_else(|| {
            err!(File, "found no versions of the libraries that go together")
                .hint("say in microtome.toml more exactly which versions are needed")
        })
    }

    /// Notes the needs of a library of which no version fits them all. Where one does, an earlier choice is to blame.
    fn note_conflict(&mut self, library: &LibraryId) -> Result<()> {
        if self.conflict.is_some() {
            return Ok(());
        }
        let mut tried = 0;
        while let Some(candidate) = self.versions.candidate(library, tried)? {
            if self.fits(library, &candidate.version) {
                return Ok(());
            }
            tried += 1;
            self.tries += 1;
            if self.tries > MOST_TRIES {
                return Ok(());
            }
        }
        let needs: Vec<&Need> = self.needs.iter().filter(|need| need.library.name == library.name).collect();
        let is_one_index = needs.iter().all(|need| need.library == *library);
        let is_alone = needs.len() == 1;
        let said = needs.iter().map(|Need { library: LibraryId { index, .. }, versions, who }| {
            let from = if is_one_index { String::new() } else { format!(" from {index}") };
            format!("{who} needs {versions}{from}")
        });
        let mut said = said.collect::<Vec<_>>().join(", ");
        if is_one_index {
            said.push_str(&format!("; the index has {}", self.versions.listed(library)?));
        }
        let name = &library.name;
        let hint = if is_alone {
            format!("ask for another one, as in `microtome add {name}@1.2`")
        } else {
            "a project has one version of each library; change what is needed by one of these".into()
        };
        self.conflict = Some(err!(File, "there is no version of `{name}` for all who need it: {said}").hint(hint));
        Ok(())
    }
}

/// Finds a circle of needs that goes through a library; `path` are those that led there, and `done` those of which all
/// needs were followed.
fn circle<'c>(
    name: &'c str,
    chosen: &'c ChosenVersions,
    path: &mut Vec<&'c str>,
    done: &mut BTreeSet<&'c str>,
) -> Option<String> {
    if let Some(at) = path.iter().position(|above| *above == name) {
        let circle: Vec<&str> = path.iter().skip(at).copied().chain([name]).collect();
        return Some(circle.join(" -> "));
    }
    if !done.insert(name) {
        return None;
    }
    path.push(name);
    let needs = chosen.get(name).map(|(_, candidate)| candidate.needs.keys());
    let found = needs.into_iter().flatten().find_map(|need| circle(need, chosen, path, done));
    path.pop();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Versions of libraries, each as `heads 1.0.0: rates ^1, tools =2.0.0`, the best of a library first.
    struct Shelf<'a>(&'a [&'a str]);

    impl Shelf<'_> {
        fn of(&self, library: &LibraryId) -> Vec<Candidate> {
            let candidate = |line: &&str| {
                let (head, needs) = line.split_once(':').unwrap();
                let version = head.strip_prefix(&library.name)?.strip_prefix(' ')?;
                let needs = needs.split(',').filter_map(|need| need.trim().split_once(' '));
                Some(Candidate {
                    version: version.parse().unwrap(),
                    address: String::new(),
                    hash: String::new(),
                    needs: needs.map(|(name, versions)| (name.into(), versions.parse().unwrap())).collect(),
                })
            };
            self.0.iter().filter_map(candidate).collect()
        }
    }

    impl Versions for Shelf<'_> {
        fn candidate(&mut self, library: &LibraryId, after: usize) -> Result<Option<Candidate>> {
            Ok(self.of(library).into_iter().nth(after))
        }

        fn listed(&mut self, library: &LibraryId) -> Result<String> {
            let all = self.of(library);
            Ok(all.iter().map(|candidate| candidate.version.to_string()).collect::<Vec<_>>().join(", "))
        }
    }

    /// Returns the versions that a project gets with these needs, each as `heads ^1`, or why it gets none.
    fn chosen(shelf: &[&str], needs: &[&str]) -> String {
        let need = |need: &&str| {
            let (name, versions) = need.split_once(' ').unwrap();
            let (name, index) = name.split_once('@').unwrap_or((name, "i"));
            let library = LibraryId { index: index.into(), name: name.into() };
            Need { library, versions: versions.parse().unwrap(), who: "this project".into() }
        };
        match choose(&mut Shelf(shelf), needs.iter().map(need).collect()) {
            Ok(chosen) => {
                let one = |chosen: &Chosen| format!("{} {}", chosen.library.name, chosen.candidate.version);
                chosen.iter().map(one).collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.message,
        }
    }

    #[test]
    fn the_best_versions_that_go_together_are_chosen() {
        let a = ["a 2.0.0:", "a 1.2.1:", "a 1.2.0:", "a 1.0.0:", "a 0.2.0:", "a 0.1.0:"];
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&a, &[], ""),
            (&a, &["a *"], "a 2.0.0"),
            (&a, &["a ^1"], "a 1.2.1"),
            (&a, &["a ~1.0"], "a 1.0.0"),
            (&a, &["a ^0.1"], "a 0.1.0"),
            (&a, &["a >=1, <1.2.1"], "a 1.2.0"),
            (&a, &["a ^1", "a <1.2"], "a 1.0.0"),
            // A version before a release is chosen only where it is named.
            (&["a 2.0.0-beta.2:", "a 1.0.0:"], &["a *"], "a 1.0.0"),
            (&["a 2.0.0-beta.2:", "a 2.0.0-beta.1:"], &["a ^2.0.0-beta.1"], "a 2.0.0-beta.2"),
            // A library that a dependency needs, and one that two need.
            (&["a 1.0.0: b ^1", "b 2.0.0:", "b 1.1.0: c *", "c 3.0.0:"], &["a ^1"], "a 1.0.0, b 1.1.0, c 3.0.0"),
            (
                &["a 1.0.0: c ^1", "b 1.0.0: c <1.5", "c 1.9.0:", "c 1.4.0:"],
                &["a ^1", "b ^1"],
                "a 1.0.0, b 1.0.0, c 1.4.0",
            ),
            // A choice is taken back where a later need does not fit it.
            (&["a 1.0.0: b =1.0.0", "b 1.1.0:", "b 1.0.0:"], &["b ^1", "a ^1"], "a 1.0.0, b 1.0.0"),
            (&["a 2.0.0: b ^2", "a 1.0.0: b ^1", "b 2.0.0:", "b 1.0.0:"], &["a *", "b ^1"], "a 1.0.0, b 1.0.0"),
            // The first that is offered is taken if it fits, whatever its number is.
            (&["a 1.0.0:", "a 2.0.0:"], &["a *"], "a 1.0.0"),
        ];
        for (shelf, needs, expected) in cases {
            assert_eq!(chosen(shelf, needs), *expected, "{shelf:?} {needs:?}");
        }
    }

    #[test]
    fn who_needs_what_is_said_where_no_version_does() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (
                &["a 1.0.0:"],
                &["a ^2"],
                "there is no version of `a` for all who need it: this project needs ^2; the index has 1.0.0",
            ),
            (
                &["a 1.0.0: c ^1", "b 1.0.0: c ^2", "c 2.0.0:", "c 1.0.0:"],
                &["a *", "b *"],
                "there is no version of `c` for all who need it: a 1.0.0 needs ^1, b 1.0.0 needs ^2; the index has \
                 2.0.0, 1.0.0",
            ),
            // Of all that was tried the best versions are told of.
            (
                &["a 1.1.0: c ^2", "a 1.0.0: c ^3", "c 2.0.0:", "c 1.0.0:"],
                &["a ^1", "c ^1"],
                "there is no version of `c` for all who need it: this project needs ^1, a 1.1.0 needs ^2; the index \
                 has 2.0.0, 1.0.0",
            ),
            (
                &["a 1.0.0:"],
                &["a@i *", "a@j *"],
                "there is no version of `a` for all who need it: this project needs * from i, this project needs * \
                 from j",
            ),
            (
                &["a 1.0.0: b *", "b 1.0.0: c *", "c 1.0.0: b *"],
                &["a *"],
                "libraries need each other in a circle: b -> c -> b",
            ),
            (&["a 1.0.0: a *"], &["a *"], "libraries need each other in a circle: a -> a"),
        ];
        for (shelf, needs, expected) in cases {
            assert_eq!(chosen(shelf, needs), *expected, "{shelf:?} {needs:?}");
        }
    }

    #[test]
    fn a_choice_of_very_many_is_given_up() {
        // Thirty libraries of two versions each, none of which goes together with what the last one needs.
        let versions = |number: usize| ["2.0.0", "1.0.0"].map(|version| format!("l{number} {version}: x >={version}"));
        let others = ["z 1.0.0: x <1", "x 2.0.0:", "x 0.1.0:"].map(String::from);
        let shelf: Vec<String> = (0..30).flat_map(versions).chain(others).collect();
        let shelf: Vec<&str> = shelf.iter().map(String::as_str).collect();
        let needs: Vec<String> = (0..30).map(|number| format!("l{number} *")).chain(["z *".into()]).collect();
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        let said = chosen(&shelf, &needs);
        let head = "there is no version of `x` for all who need it: l0 2.0.0 needs >=2.0.0, l1";
        assert!(said.starts_with(head), "{said}");
        assert!(said.ends_with("z 1.0.0 needs <1; the index has 2.0.0, 0.1.0"), "{said}");
    }
}
