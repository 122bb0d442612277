//! COMPRESS=DEFLATE (RFC 4978).
//!
//! A raw deflate stream may be continued by another compressor at any byte border, so the compressor lives only while
//! there is output: an idle session keeps nothing of it. The decompressor must keep the 32 KiB that the client may
//! refer back to.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Most that one step of decompression gives; what a bomb would blow up to is never held at once.
const STEP: usize = 16 << 10;
/// The level that other servers use: most of the gain for little work.
const LEVEL: u32 = 5;

pub struct Deflate {
    packer: Option<Compress>,
    unpacker: Decompress,
    /// What came in and is still packed.
    pub packed: Vec<u8>,
}

impl Deflate {
    /// `packed` is what came in behind the command that began compression.
    pub fn new(packed: Vec<u8>) -> Self {
        Self { packer: None, unpacker: Decompress::new(false), packed }
    }

    /// Packs all of `plain`, up to a byte border, so that the client can read it at once.
    pub fn pack(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let packer = self.packer.get_or_insert_with(|| Compress::new(Compression::new(LEVEL), false));
        let mut out = Vec::with_capacity(plain.len() / 2 + 64);
        let (start, mut done) = (packer.total_in(), 0);
        loop {
            out.reserve(1024);
            packer.compress_vec(&plain[done..], &mut out, FlushCompress::Sync).map_err(std::io::Error::other)?;
            done = usize::try_from(packer.total_in() - start).unwrap_or(usize::MAX).min(plain.len());
            // Room that is left over means that nothing more is to come.
            if done == plain.len() && out.capacity() > out.len() {
                return Ok(out);
            }
        }
    }

    /// Unpacks a little of what came in; tells whether that gave anything.
    pub fn unpack(&mut self, to: &mut Vec<u8>) -> std::io::Result<bool> {
        let (before_in, before_out) = (self.unpacker.total_in(), self.unpacker.total_out());
        let mut out = Vec::with_capacity(STEP);
        let status = self
            .unpacker
            .decompress_vec(&self.packed, &mut out, FlushDecompress::Sync)
            .map_err(std::io::Error::other)?;
        let taken = usize::try_from(self.unpacker.total_in() - before_in).unwrap_or(0);
        self.packed.drain(..taken.min(self.packed.len()));
        to.extend_from_slice(&out);
        let gave = self.unpacker.total_out() > before_out;
        if status == Status::StreamEnd && !gave {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(gave)
    }

    /// Lets go of what an idle session does not need.
    pub fn rest(&mut self) {
        self.packer = None;
        if self.packed.is_empty() {
            self.packed = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(deflate: &mut Deflate) -> Vec<u8> {
        let mut out = Vec::new();
        while deflate.unpack(&mut out).unwrap() {}
        out
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back_also_when_the_packer_was_let_go(
            chunks in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..3000), 1usize..40, any::<bool>()), 1..6)
        ) {
            let (mut sender, mut receiver) = (Deflate::new(Vec::new()), Deflate::new(Vec::new()));
            for (chunk, times, rest) in chunks {
                let plain = chunk.repeat(times);
                receiver.packed.extend(sender.pack(&plain).unwrap());
                prop_assert_eq!(unpacked(&mut receiver), plain);
                if rest {
                    sender.rest();
                }
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut deflate = Deflate::new(bytes);
            let mut out = Vec::new();
            while let Ok(true) = deflate.unpack(&mut out) {}
        }
    }

    #[test]
    fn a_bomb_is_unpacked_a_little_at_a_time() {
        let mut deflate = Deflate::new(Vec::new());
        deflate.packed = Deflate::new(Vec::new()).pack(&vec![0; 10 << 20]).unwrap();
        let mut out = Vec::new();
        assert!(deflate.unpack(&mut out).unwrap());
        assert!(out.len() <= STEP * 2, "{}", out.len());
    }
}
