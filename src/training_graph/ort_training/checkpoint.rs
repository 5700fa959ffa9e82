//! The checkpoint: a flatbuffer of the parameters and what is said of them.
//!
//! | table | fields, by their number |
//! | --- | --- |
//! | the root | 0 version, int32; 1 the module; 2 groups of the optimizer, a list; 3 properties |
//! | module | 0 trained and 1 frozen tensors, lists; 2 whether they are names alone, 3 whether their values lie in another file, bools |
//! | tensor | 0 name, string; 2 dimensions, a list of int64; 3 element type, int32, numbered as in ONNX; 4 values, a list of bytes |
//! | group | 0 name, string; 1 steps that are done, int64; 3 what is remembered of parameters, a list |
//! | what is remembered | 0 name of the parameter, string; 1 moments, a list of tensors |
//! | properties | 2 those that are strings, a list |
//! | string property | 0 name, 1 value, strings |
//!
//! These are the fields that are written or read here; a field that is not there has its default. Source:
//! `onnxruntime/core/flatbuffers/schema/ort_training_checkpoint.fbs` and `ort.fbs` of onnxruntime 1.19; of the encoding
//! <https://flatbuffers.dev/internals/>.

use bytes::Bytes;
use flatbuffers::{
    FlatBufferBuilder, ForwardsUOffset, TableFinishedWIPOffset, VOffsetT, Vector, WIPOffset,
};

use crate::hex;
use crate::onnx::{DataType, Tensor, element_count};

use super::super::state::backbone;
use super::super::{Role, State, TrainingGraphError};
use super::Tensors;

/// A role by the name of the parameter that it is of.
type OfParameter = fn(String) -> Role;

const IDENTIFIER: &str = "ODTC";
/// Where it stands in a file.
const IDENTIFIED: std::ops::Range<usize> = 4..8;
const VERSION: i32 = 2;
/// The property that holds the hash of the model that is trained.
const BACKBONE: &str = "ftsurgery.backbone";
/// A flatbuffer has less than 2 GiB; the rest of a checkpoint is small.
const LARGEST: usize = (1 << 31) - (1 << 24);

const ROOT_VERSION: usize = 0;
const ROOT_MODULE: usize = 1;
const ROOT_GROUPS: usize = 2;
const ROOT_PROPERTIES: usize = 3;
const MODULE_TRAINED: usize = 0;
const MODULE_FROZEN: usize = 1;
const MODULE_IS_NOMINAL: usize = 2;
const MODULE_IS_EXTERNAL: usize = 3;
const TENSOR_NAME: usize = 0;
const TENSOR_DIMS: usize = 2;
const TENSOR_TYPE: usize = 3;
const TENSOR_DATA: usize = 4;
const GROUP_NAME: usize = 0;
const GROUP_STEPS: usize = 1;
const GROUP_STATES: usize = 3;
const STATE_NAME: usize = 0;
const STATE_MOMENTS: usize = 1;
const PROPERTIES_STRINGS: usize = 2;
const STRING_NAME: usize = 0;
const STRING_VALUE: usize = 1;

/// The one group that there is.
const GROUP: &str = "group0";
/// The tensors that are remembered of each parameter, by their names.
const MOMENTS: [(&str, OfParameter); 2] = [
    ("momentum0", Role::FirstMoment),
    ("momentum1", Role::SecondMoment),
];

type Table = WIPOffset<TableFinishedWIPOffset>;
type Tables<'a> = WIPOffset<Vector<'a, ForwardsUOffset<TableFinishedWIPOffset>>>;

/// Where field `number` stands in a table of offsets.
fn slot(number: usize) -> VOffsetT {
    (4 + 2 * number) as VOffsetT
}

/// A checkpoint of a state and of frozen parameters, all of them float32: what is trained, the model that it is of, and the
/// moments with the steps that are done, as far as the state has them.
///
/// # Errors
/// Where they are more than a checkpoint can hold.
pub(super) fn checkpoint(state: &State, frozen: &Tensors) -> Result<Vec<u8>, TrainingGraphError> {
    let bytes = |name: &str, tensor: &Tensor| tensor.data.len() + name.len() + 64;
    let own = state.tensors().iter();
    let own: usize = own.map(|(role, t)| bytes(&role.to_string(), t)).sum();
    let others: usize = frozen.iter().map(|(name, t)| bytes(name, t)).sum();
    let size = own + others;
    if size > LARGEST {
        return Err(TrainingGraphError::Mismatch(format!(
            "the parameters are {size} bytes, and a checkpoint of onnxruntime holds less than 2 GiB"
        )));
    }
    let mut builder = FlatBufferBuilder::with_capacity(size + 1024);
    let b = &mut builder;
    let trained = state
        .tensors()
        .iter()
        .filter_map(|(role, tensor)| match role {
            Role::Parameter(name) => Some((name.as_str(), tensor)),
            _ => None,
        });
    let tables: Vec<Table> = trained.map(|(name, t)| tensor(b, name, t)).collect();
    let trained = b.create_vector(&tables);
    let tables: Vec<Table> = frozen.iter().map(|(name, t)| tensor(b, name, t)).collect();
    let frozen = b.create_vector(&tables);
    let module = module(b, trained, frozen);
    let groups = group(b, state).map(|group| b.create_vector(&[group]));
    let hash = state.get(&Role::Backbone);
    let properties = hash.map(|hash| properties(b, &[(BACKBONE, &hex::encode(&hash.data))]));
    let start = b.start_table();
    b.push_slot_always(slot(ROOT_VERSION), VERSION);
    b.push_slot_always(slot(ROOT_MODULE), module);
    if let Some(groups) = groups {
        b.push_slot_always(slot(ROOT_GROUPS), groups);
    }
    if let Some(properties) = properties {
        b.push_slot_always(slot(ROOT_PROPERTIES), properties);
    }
    let root = b.end_table(start);
    b.finish(root, Some(IDENTIFIER));
    Ok(b.finished_data().to_vec())
}

fn tensor(b: &mut FlatBufferBuilder<'_>, name: &str, tensor: &Tensor) -> Table {
    let name = b.create_string(name);
    let dims: Vec<i64> = tensor.dims.iter().map(|&d| d as i64).collect();
    let dims = b.create_vector(&dims);
    let data = b.create_vector(&tensor.data[..]);
    let start = b.start_table();
    b.push_slot_always(slot(TENSOR_NAME), name);
    b.push_slot_always(slot(TENSOR_DIMS), dims);
    b.push_slot_always(slot(TENSOR_TYPE), tensor.dtype as i32);
    b.push_slot_always(slot(TENSOR_DATA), data);
    b.end_table(start)
}

/// What an optimizer remembers; `None` where that is nothing.
fn group(b: &mut FlatBufferBuilder<'_>, state: &State) -> Option<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for (role, _) in state.tensors() {
        let Role::Parameter(of) = role else {
            continue;
        };
        let mut moments: Vec<Table> = Vec::new();
        for (name, role) in MOMENTS {
            if let Some(moment) = state.get(&role(of.clone())) {
                moments.push(tensor(b, name, moment));
            }
        }
        if !moments.is_empty() {
            let (name, moments) = (b.create_string(of), b.create_vector(&moments));
            let start = b.start_table();
            b.push_slot_always(slot(STATE_NAME), name);
            b.push_slot_always(slot(STATE_MOMENTS), moments);
            tables.push(b.end_table(start));
        }
    }
    if tables.is_empty() {
        return None;
    }
    let (name, states) = (b.create_string(GROUP), b.create_vector(&tables));
    let start = b.start_table();
    b.push_slot_always(slot(GROUP_NAME), name);
    b.push_slot_always(slot(GROUP_STEPS), state.steps().unwrap_or_default());
    b.push_slot_always(slot(GROUP_STATES), states);
    Some(b.end_table(start))
}

fn module<'a>(b: &mut FlatBufferBuilder<'a>, trained: Tables<'a>, frozen: Tables<'a>) -> Table {
    let start = b.start_table();
    b.push_slot_always(slot(MODULE_TRAINED), trained);
    b.push_slot_always(slot(MODULE_FROZEN), frozen);
    b.end_table(start)
}

fn properties(b: &mut FlatBufferBuilder<'_>, strings: &[(&str, &str)]) -> Table {
    let mut tables: Vec<Table> = Vec::new();
    for (name, value) in strings {
        let (name, value) = (b.create_string(name), b.create_string(value));
        let start = b.start_table();
        b.push_slot_always(slot(STRING_NAME), name);
        b.push_slot_always(slot(STRING_VALUE), value);
        tables.push(b.end_table(start));
    }
    let strings = b.create_vector(&tables);
    let start = b.start_table();
    b.push_slot_always(slot(PROPERTIES_STRINGS), strings);
    b.end_table(start)
}

/// Whether these are the bytes of a checkpoint.
pub(in super::super) fn is_checkpoint(bytes: &[u8]) -> bool {
    bytes.get(IDENTIFIED) == Some(IDENTIFIER.as_bytes())
}

/// The state that a checkpoint holds: its trained parameters, the model that it says it is of, and where it has the optimizer
/// the steps that are done and the moments. Tensors are parts of `bytes`, not copies.
///
/// # Errors
/// What is wrong with it.
pub(in super::super) fn state(bytes: &Bytes) -> Result<State, String> {
    let read = Reader(bytes);
    let root = read.number(0, 4).and_then(|at| read.at(at as usize));
    let root = root.ok_or("it has no table")?;
    match root.int32(ROOT_VERSION) {
        Some(VERSION) => {}
        version => {
            return Err(format!(
                "it is a checkpoint of version {}, not {VERSION}",
                version.unwrap_or(0)
            ));
        }
    }
    let module = root.table(ROOT_MODULE).ok_or("it has no parameters")?;
    if module.flag(MODULE_IS_NOMINAL) || module.flag(MODULE_IS_EXTERNAL) {
        return Err("it has the names of parameters alone, without their values".to_owned());
    }
    let mut state = State::default();
    for tensor in module.tables(MODULE_TRAINED).unwrap_or_default() {
        let (name, tensor) = tensor_of(&tensor)?;
        state.put(Role::Parameter(name), tensor);
    }
    let groups = root.tables(ROOT_GROUPS).unwrap_or_default();
    if let Some(group) = groups.first() {
        // What is 0 is not there.
        let steps = group.int64(GROUP_STEPS).unwrap_or(0);
        state.put(Role::Step, Tensor::scalar_i64(steps));
        for of in group.tables(GROUP_STATES).unwrap_or_default() {
            let parameter = of.string(STATE_NAME).ok_or("a moment is of no parameter")?;
            for table in of.tables(STATE_MOMENTS).unwrap_or_default() {
                let (name, moment) = tensor_of(&table)?;
                let known = MOMENTS.iter().find(|(known, _)| *known == name);
                let (_, role) = known.ok_or_else(|| format!("it has a moment `{name}`"))?;
                state.put(role(parameter.to_owned()), moment);
            }
        }
    }
    let properties = root.table(ROOT_PROPERTIES);
    let strings = properties.and_then(|all| all.tables(PROPERTIES_STRINGS));
    let mut strings = strings.unwrap_or_default().into_iter();
    let named = strings.find(|s| s.string(STRING_NAME) == Some(BACKBONE));
    let hash = named.and_then(|s| hex::decode(s.string(STRING_VALUE)?));
    if let Some(hash) = hash {
        state.put(Role::Backbone, backbone(hash));
    }
    Ok(state)
}

fn tensor_of(table: &Fields<'_>) -> Result<(String, Tensor), String> {
    let name = table.string(TENSOR_NAME).ok_or("a tensor has no name")?;
    if table.int32(TENSOR_TYPE) != Some(DataType::Float as i32) {
        return Err(format!("its `{name}` is not float32"));
    }
    let dims = table.list(TENSOR_DIMS, 8).unwrap_or_default();
    let dims = dims
        .as_chunks()
        .0
        .iter()
        .map(|d| usize::try_from(i64::from_le_bytes(*d)));
    let dims: Result<Vec<usize>, _> = dims.collect();
    let data = table.list(TENSOR_DATA, 1).unwrap_or_default();
    let dims = dims.ok().filter(|dims| {
        let bytes = element_count(dims).and_then(|count| count.checked_mul(4));
        bytes == Some(data.len())
    });
    let dims =
        dims.ok_or_else(|| format!("its `{name}` has other data than its dimensions say"))?;
    let tensor = Tensor {
        dtype: DataType::Float,
        dims,
        data: table.bytes.0.slice_ref(data),
    };
    Ok((name.to_owned(), tensor))
}

/// Reads a flatbuffer without trusting it: what lies outside of it is not there.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a Bytes);

impl<'a> Reader<'a> {
    fn bytes(self, at: usize, count: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(count)?)
    }

    /// The number of `size` bytes, at most 8, at a place.
    fn number(self, at: usize, size: usize) -> Option<u64> {
        let mut all = [0; 8];
        all[..size].copy_from_slice(self.bytes(at, size)?);
        Some(u64::from_le_bytes(all))
    }

    /// The table at a place.
    fn at(self, at: usize) -> Option<Fields<'a>> {
        let back = self.number(at, 4)? as u32 as i32;
        let slots = at.checked_add_signed(-(back as isize))?;
        let size = self.number(slots, 2)? as usize;
        Some(Fields {
            bytes: self,
            at,
            slots: self.bytes(slots, size)?,
        })
    }
}

/// A table.
struct Fields<'a> {
    bytes: Reader<'a>,
    at: usize,
    /// Where its fields are from its place, 0 for those that are not there, behind two sizes.
    slots: &'a [u8],
}

impl<'a> Fields<'a> {
    fn place(&self, number: usize) -> Option<usize> {
        let slot = usize::from(slot(number));
        let offset = self.slots.get(slot..slot + 2)?;
        let offset = usize::from(u16::from_le_bytes(offset.try_into().ok()?));
        (offset != 0).then(|| self.at.checked_add(offset)).flatten()
    }

    fn int32(&self, number: usize) -> Option<i32> {
        Some(self.bytes.number(self.place(number)?, 4)? as u32 as i32)
    }

    fn int64(&self, number: usize) -> Option<i64> {
        Some(self.bytes.number(self.place(number)?, 8)? as i64)
    }

    fn flag(&self, number: usize) -> bool {
        let value = self.place(number).and_then(|at| self.bytes.number(at, 1));
        value.is_some_and(|value| value != 0)
    }

    /// Where what a field points to begins.
    fn target(&self, number: usize) -> Option<usize> {
        let at = self.place(number)?;
        at.checked_add(self.bytes.number(at, 4)? as usize)
    }

    fn table(&self, number: usize) -> Option<Fields<'a>> {
        self.bytes.at(self.target(number)?)
    }

    /// The bytes of a list of elements of `size` bytes.
    fn list(&self, number: usize, size: usize) -> Option<&'a [u8]> {
        let at = self.target(number)?;
        let count = (self.bytes.number(at, 4)? as usize).checked_mul(size)?;
        self.bytes.bytes(at.checked_add(4)?, count)
    }

    fn string(&self, number: usize) -> Option<&'a str> {
        std::str::from_utf8(self.list(number, 1)?).ok()
    }

    fn tables(&self, number: usize) -> Option<Vec<Fields<'a>>> {
        let count = self.list(number, 4)?.len() / 4;
        let first = self.target(number)?.checked_add(4)?;
        let table = |index: usize| {
            let at = first + 4 * index;
            let target = at.checked_add(self.bytes.number(at, 4)? as usize)?;
            self.bytes.at(target)
        };
        (0..count).map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(names: &[&str]) -> Vec<(String, Tensor)> {
        let of = |(at, name): (usize, &&str)| {
            let values: Vec<f32> = (0..6).map(|i| (i + 10 * at) as f32).collect();
            ((*name).to_owned(), Tensor::f32(&[2, 3], &values))
        };
        names.iter().enumerate().map(of).collect()
    }

    /// Before the first step, or behind some.
    fn saved(steps: Option<i64>) -> State {
        let mut state = State::default();
        for (name, tensor) in tensors(&["b", "a/ü"]) {
            state.put(Role::Parameter(name), tensor);
        }
        if let Some(steps) = steps {
            state.put(Role::Step, Tensor::scalar_i64(steps));
            for name in ["b", "a/ü"] {
                for (at, (_, role)) in MOMENTS.into_iter().enumerate() {
                    let values = [at as f32 - 0.5; 6];
                    state.put(role(name.to_owned()), Tensor::f32(&[2, 3], &values));
                }
            }
        }
        state.put(Role::Backbone, backbone(vec![0x5a; 32]));
        state
    }

    fn written(state: &State) -> Bytes {
        checkpoint(state, &tensors(&["c"])).unwrap().into()
    }

    #[test]
    fn what_is_written_is_read() {
        for steps in [None, Some(7)] {
            let bytes = written(&saved(steps));
            assert!(is_checkpoint(&bytes));
            let read = state(&bytes).unwrap();
            assert_eq!(read, saved(steps), "frozen parameters are no part of it");
            assert_eq!(read.steps(), steps);
        }
    }

    #[test]
    fn no_damage_makes_it_panic_or_read_outside() {
        let whole = written(&saved(Some(7)));
        for length in 0..whole.len() {
            let _ = state(&Bytes::copy_from_slice(&whole[..length]));
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.to_vec();
                damaged[at] = value;
                let _ = state(&Bytes::from(damaged));
            }
        }
    }
}
