//! The real cohort, where it lies beside the checkout.

use std::path::Path;

use somnus_signals::{NightRules, StreamKind, sleep_accel};

#[test]
fn twenty_three_of_twenty_four_pass() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/sleep-accel"));
    if !dir.is_dir() {
        println!("SKIPPED twenty_three_of_twenty_four_pass: {} is absent", dir.display());
        return;
    }
    assert_eq!(sleep_accel::people(dir).unwrap().len(), 24);
    let cohort = sleep_accel::cohort(dir, &NightRules::default()).unwrap();
    assert_eq!(cohort.nights.len(), 23);
    let [excluded] = &cohort.excluded[..] else {
        panic!("one is excluded: {:?}", cohort.excluded);
    };
    assert_eq!(excluded.id, "7749105");
    assert!(excluded.reason.contains("heart-rate coverage is 2"), "{}", excluded.reason);
    for night in &cohort.nights {
        println!("{:18} {:4} epochs {:?}", night.id(), night.epochs, night.quality);
        let coverage = |kind| night.quality.coverage[&kind];
        assert!(coverage(StreamKind::Hr) > 0.9);
        assert!(coverage(StreamKind::Activity) > 0.9 && coverage(StreamKind::Posture) > 0.9);
        assert!(night.features.values().all(|f| f.values.iter().all(|v| v.is_finite())));
    }
    let low = cohort.nights.iter().find(|n| n.person.as_str() == "1066528").unwrap();
    assert!((0.91..0.94).contains(&low.quality.coverage[&StreamKind::Hr]));
}
