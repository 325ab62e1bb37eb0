//! The disks of all simulated clients: contents are kept once, what each client has of them is only a number.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use somnus_protocol::ids::{BlobId, Digest};

/// Contents by digest, shared by everybody.
#[derive(Default)]
pub struct Blobs {
    contents: BTreeMap<Digest, Content>,
    /// Digests in the order in which they came, oldest first.
    order: Vec<Digest>,
}

/// How many bytes one client has of each blob.
#[derive(Default)]
pub struct Disk(BTreeMap<Digest, u64>);

enum Content {
    Partial(BytesMut),
    Complete(Bytes),
}

/// Blobs that stay: the foundation, and the release with its companion, and both from before for clients that lag.
const KEPT: usize = 5;

impl Blobs {
    /// A client received `bytes` of `blob` at `offset`.
    pub fn append(&mut self, disk: &mut Disk, blob: BlobId, offset: u64, bytes: &[u8]) {
        let have = disk.0.entry(blob.digest).or_default();
        if *have != offset {
            return;
        }
        let content = self.contents.entry(blob.digest).or_insert_with(|| {
            self.order.push(blob.digest);
            Content::Partial(BytesMut::with_capacity(blob.len as usize))
        });
        *have += bytes.len() as u64;
        if let Content::Partial(buffer) = content
            && buffer.len() as u64 == offset
        {
            buffer.extend_from_slice(bytes);
            if buffer.len() as u64 == blob.len {
                let bytes = std::mem::take(buffer).freeze();
                // A wrong digest leaves an empty buffer: whoever looks it up next begins again.
                if BlobId::of(&bytes) == blob {
                    *content = Content::Complete(bytes);
                }
            }
        }
        self.forget_old();
    }

    /// How much of `blob` a client has; all of it only if its digest is right.
    pub fn lookup(&mut self, disk: &mut Disk, blob: BlobId) -> u64 {
        let Some(have) = disk.0.get_mut(&blob.digest) else { return 0 };
        if *have < blob.len {
            return *have;
        }
        match self.contents.get(&blob.digest) {
            Some(Content::Complete(_)) => blob.len,
            _ => {
                // Forgotten because it was old, or torn.
                disk.0.remove(&blob.digest);
                0
            }
        }
    }

    /// The whole content, if it is there.
    pub fn get(&self, blob: BlobId) -> Option<Bytes> {
        match self.contents.get(&blob.digest) {
            Some(Content::Complete(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// The first blob is the foundation and stays; of the others only the newest do.
    fn forget_old(&mut self) {
        while self.order.len() > KEPT {
            let old = self.order.remove(1);
            self.contents.remove(&old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_what_it_fetched_and_the_content_is_there_once() {
        let (mut blobs, mut a, mut b) = (Blobs::default(), Disk::default(), Disk::default());
        let bytes = [7; 100];
        let blob = BlobId::of(&bytes);
        blobs.append(&mut a, blob, 0, &bytes[..60]);
        blobs.append(&mut b, blob, 0, &bytes[..30]);
        blobs.append(&mut b, blob, 60, &bytes[60..]);
        assert_eq!((blobs.lookup(&mut a, blob), blobs.lookup(&mut b, blob)), (60, 30));
        assert!(blobs.get(blob).is_none());
        blobs.append(&mut a, blob, 60, &bytes[60..]);
        assert_eq!((blobs.lookup(&mut a, blob), blobs.lookup(&mut b, blob)), (100, 30));
        blobs.append(&mut b, blob, 30, &bytes[30..]);
        assert_eq!(blobs.lookup(&mut b, blob), 100);
        assert_eq!(blobs.get(blob).unwrap(), &bytes[..]);
    }

    #[test]
    fn wrong_content_counts_as_nothing_and_old_releases_go() {
        let (mut blobs, mut a) = (Blobs::default(), Disk::default());
        let lie = BlobId::of(&[1; 50]);
        blobs.append(&mut a, lie, 0, &[2; 50]);
        assert_eq!((blobs.lookup(&mut a, lie), blobs.get(lie)), (0, None));
        blobs.append(&mut a, lie, 0, &[1; 50]);
        assert_eq!(blobs.lookup(&mut a, lie), 50);
        for release in 2..9u8 {
            blobs.append(&mut a, BlobId::of(&[release; 50]), 0, &[release; 50]);
        }
        assert!(blobs.get(lie).is_some(), "the foundation stays");
        assert!(blobs.get(BlobId::of(&[8; 50])).is_some(), "the newest release stays");
        assert_eq!((blobs.get(BlobId::of(&[4; 50])), blobs.lookup(&mut a, BlobId::of(&[4; 50]))), (None, 0));
    }
}
