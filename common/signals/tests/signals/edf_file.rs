//! Writes EDF and EDF+ as the standard says, for tests that read it.

use std::fmt::Write as _;

/// A file to be.
#[derive(Debug, Clone)]
pub(crate) struct EdfFile {
    pub(crate) date: String,
    pub(crate) time: String,
    pub(crate) recording: String,
    /// Empty, `EDF+C` or `EDF+D`.
    pub(crate) reserved: String,
    /// Seconds of a record.
    pub(crate) seconds: f64,
    /// When each record begins.
    pub(crate) records: Vec<f64>,
    pub(crate) signals: Vec<Signal>,
    pub(crate) annotations: Vec<(f64, Option<f64>, String)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Signal {
    pub(crate) label: String,
    pub(crate) unit: String,
    pub(crate) physical: (f64, f64),
    pub(crate) digital: (i16, i16),
    /// Samples in a record.
    pub(crate) samples: usize,
    /// Physical, one record after the other.
    pub(crate) values: Vec<f64>,
}

impl Signal {
    pub(crate) fn stored(&self, value: f64) -> i16 {
        let ((low, high), (least, most)) =
            (self.physical, (f64::from(self.digital.0), f64::from(self.digital.1)));
        (least + (value - low) / (high - low) * (most - least)).round().clamp(least, most) as i16
    }
}

impl EdfFile {
    /// `seconds` of heart rate, one value a second, in EDF+C with records of 30 s, begun at 22:00.
    pub(crate) fn hr(seconds: usize) -> Self {
        let bpm = (0..seconds).map(|i| 60.0 + 10.0 * (i as f64 / 300.0).sin()).collect();
        Self {
            date: "09.03.26".into(),
            time: "22.00.00".into(),
            recording: "Startdate 09-MAR-2026 X X X".into(),
            reserved: "EDF+C".into(),
            seconds: 30.0,
            records: (0..seconds / 30).map(|k| k as f64 * 30.0).collect(),
            signals: vec![Signal {
                label: "Heart rate".into(),
                unit: "bpm".into(),
                physical: (0.0, 300.0),
                digital: (0, 30_000),
                samples: 30,
                values: bpm,
            }],
            annotations: Vec::new(),
        }
    }

    /// Stages alone, `seconds` each, on the clock of [`EdfFile::hr`].
    pub(crate) fn stages(texts: &[&str], seconds: f64) -> Self {
        let said = |(i, text): (usize, &&str)| (i as f64 * seconds, Some(seconds), (*text).to_owned());
        Self {
            seconds: 0.0,
            records: vec![0.0],
            signals: Vec::new(),
            annotations: texts.iter().enumerate().map(said).collect(),
            ..Self::hr(0)
        }
    }

    /// What is in each record as text: its time, then what begins in it.
    fn texts(&self) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        for (k, begins) in self.records.iter().enumerate() {
            let mut text = format!("+{begins}\x14\x14\0");
            let until = self.records.get(k + 1).copied().unwrap_or(f64::INFINITY);
            let from = if k == 0 { f64::NEG_INFINITY } else { *begins };
            for (onset, duration, said) in
                self.annotations.iter().filter(|(onset, ..)| (from..until).contains(onset))
            {
                let sign = if *onset < 0.0 { "" } else { "+" };
                let duration = duration.map_or_else(String::new, |duration| format!("\x15{duration}"));
                write!(text, "{sign}{onset}{duration}\x14{said}\x14\0").unwrap();
            }
            texts.push(text.into_bytes());
        }
        texts
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let texts = if self.reserved.is_empty() { Vec::new() } else { self.texts() };
        let text_samples = texts.iter().map(|text| text.len().div_ceil(2)).max().unwrap_or(1);
        let mut signals = self.signals.clone();
        if !texts.is_empty() {
            signals.push(Signal {
                label: "EDF Annotations".into(),
                unit: String::new(),
                physical: (-1.0, 1.0),
                digital: (-32_768, 32_767),
                samples: text_samples,
                values: Vec::new(),
            });
        }
        let mut out = String::new();
        let count = signals.len();
        let header = (256 * (count + 1)).to_string();
        let (records, seconds) = (self.records.len().to_string(), self.seconds.to_string());
        let fields = [
            ("0", 8),
            ("X X X X", 80),
            (&self.recording, 80),
            (&self.date, 8),
            (&self.time, 8),
            (&header, 8),
        ];
        let more = [(&self.reserved[..], 44), (&records, 8), (&seconds, 8), (&count.to_string(), 4)];
        for (field, width) in fields.into_iter().chain(more) {
            write!(out, "{field:<width$}").unwrap();
        }
        let mut column = |width: usize, field: &dyn Fn(&Signal) -> String| {
            signals.iter().for_each(|signal| write!(out, "{:<width$}", field(signal)).unwrap());
        };
        column(16, &|s| s.label.clone());
        column(80, &|_| String::new());
        column(8, &|s| s.unit.clone());
        column(8, &|s| s.physical.0.to_string());
        column(8, &|s| s.physical.1.to_string());
        column(8, &|s| s.digital.0.to_string());
        column(8, &|s| s.digital.1.to_string());
        column(80, &|_| String::new());
        column(8, &|s| s.samples.to_string());
        column(32, &|_| String::new());
        let mut bytes = out.into_bytes();
        assert_eq!(bytes.len(), 256 * (count + 1), "a field is too wide");
        for k in 0..self.records.len() {
            for signal in &self.signals {
                let values = &signal.values[k * signal.samples..(k + 1) * signal.samples];
                bytes.extend(values.iter().flat_map(|value| signal.stored(*value).to_le_bytes()));
            }
            if let Some(text) = texts.get(k) {
                bytes.extend(text);
                bytes.resize(bytes.len() + 2 * text_samples - text.len(), 0);
            }
        }
        bytes
    }
}
