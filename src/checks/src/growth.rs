//! How full the disk was, day by day, so that it can be said when it will be full. Kept in `checks/growth.json`: at most
//! [`KEPT`] days.

use crate::ChecksError;
use base::{Paths, durable};
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Days that are kept, and looked back at.
const KEPT: usize = 30;
const DAY: u64 = 86_400;
/// A sample is taken when the last is this old: once a day, a little earlier each time rather than skipped.
const BETWEEN: u64 = 20 * 3600;
/// Fewer days than these tell nothing.
const LEAST_SPAN: u64 = 3 * DAY;

/// What was used at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since 1970.
    pub at: u64,
    pub used_bytes: u64,
}

fn file(paths: &Paths) -> PathBuf {
    paths.checks().join("growth.json")
}

/// What is kept; what cannot be understood is as nothing.
pub fn load(paths: &Paths) -> Vec<Sample> {
    serde_json::from_slice(&std::fs::read(file(paths)).unwrap_or_default()).unwrap_or_default()
}

/// Keeps a sample of now, once a day.
pub fn note(paths: &Paths, now: u64) -> Result<(), ChecksError> {
    let mut samples = load(paths);
    if samples.last().is_some_and(|last| last.at <= now && now - last.at < BETWEEN) {
        return Ok(());
    }
    let Ok(stat) = statvfs(&paths.state()) else { return Ok(()) };
    let used_bytes = (stat.blocks() - stat.blocks_free()) * stat.fragment_size();
    samples.retain(|sample| sample.at < now);
    samples.push(Sample { at: now, used_bytes });
    let text = serde_json::to_vec(&samples.split_off(samples.len().saturating_sub(KEPT))).unwrap_or_default();
    durable::write(&file(paths), &text, 0o640).map_err(ChecksError::write(file(paths)))
}

/// Octets a day by which the disk fills (least squares); `None` while too little is known. Negative: it empties.
pub fn per_day(samples: &[Sample]) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    if last.at.saturating_sub(first.at) < LEAST_SPAN {
        return None;
    }
    let points: Vec<(f64, f64)> = samples
        .iter()
        .map(|sample| (sample.at.saturating_sub(first.at) as f64 / DAY as f64, sample.used_bytes as f64))
        .collect();
    let count = points.len() as f64;
    let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    (below > 0.0).then(|| above / below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_by_the_day_once_enough_is_known() {
        let samples = |values: &[u64]| -> Vec<Sample> {
            let at = |(day, used): (usize, &u64)| Sample { at: day as u64 * DAY, used_bytes: *used };
            values.iter().enumerate().map(at).collect()
        };
        assert_eq!(per_day(&samples(&[])), None);
        assert_eq!(per_day(&samples(&[1, 2, 3])), None, "two days");
        assert_eq!(per_day(&samples(&[10, 20, 30, 40])), Some(10.0));
        assert!(per_day(&samples(&[100, 90, 95, 80])).unwrap() < 0.0);
    }

    #[test]
    fn one_sample_a_day_is_kept_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::fs::create_dir_all(paths.checks()).unwrap();
        for hour in (0..40 * 24).step_by(4) {
            note(&paths, 1_000_000 + hour * 3600).unwrap();
        }
        let kept = load(&paths);
        assert_eq!(kept.len(), KEPT);
        assert!(
            kept.windows(2).all(|pair| pair[1].at - pair[0].at >= BETWEEN) && kept.iter().all(|one| one.used_bytes > 0)
        );
        std::fs::write(paths.checks().join("growth.json"), b"garbage").unwrap();
        assert!(load(&paths).is_empty());
    }
}
