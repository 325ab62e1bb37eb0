//! Independent jobs on some threads; what comes of them is in the order of the jobs, whoever was first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does each of `jobs` on up to `threads` threads. The first error in the order of the jobs, if there is one.
pub(super) fn all<J: Sync, T: Send, E: Send>(
    threads: usize,
    jobs: &[J],
    work: impl Fn(&J) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let (sender, done) = mpsc::channel();
    let mut results: Vec<(usize, Result<T, E>)> = std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(number) else { break };
                    // Somebody listens until the last worker has gone.
                    let _ = sender.send((number, work(job)));
                }
            });
        }
        drop(sender);
        done.iter().collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_jobs_and_the_first_error_wins() {
        let jobs: Vec<u32> = (0..50).collect();
        for threads in [0, 1, 3, 80] {
            let doubled = all(threads, &jobs, |job| Ok::<_, u32>(job * 2)).unwrap();
            assert_eq!(doubled, jobs.iter().map(|job| job * 2).collect::<Vec<_>>());
            let wrong = all(threads, &jobs, |job| if job % 20 == 7 { Err(*job) } else { Ok(()) });
            assert_eq!(wrong, Err(7));
        }
        assert_eq!(all(2, &[], |job: &u32| Ok::<_, ()>(*job)), Ok(Vec::new()));
    }
}
