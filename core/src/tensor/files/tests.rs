//! Tests of the tensor files: round trips, what numpy writes, false headers, and damaged bytes.

use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::base::{Error, Kind};
use crate::tensor::{DType, create, dtype};

fn count(dims: &[usize], to: DType) -> Tensor {
    let len = dims.iter().product::<usize>();
    dtype::cast(&create::from_floats((0..len).map(|i| (i % 100) as f64).collect(), dims, DType::F64).unwrap(), to)
        .unwrap()
}

fn save(files: &Files, path: &Path, content: &FileContent) -> Result<()> {
    super::save(files, path, content, &Task::default())
}

#[test]
fn what_is_interrupted_is_not_written() {
    let (folder, files) = folder();
    let task = Task::default();
    task.flag().store(true, std::sync::atomic::Ordering::Relaxed);
    let one = FileContent::One(count(&[3], DType::F32));
    for name in ["a.npy", "a.npz", "a.safetensors"] {
        assert_eq!(super::save(&files, Path::new(name), &one, &task), Err(Error::interrupted()));
        assert!(!folder.path().join("out").join(name).exists());
    }
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    a.dtype() == b.dtype() && a.dims() == b.dims() && element::floats(a).unwrap() == element::floats(b).unwrap()
}

fn to_bytes(fill: impl Fn(&mut dyn Write) -> Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut bytes).unwrap();
    bytes
}

fn sample() -> NamedTensors {
    let tensors =
        dtype::ALL.iter().enumerate().map(|(i, d)| (format!("t.{}", d.as_str()), count(&[i, 3], *d))).collect();
    NamedTensors { tensors, metadata: [("a \"key\"".to_string(), "text\n".to_string())].into() }
}

fn numpy_sample() -> BTreeMap<String, Tensor> {
    let narrow = |t: &Tensor| npy::header(t).is_ok();
    sample().tensors.into_iter().filter(|(_, t)| narrow(t)).collect()
}

fn load(files: &Files, path: &std::path::Path) -> Result<TensorTree<Tensor>> {
    open(files, path)?.read()
}

/// Reads the tensors of a file that has nothing else.
fn loaded(files: &Files, path: &std::path::Path) -> BTreeMap<String, Tensor> {
    let TensorTree::Map(fields) = load(files, path).unwrap() else { panic!("no map") };
    let tensor = |(name, part)| match part {
        TensorTree::Tensor(tensor) => (name, tensor),
        _ => panic!("{name} is no tensor"),
    };
    fields.into_iter().map(tensor).collect()
}

fn folder() -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::unrecorded(&folder.path().join("out")).unwrap();
    (folder, files)
}

#[test]
fn files_come_back_as_they_were_saved() {
    let (folder, files) = folder();
    let place = |name: &str| folder.path().join("out").join(name);
    save(&files, &PathBuf::from("a.safetensors"), &FileContent::Named(sample())).unwrap();
    save(
        &files,
        &PathBuf::from("a.npz"),
        &FileContent::Named(NamedTensors { tensors: numpy_sample(), ..NamedTensors::default() }),
    )
    .unwrap();
    save(&files, &PathBuf::from("a.npy"), &FileContent::One(count(&[2, 0, 3], DType::F16))).unwrap();
    let reader = safetensors::SafetensorsFile::new(std::fs::read(place("a.safetensors")).unwrap()).unwrap();
    assert_eq!(*reader.metadata(), sample().metadata);
    let back = loaded(&files, &place("a.safetensors"));
    assert!(back.iter().zip(&sample().tensors).all(|(a, b)| a.0 == b.0 && same(a.1, b.1)));
    let tensors = loaded(&files, &place("a.npz"));
    assert_eq!(tensors.len(), 8);
    assert!(tensors.iter().zip(&numpy_sample()).all(|(a, b)| a.0 == b.0 && same(a.1, b.1)));
    let TensorTree::Tensor(back) = load(&files, &place("a.npy")).unwrap() else { panic!() };
    assert!(same(&back, &count(&[2, 0, 3], DType::F16)));
    let bytes = std::fs::read(place("a.npz")).unwrap();
    save(&files, &PathBuf::from("b.npz"), &FileContent::Named(NamedTensors { tensors, ..NamedTensors::default() }))
        .unwrap();
    assert_eq!(std::fs::read(place("b.npz")).unwrap(), bytes);
}

#[test]
fn wrong_endings_and_contents_that_a_format_cannot_hold() {
    let (_folder, files) = folder();
    let one = FileContent::One(count(&[2], DType::F32));
    let saved = |name: &str, content: &FileContent| save(&files, &PathBuf::from(name), content).unwrap_err();
    assert!(saved("a.safetensor", &one).hint.unwrap().contains(".safetensors"));
    assert!(saved("a", &one).message.contains("expected a path that ends in"));
    assert_eq!(saved("a.pt", &one).message, "files of PyTorch are read, and not written");
    assert!(saved("a.npy", &FileContent::Named(sample())).message.contains("one tensor"));
    assert!(saved("a.npz", &FileContent::Named(sample())).message.contains("metadata"));
    let half = saved("a.npy", &FileContent::One(count(&[2], DType::BF16)));
    assert_eq!(half.message, "numpy has no dtype bf16");
    assert_eq!(load(&files, &PathBuf::from("missing.npy")).unwrap_err().kind, Kind::File);
}

#[test]
fn safetensors_of_others_and_ours_agree() {
    let bytes = to_bytes(|w| safetensors::write(&sample(), w));
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(theirs.len(), 10);
    let views: Vec<(String, ::safetensors::tensor::TensorView)> = theirs.tensors();
    let rewritten = ::safetensors::serialize(views, Some(sample().metadata.into_iter().collect())).unwrap();
    let back = safetensors::SafetensorsFile::new(rewritten).unwrap();
    assert!(sample().tensors.iter().all(|(name, t)| same(&back.tensor(name).unwrap(), t)));
    assert_eq!(back.tensor("t.f23").unwrap_err().hint.unwrap(), "did you mean `t.f32`?");
}

fn npy_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn what_numpy_writes() {
    let of = |descr: &str, order: &str, shape: &str, data: &[u8]| {
        npy::parse(&npy_bytes(&format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n"), data))
    };
    let floats = |t: Result<Tensor>| element::floats(&t.unwrap()).unwrap();
    assert_eq!(floats(of("<i2", "False", "(2,)", &[1, 0, 0, 1])), [1.0, 256.0]);
    assert_eq!(floats(of(">i2", "False", "(2,)", &[1, 0, 0, 1])), [256.0, 1.0]);
    assert_eq!(floats(of("|u1", "True", "(2, 3)", &[1, 2, 3, 4, 5, 6])), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    assert_eq!(floats(of("|b1", "False", "()", &[1])), [1.0]);
    for refused in ["|O", "<c8", "<U3", "<u8", "|i1", "", "f4"] {
        let error = of(refused, "False", "(1,)", &[0; 4]).unwrap_err();
        assert!(error.kind == Kind::Format && error.message.contains(refused), "{refused}");
    }
    let header = String::from_utf8(npy::header(&count(&[3], DType::F32)).unwrap()[10..].to_vec()).unwrap();
    assert!(
        header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }")
            && (header.len() + 10).is_multiple_of(64)
    );
}

#[test]
fn npy_headers_that_lie() {
    let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 1000000000), }";
    let wrong = [
        npy_bytes(huge, &[0; 4]),
        npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", &[0; 4]),
        npy_bytes(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 18446744073709551615, 18446744073709551615), }",
            &[],
        ),
        npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 4]),
        npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", &[0; 4]),
        npy_bytes("{'descr': '<f4', 'shape': (1,), }", &[0; 4]),
        npy_bytes("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[0; 4]),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(),
        b"\x93NUM".to_vec(),
    ];
    for bytes in wrong {
        let error = npy::parse(&bytes).unwrap_err();
        assert!(matches!(error.kind, Kind::Format | Kind::Memory), "{error}");
    }
}

fn safetensors_error(header: &str, data: usize) -> Error {
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat();
    safetensors::SafetensorsFile::new(bytes).err().unwrap()
}

#[test]
fn safetensors_headers_that_lie() {
    let entry =
        |shape: &str, from: u64, to: u64| format!(r#"{{"dtype":"U8","shape":{shape},"data_offsets":[{from},{to}]}}"#);
    let two = |a: String, b: String| format!(r#"{{"a":{a},"b":{b}}}"#);
    let cases = [
        (two(entry("[2]", 0, 2), entry("[2]", 1, 3)), 3, "overlaps"),
        (two(entry("[1]", 0, 1), entry("[1]", 2, 3)), 3, "hole"),
        (format!(r#"{{"a":{}}}"#, entry("[2]", 0, 2)), 3, "behind"),
        (format!(r#"{{"a":{}}}"#, entry("[9]", 0, 9)), 3, "within 0..3"),
        (format!(r#"{{"a":{}}}"#, entry("[3]", 2, 1)), 3, "within"),
        (format!(r#"{{"a":{}}}"#, entry("[4294967296,4294967296,4294967296]", 0, 3)), 3, "bytes for shape"),
        (format!(r#"{{"a":{},"a":{}}}"#, entry("[1]", 0, 1), entry("[1]", 1, 2)), 2, "comes twice"),
        (r#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#.into(), 1, "found `I8`"),
        (r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#.into(), 1, "shape"),
        (r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}"#.into(), 1, "unknown field `x`"),
        (r#"{"__metadata__":{"a":1}}"#.into(), 0, "expected text"),
        ("[]".into(), 0, "a map of tensors"),
        ("{".into(), 0, "not as it should be"),
    ];
    for (header, data, expected) in cases {
        let error = safetensors_error(&header, data);
        assert!(error.kind == Kind::Format && error.message.contains(expected), "{expected}: {error}");
    }
    let long = [&(10_u64.pow(18)).to_le_bytes()[..], b"{}"].concat();
    assert!(safetensors::SafetensorsFile::new(long).err().unwrap().message.contains("1000000000000000000"));
    assert!(safetensors::SafetensorsFile::new(b"{}".to_vec()).is_err());
    let reserved = NamedTensors {
        tensors: [("__metadata__".to_string(), count(&[1], DType::U8))].into(),
        ..NamedTensors::default()
    };
    assert!(safetensors::write(&reserved, &mut Vec::new()).is_err());
}

#[test]
fn compressed_archives_and_archives_that_lie() {
    let t = count(&[50, 3], DType::F32);
    let npy = to_bytes(|w| npy::write(&t, w));
    let zipped = |files: &[(&str, &[u8])]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in files {
            let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            archive.start_file(*name, options).unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap().into_inner()
    };
    assert!(same(&npz::parse(&zipped(&[("x.npy", &npy)])).unwrap()["x"], &t));
    assert!(npz::parse(&zipped(&[("x.txt", &npy)])).unwrap_err().message.contains("x.txt"));
    let extra = [&npy[..], &[0]].concat();
    assert!(npz::parse(&zipped(&[("x.npy", &extra)])).unwrap_err().message.contains("found 601"));
    assert!(npz::parse(&zipped(&[("x.npy", &npy[..700])])).is_err());
    let huge = npy_bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000000,), }\n", &[0; 9]);
    assert_eq!(npz::parse(&zipped(&[("x.npy", &huge)])).unwrap_err().kind, Kind::Memory);
    // Each array is small, and all of them together are not.
    let many = zipped(&[("a.npy", &npy), ("b.npy", &npy), ("c.npy", &npy)]);
    assert_eq!(npz::parse_within(&many, 1800).unwrap().len(), 3);
    assert_eq!(npz::parse_within(&many, 1799).unwrap_err().kind, Kind::Memory);
    assert!(npz::parse(b"PK\x03\x04").is_err() && npz::parse(b"").is_err());
}

/// A disk that is full after `left` bytes, and counts what is asked of it after it has said so.
struct Full {
    left: usize,
    asked_again: usize,
    has_failed: bool,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.left >= bytes.len() {
            self.left -= bytes.len();
            return Ok(bytes.len());
        }
        self.asked_again += usize::from(self.has_failed);
        self.has_failed = true;
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Checks that an npz whose writing failed is not written on: an archive that is dropped is finished by its crate,
/// which prints to the terminal if that fails.
#[test]
fn an_npz_that_failed_is_not_written_on() {
    let length = to_bytes(|w| npz::write(&numpy_sample(), w)).len();
    for left in 0..length {
        let mut full = Full { left, asked_again: 0, has_failed: false };
        assert!(npz::write(&numpy_sample(), &mut full).unwrap_err().message.starts_with("cannot write"));
        assert_eq!((full.has_failed, full.asked_again), (true, 0), "{left}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_shape_and_dtype_comes_back(dims in prop::collection::vec(0_usize..4, 0..5), which in 0_usize..10, turn in any::<bool>()) {
        let mut t = count(&dims, dtype::ALL[which]);
        if turn && t.rank() > 1 {
            // A tensor that is not contiguous.
            t = t.transpose(0, t.rank() - 1).unwrap();
        }
        let named = NamedTensors { tensors: [("x".to_string(), t.clone())].into(), ..NamedTensors::default() };
        prop_assert!(same(&safetensors::SafetensorsFile::new(to_bytes(|w| safetensors::write(&named, w))).unwrap().tensor("x").unwrap(), &t));
        if npy::header(&t).is_ok() {
            prop_assert!(same(&npy::parse(&to_bytes(|w| npy::write(&t, w))).unwrap(), &t));
            prop_assert!(same(&npz::parse(&to_bytes(|w| npz::write(&named.tensors, w))).unwrap()["x"], &t));
        }
    }

    #[test]
    fn damaged_files_never_panic(places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>(), short in any::<bool>()) {
        let npy = to_bytes(|w| npy::write(&count(&[2, 3], DType::F32), w));
        let npz = to_bytes(|w| npz::write(&numpy_sample(), w));
        let safe = to_bytes(|w| safetensors::write(&sample(), w));
        for (kind, original) in [npy, npz, safe].into_iter().enumerate() {
            let mut bytes = original;
            for (place, value) in &places {
                // Most of a header is in the first bytes.
                let near = bytes.len().min(200);
                let i = if value % 2 == 0 { place.index(near) } else { place.index(bytes.len()) };
                bytes[i] = *value;
            }
            if short {
                bytes.truncate(cut.index(bytes.len()));
            }
            // Only that the call returns matters: the changed bytes may have no effect.
            match kind {
                0 => drop(npy::parse(&bytes)),
                1 => drop(npz::parse(&bytes)),
                _ => drop(safetensors::SafetensorsFile::new(bytes).and_then(|r| r.all())),
            }
        }
    }
}

/// Builds a safetensors file with this header and no data.
fn header_only(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat()
}

#[test]
fn an_empty_tensor_has_as_many_rows_as_there_is_memory_for() {
    let file = header_only(r#"{"a":{"dtype":"F32","shape":[100000000000000,0],"data_offsets":[0,0]}}"#);
    let reader = safetensors::SafetensorsFile::new(file).unwrap();
    let far = |error: crate::base::Error| assert_eq!(error.kind, crate::base::Kind::Memory, "{error}");
    far(reader.tensor("a").unwrap_err());
    far(reader.tensor_as("a", DType::F16, &mut |_| Ok(())).unwrap_err());
    far(reader.all().unwrap_err());
    for order in ["False", "True"] {
        let text = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (100000000000000, 0), }}");
        let file = [b"\x93NUMPY\x01\0".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
        far(npy::parse(&file).unwrap_err());
    }
}

#[test]
fn axes_are_not_without_number() {
    let file =
        header_only(&format!(r#"{{"a":{{"dtype":"F32","shape":[{}0],"data_offsets":[0,0]}}}}"#, "1,".repeat(64)));
    let refused = safetensors::SafetensorsFile::new(file).err().unwrap().message;
    assert_eq!(refused, "a: expected a tensor of at most 64 axes, found 65");
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}0, ), }}", "1, ".repeat(64));
    let file = [b"\x93NUMPY\x01\0".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
    assert_eq!(npy::parse(&file).unwrap_err().message, "expected a tensor of at most 64 axes, found 65");
}

#[test]
fn a_header_that_would_fill_the_memory_is_refused() {
    let one = r#"{"dtype":"F32","shape":[0],"data_offsets":[0,0]}"#;
    let fields: Vec<String> = (0..700_000).map(|number| format!("\"{number}\":{one}")).collect();
    let error = safetensors::SafetensorsFile::new(header_only(&format!("{{{}}}", fields.join(",")))).err().unwrap();
    assert!(error.message.contains("to take at most 1.0 GiB of memory"), "{error}");
    // A long text in the metadata is one value.
    let file = header_only(&format!("{{\"__metadata__\":{{\"a\":\"{}\"}}}}", "{,".repeat(5 << 20)));
    assert_eq!(safetensors::SafetensorsFile::new(file).unwrap().metadata()["a"].len(), 10 << 20);
}
