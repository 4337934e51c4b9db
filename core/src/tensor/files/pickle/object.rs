//! The objects of a pickle, in one list. They refer to each other by index, since pickles share objects.

use crate::tensor::DType;

/// The index of an object in the list.
pub(super) type Id = usize;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(TensorView),
}

impl Object {
    /// Returns the bytes that the object takes besides its own entry. Lists grow by doubling.
    pub fn held(&self) -> usize {
        match self {
            Object::None | Object::Bool(_) | Object::Int(_) | Object::Float(_) | Object::Global(_) => 0,
            Object::Text(text) => text.len(),
            Object::Bytes(bytes) => bytes.len(),
            Object::List(parts) | Object::Tuple(parts) | Object::Set(parts) => 2 * size_of_val(parts.as_slice()),
            Object::Dict(pairs) => 2 * size_of_val(pairs.as_slice()),
            Object::Storage(storage) => storage.key.len(),
            Object::Tensor(view) => view.storage.key.len() + 2 * size_of_val(view.shape.as_slice()),
        }
    }
}

/// The Python names that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// `collections.defaultdict`; its function for missing keys is not read.
    DefaultDict,
    /// The class of the values that a `defaultdict` makes, or `set` and its kin, which protocol 2 makes of a list.
    Builtin(Builtin),
    /// `_codecs.encode`, by which protocol 2 writes bytes as Latin-1 text.
    Encode,
    RebuildTensor,
    RebuildParameter,
    /// The class of a storage, by the dtype of its elements.
    Elements(DType),
    /// A dtype as a value, as configs have it.
    Dtype(&'static str),
    /// The shape of a tensor as a value, a kind of tuple.
    Size,
    /// The device that a tensor was on: a kind and maybe a number.
    Device,
}

/// The classes of plain values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Builtin {
    Set,
    Bytes,
    /// A class that is only named, as of the values that a `defaultdict` makes.
    Other,
}

impl Global {
    pub fn of(module: &str, name: &str) -> Option<Self> {
        let elements = |dtype| Some(Self::Elements(dtype));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("collections", "defaultdict") => Some(Self::DefaultDict),
            ("_codecs", "encode") => Some(Self::Encode),
            ("__builtin__" | "builtins", "set" | "frozenset") => Some(Self::Builtin(Builtin::Set)),
            ("__builtin__" | "builtins", "bytes" | "bytearray") => Some(Self::Builtin(Builtin::Bytes)),
            ("__builtin__" | "builtins", "list" | "dict" | "int" | "float" | "str" | "bool" | "tuple") => {
                Some(Self::Builtin(Builtin::Other))
            }
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", "FloatStorage") => elements(DType::F32),
            ("torch", "DoubleStorage") => elements(DType::F64),
            ("torch", "HalfStorage") => elements(DType::F16),
            ("torch", "BFloat16Storage") => elements(DType::BF16),
            ("torch", "LongStorage") => elements(DType::I64),
            ("torch", "IntStorage") => elements(DType::I32),
            ("torch", "ShortStorage") => elements(DType::I16),
            ("torch", "ByteStorage" | "BoolStorage") => elements(DType::U8),
            ("torch", "Size") => Some(Self::Size),
            ("torch", "device") => Some(Self::Device),
            ("torch", other) => DTYPES.iter().find(|known| **known == other).map(|known| Self::Dtype(known)),
            _ => None,
        }
    }
}

const DTYPES: [&str; 9] = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool"];

/// The elements of one or more tensors, as the pickle names them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub dtype: DType,
    pub key: String,
    pub count: usize,
}

/// A tensor: a strided view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorView {
    pub storage: Storage,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}
