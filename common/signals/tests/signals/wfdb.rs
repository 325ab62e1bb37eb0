//! Just enough of WFDB to read a record of `mitdb`: two signals in format 212, 360 Hz, and beat annotations.

use std::io::Read;
use std::path::Path;

use somnus_signals::Segment;

/// Rate of the database, Hz.
const RATE: f64 = 360.0;
/// Analogue-to-digital units per millivolt, and the one that is 0 mV.
const GAIN: f32 = 200.0;
const ZERO: i32 = 1024;

/// Lead 0, mV.
pub(crate) fn lead_0(dir: &Path, record: &str) -> Segment {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(dir.join(format!("{record}.dat.gz"))).unwrap();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let sample = |three: &[u8]| {
        let raw = i32::from(three[0]) | (i32::from(three[1] & 0x0f) << 8);
        let signed = if raw > 2047 { raw - 4096 } else { raw };
        (signed - ZERO) as f32 / GAIN
    };
    Segment { start: 0.0, rate: RATE, samples: bytes.chunks_exact(3).map(sample).collect() }
}

/// Times of annotated beats, seconds. Stretches of ventricular flutter hold none.
pub(crate) fn beats(dir: &Path, record: &str) -> Vec<f64> {
    /// The codes of WFDB's `ecgcodes.h` that are QRS complexes.
    const BEATS: [u16; 19] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41];
    let bytes = std::fs::read(dir.join(format!("{record}.atr"))).unwrap();
    let word = |i: usize| u16::from_le_bytes([bytes[i], bytes[i + 1]]);
    let (mut at, mut time, mut beats) = (0, 0i64, Vec::new());
    while at + 1 < bytes.len() {
        let (code, value) = (word(at) >> 10, word(at) & 0x3ff);
        at += 2;
        match (code, value) {
            (0, 0) => break,
            (59, _) => {
                time += i64::from((u32::from(word(at)) << 16 | u32::from(word(at + 2))) as i32);
                at += 4;
            }
            (60..=62, _) => {}
            (63, length) => at += usize::from(length.next_multiple_of(2)),
            (code, step) => {
                time += i64::from(step);
                if BEATS.contains(&code) {
                    beats.push(time as f64 / RATE);
                }
            }
        }
    }
    beats
}
