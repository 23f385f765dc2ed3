//! The `data` of a tensor in JSON, flat or nested, in; its elements in their order out. The shape is said beside it: how the arrays
//! are nested says nothing more.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, SeqAccess, Visitor},
};

use super::super::super::elements::Loose;

/// The elements.
#[derive(Debug)]
pub(super) struct Data(pub(super) Loose);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut elements = Loose::Ints(Vec::new());
        Into(&mut elements).deserialize(deserializer)?;
        Ok(Data(elements))
    }
}

/// Adds what it is given, or what is in it.
struct Into<'e>(&'e mut Loose);

impl<'de> DeserializeSeed<'de> for Into<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Into<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or true and false, in arrays")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Into(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.0 {
            Loose::Bools(values) => values.push(value),
            Loose::Ints(values) if values.is_empty() => *self.0 = Loose::Bools(vec![value]),
            _ => return Err(E::custom("data holds numbers, and true or false")),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match self.0 {
            Loose::Ints(values) => values.push(value),
            Loose::Floats(values) => values.push(value as f64),
            Loose::Unsigned(_) => return Err(E::custom("no datatype holds all of the numbers in data")),
            Loose::Bools(_) => return Err(E::custom("data holds numbers, and true or false")),
        }
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        if let Ok(value) = i64::try_from(value)
            && !matches!(self.0, Loose::Unsigned(_))
        {
            return self.visit_i64(value);
        }
        match self.0 {
            Loose::Unsigned(values) => values.push(value),
            Loose::Floats(values) => values.push(value as f64),
            Loose::Ints(values) => {
                let before: Result<Vec<u64>, _> = values.iter().map(|value| u64::try_from(*value)).collect();
                let mut values =
                    before.map_err(|_| E::custom("no datatype holds all of the numbers in data"))?;
                values.push(value);
                *self.0 = Loose::Unsigned(values);
            }
            Loose::Bools(_) => return Err(E::custom("data holds numbers, and true or false")),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let mut floats: Vec<f64> = match self.0 {
            Loose::Floats(values) => {
                values.push(value);
                return Ok(());
            }
            Loose::Ints(values) => values.iter().map(|value| *value as f64).collect(),
            Loose::Unsigned(values) => values.iter().map(|value| *value as f64).collect(),
            Loose::Bools(_) => return Err(E::custom("data holds numbers, and true or false")),
        };
        floats.push(value);
        *self.0 = Loose::Floats(floats);
        Ok(())
    }
}
