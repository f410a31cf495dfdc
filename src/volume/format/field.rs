//! The codec: the only place where integers are converted to bytes on disk and back. All are
//! little-endian and of explicit width.

/// Appends fields to a block.
pub struct Encoder<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl<'a> Encoder<'a> {
    /// Starts at the first byte of `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, at: 0 }
    }

    /// Appends raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// Appends two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Appends zeros up to byte `end`.
    pub fn zeros_to(&mut self, end: usize) -> &mut Self {
        self.out[self.at..end].fill(0);
        self.at = end;
        self
    }

    /// Returns the number of bytes written.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Returns the bytes written so far.
    pub fn written(&self) -> &[u8] {
        &self.out[..self.at]
    }
}

/// Reads fields from a block that is known to be long enough.
pub struct Decoder<'a> {
    input: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input }
    }

    /// Reads the next `N` raw bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.input.split_first_chunk::<N>().expect("a block of full length");
        self.input = rest;
        *head
    }

    /// Reads one byte.
    pub fn u8(&mut self) -> u8 {
        self.bytes::<1>()[0]
    }

    /// Reads two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    /// Reads four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    /// Reads eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// Skips `count` bytes.
    pub fn skip(&mut self, count: usize) {
        self.input = &self.input[count..];
    }
}
