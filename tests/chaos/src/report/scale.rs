//! From numbers to places, and the ticks between.

/// A line of numbers from 0 to `most`, drawn from `from` to `to`.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// `most` is made positive.
    pub(super) fn new(most: f64, from: f64, to: f64) -> Self {
        Self { most: most.max(f64::EPSILON), from, to }
    }

    /// Up to a round number that is no less than `most`.
    pub(super) fn round(most: f64, from: f64, to: f64) -> Self {
        let step = step_of(most.max(1.0), 3.0);
        Self::new((most.max(1.0) / step).ceil() * step, from, to)
    }

    pub(super) fn at(&self, number: f64) -> f64 {
        self.from + (self.to - self.from) * (number / self.most).clamp(0.0, 1.0)
    }

    /// Round numbers, about `wanted` of them, and 0.
    pub(super) fn ticks(&self, wanted: f64) -> Vec<f64> {
        let step = step_of(self.most, wanted);
        (0_u32..1_000).map(|n| f64::from(n) * step).take_while(|tick| *tick <= self.most * 1.001).collect()
    }
}

/// 1, 2 or 5 times a power of ten, so that about `wanted` steps make `most`; never below 1.
fn step_of(most: f64, wanted: f64) -> f64 {
    let rough = most / wanted;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= rough * 0.999).unwrap_or(10.0);
    (step * power).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        for (most, wanted, want) in [
            (73.0, 8.0, &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0][..]),
            (2_500.0, 3.0, &[0.0, 1_000.0, 2_000.0]),
            (2.0, 3.0, &[0.0, 1.0, 2.0]),
            (0.0, 3.0, &[0.0]),
        ] {
            assert_eq!(Scale::new(most, 0.0, 100.0).ticks(wanted), want, "{most}");
        }
        assert!((Scale::round(870.0, 100.0, 0.0).at(1_000.0) - 0.0).abs() < 1e-9);
    }
}
