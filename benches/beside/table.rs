//! What was measured, as data: rows of servers, the figures of each round, and the goals that are looked at.

/// What the measured build is called, and what the one that it is compared with.
pub(crate) const OWN: &str = "roadstead";
pub(crate) const OTHER: &str = "roadstead, the other";

/// A figure of a row.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    /// What is counted, with its unit.
    pub(crate) name: &'static str,
    /// Whether the first server's ratio to the others is of use.
    pub(crate) compared: bool,
}

/// A column that is compared.
pub(crate) const fn compared(name: &'static str) -> Column {
    Column { name, compared: true }
}

/// A column whose values stand for themselves.
pub(crate) const fn alone(name: &'static str) -> Column {
    Column { name, compared: false }
}

/// What came of one server: for each column the values of all rounds.
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) values: Vec<Vec<f64>>,
}

/// A goal, and what was measured of it.
pub(crate) struct Goal {
    /// What is looked at.
    pub(crate) figure: String,
    /// What it is to be, in words.
    pub(crate) goal: String,
    /// What it is, in words.
    pub(crate) measured: String,
    /// How much of the goal is reached: 1 and more is all of it.
    pub(crate) part: f64,
}

/// A kind of load, for each server.
pub(crate) struct Row {
    /// Its name on the command line and of its files.
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) columns: Vec<Column>,
    /// Where anything is compared, the first is the one that the others are compared with.
    pub(crate) subjects: Vec<Subject>,
    pub(crate) goals: Vec<Goal>,
    /// What has to be known to read it, and what is left out.
    pub(crate) notes: Vec<String>,
    /// Whether it came to no end.
    pub(crate) failed: bool,
}

impl Row {
    /// Without any server yet.
    pub(crate) fn new(id: &'static str, title: &str, columns: &[Column]) -> Self {
        Self {
            id,
            title: title.to_owned(),
            columns: columns.to_vec(),
            subjects: Vec::new(),
            goals: Vec::new(),
            notes: Vec::new(),
            failed: false,
        }
    }

    /// One that came to no end.
    pub(crate) fn failed(id: &'static str, title: &str) -> Self {
        let mut row = Self::new(id, title, &[]);
        row.note("It failed; what was said is above.");
        Self { failed: true, ..row }
    }

    /// Enters the values of a round.
    pub(crate) fn add(&mut self, subject: &str, values: &[f64]) {
        assert_eq!(values.len(), self.columns.len(), "{subject} of {}", self.id);
        let at = self.subjects.iter().position(|of| of.name == subject).unwrap_or_else(|| {
            let values = vec![Vec::new(); self.columns.len()];
            self.subjects.push(Subject { name: subject.to_owned(), values });
            self.subjects.len() - 1
        });
        for (of_column, value) in self.subjects[at].values.iter_mut().zip(values) {
            of_column.push(*value);
        }
    }

    /// Something that has to be known.
    pub(crate) fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|there| there == note) {
            self.notes.push(note.to_owned());
        }
    }

    /// The values of a server that was measured.
    pub(crate) fn values(&self, subject: &str, column: usize) -> Option<&[f64]> {
        let subject = self.subjects.iter().find(|of| of.name == subject)?;
        Some(&subject.values[column])
    }

    /// The median of a server's values.
    pub(crate) fn middle(&self, subject: &str, column: usize) -> Option<f64> {
        self.values(subject, column).map(|values| spread(values).0)
    }

    /// The median of what one server had of another in the same round.
    pub(crate) fn ratio(&self, column: usize, one: &str, other: &str) -> Option<f64> {
        let pairs = self.values(one, column)?.iter().zip(self.values(other, column)?);
        Some(spread(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>()).0)
    }

    /// Of how many rounds its figures are: the fewest and the most that a server has had.
    pub(crate) fn rounds(&self) -> Option<(usize, usize)> {
        let counts = self.subjects.iter().map(|of| of.values.first().map_or(0, Vec::len));
        Some((counts.clone().min()?, counts.max()?))
    }

    /// What of this build there is of the other one too: both names.
    pub(crate) fn builds(&self) -> impl Iterator<Item = (&str, &str)> {
        self.subjects.iter().filter_map(|of| {
            let rest = of.name.strip_prefix(OTHER)?;
            let own = self.subjects.iter().find(|own| own.name.strip_prefix(OWN) == Some(rest))?;
            Some((own.name.as_str(), of.name.as_str()))
        })
    }

    /// A goal that is a ratio of two servers, at the most so much.
    pub(crate) fn at_most_of(&mut self, figure: &str, column: usize, one: &str, other: &str, most: f64) {
        if let Some(ratio) = self.ratio(column, one, other) {
            self.goal(figure, &format!("at most {most} of {other}"), &format!("{ratio:.2}"), most / ratio);
        }
    }

    /// A goal that is a ratio of two servers, at least so much.
    pub(crate) fn at_least_of(&mut self, figure: &str, column: usize, one: &str, other: &str, least: f64) {
        if let Some(ratio) = self.ratio(column, one, other) {
            let goal = format!("at least {least} of {other}");
            self.goal(figure, &goal, &format!("{ratio:.2}"), ratio / least);
        }
    }

    /// A goal that is a value, at the most so much.
    pub(crate) fn at_most(&mut self, figure: &str, unit: &str, measured: f64, most: f64) {
        let measured = measured.max(f64::MIN_POSITIVE);
        let told = format!("{} {unit}", digits(measured));
        self.goal(figure, &format!("at most {most} {unit}"), told.trim_end(), most / measured);
    }

    /// A goal in words.
    pub(crate) fn goal(&mut self, figure: &str, goal: &str, measured: &str, part: f64) {
        let (figure, goal, measured) = (figure.to_owned(), goal.trim_end().to_owned(), measured.to_owned());
        self.goals.push(Goal { figure, goal, measured, part });
    }
}

/// The middle (between the two that are nearest to it, where none is), the least and the most.
pub(crate) fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    (f64::midpoint(below, above), sorted[0], sorted[sorted.len() - 1])
}

/// The value below which so many percent are.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Three digits that say something.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        small if small >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 || small == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
