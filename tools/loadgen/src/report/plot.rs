//! Line charts as SVG.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;
/// Colours that remain distinguishable with colour vision deficiency (Okabe and Ito, 2008).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];

/// Scale of an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Linear from 0.
    Linear,
    /// Logarithmic, with a mark per decade.
    Log,
    /// Logarithmic in 1 / (1 - quantile), with percentiles as labels.
    Percentile,
}

/// A curve.
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Points (x, y); NaN interrupts the curve.
    pub points: Vec<(f64, f64)>,
}

/// A chart.
pub struct Chart<'a> {
    /// Heading.
    pub title: &'a str,
    /// Label (with unit) and scale of the horizontal axis.
    pub x: (&'a str, Scale),
    /// Label (with unit) and scale of the vertical axis.
    pub y: (&'a str, Scale),
    /// Curves.
    pub lines: &'a [Line],
}

/// Escapes text for HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Range and marks of an axis.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Axis {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Self {
        let high = values.clone().fold(0.0, f64::max);
        if scale == Scale::Linear {
            let step = nice_step(high.max(1e-9) / 5.0);
            let count = (high / step).ceil().max(1.0);
            let marks = std::iter::successors(Some(0.0), |mark| Some(mark + step));
            let top = step * count;
            return Self {
                scale,
                low: 0.0,
                high: top,
                marks: marks.take_while(|mark| *mark <= top * 1.001).collect(),
            };
        }
        let low = values.filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        let low = if low.is_finite() { low.log10().floor() } else { 0.0 };
        let high = high.max(1e-9).log10().ceil().max(low + 1.0);
        let marks = std::iter::successors(Some(low), |mark| Some(mark + 1.0));
        let marks = marks.take_while(|mark| *mark <= high).map(|mark| 10_f64.powf(mark)).collect();
        Self { scale, low, high, marks }
    }

    /// Position of a value on the axis: 0 to 1.
    fn fraction(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value,
            Scale::Log | Scale::Percentile => value.max(1e-12).log10(),
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn label(&self, mark: f64) -> String {
        if self.scale == Scale::Percentile {
            let percent = 100.0 * (1.0 - 1.0 / mark);
            return format!("{} %", trimmed(percent, 6));
        }
        match mark {
            mark if mark >= 1e9 => trimmed(mark / 1e9, 2) + "G",
            mark if mark >= 1e6 => trimmed(mark / 1e6, 2) + "M",
            mark if mark >= 1e4 => trimmed(mark / 1e3, 2) + "k",
            mark => trimmed(mark, 3),
        }
    }
}

/// Formats a number without trailing zeros.
fn trimmed(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The smallest 1, 2 or 5 times a power of ten that is at least `rough`.
fn nice_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 5.0, 10.0];
    power * factors.into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0)
}

impl Chart<'_> {
    /// Renders the chart as an SVG element.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut String) -> std::fmt::Result {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Axis::new(self.x.1, points().map(|point| point.0));
        let y = Axis::new(self.y.1, points().map(|point| point.1));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let across = |value| LEFT + x.fraction(value) * (right - LEFT);
        let up = |value| bottom - y.fraction(value) * (bottom - TOP);
        write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title)
        )?;
        write!(out, "<text class=\"title\" x=\"{LEFT}\" y=\"18\">{}</text>", escape(self.title))?;
        for mark in &x.marks {
            let (at, label) = (across(*mark), x.label(*mark));
            write!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>"
            )?;
            write!(out, "<text class=\"x\" x=\"{at:.1}\" y=\"{}\">{label}</text>", bottom + 16.0)?;
        }
        for mark in &y.marks {
            let (at, label) = (up(*mark), y.label(*mark));
            write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            )?;
            write!(
                out,
                "<text class=\"y\" x=\"{}\" y=\"{:.1}\">{label}</text>",
                LEFT - 6.0,
                at + 4.0
            )?;
        }
        let middle = LEFT.midpoint(right);
        write!(
            out,
            "<text class=\"x\" x=\"{middle}\" y=\"{}\">{}</text>",
            HEIGHT - 10.0,
            escape(self.x.0)
        )?;
        let turned = format!("transform=\"translate(16 {}) rotate(-90)\"", TOP.midpoint(bottom));
        write!(out, "<text class=\"x\" {turned}>{}</text>", escape(self.y.0))?;
        for (n, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[n % COLOURS.len()];
            for points in line.points.split(|(_, y)| y.is_nan()) {
                let coordinates: Vec<String> = points
                    .iter()
                    .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
                    .collect();
                if !points.is_empty() {
                    let coordinates = coordinates.join(" ");
                    write!(out, "<polyline stroke=\"{colour}\" points=\"{coordinates}\"/>")?;
                }
                // A polyline of one point is invisible: draw a dot.
                if let [(x, y)] = points {
                    write!(
                        out,
                        "<circle fill=\"{colour}\" r=\"3\" cx=\"{:.1}\" cy=\"{:.1}\"/>",
                        across(*x),
                        up(*y)
                    )?;
                }
            }
            let (at, down) =
                (right + 12.0, TOP + 18.0 * f64::from(u32::try_from(n).unwrap_or(u32::MAX)));
            write!(
                out,
                "<rect fill=\"{colour}\" x=\"{at}\" y=\"{down}\" width=\"12\" height=\"4\"/>"
            )?;
            write!(
                out,
                "<text x=\"{}\" y=\"{}\">{}</text>",
                at + 18.0,
                down + 6.0,
                escape(&line.name)
            )?;
        }
        out.push_str("</svg>\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: &[(f64, f64)]) -> Line {
        Line { name: "a<b".to_owned(), points: points.to_vec() }
    }

    #[test]
    fn linear_axes_begin_at_zero_and_have_round_marks() {
        let axis = Axis::new(Scale::Linear, [3.0, 47.0].into_iter());
        assert_eq!(axis.marks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert!((axis.fraction(25.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn logarithmic_axes_have_powers_of_ten() {
        let axis = Axis::new(Scale::Log, [0.0, 30.0, 4000.0].into_iter());
        assert_eq!(axis.marks.len(), 4);
        assert!((axis.fraction(100.0) - 1.0 / 3.0).abs() < 1e-9);
        let axis = Axis::new(Scale::Percentile, [1.0, 10_000.0].into_iter());
        let labels: Vec<String> = axis.marks.iter().map(|mark| axis.label(*mark)).collect();
        assert_eq!(labels, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn points_are_within_the_plot_and_names_are_escaped() {
        let gap = [(0.0, 9.0), (1.0, f64::NAN), (2.0, 1.0), (3.0, 2.0), (4.0, f64::NAN)];
        for points in
            [&[][..], &[(0.0, 0.0)], &[(0.0, 1.0), (1.0, 1e9)], &[(5.0, 5.0), (9.0, 0.0)], &gap]
        {
            let lines = [line(points)];
            let chart =
                Chart { title: "T", x: ("s", Scale::Linear), y: ("us", Scale::Log), lines: &lines };
            let svg = chart.render();
            assert!(
                svg.contains("a&lt;b") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
            let runs = svg.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            let coordinates: Vec<&str> = runs.flat_map(str::split_whitespace).collect();
            let there = points.iter().filter(|(_, y)| !y.is_nan()).count();
            assert_eq!(coordinates.len(), there);
            assert_eq!(svg.matches("<circle").count(), usize::from(points.len() % 4 == 1));
            for coordinate in coordinates {
                let (x, y) = coordinate.split_once(',').unwrap();
                let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                assert!(
                    (LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y)
                );
            }
        }
    }
}
