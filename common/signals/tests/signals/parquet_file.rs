//! Writes Parquet files of one group of rows, one plain page for each column, nothing packed and nothing missing.

/// A column.
#[derive(Clone, Copy)]
pub(crate) enum Values<'a> {
    /// DOUBLE.
    Numbers(&'a [f64]),
    /// INT32, a decimal with two digits behind the point.
    Hundredths(&'a [i32]),
    /// INT32, days since 1970.
    Days(&'a [i32]),
    /// INT64, microseconds since 1970 on a clock of no zone.
    Local(&'a [i64]),
    /// BYTE_ARRAY.
    Words(&'a [&'a str]),
}

/// A structure in Thrift's compact protocol: fields in ascending order, then the end.
struct Fields(Vec<u8>, u8);

impl Fields {
    fn new() -> Self {
        Self(Vec::new(), 0)
    }

    fn head(mut self, field: u8, kind: u8) -> Self {
        self.0.push((field - self.1) << 4 | kind);
        self.1 = field;
        self
    }

    fn varint(mut self, mut value: u64) -> Self {
        while value > 127 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// Of 32 bits; those of 64 are of kind 6.
    fn int(self, field: u8, value: usize) -> Self {
        self.head(field, 5).varint(value as u64 * 2)
    }

    fn long(self, field: u8, value: usize) -> Self {
        self.head(field, 6).varint(value as u64 * 2)
    }

    fn text(self, field: u8, text: &str) -> Self {
        let mut with = self.head(field, 8).varint(text.len() as u64);
        with.0.extend(text.as_bytes());
        with
    }

    fn inner(self, field: u8, inner: Self) -> Self {
        let mut with = self.head(field, 12);
        with.0.extend(inner.end());
        with
    }

    fn list(self, field: u8, all: Vec<Self>) -> Self {
        let mut with = self.head(field, 9);
        with.0.push((all.len() as u8) << 4 | 12);
        all.into_iter().for_each(|one| with.0.extend(one.end()));
        with
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

pub(crate) fn parquet(columns: &[(&str, Values<'_>)]) -> Vec<u8> {
    let mut bytes = b"PAR1".to_vec();
    let mut schema = vec![Fields::new().text(4, "schema").int(5, columns.len())];
    let mut chunks = Vec::new();
    let mut rows = 0;
    for (name, values) in columns {
        let (kind, count, page) = match values {
            Values::Numbers(numbers) => {
                (5, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>())
            }
            Values::Hundredths(numbers) | Values::Days(numbers) => {
                (1, numbers.len(), numbers.iter().flat_map(|n| n.to_le_bytes()).collect())
            }
            Values::Local(times) => {
                (2, times.len(), times.iter().flat_map(|time| time.to_le_bytes()).collect())
            }
            Values::Words(words) => {
                let word = |word: &&str| [&(word.len() as u32).to_le_bytes(), word.as_bytes()].concat();
                (6, words.len(), words.iter().flat_map(word).collect())
            }
        };
        rows = count;
        let field = Fields::new().int(1, kind).int(3, 0).text(4, name);
        schema.push(match values {
            Values::Hundredths(_) => field.int(6, 5).int(7, 2).int(8, 9),
            Values::Days(_) => field.int(6, 6),
            Values::Local(_) => {
                let micros = Fields::new().inner(2, Fields::new());
                let moment = Fields::new().head(1, 2).inner(2, micros);
                field.inner(10, Fields::new().inner(8, moment))
            }
            _ => field,
        });
        let about = Fields::new().int(1, count).int(2, 0).int(3, 3).int(4, 3);
        let header = Fields::new().int(1, 0).int(2, page.len()).int(3, page.len()).inner(5, about).end();
        let (at, length) = (bytes.len(), header.len() + page.len());
        bytes.extend(header);
        bytes.extend(page);
        let about =
            Fields::new().int(1, kind).int(4, 0).long(5, count).long(6, length).long(7, length).long(9, at);
        chunks.push(Fields::new().long(2, at).inner(3, about));
    }
    let group = Fields::new().list(1, chunks).long(2, bytes.len()).long(3, rows);
    let footer = Fields::new().int(1, 1).list(2, schema).long(3, rows).list(4, vec![group]).end();
    bytes.extend(&footer);
    bytes.extend((footer.len() as u32).to_le_bytes());
    bytes.extend(b"PAR1");
    bytes
}
