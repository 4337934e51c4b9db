//! The file around the objects of a PDF: their numbers, their offsets, and compressed streams.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::base::Result;
use crate::err;

/// Objects of a file, numbered from 1 in the order in which they were added.
pub struct PdfFile {
    bytes: Vec<u8>,
    /// Place in the bytes where each object begins.
    offsets: Vec<usize>,
}

impl PdfFile {
    /// Begins a file. The bytes of the second line tell other programs that the file is no text.
    pub fn new() -> Self {
        Self { bytes: b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n".to_vec(), offsets: Vec::new() }
    }

    /// Returns the number of the next object.
    pub fn next_number(&self) -> usize {
        self.offsets.len() + 1
    }

    /// Adds an object, and returns its number.
    pub fn add(&mut self, body: &str) -> usize {
        self.add_bytes(body.as_bytes())
    }

    /// Adds a stream, which is compressed, with these entries of its dictionary, and returns its number.
    pub fn add_stream(&mut self, entries: &str, data: &[u8]) -> Result<usize> {
        let failed = |e: std::io::Error| err!(Bug, "a part of the PDF cannot be compressed: {e}");
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).map_err(failed)?;
        let packed = encoder.finish().map_err(failed)?;
        let dictionary = format!("<< /Length {} /Filter /FlateDecode {entries} >>\nstream\n", packed.len());
        Ok(self.add_bytes(&[dictionary.as_bytes(), &packed, b"\nendstream"].concat()))
    }

    fn add_bytes(&mut self, body: &[u8]) -> usize {
        let number = self.next_number();
        self.offsets.push(self.bytes.len());
        self.bytes.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(b"\nendobj\n");
        number
    }

    /// Ends the file with the table of offsets.
    pub fn finished(mut self, catalog: usize, info: usize) -> Vec<u8> {
        let start = self.bytes.len();
        let size = self.next_number();
        let mut end = format!("xref\n0 {size}\n0000000000 65535 f \n");
        end.extend(self.offsets.iter().map(|offset| format!("{offset:010} 00000 n \n")));
        end.push_str(&format!(
            "trailer\n<< /Size {size} /Root {catalog} 0 R /Info {info} 0 R >>\nstartxref\n{start}\n%%EOF\n"
        ));
        self.bytes.extend_from_slice(end.as_bytes());
        self.bytes
    }
}
