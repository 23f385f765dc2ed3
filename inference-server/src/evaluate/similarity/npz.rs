//! A file as `numpy.savez` or `numpy.savez_compressed` writes it in; its arrays out.

use std::{fs::File, path::Path};

use ndarray::{ArrayD, IxDyn, OwnedRepr};
use ndarray_npy::{NpzReader, ReadNpyError, ReadNpzError, ReadableElement};

use crate::tensors::elements::Loose;

/// A named array.
pub(super) struct Array {
    /// Its name.
    pub(super) name: String,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// Its elements, row by row.
    pub(super) elements: Loose,
}

/// All arrays of a file.
pub(super) fn read(path: &Path) -> Result<Vec<Array>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut npz = NpzReader::new(file).map_err(|error| error.to_string())?;
    let names = npz.names().map_err(|error| error.to_string())?;
    let arrays = names.into_iter().map(|name| match array(&mut npz, &name) {
        Ok((shape, elements)) => Ok(Array { name, shape, elements }),
        Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(found))) => Err(format!(
            "the array {name} holds {found}, and not booleans, integers, float32 or float64: convert it (astype)"
        )),
        Err(error) => Err(format!("the array {name}: {error}")),
    });
    arrays.collect()
}

type Read = Result<(Vec<usize>, Loose), ReadNpzError>;

/// Tries each type of elements in turn: the file says which it is, and the library refuses the others.
fn array(npz: &mut NpzReader<File>, name: &str) -> Read {
    let attempts: [fn(&mut NpzReader<File>, &str) -> Read; 11] = [
        |npz, name| as_type::<f32>(npz, name, |v| Loose::Floats(v.map(f64::from).collect())),
        |npz, name| as_type::<f64>(npz, name, |v| Loose::Floats(v.collect())),
        |npz, name| as_type::<i64>(npz, name, |v| Loose::Ints(v.collect())),
        |npz, name| as_type::<i32>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
        |npz, name| as_type::<bool>(npz, name, |v| Loose::Bools(v.collect())),
        |npz, name| as_type::<u8>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
        |npz, name| as_type::<u64>(npz, name, |v| Loose::Unsigned(v.collect())),
        |npz, name| as_type::<u32>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
        |npz, name| as_type::<i16>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
        |npz, name| as_type::<u16>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
        |npz, name| as_type::<i8>(npz, name, |v| Loose::Ints(v.map(i64::from).collect())),
    ];
    let (last, others) = attempts
        .split_last()
        .map_or((None, &[][..]), |(last, others)| (Some(last), others));
    for attempt in others {
        match attempt(npz, name) {
            Err(ReadNpzError::Npy(ReadNpyError::WrongDescriptor(_))) => {}
            read => return read,
        }
    }
    last.map_or_else(
        || Ok((Vec::new(), Loose::Ints(Vec::new()))),
        |attempt| attempt(npz, name),
    )
}

fn as_type<T: ReadableElement + Copy>(
    npz: &mut NpzReader<File>,
    name: &str,
    elements: impl FnOnce(&mut dyn Iterator<Item = T>) -> Loose,
) -> Read {
    let array: ArrayD<T> = npz.by_name::<OwnedRepr<T>, IxDyn>(name)?;
    Ok((array.shape().to_vec(), elements(&mut array.iter().copied())))
}
