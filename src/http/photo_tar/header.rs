//! The 512-byte headers of tar archives: POSIX ustar, GNU, and the older v7.

/// Block size of a tar (bytes): headers are one block, data are padded to whole blocks.
pub const BLOCK: usize = 512;

/// The value of a numeric header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Only NULs and spaces.
    Blank,
    /// A number.
    Value(u64),
    /// A negative number, which GNU tar writes in base 256.
    Negative,
    /// A number above 2^64 - 1.
    Overflow,
    /// Not a number.
    Malformed,
}

impl Number {
    /// Parses a field: octal digits, preceded by spaces and followed only by NULs and spaces; or, if the
    /// first bit is set, a big-endian number in two's complement (GNU base 256).
    #[must_use]
    pub fn parse(field: &[u8]) -> Self {
        match field {
            [0x80, rest @ ..] => {
                let (high, low) = rest.split_at(rest.len().saturating_sub(8));
                if high.iter().any(|&byte| byte != 0) {
                    return Self::Overflow;
                }
                Self::Value(low.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
            }
            [0xc0..=0xff, ..] => Self::Negative,
            [0x81..=0xbf, ..] => Self::Overflow,
            _ => Self::parse_octal(field),
        }
    }

    fn parse_octal(field: &[u8]) -> Self {
        let is_padding = |byte: &u8| matches!(byte, 0 | b' ');
        if field.iter().all(is_padding) {
            return Self::Blank;
        }
        let begin = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
        let len = field[begin..].iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let (digits, rest) = field[begin..].split_at(len);
        if digits.is_empty() || !rest.iter().all(is_padding) {
            return Self::Malformed;
        }
        let add = |sum: u64, digit: &u8| sum.checked_mul(8)?.checked_add(u64::from(digit - b'0'));
        digits.iter().try_fold(0, add).map_or(Self::Overflow, Self::Value)
    }
}

/// Type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular or contiguous file.
    File,
    /// A directory.
    Directory,
    /// pax records for the next entry (`x`).
    Records,
    /// pax records for all entries that follow (`g`).
    GlobalRecords,
    /// The name of the next entry (GNU `L`).
    LongName,
    /// The link target of the next entry (GNU `K`).
    LongLink,
    /// A sparse file (GNU `S`).
    Sparse,
    /// Any other type: links, devices, pipes, labels, parts of files.
    Other,
}

/// A parsed header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Type of the entry.
    pub kind: Kind,
    /// The name in the header, including its prefix.
    pub name: Vec<u8>,
    /// Size of the data after the header (bytes).
    pub size: Number,
    /// Modification time (seconds since 1970).
    pub modified: Number,
}

impl Header {
    /// Parses a header block.
    ///
    /// # Errors
    /// A message if the checksum is wrong or the magic is unknown.
    pub fn parse(block: &[u8; BLOCK]) -> Result<Self, &'static str> {
        if !has_checksum(block) {
            return Err("the checksum of a header is wrong");
        }
        let (name, prefix) = (text(&block[..100]), text(&block[345..500]));
        let (is_old, prefix) = match &block[257..265] {
            b"ustar  \0" => (false, &[][..]),
            magic if magic.starts_with(b"ustar\0") => (false, prefix),
            magic if magic.starts_with(b"ustar") => {
                return Err("a header has an unknown magic; only ustar, pax and GNU tars are read");
            }
            _ => (true, &[][..]),
        };
        let kind = match block[156] {
            // v7 has no type for directories: a slash at the end of the name marks them.
            0 if name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'5' => Kind::Directory,
            // The types below exist only in formats with a magic.
            _ if is_old => Kind::Other,
            b'x' => Kind::Records,
            b'g' => Kind::GlobalRecords,
            b'L' => Kind::LongName,
            b'K' => Kind::LongLink,
            b'S' => Kind::Sparse,
            _ => Kind::Other,
        };
        let name = match prefix {
            [] => name.to_vec(),
            prefix => [prefix, b"/", name].concat(),
        };
        let (size, modified) = (Number::parse(&block[124..136]), Number::parse(&block[136..148]));
        Ok(Self { kind, name, size, modified })
    }
}

/// Returns whether a block has the checksum of a header: the sum of its bytes, with the bytes of the checksum
/// counted as spaces.
#[must_use]
pub fn has_checksum(block: &[u8; BLOCK]) -> bool {
    let Number::Value(stated) = Number::parse(&block[148..156]) else { return false };
    let rest = block[..148].iter().chain(&block[156..]);
    stated == rest.map(|&byte| u64::from(byte)).sum::<u64>() + 8 * u64::from(b' ')
}

/// The part of a field before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_and_never_overflow() {
        for (field, number) in [
            (&b"00000001750\0"[..], Number::Value(1000)),
            (b"       1750 ", Number::Value(1000)),
            (b"777777777777", Number::Value((1 << 36) - 1)),
            (b"0\0\0\0\0\0\0\0\0\0\0\0", Number::Value(0)),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0", Number::Blank),
            (b"            ", Number::Blank),
            (b"\x80\0\0\0\0\0\0\x02\0\0\0\0", Number::Value(1 << 33)),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", Number::Value(u64::MAX)),
            (b"\x80\0\0\0\0\0\x02\0", Number::Value(512)),
            (b"\x80\0\0\x01\0\0\0\0\0\0\0\0", Number::Overflow),
            (b"\x81\0\0\0\0\0\0\0\0\0\0\0", Number::Overflow),
            (b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Number::Overflow),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", Number::Negative),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", Number::Negative),
            (b"00000000008\0", Number::Malformed),
            (b"-0000000001\0", Number::Malformed),
            (b"+AAAAAAAAAA\0", Number::Malformed),
            (b"0000001\x000001", Number::Malformed),
            (b"1750 1750  \0", Number::Malformed),
            (b"\x001750\0\0\0\0\0\0\0", Number::Malformed),
        ] {
            assert_eq!(Number::parse(field), number, "{}", field.escape_ascii());
        }
        assert_eq!(Number::parse(&[b'7'; 40]), Number::Overflow);
    }

    fn block(change: impl FnOnce(&mut tar::Header)) -> [u8; BLOCK] {
        let mut header = tar::Header::new_ustar();
        header.set_path("1/0/0123456789abcdef").unwrap();
        header.set_size(5);
        header.set_mtime(77);
        change(&mut header);
        header.set_cksum();
        *header.as_bytes()
    }

    #[test]
    fn only_ustar_names_have_a_prefix() {
        let prefixed = |header: &mut tar::Header| header.as_mut_bytes()[345..348].fill(b'9');
        let name = |block| Header::parse(&block).unwrap().name;
        assert_eq!(name(block(prefixed)), b"999/1/0/0123456789abcdef");
        for magic in [b"ustar  \0", b"\0\0\0\0\0\0\0\0"] {
            let other = block(|header| {
                prefixed(header);
                header.as_mut_bytes()[257..265].copy_from_slice(magic);
            });
            assert_eq!(name(other), b"1/0/0123456789abcdef");
        }
        let unknown = block(|header| header.as_mut_bytes()[262] = b'x');
        assert!(Header::parse(&unknown).is_err());
    }

    #[test]
    fn a_changed_byte_fails_the_checksum() {
        let whole = block(|_| ());
        let parsed = Header::parse(&whole).unwrap();
        assert_eq!((parsed.size, parsed.modified), (Number::Value(5), Number::Value(77)));
        for at in 0..BLOCK {
            let mut changed = whole;
            changed[at] ^= 1;
            assert!(Header::parse(&changed).is_err(), "byte {at}");
        }
    }
}
