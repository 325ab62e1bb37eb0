//! Writes exports of Apple Health, for tests that read them.

use std::fmt::Write as _;

/// What an export begins with, a document type that is not well-formed among it: some versions write one.
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE HealthData [\n<!-- HealthKit Export Version: 14 -->\n\
    <!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout)*)>\n<!ATTLIST HealthData\n  locale CDATA #REQUIRED\n\
    <!ELEMENT Record ((MetadataEntry|HeartRateVariabilityMetadataList)*)>\n]>\n<HealthData locale=\"de_DE\">\n \
    <ExportDate value=\"2024-02-01 10:00:00 +0100\"/>\n <Me HKCharacteristicTypeIdentifierBloodType=\"HKBloodTypeNotSet\"/>\n";

/// An export to be, by lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct HealthFile {
    pub(crate) records: Vec<String>,
}

/// A moment of a night: seconds after 22:00 of the second of January 2024 where clocks are an hour before UTC, as written on clocks
/// that are `offset` hours before it.
pub(crate) fn moment(second: i64, offset: i64) -> String {
    let local = second + 21 * 3600 + offset * 3600;
    let (day, second) = (2 + local.div_euclid(86_400), local.rem_euclid(86_400));
    let sign = if offset < 0 { '-' } else { '+' };
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("2024-01-{day:02} {hour:02}:{minute:02}:{:02} {sign}{:02}00", second % 60, offset.abs())
}

impl HealthFile {
    pub(crate) fn hr(&mut self, source: &str, at: &str, bpm: f64) {
        let record = format!(
            " <Record type=\"HKQuantityTypeIdentifierHeartRate\" sourceName=\"{source}\" sourceVersion=\"10.2\" \
             device=\"&lt;&lt;HKDevice: 0x28&gt;, name:{source}&gt;\" unit=\"count/min\" creationDate=\"{at}\" startDate=\"{at}\" \
             endDate=\"{at}\" value=\"{bpm}\">\n  <MetadataEntry key=\"HKMetadataKeyHeartRateMotionContext\" value=\"1\"/>\n </Record>"
        );
        self.records.push(record);
    }

    pub(crate) fn sleep(&mut self, source: &str, from: &str, to: &str, value: &str) {
        let record = format!(
            " <Record type=\"HKCategoryTypeIdentifierSleepAnalysis\" sourceName=\"{source}\" creationDate=\"{to}\" \
             startDate=\"{from}\" endDate=\"{to}\" value=\"HKCategoryValueSleepAnalysis{value}\"/>"
        );
        self.records.push(record);
    }

    /// A watch's night `days` later: two hours in which heart rate is measured every `step` seconds, and half an hour of each stage.
    pub(crate) fn night(&mut self, days: i64, step: i64, offset: i64) {
        let start = days * 86_400 + 3600;
        for (i, value) in ["Awake", "AsleepCore", "AsleepDeep", "AsleepREM"].into_iter().enumerate() {
            let from = start + i as i64 * 1800;
            self.sleep(WATCH, &moment(from, offset), &moment(from + 1800, offset), value);
        }
        for second in (start..start + 7200).step_by(step as usize) {
            self.hr(WATCH, &moment(second, offset), 60.0 + (second / 300 % 7) as f64);
        }
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::from(HEAD);
        self.records.iter().for_each(|record| writeln!(text, "{record}").unwrap());
        let other = "HKQuantityTypeIdentifierStepCount";
        writeln!(
            text,
            " <Record type=\"{other}\" sourceName=\"Phone\" startDate=\"?\" endDate=\"\" value=\"7\"/>"
        )
        .unwrap();
        text.push_str(" <Workout workoutActivityType=\"HKWorkoutActivityTypeOther\" duration=\"7\">\n </Workout>\n</HealthData>\n");
        text
    }
}

/// With the blank that Apple writes into it.
pub(crate) const WATCH: &str = "Anna’s Apple\u{a0}Watch";
