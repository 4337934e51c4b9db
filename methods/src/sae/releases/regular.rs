//! Releases of Gemma Scope by the rule that their names follow: cross-layer transcoders, which SAELens has no names for, and
//! dictionaries that are in the repositories and not in its table.

/// The releases of the two editions of Gemma Scope, and how their paths begin, are made of these.
const SIZES: [&str; 5] = ["270m", "1b", "4b", "12b", "27b"];
const SIZES_OF_GEMMA_2: [&str; 3] = ["2b", "9b", "27b"];
const TUNED: [&str; 2] = ["pt", "it"];
const FOLDERS: [(&str, &str); 5] =
    [("res", "resid_post"), ("mlp", "mlp_out"), ("att", "attn_out"), ("transcoders", "transcoder"), ("clt", "clt")];
const SITES_OF_GEMMA_2: [&str; 3] = ["res", "mlp", "att"];
const CROSS_LAYER: &str = "-clt";

/// The words of a path in the second edition besides its numbers.
const WORDS: [&str; 9] = ["layer", "width", "l0", "small", "medium", "big", "affine", "seed", "1m"];

/// A release: its repository, and the folder that all its paths begin with.
pub struct RegularRelease {
    pub name: String,
    pub repo: String,
    pub folder: String,
}

impl RegularRelease {
    /// Returns whether an id is such as the release may have.
    pub fn may_hold(&self, id: &str) -> bool {
        let is_number = |word: &str| word.trim_end_matches('k').bytes().all(|b| b.is_ascii_digit());
        let inside = id.strip_prefix(&self.folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or(id);
        self.folder.is_empty() || inside.split('_').all(|word| WORDS.contains(&word) || is_number(word))
    }

    /// Returns the path of an id, which may begin with the folder itself.
    pub fn path(&self, id: &str) -> String {
        if self.folder.is_empty() || id.split('/').next() == Some(self.folder.as_str()) {
            return id.to_string();
        }
        format!("{}/{id}", self.folder)
    }
}

/// Finds the release of a name.
pub fn named(release: &str) -> Option<RegularRelease> {
    all().find(|found| found.name == release)
}

/// Lists the names of the cross-layer ones.
pub fn cross_layer() -> impl Iterator<Item = String> {
    all().map(|release| release.name).filter(|name| name.contains(CROSS_LAYER))
}

fn all() -> impl Iterator<Item = RegularRelease> {
    let second = SIZES.into_iter().flat_map(|size| TUNED.map(|tuned| format!("gemma-scope-2-{size}-{tuned}")));
    let second = second.flat_map(|name| {
        FOLDERS.into_iter().flat_map(move |(kind, folder)| {
            let of = |every: &str| RegularRelease {
                name: format!("{name}-{kind}{every}"),
                repo: format!("google/{name}"),
                folder: format!("{folder}{}", every.replace('-', "_")),
            };
            [of(""), of("-all")]
        })
    });
    let first = SIZES_OF_GEMMA_2.into_iter().flat_map(|size| TUNED.map(|tuned| format!("gemma-scope-{size}-{tuned}")));
    let first = first.flat_map(|name| SITES_OF_GEMMA_2.map(|kind| format!("{name}-{kind}"))).flat_map(|name| {
        let of = |ending: &str| RegularRelease {
            name: format!("{name}{ending}"),
            repo: format!("google/{name}"),
            folder: String::new(),
        };
        [of(""), of("-canonical")]
    });
    second.chain(first)
}
