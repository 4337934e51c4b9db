//! Reading the documents of files and of strings, and counting them.

#[cfg(feature = "arrow")]
use super::arrow::ArrowColumn;
use super::cut::Pieces;
use super::data_set::DataSet;
use super::find::{FileKind, TextFile};
use super::hold::TextPart;
#[cfg(feature = "parquet")]
use super::parquet::ParquetColumn;
use super::plain::{Bounds, PlainDocuments};
use super::records::Records;
use super::tally::{SharedTally, Tally};
use super::{DocumentReader, EMPTY, ONE_IN};
use crate::common::*;
use crate::data::{Document, Documents};

/// Rules by which the documents of files are separated and selected.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentRules {
    /// The field of a record, or the column of a table, that holds the text.
    pub field: String,
    pub bounds: Arc<Bounds>,
    pub part: TextPart,
    /// Number of documents of which one is held out.
    pub one_in: u64,
}

impl Default for DocumentRules {
    fn default() -> Self {
        Self { field: "text".into(), bounds: Arc::default(), part: TextPart::All, one_in: ONE_IN }
    }
}

impl DocumentRules {
    fn open(&self, files: &Files, file: &TextFile, task: &Task) -> Result<Box<dyn DocumentReader>> {
        Ok(match file.kind {
            FileKind::Plain => Box::new(PlainDocuments::open(files, file, self.bounds.clone(), task)?),
            FileKind::Records => Box::new(Records::of_json(files, file, &self.field, task)?),
            FileKind::Tabs => Box::new(Records::of_tabs(files, file, &self.field, task)?),
            #[cfg(feature = "parquet")]
            FileKind::Parquet => Box::new(ParquetColumn::open(files, file, &self.field)?),
            #[cfg(not(feature = "parquet"))]
            FileKind::Parquet => return Err(Error::not_built("reader of Parquet", "parquet").within(&file.shown)),
            #[cfg(feature = "arrow")]
            FileKind::Arrow => Box::new(ArrowColumn::open(files, file, &self.field)?),
            #[cfg(not(feature = "arrow"))]
            FileKind::Arrow => return Err(Error::not_built("reader of Arrow", "arrow").within(&file.shown)),
        })
    }
}

/// Files of a source, in the order in which they are read.
#[derive(Clone)]
pub enum Shelf {
    Here(Arc<[PathBuf]>),
    /// Files of a data set of the hub, each of which is fetched when the reading comes to it.
    Hub(Arc<DataSet>),
}

impl Shelf {
    /// Returns the file at a place; none after the last.
    fn file(&self, at: usize, task: &Task) -> Result<Option<TextFile>> {
        match self {
            Shelf::Here(paths) => Ok(paths.get(at).map(|path| TextFile::new(path.clone(), path.display().to_string()))),
            Shelf::Hub(set) => set.file(at, task),
        }
    }

    /// Returns the names of all files.
    pub fn names(&self) -> Vec<String> {
        match self {
            Shelf::Here(paths) => paths.iter().map(|path| path.display().to_string()).collect(),
            Shelf::Hub(set) => set.names(),
        }
    }
}

/// The documents of several files.
pub struct FileDocuments {
    files: Files,
    shelf: Shelf,
    next: usize,
    rules: Arc<DocumentRules>,
    reader: Option<Box<dyn DocumentReader>>,
    /// Whether the document that is being read is of the part.
    wanted: bool,
    tally: SharedTally,
}

impl FileDocuments {
    /// Begins again, with an empty tally.
    pub fn new(files: Files, shelf: Shelf, rules: Arc<DocumentRules>, tally: SharedTally) -> Self {
        tally.with(|tally| *tally = Tally::default());
        Self { files, shelf, next: 0, rules, reader: None, wanted: false, tally }
    }

    /// Reads the next piece of any part.
    fn any(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match reader.next(&self.tally, task)? {
                    Some(document) => return Ok(Some(document)),
                    None => self.reader = None,
                }
            }
            task.check()?;
            if self.is_in_vain() {
                return Err(self.nothing());
            }
            let Some(file) = self.shelf.file(self.next, task)? else { return Ok(None) };
            self.next += 1;
            self.reader = Some(self.rules.open(&self.files, &file, task)?);
            self.tally.with(|tally| tally.files += 1);
        }
    }

    /// Tells whether no more files are to be fetched, since the records of the first ones have no field of this name.
    fn is_in_vain(&self) -> bool {
        let no_field = |tally: &mut Tally| tally.documents + tally.other_part == 0 && !tally.fields.is_empty();
        matches!(self.shelf, Shelf::Hub(_)) && self.tally.with(no_field)
    }

    /// Returns the error of files without any document.
    fn nothing(&self) -> Error {
        let tally = self.tally.get();
        let names = self.shelf.names();
        let paths = match &names[..] {
            [name] => name.clone(),
            names => format!("{} files", names.len()),
        };
        let reasons = if tally.skipped.is_empty() {
            String::new()
        } else {
            format!("; left out: {}", tally.reasons().join("; "))
        };
        let error = err!(Format, "expected documents in {paths}, found none{reasons}");
        match (self.rules.part, tally.fields.is_empty()) {
            (_, false) => error.hint(format!(
                "the text was looked for in the field `{}`; the records have {}",
                self.rules.field,
                tally.fields.join(", ")
            )),
            (TextPart::All, true) => error,
            (TextPart::Train | TextPart::Held, true) if tally.other_part > 0 => error.hint(format!(
                "all {} are in the other part: lower `hold`, or split the files into more documents with `separator` or \
                 `starts`",
                tally.other_part
            )),
            (TextPart::Train | TextPart::Held, true) => error,
        }
    }
}

impl Documents for FileDocuments {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            let Some(document) = self.any(task)? else {
                if self.tally.get().documents == 0 {
                    return Err(self.nothing());
                }
                self.tally.tell(task);
                return Ok(None);
            };
            let begins = document.at == 0;
            if begins {
                self.wanted = self.rules.part.has(&document.text, self.rules.one_in);
            }
            if self.wanted {
                self.tally.with(|tally| tally.count(&document));
                return Ok(Some(document));
            }
            self.tally.with(|tally| tally.other_part += u64::from(begins));
        }
    }
}

/// Strings as documents.
pub struct GivenDocuments {
    texts: Arc<[String]>,
    next: usize,
    pieces: Pieces,
    tally: SharedTally,
}

impl GivenDocuments {
    pub fn new(texts: Arc<[String]>, tally: SharedTally) -> Self {
        Self { texts, next: 0, pieces: Pieces::default(), tally }
    }
}

impl Documents for GivenDocuments {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            task.check()?;
            if let Some(piece) = self.pieces.next() {
                return Ok(Some(piece));
            }
            let number = self.next;
            let Some(text) = self.texts.get(number) else { return Ok(None) };
            self.next += 1;
            let origin = format!("text {number}");
            if text.trim().is_empty() {
                self.tally.with(|tally| tally.skip(EMPTY, || origin))
            } else {
                self.pieces = Pieces::of(text.clone(), origin.into());
            }
        }
    }
}

/// Documents that were given in tokens.
pub struct GivenIds {
    documents: Arc<[Arc<[u32]>]>,
    next: usize,
    tally: SharedTally,
}

impl GivenIds {
    pub fn new(documents: Arc<[Arc<[u32]>]>, tally: SharedTally) -> Self {
        Self { documents, next: 0, tally }
    }
}

impl Documents for GivenIds {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        loop {
            task.check()?;
            let number = self.next;
            let Some(ids) = self.documents.get(number) else { return Ok(None) };
            self.next += 1;
            let origin = format!("text {number}");
            if ids.is_empty() {
                self.tally.with(|tally| tally.skip(EMPTY, || origin));
                continue;
            }
            let text = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
            return Ok(Some(Document { ids: Some(ids.clone()), ..Document::whole(text, origin) }));
        }
    }
}

/// Documents that are counted as they are read.
pub struct CountedDocuments<D> {
    documents: D,
    tally: SharedTally,
}

impl<D: Documents> CountedDocuments<D> {
    /// Begins again, with an empty tally.
    pub fn new(documents: D, tally: SharedTally) -> Self {
        tally.with(|tally| *tally = Tally::default());
        Self { documents, tally }
    }
}

impl<D: Documents> Documents for CountedDocuments<D> {
    fn next(&mut self, task: &Task) -> Result<Option<Document>> {
        let found = self.documents.next(task)?;
        if let Some(document) = &found {
            self.tally.with(|tally| tally.count(document));
        }
        Ok(found)
    }
}
