//! Rounds that wait for nobody in particular (FedBuff, Nguyen et al. 2022).
//!
//! The server keeps a number of clients at work. A round ends as soon as its cohort is ready, whoever that is: these are the
//! buffer. All others go on training for the release that they began with, and bring what they have to a later round, with a
//! weight that falls with the number of releases made since. Each client weighs its own update before it encodes it, so in
//! masked rounds the weight is hidden with the update.

use serde::{Deserialize, Serialize};

use crate::config::FederationConfig;
use crate::encoding::Reduce;
use crate::fault::ConfigError;
use crate::ids::Version;
use crate::sum::MAX_UPDATES;
use crate::update::Extra;

/// Asynchronous rounds, as an operator writes them.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsynchronousConfig {
    /// Clients that train at a time; at least `cohort`, the updates that make a release.
    pub concurrency: u32,
    /// Releases after which a training that is not done is begun anew. Default 10.
    #[serde(default = "ten")]
    pub max_staleness: u64,
    /// An update that is `s` releases late weighs `1 / (1 + s)^exponent`. Default .5.
    #[serde(default = "half")]
    pub exponent: f64,
}

fn ten() -> u64 {
    10
}

fn half() -> f64 {
    0.5
}

/// How late an update may be in a round, the same for all clients of it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Lag {
    /// The release that the round starts from.
    pub version: Version,
    /// Most releases between the one that an update was trained from and this one.
    pub most: u64,
    /// See [`AsynchronousConfig::exponent`].
    pub exponent: f64,
}

impl Lag {
    /// The weight of an update that is so many releases late.
    pub fn weight(&self, late: u64) -> f32 {
        (1.0 + late as f64).powf(-self.exponent) as f32
    }

    /// Refuses what would weigh an update more than it is worth; clients do too.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let exponent = self.exponent;
        if (0.0..=10.0).contains(&exponent) {
            return Ok(());
        }
        Err(ConfigError::value("asynchronous.exponent", format!("{exponent} is not within 0 to 10")))
    }
}

impl AsynchronousConfig {
    /// What rounds that start from `version` say of late updates.
    pub(crate) fn lag(&self, version: Version) -> Lag {
        Lag { version, most: self.max_staleness, exponent: self.exponent }
    }

    /// Refuses keys that belong to rounds of one release alone.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(crate) fn check(&self, federation: &FederationConfig) -> Result<(), ConfigError> {
        let need =
            |ok: bool, key: &str, why: &str| if ok { Ok(()) } else { Err(ConfigError::value(key, why)) };
        self.lag(Version(0)).check()?;
        let (least, most) = (federation.cohort, MAX_UPDATES);
        need(
            (least..=most).contains(&self.concurrency),
            "asynchronous.concurrency",
            &format!("{} is not within `cohort` ({least}) to {most}", self.concurrency),
        )?;
        need(
            federation.over_select == 1.0,
            "over_select",
            "`asynchronous.concurrency` says how many clients train at a time: leave it out",
        )?;
        need(
            !federation.deadline.is_learned(),
            "deadline",
            "an asynchronous round does not wait for those who are late: use `\"fixed\"`",
        )?;
        need(
            federation.strategy.extra() != Extra::Control,
            "strategy",
            "SCAFFOLD's control variates are those of one release, and an asynchronous round has updates of several",
        )?;
        need(
            federation.plan.invariance.is_none(),
            "plan.invariance",
            "embeddings are pooled of networks that began alike, and those of an asynchronous round did not",
        )?;
        need(
            federation.danger_plain_aggregation
                || !matches!(federation.secure.encoding.reduce, Reduce::TopK { .. }),
            "secure.encoding.reduce",
            "the favourites of `top-k` are those of one release, and an asynchronous round has updates of several: use \
             `low-rank` or `none`",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn late_updates_weigh_less_and_never_nothing() {
        let lag = |exponent| Lag { version: Version(3), most: 10, exponent };
        assert_eq!([0, 3, 8].map(|late| lag(0.5).weight(late)), [1.0, 0.5, 1.0 / 3.0]);
        assert_eq!([0, 3, 8].map(|late| lag(0.0).weight(late)), [1.0; 3]);
        assert!(lag(10.0).weight(1_000) > 0.0);
        for wrong in [-0.5, f64::NAN, f64::INFINITY] {
            assert!(lag(wrong).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_needs_one_release_is_refused_by_its_key() {
        let check = |text: &str| parse::<FederationConfig>(text).and_then(FederationConfig::check);
        let rounds = "asynchronous = { concurrency = 12 }\n";
        check(rounds).unwrap();
        check(&format!("{rounds}strategy = {{ kind = \"fed-nova\", rate = 1.0 }}\n")).unwrap();
        check(&format!("{rounds}plan = {{ personal = \"head\" }}\n")).unwrap();
        check(&format!("{rounds}secure = {{ encoding = {{ reduce = {{ low-rank = {{ rank = 4 }} }} }} }}\n"))
            .unwrap();
        let cases = [
            ("asynchronous.concurrency", "asynchronous = { concurrency = 7 }\n".to_owned()),
            ("asynchronous.exponent", "asynchronous = { concurrency = 12, exponent = -1.0 }\n".to_owned()),
            ("over_select", format!("{rounds}over_select = 1.5\n")),
            ("deadline", format!("{rounds}deadline = {{ learned = {{}} }}\n")),
            (
                "strategy",
                format!("{rounds}strategy = {{ kind = \"scaffold\", rate = 1.0, population = 20 }}\n"),
            ),
            ("plan.invariance", format!("{rounds}plan = {{ invariance = {{ weight = 0.1 }} }}\n")),
            (
                "secure.encoding.reduce",
                format!(
                    "{rounds}secure = {{ encoding = {{ reduce = {{ top-k = {{ fraction = 0.5 }} }} }} }}\n"
                ),
            ),
        ];
        for (key, text) in cases {
            let error = check(&text).map(drop).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{key}`")), "{error}");
        }
    }
}
