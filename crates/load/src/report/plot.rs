//! Plots of lines, as SVG that needs nothing else: colours come from the page's style.

use std::fmt::Write as _;

use super::text::number;

/// The size of a plot.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 230.0;
/// What is left around the lines for what is written there.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 40.0;

/// How an axis goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Evenly, from 0.
    Even,
    /// Evenly, from the least to the greatest.
    Span,
    /// Each step ten times the one before; from one of them to another.
    Log,
    /// The same, to the greatest.
    LogSpan,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What it shows.
    pub(super) name: String,
    /// Its points.
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot to be.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// What is below.
    pub(super) x: Axis,
    /// What is at the left.
    pub(super) y: Axis,
    /// The lines; the page has colours for six.
    pub(super) lines: Vec<Line>,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// What it is of, with the unit.
    pub(super) title: &'static str,
    /// How it goes.
    pub(super) scale: Scale,
    /// What is written at a value.
    pub(super) label: fn(f64) -> String,
}

/// An axis with its ends.
#[derive(Clone, Copy, Debug)]
struct Ruler {
    from: f64,
    to: f64,
    is_log: bool,
}

impl Ruler {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let is_log = matches!(scale, Scale::Log | Scale::LogSpan);
        let values = values.filter(move |value| value.is_finite() && (!is_log || *value > 0.0));
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        let (least, most) = if least.is_finite() { (least, most) } else { (1.0, 1.0) };
        let (from, to) = match scale {
            Scale::Even => (least.min(0.0), most),
            Scale::Span => (least, most),
            Scale::Log => (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil())),
            Scale::LogSpan => (10_f64.powf(least.log10().floor()), most),
        };
        let to = match to - from {
            span if span > 0.0 => to,
            _ if is_log => from * 10.0,
            _ => from + 1.0,
        };
        Self { from, to, is_log }
    }

    /// Where `value` lies: 0 at the begin, 1 at the end.
    fn share(&self, value: f64) -> f64 {
        if self.is_log {
            let value = value.max(self.from);
            (value / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    /// Values to be written beside it.
    fn marks(&self) -> Vec<f64> {
        if self.is_log {
            let marks = std::iter::successors(Some(self.from), |mark| Some(mark * 10.0));
            return marks.take_while(|mark| *mark <= self.to * 1.001).collect();
        }
        let step = step((self.to - self.from) / 5.0);
        let first = (self.from / step).ceil() * step;
        let marks = std::iter::successors(Some(first), |mark| Some(mark + step));
        marks.take_while(|mark| *mark <= self.to + step / 1000.0).collect()
    }
}

/// The least of 1, 2 or 5 times a power of ten that is at least `about`.
fn step(about: f64) -> f64 {
    let power = 10_f64.powf(about.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    steps.into_iter().find(|step| *step >= about * 0.999).unwrap_or(power)
}

impl Plot {
    /// The SVG, with a legend where there are several lines.
    pub(super) fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let x = Ruler::of(self.x.scale, all().map(|point| point.0));
        let y = Ruler::of(self.y.scale, all().map(|point| point.1));
        let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">");
        self.axes(&mut svg, &x, &y);
        for (at, line) in self.lines.iter().enumerate() {
            let points = line.points.iter().filter(|point| point.1.is_finite());
            let path: String = points
                .enumerate()
                .map(|(at, &(px, py))| {
                    let command = if at == 0 { 'M' } else { 'L' };
                    format!("{command}{:.1} {:.1}", across(x.share(px)), down(y.share(py)))
                })
                .collect::<Vec<_>>()
                .concat();
            let _ = write!(
                svg,
                "<path class=\"l{at}\" d=\"{path}\"><title>{}</title></path>",
                escaped(&line.name)
            );
        }
        svg.push_str("</svg>");
        if self.lines.len() > 1 {
            svg.push_str("<p class=\"legend\">");
            for (at, line) in self.lines.iter().enumerate() {
                let _ = write!(svg, "<span class=\"k{at}\">{}</span> ", escaped(&line.name));
            }
            svg.push_str("</p>");
        }
        svg
    }

    fn axes(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for mark in y.marks() {
            let (at, label) = (down(y.share(mark)), escaped(&(self.y.label)(mark)));
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text x=\"{}\" y=\"{:.1}\" class=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for mark in x.marks() {
            let (at, label) = (across(x.share(mark)), escaped(&(self.x.label)(mark)));
            let _ = write!(svg, "<text x=\"{at:.1}\" y=\"{}\" class=\"mid\">{label}</text>", bottom + 16.0);
        }
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/><text x=\"{right}\" y=\"{}\" class=\"end\">{}</text>",
            HEIGHT - 6.0,
            escaped(self.x.title)
        );
        let _ = write!(svg, "<text x=\"{}\" y=\"11\" class=\"title\">{}</text>", 4, escaped(self.y.title));
    }
}

fn across(share: f64) -> f64 {
    LEFT + share * (WIDTH - LEFT - RIGHT)
}

fn down(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP - 8.0)
}

/// Text within the page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A value as it is.
pub(super) fn plain(value: f64) -> String {
    number(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruler(scale: Scale, values: &[f64]) -> Ruler {
        Ruler::of(scale, values.iter().copied())
    }

    #[test]
    fn axes_have_round_marks() {
        assert_eq!(ruler(Scale::Even, &[3.0, 47.0]).marks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ruler(Scale::Span, &[-2.0, 2.0]).marks(), [-2.0, -1.0, 0.0, 1.0, 2.0]);
        let log: Vec<_> = ruler(Scale::Log, &[0.3, 40.0]).marks();
        assert!(log.iter().zip([0.1, 1.0, 10.0, 100.0]).all(|(a, b)| (a / b - 1.0).abs() < 1e-9), "{log:?}");
        assert_eq!(log.len(), 4);
    }

    #[test]
    fn nothing_and_one_point_are_plots_too() {
        for points in [vec![], vec![(1.0, 5.0)], vec![(0.0, f64::NAN), (1.0, 0.0)]] {
            for scale in [Scale::Even, Scale::Log] {
                let axis = Axis { title: "a < b", scale, label: plain };
                let line = Line { name: "x".into(), points: points.clone() };
                let svg = Plot { x: axis, y: axis, lines: vec![line] }.svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("a &lt; b"), "{svg}");
            }
        }
    }
}
