//! A night as the network takes it: one row of numbers per epoch.

use std::ops::Range;

use somnus_signals::Night;

use crate::context::{self, Part};
use crate::error::ModelError;
use crate::net::Net;
use crate::params::TIME;

/// A night, or a part of one, laid out for one architecture.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// `[epochs, inputs]`: per stream its features and their context (zero where missing) and 1 where it is missing, then the time.
    pub(crate) values: Vec<f32>,
    /// The class of each epoch; `None` where it was not scored.
    pub(crate) classes: Vec<Option<u8>>,
    pub(crate) inputs: usize,
}

impl Prepared {
    /// Lays out `range` of a night; nothing outside it is seen.
    ///
    /// # Errors
    /// [`ModelError::StreamWidth`] or [`ModelError::Range`].
    pub(crate) fn new(net: &Net, night: &Night, range: Range<usize>) -> Result<Self, ModelError> {
        if range.start > range.end || range.end > night.epochs {
            let Range { start, end } = range;
            return Err(ModelError::Range { night: night.id(), epochs: night.epochs, start, end });
        }
        let layout = &net.layout;
        let mut streams = Vec::new();
        for (stream, (_, width)) in &layout.streams {
            let part = match night.features.get(stream) {
                Some(features) if features.width != net.config.streams[stream] => {
                    return Err(ModelError::StreamWidth {
                        night: night.id(),
                        stream: *stream,
                        expected: net.config.streams[stream],
                        got: features.width,
                    });
                }
                Some(features) => {
                    let part = Part::of(features, range.clone());
                    let context = context::derive(*stream, &part, &net.config.context);
                    Some((part, context))
                }
                None => None,
            };
            streams.push((*width, part));
        }
        let mut values = Vec::with_capacity(range.len() * layout.inputs);
        for (epoch, time) in night.time[range.clone()].iter().enumerate() {
            for (width, part) in &streams {
                match part {
                    Some((part, context)) if part.present[epoch] => {
                        let derived = width - part.width;
                        values.extend_from_slice(part.epoch(epoch));
                        values.extend_from_slice(&context[epoch * derived..][..derived]);
                        values.push(0.0);
                    }
                    _ => {
                        values.resize(values.len() + width, 0.0);
                        values.push(1.0);
                    }
                }
            }
            values.extend_from_slice(&time_of_night(*time));
        }
        let classes = night.classes(net.config.task);
        let classes = classes[range].iter().map(|class| class.map(|c| c as u8)).collect();
        Ok(Self { values, classes, inputs: layout.inputs })
    }

    /// What the network is given, `[epochs, inputs]`, epoch-major: features, their context, flags and time.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The number of 30-s epochs.
    pub fn epochs(&self) -> usize {
        self.classes.len()
    }

    /// The number of epochs that have a stage.
    pub fn scored(&self) -> usize {
        self.classes.iter().flatten().count()
    }
}

/// Hours since the recording's start, centred on the middle of a usual night, and its square.
fn time_of_night(hours: f32) -> [f32; TIME] {
    let t = hours / 4.0 - 1.0;
    [t, t * t]
}
