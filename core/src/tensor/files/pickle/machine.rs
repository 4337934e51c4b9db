//! The interpreter of pickles: a stack, marks on it, and a memo. It calls nothing; the few functions that tensors need are
//! implemented here.

use super::super::reader::ByteReader;
use super::object::{Builtin, Global, Id, Object, Storage, TensorView};
use crate::base::budget::Budget;
use crate::common::*;

/// The newest protocol; PyTorch writes 2.
const NEWEST: u8 = 5;

/// PyTorch's maximum number of axes.
const MOST_AXES: usize = 64;

/// Maximum length of the keys of storages, which are numbers.
const LONGEST_KEY: usize = 64;

/// The objects of a pickle, and the index of the result.
pub(super) struct Objects {
    pub all: Vec<Object>,
    pub root: Id,
    /// The length of the pickle: no valid tree has more branches.
    pub length: usize,
    /// The memory budget left for the tree that is made of them.
    pub budget: Budget,
}

/// Runs a pickle to its end.
pub(super) fn run(pickle: &[u8], budget: Budget) -> Result<Objects> {
    let mut machine =
        Machine { objects: Vec::new(), stack: Vec::new(), marks: Vec::new(), memory: BTreeMap::new(), budget };
    // Besides its object, an operation adds at most one entry to the stack, the marks or the memo.
    machine.budget.take(pickle.len() as u128 * PLACE, budget_label)?;
    let mut reader = ByteReader::new(pickle);
    loop {
        let place = reader.place();
        let operation = reader.u8()?;
        if operation == b'.' {
            let root = machine.pop()?;
            return Ok(Objects { all: machine.objects, root, length: pickle.len(), budget: machine.budget });
        }
        machine.step(operation, &mut reader).map_err(|e| e.within(format!("byte {place} of the pickle")))?;
    }
}

/// The bytes of an entry of the stack, a list or the memo.
const PLACE: u128 = 32;

/// Returns the name of what the budget counts, for its error.
pub(super) fn budget_label() -> String {
    "what the pickle tells".into()
}

struct Machine {
    objects: Vec<Object>,
    stack: Vec<Id>,
    /// The height of the stack at each mark.
    marks: Vec<usize>,
    memory: BTreeMap<u32, Id>,
    budget: Budget,
}

impl Machine {
    fn step(&mut self, operation: u8, reader: &mut ByteReader) -> Result<()> {
        match operation {
            0x80 => self.protocol(reader.u8()?)?,
            // The length of what follows, for readers that prefetch it.
            0x95 => {
                reader.u64()?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.take_to_mark()?;
            }
            b'2' => self.stack.push(self.top()?),
            b'q' => self.remember(reader.u8()?.into())?,
            b'r' => {
                let place = reader.u32()?;
                self.remember(place)?;
            }
            0x94 => self.remember(self.memory.len() as u32)?,
            b'h' => self.recall(reader.u8()?.into())?,
            b'j' => {
                let place = reader.u32()?;
                self.recall(place)?;
            }
            b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | 0x8b | b'G' => self.number(operation, reader)?,
            b'X' | 0x8c | 0x8d => self.text(operation, reader)?,
            b'B' | b'C' | 0x8e | 0x96 => self.bytes(operation, reader)?,
            b'}' | b']' | b')' | b't' | 0x85..=0x87 | b'l' | b'd' | 0x8f | 0x91 => self.container(operation)?,
            b'a' | b'e' | b's' | b'u' | 0x90 => self.fill(operation)?,
            b'c' => {
                let module = reader.line()?;
                let name = reader.line()?;
                self.global(&String::from_utf8_lossy(module), &String::from_utf8_lossy(name))?;
            }
            0x93 => {
                let name = self.pop_text()?;
                let module = self.pop_text()?;
                self.global(&module, &name)?;
            }
            b'R' => self.reduce()?,
            b'Q' => self.storage()?,
            b'b' => self.build()?,
            other => return Err(unknown(other)),
        }
        Ok(())
    }

    fn protocol(&self, version: u8) -> Result<()> {
        if version > NEWEST {
            bail!(Format, "expected a pickle of protocol up to {NEWEST}, found {version}");
        }
        Ok(())
    }

    fn push(&mut self, object: Object) -> Result<()> {
        // The list of objects grows by doubling.
        let bytes = 2 * size_of::<Object>() + object.held();
        self.budget.take(bytes as u128, budget_label)?;
        self.stack.push(self.objects.len());
        self.objects.push(object);
        Ok(())
    }

    /// Returns the object on top, which must be above the last mark.
    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(id) if self.stack.len() > floor => Ok(*id),
            _ => bail!(Format, "expected an object on the stack, found none"),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    /// Takes all objects above the last mark.
    fn take_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark.min(self.stack.len()))),
            None => bail!(Format, "expected a mark on the stack, found none"),
        }
    }

    fn object(&self, id: Id) -> &Object {
        self.objects.get(id).unwrap_or(&Object::None)
    }

    fn pop_text(&mut self) -> Result<String> {
        let id = self.pop()?;
        self.as_text(id).map(str::to_string)
    }

    fn as_text(&self, id: Id) -> Result<&str> {
        match self.object(id) {
            Object::Text(text) => Ok(text),
            _ => bail!(Format, "expected a text on the stack, found something else"),
        }
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let id = self.top()?;
        self.memory.insert(place, id);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        match self.memory.get(&place) {
            Some(id) => self.stack.push(*id),
            None => bail!(Format, "expected something at place {place} of the memory, found nothing"),
        }
        Ok(())
    }

    fn number(&mut self, operation: u8, reader: &mut ByteReader) -> Result<()> {
        let object = match operation {
            b'N' => Object::None,
            0x88 => Object::Bool(true),
            0x89 => Object::Bool(false),
            b'K' => Object::Int(reader.u8()?.into()),
            b'M' => Object::Int(reader.u16()?.into()),
            b'J' => Object::Int(reader.i32()?.into()),
            b'G' => Object::Float(f64::from_be_bytes(reader.array()?)),
            _ => {
                let length = if operation == 0x8a { reader.u8()?.into() } else { reader.u32()? as usize };
                Object::Int(long(reader.take(length)?)?)
            }
        };
        self.push(object)
    }

    fn text(&mut self, operation: u8, reader: &mut ByteReader) -> Result<()> {
        let length = match operation {
            b'X' => u64::from(reader.u32()?),
            0x8c => u64::from(reader.u8()?),
            _ => reader.u64()?,
        };
        let bytes = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let text = std::str::from_utf8(bytes).map_err(|_| err!(Format, "expected UTF-8 text, found other bytes"))?;
        self.push(Object::Text(text.into()))
    }

    fn bytes(&mut self, operation: u8, reader: &mut ByteReader) -> Result<()> {
        let length = match operation {
            b'B' => u64::from(reader.u32()?),
            b'C' => u64::from(reader.u8()?),
            _ => reader.u64()?,
        };
        let bytes = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?.to_vec();
        self.push(Object::Bytes(bytes))
    }

    fn container(&mut self, operation: u8) -> Result<()> {
        let object = match operation {
            b'}' => Object::Dict(Vec::new()),
            b']' => Object::List(Vec::new()),
            b')' => Object::Tuple(Vec::new()),
            b't' => Object::Tuple(self.take_to_mark()?),
            b'l' => Object::List(self.take_to_mark()?),
            b'd' => Object::Dict(pairs(&self.take_to_mark()?)?),
            0x8f => Object::Set(Vec::new()),
            // A frozen set.
            0x91 => Object::Set(self.take_to_mark()?),
            _ => {
                let mut parts = (0..operation - 0x84).map(|_| self.pop()).collect::<Result<Vec<Id>>>()?;
                parts.reverse();
                Object::Tuple(parts)
            }
        };
        self.push(object)
    }

    /// Adds the top of the stack to the list or the dictionary below it.
    fn fill(&mut self, operation: u8) -> Result<()> {
        let parts = match operation {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                vec![key, value]
            }
            _ => self.take_to_mark()?,
        };
        let below = self.top()?;
        match (self.objects.get_mut(below), operation) {
            (Some(Object::List(list)), b'a' | b'e') | (Some(Object::Set(list)), 0x90) => list.extend(parts),
            (Some(Object::Dict(dict)), b's' | b'u') => dict.extend(pairs(&parts)?),
            _ => bail!(Format, "expected a list or a dictionary to put things into, found something else"),
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = Global::of(module, name) else { return Err(unwelcome(module, name)) };
        self.push(Object::Global(global))
    }

    /// Calls one of the functions that are implemented here.
    fn reduce(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let Object::Tuple(arguments) = self.object(arguments) else {
            bail!(Format, "expected a tuple of arguments, found something else")
        };
        let made = match (self.object(function), arguments.as_slice()) {
            (Object::Global(Global::OrderedDict), []) | (Object::Global(Global::DefaultDict), [] | [_]) => {
                Object::Dict(Vec::new())
            }
            (Object::Global(Global::Builtin(kind)), arguments) => self.builtin(*kind, arguments)?,
            (Object::Global(Global::Encode), &[text, _encoding]) => Object::Bytes(self.latin(text)?),
            (Object::Global(Global::RebuildTensor), arguments) => Object::Tensor(self.view(arguments)?),
            (Object::Global(Global::RebuildParameter), &[data, _requires_grad, hooks]) if self.is_empty(hooks) => {
                match self.object(data) {
                    Object::Tensor(view) => Object::Tensor(view.clone()),
                    _ => bail!(Format, "expected a tensor for a parameter, found something else"),
                }
            }
            (Object::Global(Global::Size), &[sizes]) => match self.object(sizes) {
                Object::Tuple(sizes) | Object::List(sizes) => Object::Tuple(sizes.clone()),
                _ => bail!(Format, "expected the sizes of a torch.Size, found something else"),
            },
            (Object::Global(Global::Device), arguments) => Object::Text(self.device(arguments)?),
            _ => bail!(Format, "expected a call that makes a tensor or a dictionary, found another"),
        };
        self.push(made)
    }

    /// Makes a set of a list, or bytes that are empty, of bytes, or of Latin-1 text.
    fn builtin(&self, kind: Builtin, arguments: &[Id]) -> Result<Object> {
        let of = arguments.first().map(|id| self.object(*id));
        match (kind, arguments.len(), of) {
            (Builtin::Set, 0, _) => Ok(Object::Set(Vec::new())),
            (Builtin::Set, 1, Some(Object::List(parts) | Object::Tuple(parts))) => Ok(Object::Set(parts.clone())),
            (Builtin::Bytes, 0, _) => Ok(Object::Bytes(Vec::new())),
            (Builtin::Bytes, 1, Some(Object::Bytes(bytes))) => Ok(Object::Bytes(bytes.clone())),
            (Builtin::Bytes, 2, Some(Object::Text(_))) => Ok(Object::Bytes(self.latin(arguments[0])?)),
            _ => bail!(Format, "expected a set of a list or bytes of a text, found another call"),
        }
    }

    /// Returns the bytes that a text stands for, a character for each.
    fn latin(&self, text: Id) -> Result<Vec<u8>> {
        let bytes = self.as_text(text)?.chars().map(|letter| u8::try_from(u32::from(letter)));
        bytes
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| err!(Format, "expected bytes as Latin-1 text, found another"))
    }

    /// Returns `cuda`, or `cuda:0` where there is a number.
    fn device(&self, arguments: &[Id]) -> Result<String> {
        let found: Vec<&Object> = arguments.iter().map(|id| self.object(*id)).collect();
        match found.as_slice() {
            [Object::Text(kind)] => Ok(kind.clone()),
            [Object::Text(kind), Object::Int(number)] => Ok(format!("{kind}:{number}")),
            _ => bail!(Format, "expected the name of a device, found something else"),
        }
    }

    /// Makes a view of the arguments storage, offset, size, stride, requires_grad, hooks, and in newer files a map of
    /// flags.
    fn view(&self, arguments: &[Id]) -> Result<TensorView> {
        let (&[storage, offset, size, stride, _requires_grad, hooks], flags) =
            arguments.split_first_chunk::<6>().ok_or_else(odd_tensor)?;
        if flags.len() > 1 || !self.is_empty(hooks) || !flags.iter().all(|flags| self.is_empty(*flags)) {
            return Err(odd_tensor());
        }
        let Object::Storage(storage) = self.object(storage) else { return Err(odd_tensor()) };
        let shape = self.sizes(size)?;
        let strides = self.sizes(stride)?;
        Ok(TensorView { storage: storage.clone(), offset: self.size(offset)?, shape, strides })
    }

    /// Returns whether an object is an empty dictionary, or None.
    fn is_empty(&self, id: Id) -> bool {
        match self.object(id) {
            Object::Dict(pairs) => pairs.is_empty(),
            object => *object == Object::None,
        }
    }

    fn size(&self, id: Id) -> Result<usize> {
        match self.object(id) {
            Object::Int(size) => {
                usize::try_from(*size).map_err(|_| err!(Format, "expected a size of a tensor, found {size}"))
            }
            _ => bail!(Format, "expected a size of a tensor, found something else"),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        match self.object(id) {
            Object::Tuple(sizes) if sizes.len() > MOST_AXES => {
                bail!(Format, "expected a tensor of at most {MOST_AXES} axes, found {}", sizes.len())
            }
            Object::Tuple(sizes) => sizes.iter().map(|size| self.size(*size)).collect(),
            _ => bail!(Format, "expected the sizes of a tensor, found something else"),
        }
    }

    /// Makes a reference to data outside the pickle: ("storage", class, key, device, count).
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let parts = match self.object(id) {
            Object::Tuple(parts) => parts.as_slice(),
            _ => &[],
        };
        let &[kind, class, key, _device, count] = parts else {
            bail!(Format, "expected a storage of five parts, found something else")
        };
        let Object::Global(Global::Elements(dtype)) = self.object(class) else {
            bail!(Format, "expected the class of a storage, found something else")
        };
        if self.as_text(kind)? != "storage" {
            bail!(Format, "expected a storage, found `{}`", self.as_text(kind)?);
        }
        let key = self.as_text(key)?;
        if key.len() > LONGEST_KEY {
            bail!(Format, "expected the name of a storage in at most {LONGEST_KEY} bytes, found {}", key.len());
        }
        let storage = Storage { dtype: *dtype, key: key.into(), count: self.size(count)? };
        self.push(Object::Storage(storage))
    }

    /// Drops the attributes of an object, of which only state dictionaries have one: the versions of their modules.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let object = self.top()?;
        let versions = |key: &Id| matches!(self.object(*key), Object::Text(name) if name == "_metadata");
        match (self.object(object), self.object(state)) {
            (Object::Dict(_), Object::Dict(pairs)) if pairs.iter().all(|(key, _)| versions(key)) => Ok(()),
            _ => bail!(Format, "expected an object without attributes of its own, found one with some"),
        }
    }
}

fn pairs(parts: &[Id]) -> Result<Vec<(Id, Id)>> {
    let (pairs, rest) = parts.as_chunks::<2>();
    if !rest.is_empty() {
        bail!(Format, "expected a value for every key, found a key without one");
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

/// Parses a whole number of any length, the lowest byte first, in two's complement.
fn long(bytes: &[u8]) -> Result<i64> {
    let filler = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [filler; 8];
    let Some(place) = wide.get_mut(..bytes.len()) else {
        bail!(Format, "expected a whole number of at most 8 bytes, found {}", bytes.len());
    };
    place.copy_from_slice(bytes);
    Ok(i64::from_le_bytes(wide))
}

fn odd_tensor() -> Error {
    err!(Format, "expected a plain tensor, found one with hooks, flags or other arguments")
}

fn unwelcome(module: &str, name: &str) -> Error {
    let whole: String = format!("{module}.{name}").chars().take(120).collect();
    let elements = module == "torch" && name.ends_with("Storage");
    let hint = if elements {
        "tensors are f16 bf16 f32 f64, i16 i32 i64, u8 and bool; convert it in PyTorch with `.to()`"
    } else {
        "only tensors, dictionaries, lists, texts and numbers are read, and nothing is called; in PyTorch save \
         `model.state_dict()`"
    };
    err!(Format, "this file asks for `{whole}`, which is refused").hint(hint)
}

fn unknown(operation: u8) -> Error {
    let what = match operation {
        0x81 | 0x92 | b'i' | b'o' => "the making of an object",
        0x82..=0x84 => "a registered extension",
        b'S' | b'T' | b'U' => "a string of Python 2",
        _ => "something unknown",
    };
    err!(Format, "expected dictionaries, lists, texts, numbers and tensors, found {what} (operation 0x{operation:02x})")
        .hint("in PyTorch save `model.state_dict()`")
}
