//! The few shapes that a picture needs, as SVG text.

use std::fmt::Write;

/// A picture in the making.
#[derive(Default)]
pub(super) struct Picture(String);

impl Picture {
    /// Text; `class` says how it looks and to which side of `x` it goes.
    pub(super) fn text(&mut self, class: &str, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        let _ = writeln!(self.0, r#"<text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(
            self.0,
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        );
    }

    /// A bar, with what a pointer over it is told.
    pub(super) fn bar(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64), told: &str) {
        let told = escaped(told);
        let _ = writeln!(
            self.0,
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2"><title>{told}</title></rect>"#
        );
    }

    /// A filled or stroked path.
    pub(super) fn path(&mut self, class: &str, points: &[(f64, f64)], closed: bool, told: &str) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let _ = write!(path, "{}{x:.1} {y:.1}", if number == 0 { "M" } else { "L" });
        }
        let (end, told) = (if closed { "Z" } else { "" }, escaped(told));
        let _ = writeln!(self.0, r#"<path class="{class}" d="{path}{end}"><title>{told}</title></path>"#);
    }

    /// The whole document.
    pub(super) fn finish(self, (width, height): (f64, f64), style: &str, title: &str) -> String {
        let (title, body) = (escaped(title), self.0);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n<style>{style}</style>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
        )
    }
}

/// As it must be written in XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
