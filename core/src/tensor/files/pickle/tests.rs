//! The reader of `.pt` files, on files that PyTorch wrote and on malicious pickles.

use std::io::Write;

use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;
use crate::tensor::DType;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(kit::fixture("formats/pt").join(name)).unwrap()
}

fn open(name: &str) -> PickleFile<Vec<u8>> {
    PickleFile::new(fixture(name)).unwrap()
}

/// Returns the content as JSON, with names in place of the tensors.
fn values(tree: &TensorTree<String>) -> Value {
    match tree {
        TensorTree::Nothing => Value::Null,
        TensorTree::Bool(value) => json!(value),
        TensorTree::Int(value) => json!(value),
        TensorTree::Float(value) if value.is_finite() => json!(value),
        TensorTree::Float(value) => json!(value.to_string()),
        TensorTree::Text(text) | TensorTree::Tensor(text) => json!(text),
        TensorTree::Bytes(bytes) => json!(bytes),
        TensorTree::List(parts) => parts.iter().map(values).collect(),
        TensorTree::Map(fields) => fields.iter().map(|(name, part)| (name.clone(), values(part))).collect(),
    }
}

fn refused(bytes: Vec<u8>) -> String {
    PickleFile::new(bytes).err().unwrap().message
}

fn floats(file: &PickleFile<Vec<u8>>, name: &str) -> Vec<f64> {
    let t = file.tensor(name).unwrap();
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn tensors_are_read_in_their_dtypes_whatever_their_strides() {
    let file = open("state.pt");
    let quarters = |range: std::ops::Range<i32>| range.map(|i| f64::from(i) / 4.0).collect::<Vec<_>>();
    assert_eq!(file.shape("plain").unwrap(), [4, 6]);
    assert_eq!(floats(&file, "plain"), quarters(0..24));
    assert_eq!(floats(&file, "shared.a"), quarters(0..12));
    assert_eq!(file.shape("shared.b").unwrap(), [4, 3]);
    assert_eq!(floats(&file, "shared.b"), quarters(12..24));
    assert_eq!(file.shape("turned").unwrap(), [3, 2]);
    assert_eq!(floats(&file, "turned"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(floats(&file, "every_second"), [1.0, 3.0, 5.0, 7.0, 9.0]);
    assert_eq!(file.shape("scalar").unwrap(), [0_usize; 0]);
    assert_eq!(floats(&file, "scalar"), [2.5]);
    assert_eq!(file.shape("empty").unwrap(), [0, 3]);
    assert_eq!(floats(&file, "empty"), [0.0; 0]);
    let of_dtypes: [(&str, DType, &[f64]); 8] = [
        ("half", DType::F16, &[1.5, -2.0]),
        ("bfloat", DType::BF16, &[1.5, -2.0]),
        ("double", DType::F64, &[0.1]),
        ("every_second", DType::I64, &[1.0, 3.0, 5.0, 7.0, 9.0]),
        ("int", DType::I32, &[-7.0]),
        ("short", DType::I16, &[-8.0]),
        ("byte", DType::U8, &[200.0]),
        ("bool", DType::U8, &[1.0, 0.0]),
    ];
    for (name, dtype, values) in of_dtypes {
        assert_eq!(file.tensor(name).unwrap().dtype(), dtype, "{name}");
        assert_eq!(floats(&file, name), values, "{name}");
    }
    assert_eq!(file.tensor("pain").unwrap_err().hint.unwrap(), "did you mean `plain`?");
}

#[test]
fn nested_dictionaries_give_their_values_and_the_weights_alone() {
    let file = open("nested.pt");
    assert_eq!(file.names(), ["model.bias", "model.weight", "param"]);
    let expected = json!({
        "model": {"bias": "model.bias", "weight": "model.weight"},
        "param": "param",
        "config": {
            "n_layers": 2, "eps": 1e-5, "act": "gelu_new", "dtype": "torch.float32", "tied": false, "none": null,
            "big": 1_u64 << 40, "negative": -5, "list": [1, "x", [2, 3]], "nested": {"deep": {"er": true}},
        },
        "step": 100_000,
    });
    assert_eq!(values(&file.root), expected);
    let weights = file.weights().unwrap();
    assert_eq!(weights.names(), ["bias", "weight"]);
    assert_eq!(floats(&weights, "weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn lists_number_their_tensors_and_need_a_choice() {
    let file = open("list.pt");
    assert_eq!(file.names(), ["0", "1.a"]);
    assert_eq!(values(&file.root), json!(["0", {"a": "1.a"}]));
    let TensorTree::List(parts) = open("list.pt").read().unwrap() else { panic!("no list") };
    assert!(matches!(&parts[0], TensorTree::Tensor(one) if one.dims() == [2]));
    let error = file.weights().err().unwrap();
    assert_eq!(error.message, "expected one dictionary of tensors, found several: the top, 1");
    assert_eq!(open("protocol4.pt").weights().unwrap().names(), ["w"]);
}

#[test]
fn whatever_would_run_code_is_refused_by_its_name() {
    assert!(refused(fixture("evil.pt")).ends_with("this file asks for `posix.system`, which is refused"));
    assert!(refused(fixture("module.pt")).ends_with("`torch.nn.modules.linear.Linear`, which is refused"));
    assert_eq!(refused(fixture("script.pt")), "this file holds a program (TorchScript), not tensors alone");
    assert_eq!(refused(fixture("legacy.pt")), "expected a zip archive, found a file of PyTorch from before 1.6");
    assert_eq!(refused(fixture("expanded.pt")), "expanded: expected at most 1 elements, found shape [1000]");
    assert_eq!(refused(b"nothing".to_vec()), "expected a zip archive of PyTorch, found other content");
}

/// Returns an archive with this pickle, and four bytes as storage 0.
fn archive(pickle: &[u8], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, content) in [("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &[0, 0, 128, 63])] {
        zip.start_file(name, options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn stored(pickle: &[u8]) -> Vec<u8> {
    archive(pickle, CompressionMethod::Stored)
}

/// Returns a pickle of one tensor of f32 with this count of its storage, offset, size and stride.
fn one_tensor(count: u8, offset: u8, size: &[u8], stride: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK".to_vec();
    pickle.extend([count, b't', b'Q', b'K', offset]);
    for sizes in [size, stride] {
        pickle.push(b'(');
        pickle.extend(sizes.iter().flat_map(|size| [b'K', *size]));
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

#[test]
fn views_are_held_to_their_storage() {
    let file = PickleFile::new(stored(&one_tensor(1, 0, &[1], &[1]))).unwrap();
    assert_eq!(floats(&file, "w"), [1.0]);
    let refused = |count, offset, size: &[u8], stride: &[u8]| refused(stored(&one_tensor(count, offset, size, stride)));
    assert_eq!(refused(2, 0, &[1], &[1]), "w: expected 2 elements of f32 in the storage `0`, found 4 bytes");
    assert_eq!(
        refused(1, 1, &[1], &[1]),
        "w: expected a tensor within the 1 elements of its storage, found one beyond"
    );
    assert_eq!(refused(1, 0, &[2], &[0]), "w: expected at most 1 elements, found shape [2]");
    assert_eq!(refused(1, 0, &[1], &[1, 1]), "w: expected a stride for every axis, found [1, 1] for [1]");
    assert_eq!(
        refused(1, 2, &[0], &[1]),
        "w: expected a tensor within the 1 elements of its storage, found one beyond"
    );
    assert!(refused(1, 0, &[255; 20], &[1; 20]).contains("more elements than can be counted"));
    assert!(refused(1, 0, &[1; 65], &[1; 65]).ends_with("expected a tensor of at most 64 axes, found 65"));
}

#[test]
fn pickles_that_pytorch_never_writes_are_refused_in_words() {
    let end = |pickle: &[u8]| {
        let message = refused(stored(pickle));
        message.split_once(" of the pickle: ").map_or(message.clone(), |(_, rest)| rest.to_string())
    };
    assert_eq!(end(b""), "expected 1 bytes at byte 0, found 0");
    assert_eq!(end(b"."), "expected an object on the stack, found none");
    assert_eq!(end(b"}(0."), "expected an object on the stack, found none");
    assert_eq!(end(b"}u."), "expected a mark on the stack, found none");
    assert_eq!(end(b"}(Nu."), "expected a value for every key, found a key without one");
    assert_eq!(end(b"]NNs."), "expected a list or a dictionary to put things into, found something else");
    assert_eq!(end(b"h\x07."), "expected something at place 7 of the memory, found nothing");
    assert_eq!(end(b"\x80\x09."), "expected a pickle of protocol up to 5, found 9");
    assert_eq!(end(b"X\xff\xff\xff\xffa"), "expected 4294967295 bytes at byte 5, found 1");
    assert_eq!(end(b"\x8a\x09123456789."), "expected a whole number of at most 8 bytes, found 9");
    assert_eq!(end(b"}}\x85R."), "expected a call that makes a tensor or a dictionary, found another");
    assert_eq!(end(b"}(X\x01\0\0\0aNX\x01\0\0\0aNu."), "expected every key once, found `a` twice at ``");
    assert!(end(b"]U\x01aa.").contains("found a string of Python 2"));
    assert!(end(b"c__builtin__\nset\nK\x01\x85R.").contains("expected a set of a list"));
    assert!(end(b"c_codecs\nencode\nX\x03\0\0\0\xe2\x82\xacN\x86R.").contains("expected bytes as Latin-1 text"));
    assert!(end(b"ctorch\nComplexFloatStorage\n.").contains("`torch.ComplexFloatStorage`"));
    assert!(end(b"cbuiltins\neval").starts_with("expected the end of a line"));
    assert!(end(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("`builtins.eval`"));
    assert!(refused(archive(b"}.", CompressionMethod::Deflated)).contains("found `a/data.pkl` packed"));
}

#[test]
fn trees_that_contain_themselves_or_grow_without_bound_are_refused() {
    // A list that contains itself.
    assert!(refused(stored(b"]q\0h\0a.")).contains("again and again"));
    assert!(refused(stored(&[vec![b']'; 40], vec![b'a'; 39], vec![b'.']].concat())).contains("at most 32 deep"));
    // Thirty lists, each of which contains the one before four times.
    let mut pickle = b"]q\0".to_vec();
    for level in 0..30_u8 {
        pickle.extend([b"](".as_slice(), &[b'h', level].repeat(4), b"eq", &[level + 1]].concat());
    }
    pickle.push(b'.');
    assert!(refused(stored(&pickle)).contains("again and again"));
}

#[test]
fn numbers_keep_their_sign_and_infinities_are_written_out() {
    let of = |pickle: &[u8]| values(&PickleFile::new(stored(pickle)).unwrap().root);
    assert_eq!(of(b"\x8a\x00."), json!(0));
    assert_eq!(of(b"\x8a\x01\xff."), json!(-1));
    assert_eq!(of(b"\x8a\x02\xff\x00."), json!(255));
    assert_eq!(of(b"\x8a\x08\0\0\0\0\0\0\0\x80."), json!(i64::MIN));
    assert_eq!(of(b"G\x7f\xf0\0\0\0\0\0\0."), json!("inf"));
    assert_eq!(of(b"}(K\x01K\x02u."), json!({"1": 2}));
}

#[test]
fn what_a_pickle_tells_is_counted_before_it_is_made() {
    // A megabyte of None, each byte of which would become an object of a hundred bytes.
    let nothing = [vec![b'N'; 1 << 20], b".".to_vec()].concat();
    let error = machine::run(&nothing, Budget::within(100 << 20, u64::MAX)).err().unwrap();
    assert!(error.message.contains("expected what the pickle tells to take at most 100.0 MiB"), "{error}");
    let few = [vec![b'N'; 100], b".".to_vec()].concat();
    assert!(machine::run(&few, Budget::within(1 << 20, u64::MAX)).is_ok());
    assert!(machine::run(&few, Budget::within(1 << 12, u64::MAX)).is_err());
}

fn text(text: &str) -> Vec<u8> {
    [b"X".as_slice(), &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

#[test]
fn sets_bytes_and_default_dictionaries_are_values() {
    // As protocol 2 has them, which PyTorch writes: {"s": {1, 2}, "f": frozenset(), "b": b"a\xff", "e": b"",
    // "d": defaultdict(list, {"k": 3})}.
    let two = [
        b"\x80\x02}(".as_slice(),
        &text("s"),
        b"c__builtin__\nset\n](K\x01K\x02e\x85R",
        &text("f"),
        b"c__builtin__\nfrozenset\n]\x85R",
        &text("b"),
        b"c_codecs\nencode\n",
        &text("a\u{ff}"),
        &text("latin1"),
        b"\x86R",
        &text("e"),
        b"c__builtin__\nbytes\n)R",
        &text("d"),
        b"ccollections\ndefaultdict\nc__builtin__\nlist\n\x85R",
        &text("k"),
        b"K\x03su.",
    ];
    let file = PickleFile::new(stored(&two.concat())).unwrap();
    assert_eq!(values(&file.root), json!({"s": [1, 2], "f": [], "b": [97, 255], "e": [], "d": {"k": 3}}));
    // As protocol 4 has them.
    let of = |pickle: &[u8]| values(&PickleFile::new(stored(pickle)).unwrap().root);
    assert_eq!(of(b"\x80\x04\x8f(K\x01K\x02\x90."), json!([1, 2]));
    assert_eq!(of(b"\x80\x04(K\x01\x91."), json!([1]));
    assert_eq!(of(b"\x80\x04C\x02a\xff."), json!([97, 255]));
    assert_eq!(of(b"\x80\x04B\x01\0\0\0a."), json!([97]));
    assert_eq!(of(b"\x80\x05\x96\x01\0\0\0\0\0\0\0a."), json!([97]));
}

#[test]
fn shapes_and_devices_are_values() {
    let pickle = [
        b"\x80\x02}".as_slice(),
        &text("shape"),
        b"ctorch\nSize\nK\x02K\x03\x86\x85Rs",
        &text("device"),
        b"ctorch\ndevice\n",
        &text("cuda"),
        b"K\x01\x86Rs",
        &text("x"),
        b"ctorch\ndevice\n",
        &text("cpu"),
        b"\x85Rs.",
    ];
    let file = PickleFile::new(stored(&pickle.concat())).unwrap();
    assert_eq!(values(&file.root), json!({"shape": [2, 3], "device": "cuda:1", "x": "cpu"}));
    assert!(refused(stored(b"\x80\x02ctorch\nSize\nK\x02\x85R.")).contains("the sizes of a torch.Size"));
}
