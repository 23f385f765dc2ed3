//! An ONNX file in; its protobuf out, but for the values of its tensors, which are left in the file until they are asked for: whoever
//! takes them one by one never has all of them in memory.

use std::{borrow::Cow, fs::File, io, os::unix::fs::FileExt, path::Path};

use prost::{
    Message,
    bytes::{Buf, Bytes},
};
use tract_onnx::{
    pb::{ModelProto, TensorProto, tensor_proto::DataType},
    prelude::f16,
};

/// Bytes of a file that are held while it is gone through.
const WINDOW: usize = 1 << 16;
/// Shorter values are not worth another look into the file.
const SHORT: usize = 4096;
/// What stands for values that were left, before their number. It is longer than any name that protobuf would write here.
const MARK: &[u8; 24] = b"parlance: left in file #";

/// Values that were left in a file.
pub(crate) struct Left {
    file: File,
    /// Where each begins, and its bytes.
    places: Vec<(u64, usize)>,
}

impl Left {
    /// Reads a file's protobuf, without the values of its tensors. Fails with the reason.
    pub(super) fn read(path: &Path) -> io::Result<(ModelProto, Left)> {
        let mut reader = Reader::open(path)?;
        let model = ModelProto::decode(&mut reader);
        match (reader.failed, model) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            (None, Ok(model)) => {
                let (file, places) = (reader.file, reader.places);
                Ok((model, Left { file, places }))
            }
        }
    }

    /// A tensor with its values.
    pub(crate) fn whole<'t>(&self, tensor: &'t TensorProto) -> io::Result<Cow<'t, TensorProto>> {
        let Some((begin, length)) = self.place(tensor) else {
            return Ok(Cow::Borrowed(tensor));
        };
        let mut values = vec![0; length];
        self.file.read_exact_at(&mut values, begin)?;
        Ok(Cow::Owned(TensorProto {
            raw_data: values,
            ..tensor.clone()
        }))
    }

    /// The numbers of a tensor in single or half precision that were left; `None` for any other.
    pub(crate) fn floats(&self, tensor: &TensorProto) -> Option<Floats<'_>> {
        let (begin, length) = self.place(tensor)?;
        let halves = tensor.data_type == DataType::Float16 as i32;
        if !halves && tensor.data_type != DataType::Float as i32 {
            return None;
        }
        let each = if halves {
            size_of::<u16>()
        } else {
            size_of::<f32>()
        };
        length.is_multiple_of(each).then_some(Floats {
            file: &self.file,
            begin,
            count: length / each,
            halves,
        })
    }

    fn place(&self, tensor: &TensorProto) -> Option<(u64, usize)> {
        let number = tensor.raw_data.strip_prefix(MARK.as_slice())?;
        let number = u64::from_le_bytes(number.try_into().ok()?);
        self.places.get(usize::try_from(number).ok()?).copied()
    }
}

/// Numbers that were left in a file. What is taken of them is in memory, and nothing beside it.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'f> {
    file: &'f File,
    begin: u64,
    /// How many there are.
    pub(crate) count: usize,
    halves: bool,
}

impl Floats<'_> {
    /// So many of them from one on, which are there.
    pub(crate) fn take(&self, from: usize, count: usize) -> io::Result<Vec<f32>> {
        // ONNX has them in the order of bytes of every processor that this is built for.
        if self.halves {
            let mut halves = vec![0u16; count];
            let at = self.begin + (from * size_of::<u16>()) as u64;
            self.file
                .read_exact_at(bytemuck::cast_slice_mut(&mut halves), at)?;
            return Ok(halves
                .into_iter()
                .map(|bits| f16::from_bits(bits).to_f32())
                .collect());
        }
        let mut values = vec![0f32; count];
        let at = self.begin + (from * size_of::<f32>()) as u64;
        self.file
            .read_exact_at(bytemuck::cast_slice_mut(&mut values), at)?;
        Ok(values)
    }
}

/// Goes through a file from front to back. `prost` takes the values of tensors by [`Buf::copy_to_bytes`], and nothing else that is long:
/// there, it is given a mark instead of them. If another version took them in another way, they would be read where they stand.
struct Reader {
    file: File,
    /// Where the window begins, and the file ends.
    begin: u64,
    end: u64,
    window: Vec<u8>,
    /// How far the window is read.
    at: usize,
    places: Vec<(u64, usize)>,
    failed: Option<io::Error>,
}

impl Reader {
    fn open(path: &Path) -> io::Result<Reader> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let mut reader = Reader {
            file,
            begin: 0,
            end,
            window: Vec::new(),
            at: 0,
            places: Vec::new(),
            failed: None,
        };
        reader.fill(0);
        Ok(reader)
    }

    /// Has the window begin there. What cannot be read is the end of the file, and remembered.
    fn fill(&mut self, begin: u64) {
        let length = WINDOW.min(usize::try_from(self.end.saturating_sub(begin)).unwrap_or(WINDOW));
        self.window.resize(length, 0);
        (self.begin, self.at) = (begin, 0);
        if let Err(error) = self.file.read_exact_at(&mut self.window, begin) {
            self.failed = Some(error);
            self.end = begin;
            self.window.clear();
        }
    }

    fn place(&self) -> u64 {
        self.begin + self.at as u64
    }
}

impl Buf for Reader {
    fn remaining(&self) -> usize {
        usize::try_from(self.end.saturating_sub(self.place())).unwrap_or(usize::MAX)
    }

    fn chunk(&self) -> &[u8] {
        &self.window[self.at..]
    }

    fn advance(&mut self, count: usize) {
        if count < self.window.len() - self.at {
            self.at += count;
        } else {
            self.fill(self.place() + count as u64);
        }
    }

    fn copy_to_bytes(&mut self, length: usize) -> Bytes {
        if length < SHORT {
            let mut values = vec![0; length];
            self.copy_to_slice(&mut values);
            return values.into();
        }
        let number = self.places.len() as u64;
        self.places.push((self.place(), length));
        self.advance(length);
        [MARK.as_slice(), &number.to_le_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::GraphProto;

    use super::*;

    fn model(sizes: &[usize]) -> ModelProto {
        let tensors = sizes.iter().enumerate().map(|(i, &size)| TensorProto {
            name: format!("weight {i}"),
            raw_data: (0..size).map(|at| (at * 7 + i) as u8).collect(),
            ..TensorProto::default()
        });
        ModelProto {
            graph: Some(GraphProto {
                name: "n".repeat(3 * WINDOW),
                initializer: tensors.collect(),
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn long_values_stay_in_the_file_and_come_whole_when_they_are_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let model = model(&[0, 3, SHORT - 1, SHORT, WINDOW, 5 * WINDOW + 1, 9]);
        std::fs::write(file.path(), model.encode_to_vec()).unwrap();
        let (read, left) = Left::read(file.path()).unwrap();
        let (read, model) = (read.graph.unwrap(), model.graph.unwrap());
        assert_eq!(read.name, model.name);
        assert_eq!(left.places.len(), 3, "those that are long");
        for (read, tensor) in read.initializer.iter().zip(&model.initializer) {
            assert!(read.raw_data.len() < SHORT);
            assert_eq!(*left.whole(read).unwrap(), *tensor);
            let floats = TensorProto {
                data_type: DataType::Float as i32,
                ..read.clone()
            };
            let bytes = left.floats(&floats).map(|floats| {
                let floats = floats.take(0, floats.count).unwrap().into_iter();
                floats.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
            });
            let whole = tensor.raw_data.len() >= SHORT && tensor.raw_data.len() % 4 == 0;
            assert_eq!(bytes, whole.then(|| tensor.raw_data.clone()));
            assert!(left.floats(read).is_none(), "its numbers are of no kind");
            if let Some(floats) = left.floats(&floats) {
                let some = floats.take(7, 500).unwrap().into_iter();
                assert!(
                    some.flat_map(f32::to_le_bytes)
                        .eq(tensor.raw_data[28..2028].iter().copied())
                );
            }
            let halves = TensorProto {
                data_type: DataType::Float16 as i32,
                ..read.clone()
            };
            if let Some(halves) = left.floats(&halves) {
                let bits =
                    |at: usize| u16::from_le_bytes([tensor.raw_data[2 * at], tensor.raw_data[2 * at + 1]]);
                let expected: Vec<f32> = (3..9).map(|at| f16::from_bits(bits(at)).to_f32()).collect();
                let taken = halves.take(3, 6).unwrap();
                assert!(
                    taken
                        .iter()
                        .zip(&expected)
                        .all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{taken:?} {expected:?}"
                );
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_is_none_is_an_error_wherever_it_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let whole = model(&[SHORT, 10]).encode_to_vec();
        for length in [1, WINDOW, WINDOW * 3 + 100, whole.len() - SHORT, whole.len() - 1] {
            std::fs::write(file.path(), &whole[..length]).unwrap();
            assert!(
                Left::read(file.path()).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
        std::fs::write(file.path(), b"no protobuf at all").unwrap();
        assert!(Left::read(file.path()).is_err());
        assert!(Left::read(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn values_that_look_like_a_mark_are_themselves_where_nothing_was_left() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut model = model(&[8]);
        let mark = [MARK.as_slice(), &7u64.to_le_bytes()].concat();
        model.graph.as_mut().unwrap().initializer[0].raw_data = mark.clone();
        std::fs::write(file.path(), model.encode_to_vec()).unwrap();
        let (read, left) = Left::read(file.path()).unwrap();
        let tensor = &read.graph.unwrap().initializer[0];
        assert_eq!(left.whole(tensor).unwrap().raw_data, mark);
    }
}
