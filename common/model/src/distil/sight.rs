//! What a student sees of its teacher's view.
//!
//! A view of a night is cropped, noisy and warped by chance. Teacher and student have to see the very same one (Beyer et al.
//! 2022), so it is drawn once, for the teacher, and the student is given those of its columns that it takes.

use crate::context;
use crate::error::ModelError;
use crate::net::Net;
use crate::params::TIME;

/// Columns of a teacher's input; all of them in order are `None`.
pub(super) struct Sight(Option<Vec<usize>>);

impl Sight {
    /// All that the teacher sees.
    pub(super) fn whole() -> Self {
        Self(None)
    }

    /// The student's columns among the teacher's.
    ///
    /// # Errors
    /// [`ModelError::Teacher`] when the student takes what the teacher does not.
    pub(super) fn new(student: &Net, teacher: &Net) -> Result<Self, ModelError> {
        let refuse = |what: String| Err(ModelError::Teacher(what));
        let mut columns = Vec::with_capacity(student.layout.inputs);
        for (stream, own) in &student.config.streams {
            let Some((first, width)) = teacher.layout.streams.get(stream) else {
                return refuse(format!("does not see {stream}, its student does"));
            };
            let taught = teacher.config.streams[stream];
            if taught != *own {
                return refuse(format!("has {taught} features of {stream}, its student {own}"));
            }
            let windows = (&student.config.context[..], &teacher.config.context[..]);
            let Some(derived) = context::among(*stream, windows.0, windows.1) else {
                return refuse(format!("has context {:?}, its student {:?}", windows.1, windows.0));
            };
            columns
                .extend((0..*own).chain(derived.into_iter().map(|column| own + column)).map(|c| first + c));
            columns.push(first + width);
        }
        columns.extend(teacher.layout.inputs - TIME..teacher.layout.inputs);
        let whole = columns.iter().copied().eq(0..teacher.layout.inputs);
        Ok(Self((!whole).then_some(columns)))
    }

    /// The student's input from the teacher's, `[epochs, inputs]` both.
    pub(super) fn of(&self, values: &[f32], inputs: usize) -> Vec<f32> {
        match &self.0 {
            None => values.to_vec(),
            Some(columns) => {
                let row = |row: &[f32]| columns.iter().map(|column| row[*column]).collect::<Vec<f32>>();
                values.chunks_exact(inputs).flat_map(row).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use somnus_signals::synthetic::{self, SyntheticConfig};
    use somnus_signals::{NightRules, StreamKind};

    use super::*;
    use crate::config::{DeviceKind, NetConfig};
    use crate::input::Prepared;

    fn net(config: NetConfig) -> Net {
        Net::new(config, DeviceKind::Flex)
    }

    #[test]
    fn a_student_sees_what_it_would_be_given_itself() {
        let config = SyntheticConfig { people: 1, ..SyntheticConfig::default() };
        let night = &synthetic::cohort(&config, &NightRules::default()).nights[0];
        let teacher = net(NetConfig::default());
        let seen = Prepared::new(&teacher, night, 0..night.epochs).unwrap();
        let few = BTreeMap::from([(StreamKind::Hr, 12), (StreamKind::Posture, 4)]);
        for student in [
            NetConfig::default(),
            NetConfig { context: vec![40, 5], ..NetConfig::default() },
            NetConfig { context: vec![], ..NetConfig::default() },
            NetConfig { streams: few, context: vec![10], ..NetConfig::default() },
        ] {
            let student = net(student);
            let own = Prepared::new(&student, night, 0..night.epochs).unwrap();
            let sight = Sight::new(&student, &teacher).unwrap();
            assert_eq!(sight.of(&seen.values, seen.inputs), own.values, "{:?}", student.config);
        }
    }

    #[test]
    fn what_the_teacher_does_not_see_is_named() {
        let teacher = net(NetConfig { context: vec![5], ..NetConfig::default() });
        let cases = [
            (BTreeMap::from([(StreamKind::Ibi, 3)]), vec![], "does not see ibi"),
            (BTreeMap::from([(StreamKind::Hr, 11)]), vec![], "12 features of hr"),
            (BTreeMap::from([(StreamKind::Hr, 12)]), vec![5, 7], "context [5], its student [5, 7]"),
        ];
        for (streams, context, expected) in cases {
            let student = net(NetConfig { streams, context, ..NetConfig::default() });
            let error = Sight::new(&student, &teacher).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
