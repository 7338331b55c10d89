//! What was measured, for people: a table, and a picture.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What a row counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    /// Bytes of bodies.
    Bytes,
    /// Requests.
    Requests,
}

/// A kind of load, for each server.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// The first is the one that the others are compared with.
    pub(crate) measured: Vec<Measured>,
}

/// What came of one server.
pub(crate) struct Measured {
    server: &'static str,
    /// Units a second, of each round.
    rates: Vec<f64>,
    /// Seconds of processor time a unit, of each round.
    costs: Vec<f64>,
}

impl Measured {
    pub(crate) fn of(server: &'static str) -> Self {
        Self { server, rates: Vec::new(), costs: Vec::new() }
    }

    pub(crate) fn add(&mut self, rate: f64, cost: f64) {
        self.rates.push(rate);
        self.costs.push(cost);
    }
}

/// The middle one, the least and the most.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[sorted.len() / 2], sorted[0], sorted[sorted.len() - 1])
}

impl Unit {
    /// By what rates and costs are multiplied to be read, and what they are then.
    fn scale(self) -> (f64, &'static str, f64, &'static str) {
        match self {
            Self::Bytes => (1e-9, "GB/s", 1e9, "CPU s per GB"),
            Self::Requests => (1.0, "requests/s", 1e6, "CPU us each"),
        }
    }
}

/// Markdown.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let (by_rate, rates, by_cost, costs) = row.unit.scale();
        let _ = writeln!(text, "| {} | {rates} | of the first | {costs} | of the first |", row.name);
        let _ = writeln!(text, "|---|---|---|---|---|");
        let (first_rate, first_cost) = (spread(&row.measured[0].rates).0, spread(&row.measured[0].costs).0);
        for measured in &row.measured {
            let shown = |values: &[f64], by: f64| {
                let (middle, least, most) = spread(values);
                format!("{} ({} to {})", figure(middle * by), figure(least * by), figure(most * by))
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} | {:.2} |",
                measured.server,
                shown(&measured.rates, by_rate),
                spread(&measured.rates).0 / first_rate,
                shown(&measured.costs, by_cost),
                spread(&measured.costs).0 / first_cost,
            );
        }
        text.push('\n');
    }
    text
}

/// Three digits that say something.
fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// What it was measured on.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gibibytes = memory.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / f64::from(1 << 20);
    format!(
        "{} cores of {}, {gibibytes:.0} GiB, Linux {}; client and servers on the same machine",
        std::thread::available_parallelism().map_or(0, usize::from),
        model.map_or("an unknown processor", |(_, name)| name),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

/// Writes table and pictures to `benches/results`.
pub(crate) fn write(rows: &[Row]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results");
    fs::create_dir_all(&folder).unwrap();
    let text = format!("# Beside other servers\n\n{}.\n\n{}", machine(), table(rows));
    fs::write(folder.join("beside.md"), text.trim_end().to_owned() + "\n").unwrap();
    for row in rows {
        let name = row.name.replace(' ', "-");
        fs::write(folder.join(format!("{name}.svg")), picture(row)).unwrap();
    }
    println!("written to {}", folder.display());
}

/// Bars: what each unit costs each server, and between which values the rounds lie.
fn picture(row: &Row) -> String {
    const LEFT: usize = 190;
    const WIDTH: f64 = 380.0;
    const BAR: usize = 18;
    const STEP: usize = 30;
    let (_, _, by_cost, costs) = row.unit.scale();
    let most = row.measured.iter().map(|measured| spread(&measured.costs).2).fold(0.0, f64::max);
    let height = 40 + STEP * row.measured.len();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"660\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<text x=\"8\" y=\"20\" font-weight=\"bold\">{}: {costs}</text>\n",
        row.name
    );
    for (at, measured) in row.measured.iter().enumerate() {
        let (middle, least, highest) = spread(&measured.costs);
        let x = |value: f64| LEFT as f64 + value / most * WIDTH;
        let y = 34 + STEP * at;
        let (bar, text, line) = (x(middle) - LEFT as f64, y + 13, y + BAR / 2);
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{text}\">{}</text><rect x=\"{LEFT}\" y=\"{y}\" width=\"{bar:.1}\" height=\"{BAR}\" \
             fill=\"#3b78a8\"/><line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{line}\" y2=\"{line}\" stroke=\"#222\"/>\
             <text x=\"{:.1}\" y=\"{text}\">{}</text>",
            measured.server,
            x(least),
            x(highest),
            x(highest) + 6.0,
            figure(middle * by_cost),
        );
    }
    svg.push_str("</svg>\n");
    svg
}
