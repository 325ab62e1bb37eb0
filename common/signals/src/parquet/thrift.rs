//! The compact protocol of Thrift, in which Parquet writes what it says of itself.

use std::collections::BTreeMap;

/// Structures within structures are followed this far.
const DEPTH: usize = 16;

/// A value of any type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Bytes(&'a [u8]),
    List(Vec<Value<'a>>),
    Struct(Fields<'a>),
    /// Nothing that Parquet asks for.
    Other,
}

/// By number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields<'a>(BTreeMap<i16, Value<'a>>);

impl<'a> Fields<'a> {
    /// Takes a structure off the front.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        fields(bytes, DEPTH)
    }

    pub(super) fn int(&self, field: i16) -> Option<i64> {
        match self.0.get(&field)? {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A count of something: an integer that is not below 0.
    pub(super) fn count(&self, field: i16) -> Option<usize> {
        usize::try_from(self.int(field)?).ok()
    }

    pub(super) fn bool(&self, field: i16) -> Option<bool> {
        match self.0.get(&field)? {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn text(&self, field: i16) -> Option<&'a str> {
        match self.0.get(&field)? {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    pub(super) fn inner(&self, field: i16) -> Option<&Self> {
        match self.0.get(&field)? {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The structures of a list.
    pub(super) fn list(&self, field: i16) -> Option<Vec<&Self>> {
        let Value::List(values) = self.0.get(&field)? else { return None };
        let mut inner = Vec::new();
        for value in values {
            let Value::Struct(fields) = value else { return None };
            inner.push(fields);
        }
        Some(inner)
    }
}

fn fields<'a>(bytes: &mut &'a [u8], depth: usize) -> Option<Fields<'a>> {
    let mut found = BTreeMap::new();
    let mut number = 0_i16;
    loop {
        let head = byte(bytes)?;
        if head == 0 {
            return Some(Fields(found));
        }
        number = match head >> 4 {
            0 => i16::try_from(zigzag(bytes)?).ok()?,
            step => number.checked_add(step.into())?,
        };
        let value = match head & 15 {
            1 => Value::Bool(true),
            2 => Value::Bool(false),
            kind => value(bytes, kind, depth)?,
        };
        found.insert(number, value);
    }
}

fn value<'a>(bytes: &mut &'a [u8], kind: u8, depth: usize) -> Option<Value<'a>> {
    let depth = depth.checked_sub(1)?;
    Some(match kind {
        // In a list, where a field's head does not say it.
        1 | 2 => Value::Bool(byte(bytes)? == 1),
        3 => Value::Int(i64::from(byte(bytes)?.cast_signed())),
        4..=6 => Value::Int(zigzag(bytes)?),
        7 => {
            bytes.split_off(..8)?;
            Value::Other
        }
        8 => {
            let length = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(bytes.split_off(..length)?)
        }
        9 | 10 => {
            let head = byte(bytes)?;
            let count = match head >> 4 {
                15 => varint(bytes)?,
                count => count.into(),
            };
            // Each takes a byte at least, so that no count outgrows the file.
            let mut values = Vec::new();
            for _ in 0..count {
                values.push(value(bytes, head & 15, depth)?);
            }
            Value::List(values)
        }
        12 => Value::Struct(fields(bytes, depth)?),
        _ => return None,
    })
}

pub(super) fn byte(bytes: &mut &[u8]) -> Option<u8> {
    bytes.split_off_first().copied()
}

/// Seven bits a byte, the lowest first.
pub(super) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let next = byte(bytes)?;
        value |= u64::from(next & 127) << shift;
        if next < 128 {
            return Some(value);
        }
    }
    None
}

fn zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let value = varint(bytes)?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_read_and_torn_ones_are_not() {
        // 1: i32 -3; 2: "ab"; 20: true; 21: list of two structures with 1: i64 300.
        let bytes =
            [0x15, 5, 0x18, 2, b'a', b'b', 0x01, 40, 0x19, 0x2c, 0x16, 0xd8, 4, 0, 0x16, 0xd8, 4, 0, 0];
        let mut rest = &bytes[..];
        let fields = Fields::take(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!((fields.int(1), fields.text(2), fields.bool(20)), (Some(-3), Some("ab"), Some(true)));
        assert_eq!((fields.count(1), fields.int(2)), (None, None));
        let list = fields.list(21).unwrap();
        assert_eq!(list.iter().map(|inner| inner.int(1)).collect::<Vec<_>>(), [Some(300), Some(300)]);
        for length in 0..bytes.len() {
            assert_eq!(Fields::take(&mut &bytes[..length]), None, "{length} bytes");
        }
        assert_eq!(Fields::take(&mut &[0x1c; 64][..]), None, "structures without an end");
        assert_eq!(Fields::take(&mut &[0x19, 0xf3, 255, 255, 255, 255, 255, 255, 255, 255, 127][..]), None);
    }
}
