//! What an operator decides about the encoding of updates.

use serde::{Deserialize, Serialize};

use crate::fault::ConfigError;

/// How updates become integers that add up.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncodingConfig {
    /// Bits of one client's integer per coordinate, 8 to 20; a lane of the sum has `log2` of the roster more. Default 16.
    pub levels_bits: u32,
    /// L2 norm that the change of the weights is scaled down to if it is longer. Default 16.
    pub clip_norm: f64,
    /// The same for the change of a control variate (SCAFFOLD). Default 16.
    pub control_norm: f64,
    /// What bounds a coordinate: `"rotation"`, or `{ range = 0.01 }`. Default `"rotation"`.
    pub spread: Spread,
    /// `"independent"`, or `"bounded"`, which distributed differential privacy needs. Default `"independent"`.
    pub rounding: Rounding,
    /// Fewer numbers than weights: `"none"`, `{ top-k = { .. } }` or `{ low-rank = { .. } }`. Default `"none"`.
    pub reduce: Reduce,
}

/// What bounds a coordinate before it is rounded.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Spread {
    /// A random rotation makes all coordinates about equally large, and the norm bounds them all.
    #[default]
    Rotation,
    /// No rotation. Coordinates beyond this magnitude are cut off.
    Range(f64),
}

/// How a real number between two integers becomes one of them; unbiased either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    /// Each coordinate by its own coin.
    #[default]
    Independent,
    /// All again until the norm of the integers keeps a bound, which makes the sensitivity smaller (conditional stochastic
    /// rounding, Kairouz, Liu and Steinke 2021, section 4.2). At most about 2.5 attempts on average; a bias of the order
    /// of the rounding itself remains.
    Bounded,
}

/// A linear map that all clients share and that leaves fewer numbers than weights.
///
/// What it drops stays with the client and is added to its next update (error feedback, Stich et al. 2018).
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reduce {
    /// All weights.
    #[default]
    None,
    /// Some weights: three quarters of them those that the last release changed most, the rest by lot, so that none is
    /// left out for ever.
    TopK {
        /// Of all weights; try .05 to .25.
        fraction: f64,
    },
    /// The weights as a nearly square matrix, times a random orthonormal basis that changes every round.
    LowRank {
        /// Columns of the basis; there are about `rank * sqrt(weights)` numbers.
        rank: u32,
    },
}

impl Default for EncodingConfig {
    fn default() -> Self {
        Self {
            levels_bits: 16,
            clip_norm: 16.0,
            control_norm: 16.0,
            spread: Spread::Rotation,
            rounding: Rounding::Independent,
            reduce: Reduce::None,
        }
    }
}

impl EncodingConfig {
    /// Checks that each number can be used.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key, which is below `encoding`.
    pub fn check(&self) -> Result<(), ConfigError> {
        let need = |ok: bool, key: &str, why: String| {
            if ok { Ok(()) } else { Err(ConfigError::value(format!("encoding.{key}"), why)) }
        };
        let positive = |value: f64| (1e-6..=1e6).contains(&value);
        let bits = self.levels_bits;
        need((8..=20).contains(&bits), "levels_bits", format!("{bits} is not within 8 to 20"))?;
        for (key, norm) in [("clip_norm", self.clip_norm), ("control_norm", self.control_norm)] {
            need(positive(norm), key, format!("{norm} is not within 0.000001 to 1000000"))?;
        }
        if let Spread::Range(range) = self.spread {
            need(positive(range), "spread.range", format!("{range} is not within 0.000001 to 1000000"))?;
        }
        match self.reduce {
            Reduce::None => Ok(()),
            Reduce::TopK { fraction } => need(
                fraction > 0.0 && fraction <= 1.0,
                "reduce.top-k.fraction",
                format!("{fraction} is not above 0 and up to 1"),
            ),
            Reduce::LowRank { rank } => need(
                (1..=1024).contains(&rank),
                "reduce.low-rank.rank",
                format!("{rank} is not within 1 to 1024"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn an_empty_file_is_the_default() {
        let config: EncodingConfig = parse("").unwrap();
        assert_eq!(config, EncodingConfig::default());
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("levels_bits = 7", "`encoding.levels_bits`: 7 is not within 8 to 20"),
            ("clip_norm = 0.0", "`encoding.clip_norm`: 0 is not within 0.000001 to 1000000"),
            ("clip_norm = nan", "`encoding.clip_norm`: NaN is not within 0.000001 to 1000000"),
            ("control_norm = -1.0", "`encoding.control_norm`: -1 is not within 0.000001 to 1000000"),
            ("spread = { range = inf }", "`encoding.spread.range`: inf is not within 0.000001 to 1000000"),
            (
                "reduce = { top-k = { fraction = 0.0 } }",
                "`encoding.reduce.top-k.fraction`: 0 is not above 0 and up to 1",
            ),
            (
                "reduce = { low-rank = { rank = 0 } }",
                "`encoding.reduce.low-rank.rank`: 0 is not within 1 to 1024",
            ),
        ];
        for (text, error) in cases {
            let config: EncodingConfig = parse(text).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), error);
        }
        let unknown = parse::<EncodingConfig>("level_bits = 9").unwrap_err().to_string();
        assert_eq!(unknown, "line 1: unknown key `level_bits`; did you mean `levels_bits`?");
    }
}
