//! Words about features from a table: descriptions, explanations or labels, with their scores and where they come from.

use crate::data::table;
use crate::features::card::Description;
use crate::options::{Plain, Setting};
use crate::sae::prelude::*;

/// Names of the columns that may have the words; `SCORES` are those that may have the score.
const WORDS: [&str; 3] = ["description", "explanation", "label"];
const SCORES: [&str; 2] = ["score", "AUROC"];

/// Names of the columns that may have the model that wrote the words, and the method by which it did.
const BY: &str = "by";
const METHOD: &str = "method";

/// Words about a feature, with the model that wrote them and its method, where the table has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SaidWords {
    pub words: Description,
    pub by: Option<String>,
    pub method: Option<String>,
}

/// Words and scores by site and index.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Said(BTreeMap<(String, usize), SaidWords>);

impl Said {
    /// Reads the words from a table with a column `feature`, whose names are as in `resid_post.3/12`; of several of one
    /// feature the first.
    pub fn of_table(table: &Table) -> Option<Self> {
        let mut said = BTreeMap::new();
        for (site, feature, words) in Self::rows(table)? {
            said.entry((site, feature)).or_insert(words);
        }
        Some(Self(said))
    }

    /// Reads all words of a table, row by row: site, index and words of each feature.
    pub fn rows(table: &Table) -> Option<Vec<(String, usize, SaidWords)>> {
        let column =
            |names: &[&str]| names.iter().find_map(|name| table.columns.iter().position(|column| column == name));
        let names = column(&["feature"])?;
        let words = column(&WORDS)?;
        let scores = column(&SCORES);
        let [by, method] = [BY, METHOD].map(|name| column(&[name]));
        let text = |row: &[Cell], column: Option<usize>| match row.get(column?) {
            Some(Cell::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let mut rows = Vec::new();
        for row in &table.rows {
            let (Some(Cell::Text(name)), Some(said)) = (row.get(names), text(row, Some(words))) else { continue };
            let (site, index) = name.rsplit_once('/')?;
            let score = match scores.and_then(|column| row.get(column)) {
                Some(Cell::Float(score)) => *score,
                Some(Cell::Int(score)) => *score as f64,
                _ => f64::NAN,
            };
            let words = Description { text: said, score };
            let said = SaidWords { words, by: text(row, by), method: text(row, method) };
            rows.push((site.to_string(), index.parse().ok()?, said));
        }
        Some(rows)
    }

    /// Reads the words from the file of a table, as a script saves it.
    pub fn load(files: &Files, path: &Path, task: &Task) -> Result<Self> {
        let said = Self::of_table(&table::load(files, path, task)?);
        said.ok_or_else(|| err!(Format, "{}: expected {}, found another table", path.display(), Self::wanted()))
    }

    /// Returns the features of a site that have words, in order.
    pub fn of_site(&self, site: &str) -> impl Iterator<Item = (usize, &SaidWords)> {
        let first = (site.to_string(), 0);
        self.0.range(first..).take_while(move |((of, _), _)| of == site).map(|((_, feature), said)| (*feature, said))
    }

    pub fn of(&self, site: &str, feature: usize) -> Option<&Description> {
        Some(&self.0.get(&(site.to_string(), feature))?.words)
    }

    /// Refuses words of features that are in no dictionary, or in two.
    pub fn check(&self, saes: &[Sae]) -> Result<()> {
        let sites: BTreeSet<&str> = self.0.keys().map(|(site, _)| site.as_str()).collect();
        for site in sites {
            let of_site = saes.iter().filter(|sae| sae.parts().about.site() == site).count();
            if of_site != 1 {
                return Err(err!(
                    Argument,
                    "expected words of features of one dictionary each, and {of_site} read {site}"
                )
                .hint("take one dictionary of each site"));
            }
        }
        Ok(())
    }
}

impl Setting for Said {
    fn wanted() -> String {
        "a table with the columns `feature`, such as \"resid_post.3/12\", and `description`, `explanation` or `label`"
            .into()
    }

    fn of(value: &Plain) -> Option<Self> {
        let Plain::Other(foreign) = value else { return None };
        Self::of_table(foreign.value.downcast_ref::<Table>()?)
    }

    fn written(&self) -> String {
        format!("a table of {} features", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_by_site_and_index_and_of_several_the_first_counts() {
        let row = |name: &str, label: &str, score: f64| vec![name.into(), label.into(), score.into()];
        let table = Table::new(
            "",
            ["feature", "label", "AUROC"],
            [row("resid_post.1/12", "bracket", 0.9), row("resid_post.1/12", "depth", 0.8)],
        );
        let said = Said::of_table(&table).unwrap();
        assert_eq!(said.of("resid_post.1", 12), Some(&Description { text: "bracket".into(), score: 0.9 }));
        assert_eq!(said.of("resid_post.0", 12), None);
        let listed =
            |site: &str| said.of_site(site).map(|(feature, said)| (feature, said.words.score)).collect::<Vec<_>>();
        assert_eq!((listed("resid_post.1"), listed("resid_post.0")), (vec![(12, 0.9)], vec![]));
        let folder = tempfile::tempdir().unwrap();
        let files = Files::unrecorded(folder.path()).unwrap();
        for ending in ["csv", "json", "parquet"] {
            let path = format!("words.{ending}");
            files.save_whole(Path::new(&path), table::encoded(&table, ending).unwrap().unwrap()).unwrap();
            assert_eq!(Said::load(&files, Path::new(&path), &Task::default()), Ok(said.clone()), "{ending}");
        }
        files.save_whole(Path::new("other.csv"), "a\n1\n").unwrap();
        let other = Said::load(&files, Path::new("other.csv"), &Task::default()).unwrap_err();
        assert!(other.message.starts_with("other.csv: expected a table with the columns `feature`"), "{other}");
        let without = Table { columns: vec!["feature".into(), "words".into(), "score".into()], ..table.clone() };
        assert!(Said::of_table(&without).is_none());
        let unnamed = Table { rows: vec![row("12", "bracket", 0.9)], ..table };
        assert!(Said::of_table(&unnamed).is_none());
    }

    #[test]
    fn who_wrote_the_words_and_how_is_kept_where_it_is_known() {
        let table = Table::new(
            "",
            ["method", "by", "description", "feature"],
            [
                vec!["pairs".into(), "a model".into(), "bracket".into(), "embed/1".into()],
                vec![Cell::Missing, Cell::Missing, "depth".into(), "embed/2".into()],
            ],
        );
        let rows = Said::rows(&table).unwrap();
        let sources: Vec<_> = rows.iter().map(|(.., said)| (said.by.as_deref(), said.method.as_deref())).collect();
        assert_eq!(sources, [(Some("a model"), Some("pairs")), (None, None)]);
    }
}
