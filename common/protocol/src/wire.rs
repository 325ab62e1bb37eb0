//! Messages as bytes. The only file that names bincode.
//!
//! A frame is a little-endian u32 length and that many bytes of bincode 2 (`standard` configuration: little endian,
//! variable-length integers). The length is checked before anything is allocated, and the decoder itself works under
//! the same limit, so that a lying length inside a frame cannot allocate either.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::enc::write::SizeWriter;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::participant::Secret;

/// Length of a frame's header.
pub const HEADER: usize = 4;

/// Most bytes that a frame may announce: those of the shares for all neighbours in the largest cohort, and of any chunk.
pub const MAX_FRAME: usize = 260 * 1024;

const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_FRAME>> =
    bincode::config::standard().with_limit::<MAX_FRAME>();

/// A message as a whole frame, header included.
///
/// # Panics
/// If the message is larger than [`MAX_FRAME`]; our own messages are not, a test proves it for the largest.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    let len = bincode::serde::encode_into_std_write(message, &mut frame, bincode::config::standard())
        .expect("our messages are plain data and memory does not fail");
    assert!(len <= MAX_FRAME, "a message of {len} bytes is larger than any peer would accept");
    frame[..HEADER].copy_from_slice(&(len as u32).to_le_bytes());
    frame
}

/// The length that a header announces.
///
/// # Errors
/// [`Fault::Oversized`] if it is beyond [`MAX_FRAME`]; nothing has been allocated then.
pub fn body_len(header: [u8; HEADER]) -> Result<usize, Fault> {
    let len = u32::from_le_bytes(header);
    if len as usize > MAX_FRAME {
        return Err(Fault::Oversized { len: u64::from(len), limit: MAX_FRAME as u64 });
    }
    Ok(len as usize)
}

/// The message in a frame's body.
///
/// # Errors
/// [`Fault::Malformed`] if the body is no message, or has bytes left over.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let (message, used) =
        bincode::serde::decode_from_slice(body, CONFIG).map_err(|e| Fault::Malformed(e.to_string()))?;
    if used != body.len() {
        return Err(Fault::Malformed(format!("{} bytes after the message", body.len() - used)));
    }
    Ok(message)
}

/// A value that our own disk keeps, without a header.
pub fn to_disk<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard())
        .expect("our records are plain data and memory does not fail")
}

/// The same for what nobody else may read: written once, into a buffer of the right length, so that no copy stays behind.
pub(crate) fn to_disk_secretly<T: Serialize>(value: &T) -> Secret {
    let plain = "our records are plain data and memory does not fail";
    let mut size = SizeWriter::default();
    bincode::serde::encode_into_writer(value, &mut size, bincode::config::standard()).expect(plain);
    let mut bytes = Zeroizing::new(vec![0; size.bytes_written]);
    bincode::serde::encode_into_slice(value, &mut bytes, bincode::config::standard()).expect(plain);
    bytes.into()
}

/// The inverse of [`to_disk`]; the store has checked the bytes' checksum before.
///
/// # Errors
/// [`Fault::Malformed`] if the bytes are of another shape.
pub fn from_disk<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_limit::<{ 1 << 30 }>())
            .map_err(|e| Fault::Malformed(e.to_string()))?;
    if used == bytes.len() { Ok(value) } else { Err(Fault::Malformed("bytes after the record".into())) }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::asynchronous::Lag;
    use crate::evaluation::EvaluationPolicy;
    use crate::ids::{BlobId, Digest, Round, UpdateId, Version};
    use crate::message::{Assignment, CHUNK, Examination, PROTOCOL, Role, ToClient, ToServer, Visible};
    use crate::moments::Embedding;
    use crate::plan::{Invariance, Personalisation, TrainPlan};
    use crate::record::Evaluation;
    use crate::secagg::{Parameters, SealedShare, Signature, Subset};
    use crate::secure::SecureConfig;
    use crate::sum::Weighting;
    use crate::update::{Extra, Sections};

    fn hex(frame: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(frame)
    }

    /// A change of any of these strings is a change of the protocol: raise `PROTOCOL` and the ALPN name with it.
    #[test]
    fn golden_frames() {
        let digest = Digest::from([7; 32]);
        let update = UpdateId { checksum: 0x0102_0304, len: 1000 };
        let sevens = "07".repeat(32);
        let round = Round(3);
        let blob = BlobId { digest, len: 1000 };
        let invariance = Some(Invariance { weight: 0.5, from_round: 2 });
        let personal = Personalisation::Ditto { lambda: 0.5 };
        let plan = TrainPlan { invariance, personal, ..TrainPlan::default() };
        let moments = Some(Embedding { classes: 4, width: 32 });
        let assignment = Assignment {
            round,
            plan: plan.clone(),
            seed: 5,
            foundation: blob,
            release: blob,
            companion: Some(blob),
            sections: Sections { extra: Extra::Control, moments },
            secure: None,
            time_left_ms: 6,
            counted: Some(Round(2)),
            lag: Some(Lag { version: Version(2), most: 10, exponent: 0.5 }),
        };
        let (version, foundation, release) = (Version(2), blob, blob);
        // Full, 3 steps, no passes, rate, cosine; AdamW, clip, proximal; weighting, smoothing, dropout; augmentation; pull; own copy.
        let plan_bytes = "0203006f12833b01".to_owned()
            + "000ad7233c0000803f00000000"
            + "0100000000cdcc4c3e"
            + "cdcccc3d0000803f000000000000000000000000"
            + "010000003f02"
            + "040000003f";
        let name = format!("{sevens}fbe803");
        let policy = EvaluationPolicy::PerClient;
        let examination = Examination { version, plan, foundation, release, policy };
        let cases: Vec<(Vec<u8>, String)> = vec![
            (
                encode(&ToServer::CheckIn { protocol: PROTOCOL, role: Role::Evaluates }),
                "03000000000101".into(),
            ),
            (encode(&ToServer::Fetch { digest, offset: 300 }), format!("2400000001{sevens}fb2c01")),
            (
                encode(&ToServer::Offer {
                    round,
                    update,
                    visible: Some(Visible { examples: 900, loss: 0.5 }),
                }),
                "120000000203fc04030201fbe80301fb84030000003f".into(),
            ),
            (
                encode(&ToServer::Part { round, offset: 0, bytes: Bytes::from_static(&[1, 2]) }),
                "06000000030300020102".into(),
            ),
            (
                encode(&ToServer::Evaluated {
                    version: Version(2),
                    counts: Some(Evaluation { classes: 2, confusion: vec![1, 2, 3, 4] }),
                }),
                "09000000040201020401020304".into(),
            ),
            (encode(&ToServer::Decline { round, reason: "no".into() }), "05000000050302".to_owned() + "6e6f"),
            (
                encode(&ToClient::Chunk { digest, offset: 1, bytes: Bytes::from_static(&[9]) }),
                format!("2400000002{sevens}010109"),
            ),
            (encode(&ToClient::Upload { round, offset: 0 }), "03000000030300".into()),
            (encode(&ToClient::Counted { round }), "020000000403".into()),
            (encode(&ToClient::Over { round }), "020000000503".into()),
            (encode(&ToClient::Finished { version: Version(40) }), "020000000628".into()),
            (encode(&ToClient::Welcome { version: Version(4) }), "020000000704".into()),
            (
                encode(&ToClient::Train(assignment)),
                format!(
                    "bd0000000003{plan_bytes}05{name}{name}01{name}010104200006010201020a000000000000e03f"
                ),
            ),
            (encode(&ToClient::Evaluate(examination)), format!("860000000102{plan_bytes}{name}{name}02")),
        ];
        for (frame, golden) in cases {
            assert_eq!(hex(&frame), golden);
        }
    }

    #[test]
    fn the_largest_messages_fit_a_frame() {
        let bytes = Bytes::from(vec![255; CHUNK]);
        let part = ToServer::Part { round: Round(u64::MAX), offset: u64::MAX, bytes: bytes.clone() };
        let chunk = ToClient::Chunk { digest: Digest::from([255; 32]), offset: u64::MAX, bytes };
        let blob = BlobId { digest: Digest::from([255; 32]), len: u64::MAX };
        let invariance = Some(Invariance { weight: 0.1, from_round: u64::MAX });
        let plan = TrainPlan { invariance, ..TrainPlan::default() };
        let shape = Embedding { classes: u8::MAX, width: u16::MAX };
        let train = ToClient::Train(Assignment {
            round: Round(u64::MAX),
            plan: plan.clone(),
            seed: u64::MAX,
            foundation: blob,
            release: blob,
            companion: Some(blob),
            sections: Sections { extra: Extra::Steps, moments: Some(shape) },
            secure: Some(SecureConfig::default().check(Weighting::Examples).unwrap().0),
            time_left_ms: u64::MAX,
            counted: Some(Round(u64::MAX)),
            lag: Some(Lag { version: Version(u64::MAX), most: u64::MAX, exponent: 0.5 }),
        });
        let exam = ToClient::Evaluate(Examination {
            version: Version(u64::MAX),
            plan,
            foundation: blob,
            release: blob,
            policy: EvaluationPolicy::Aggregate,
        });
        assert_eq!(decode::<ToServer>(&encode(&part)[HEADER..]).unwrap(), part);
        // As many neighbours as a roster of the largest size has.
        let members = 4096;
        let degree = Parameters::choose(members, 0.05, 0.1).degree();
        let shares = vec![(u32::MAX, SealedShare([255; 80])); degree as usize];
        let signatures = (0..degree).map(|i| (u32::MAX - i, Signature([255; 64]))).collect();
        let round = Round(u64::MAX);
        let mask = ToClient::Mask { round, present: Subset::all(members), shares };
        let reveal = ToClient::Reveal { round, signatures };
        for message in [chunk, train, exam, mask, reveal] {
            assert_eq!(decode::<ToClient>(&encode(&message)[HEADER..]).unwrap(), message);
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_before_it_allocates() {
        assert!(matches!(body_len(u32::MAX.to_le_bytes()), Err(Fault::Oversized { .. })));
        // A Part that claims 2^60 bytes of content in a body of 12.
        let mut lie = vec![3, 3, 0, 253];
        lie.extend_from_slice(&(1u64 << 60).to_le_bytes());
        assert!(matches!(decode::<ToServer>(&lie), Err(Fault::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_a_fault(body in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = decode::<ToServer>(&body) {
                let again = encode(&message);
                prop_assert_eq!(format!("{:?}", decode::<ToServer>(&again[HEADER..]).unwrap()), format!("{message:?}"));
            }
            let _ = decode::<ToClient>(&body);
        }

        #[test]
        fn a_torn_frame_is_never_a_message(cut in 0usize..18) {
            let offer = ToServer::Offer {
                round: Round(3),
                update: UpdateId { checksum: 0x0102_0304, len: 1000 },
                visible: Some(Visible { examples: 900, loss: 0.5 }),
            };
            let frame = encode(&offer);
            prop_assert!(decode::<ToServer>(&frame[HEADER..HEADER + cut]).is_err());
        }
    }
}
