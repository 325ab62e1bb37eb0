use super::super::Lab;
use super::*;
use crate::progress::Progress;

fn small() -> Compression {
    let size = |width, kernel, blocks, context| Size { width, kernel, blocks, context };
    Compression {
        seeds: vec![1, 2],
        folds: 3,
        judged: 2,
        synthetic: Some(SyntheticConfig { people: 4, seed: 9, ..SyntheticConfig::default() }),
        teacher: Origin::Nano,
        passes: 1,
        unscored: Some(SyntheticConfig { people: 1, seed: 3, ..SyntheticConfig::default() }),
        sizes: vec![size(16, 3, 1, false), size(16, 3, 2, true), size(16, 5, 2, true), size(32, 3, 2, true)],
        plan: TrainPlan { steps: 4, ..TrainPlan::default() },
        together: Some(Together {
            starts: vec![Origin::None],
            rounds: 2,
            steps: 1,
            lessons: 2,
            public: SyntheticConfig { people: 2, ..SyntheticConfig::default() },
        }),
        ..Compression::default()
    }
}

fn run(jobs: usize) -> Summary {
    let means = Means { jobs, progress: |_| Progress::hidden() };
    Lab::Compression(Box::new(small())).run(None, &means).unwrap()
}

#[test]
fn every_size_has_every_way_and_threads_change_nothing() {
    let found = run(1);
    let [sizes, gains, losses, laws, together] = &found.grids[..] else {
        panic!("{} grids", found.grids.len())
    };
    assert_eq!((sizes.lines.len(), sizes.columns.len()), (4 + 1, 5 + 5));
    assert_eq!(gains.lines.len(), 4);
    let teacher = &sizes.lines[4];
    assert_eq!((&*teacher.name, teacher.cells[0].mean), ("the teacher, nano", Some(12_068.0)));
    assert!(teacher.cells[5..].iter().all(|cell| cell.n == 0), "{teacher:?}");
    // Eight bits are the same network, not an equal one.
    let lost = || losses.lines.iter().flat_map(|line| &line.cells).map(|cell| cell.mean.unwrap());
    assert_eq!(lost().count(), 4 * 5);
    assert!(lost().all(|lost| lost.abs() < 0.1) && lost().any(|lost| lost != 0.0), "{losses:?}");
    // What a teacher adds is the difference of the columns.
    for (size, gain) in sizes.lines.iter().zip(&gains.lines) {
        let kappa = |column: usize| size.cells[column].mean.unwrap();
        assert!((kappa(7) - kappa(5) - gain.cells[1].mean.unwrap()).abs() < 1e-12, "{}", size.name);
    }
    let weights: Vec<f64> = sizes.lines[..4].iter().map(|line| line.cells[0].mean.unwrap()).collect();
    assert_eq!(weights[0], 1268.0);
    assert!(weights.is_sorted());
    assert_eq!(laws.lines.len(), 5 * 2);
    assert_eq!(together.lines.len(), 3);
    let other = run(2);
    assert_eq!([gains, losses, laws, together], [1, 2, 3, 4].map(|grid| &other.grids[grid]));
}

#[test]
fn mistakes_name_their_key() {
    let head = "study = 'compression'\nname = 'x'\n";
    let cases = [
        ("teacher = 'none'", "`teacher`: random weights"),
        ("judged = 7", "`judged`: 7 is not within 1 to 6"),
        ("strategies = [{ kind = 'soft', alpha = 3 }]", "`strategies.alpha`: 3 is not"),
        ("sizes = [{ width = 17, kernel = 3, blocks = 1, context = true }]", "net.width: 17"),
        ("sizes = [{ width = 16, kernel = 3, blocks = 0, context = true }]", "`sizes.blocks`: 0"),
        ("together = { rounds = 0 }", "`together.rounds`: 0 is not"),
        ("passses = 3", "did you mean `passes`?"),
    ];
    for (line, expected) in cases {
        let error = Lab::from_text(&format!("{head}{line}\n")).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
    }
}

#[test]
fn without_a_folder_it_says_what_it_reads() {
    let study = Compression { synthetic: None, ..small() };
    let means = Means { jobs: 1, progress: |_| Progress::hidden() };
    let error = Lab::Compression(Box::new(study)).run(None, &means).unwrap_err().to_string();
    assert!(error.contains("--data"), "{error}");
}
