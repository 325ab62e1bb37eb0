//! The colours of the stages as readers see them who lack one kind of cone.
//!
//! Simulated after Machado, Oliveira and Fernandes 2009 ("A physiologically-based model for simulation of color vision
//! deficiency", IEEE TVCG 15:1291), full severity, on linear sRGB; distances are CIE76 in CIELAB under D65.

use super::STYLE;

/// The least distance between two stages; one of 2.3 is just noticeable side by side.
const APART: f64 = 20.0;
const STAGES: [&str; 5] = ["wake", "rem", "depth-1", "depth-2", "depth-3"];

type Rgb = [f64; 3];
type Matrix = [[f64; 3]; 3];

const SEEN: [(&str, Matrix); 4] = [
    ("everybody", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protanopia",
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ),
    (
        "deuteranopia",
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
    ),
    (
        "tritanopia",
        [
            [1.255_528, -0.076_749, -0.178_779],
            [-0.078_411, 0.930_809, 0.147_602],
            [0.004_733, 0.691_367, 0.303_900],
        ],
    ),
];

#[test]
fn stages_stay_apart_for_colour_blind_readers() {
    let palettes = palettes();
    assert_eq!(palettes.len(), 3, "light, dark and paper");
    for (theme, colours) in palettes.iter().enumerate() {
        for (who, matrix) in SEEN {
            let seen: Vec<Rgb> = colours.iter().map(|&colour| lab(apply(&matrix, colour))).collect();
            for a in 0..STAGES.len() {
                for b in 0..a {
                    let apart = (0..3).map(|i| (seen[a][i] - seen[b][i]).powi(2)).sum::<f64>().sqrt();
                    let (one, other) = (STAGES[a], STAGES[b]);
                    assert!(apart >= APART, "theme {theme}, {who}: {one} and {other} are {apart:.1} apart");
                }
            }
        }
    }
}

#[test]
fn the_simulation_leaves_grey_alone_and_merges_what_is_confused() {
    for (who, matrix) in SEEN {
        let [l, a, b] = lab(apply(&matrix, [0.25; 3]));
        assert!((l - 57.08).abs() < 0.01 && a.abs() < 0.1 && b.abs() < 0.1, "{who}: {l} {a} {b}");
    }
    // Red and a green of the same lightness, to somebody without the middle cone.
    let [red, green] = [[0.6, 0.1, 0.1], [0.1, 0.35, 0.1]].map(|colour| lab(apply(&SEEN[2].1, colour)));
    let [sharp, blunt] = [lab([0.6, 0.1, 0.1]), lab([0.1, 0.35, 0.1])];
    let distance = |a: Rgb, b: Rgb| (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
    assert!(distance(red, green) < 0.4 * distance(sharp, blunt));
}

/// The stages' colours of each theme of the style sheet, linear.
fn palettes() -> Vec<Vec<Rgb>> {
    let of = |block: &str| -> Option<Vec<Rgb>> { STAGES.iter().map(|stage| colour(block, stage)).collect() };
    STYLE.split(":root {").filter_map(|block| of(block.split_once('}')?.0)).collect()
}

/// A colour `--name: #rrggbb;` as linear light.
fn colour(block: &str, name: &str) -> Option<Rgb> {
    let (_, after) = block.split_once(&format!("--{name}: #"))?;
    let part = |at: usize| u8::from_str_radix(after.get(at..at + 2)?, 16).ok();
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    Some([linear(part(0)?), linear(part(2)?), linear(part(4)?)])
}

fn apply(matrix: &Matrix, colour: Rgb) -> Rgb {
    let row = |row: &[f64; 3]| row.iter().zip(colour).map(|(m, c)| m * c).sum::<f64>().clamp(0.0, 1.0);
    [row(&matrix[0]), row(&matrix[1]), row(&matrix[2])]
}

fn lab(linear: Rgb) -> Rgb {
    const XYZ: Matrix = [
        [0.412_456_4, 0.357_576_1, 0.180_437_5],
        [0.212_672_9, 0.715_152_2, 0.072_175_0],
        [0.019_333_9, 0.119_192_0, 0.950_304_1],
    ];
    const WHITE: Rgb = [0.950_47, 1.0, 1.088_83];
    let f = |t: f64| if t > 216.0 / 24_389.0 { t.cbrt() } else { (24_389.0 / 27.0 * t + 16.0) / 116.0 };
    let at = |i: usize| f((0..3).map(|j| XYZ[i][j] * linear[j]).sum::<f64>() / WHITE[i]);
    let (x, y, z) = (at(0), at(1), at(2));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}
