//! Parser of dictionaries of byte sequences, the syntax of `Content-Digest` and `Repr-Digest` (RFC 9651
//! sections 3.2 and 3.3.5, RFC 9530 section 2): `sha-256=:BASE64:, md5=:BASE64:`.
//!
//! This module does not know the meaning of keys, and does not decode the base64.

/// Calls `each` with key and base64 of every member of `value`, one line of a field. Parameters are parsed
/// and ignored. Returns `None` if the line is malformed or `each` returns `None`. An empty line is malformed
/// too: an empty dictionary is never sent (RFC 9651 section 3.2).
pub fn each_member<'a>(
    value: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Option<()>,
) -> Option<()> {
    let mut rest = Rest(value);
    loop {
        let key = rest.key()?;
        rest.expect(b'=')?;
        let encoded = rest.byte_sequence()?;
        rest.parameters()?;
        each(key, encoded)?;
        rest.take_while(is_blank);
        if rest.0.is_empty() {
            return Some(());
        }
        rest.expect(b',')?;
        rest.take_while(is_blank);
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The part of a line that is not parsed yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let count = self.0.iter().take_while(|&&byte| belongs(byte)).count();
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// RFC 9651 section 4.2.3.3. Keys are lower case.
    fn key(&mut self) -> Option<&'a [u8]> {
        let first = *self.0.first()?;
        let begins = first.is_ascii_lowercase() || first == b'*';
        let goes_on = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        };
        begins.then(|| self.take_while(goes_on))
    }

    /// Section 4.2.7. Returns the text between the colons.
    fn byte_sequence(&mut self) -> Option<&'a [u8]> {
        self.expect(b':')?;
        let encoded =
            self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.expect(b':')?;
        Some(encoded)
    }

    /// Section 4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.0.first() == Some(&b';') {
            self.next();
            self.take_while(|byte| byte == b' ');
            self.key()?;
            if self.0.first() == Some(&b'=') {
                self.next();
                self.bare_item()?;
            }
        }
        Some(())
    }

    /// Section 4.2.3.1. The value is ignored, so that of numbers and dates only the characters are checked.
    fn bare_item(&mut self) -> Option<()> {
        let is_number = |byte: u8| byte.is_ascii_digit() || b"-.".contains(&byte);
        match *self.0.first()? {
            b':' => drop(self.byte_sequence()?),
            b'"' => self.string()?,
            b'%' => {
                self.next();
                self.string()?;
            }
            b'?' => {
                self.next();
                matches!(self.next()?, b'0' | b'1').then_some(())?;
            }
            b'@' => {
                self.next();
                (!self.take_while(is_number).is_empty()).then_some(())?;
            }
            byte if is_number(byte) => drop(self.take_while(is_number)),
            byte if byte.is_ascii_alphabetic() || byte == b'*' => drop(self.take_while(|byte| {
                byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
            })),
            _ => return None,
        }
        Some(())
    }

    /// Section 4.2.5.
    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => matches!(self.next()?, b'"' | b'\\').then_some(())?,
                b' '..=b'~' => {}
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn members(value: &str) -> Option<Vec<(String, String)>> {
        let mut members = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        each_member(value.as_bytes(), |key, encoded| {
            members.push((text(key), text(encoded)));
            Some(())
        })?;
        Some(members)
    }

    #[test]
    fn members_are_returned_in_order() {
        for (value, want) in [
            ("a=:YQ==:", &[("a", "YQ==")][..]),
            ("a=::", &[("a", "")]),
            ("sha-256=:a+/=:,md5=:b:", &[("sha-256", "a+/="), ("md5", "b")]),
            ("a=:b: \t,\t *c_d.e*=:f:", &[("a", "b"), ("*c_d.e*", "f")]),
            ("a=:b:, a=:c:", &[("a", "b"), ("a", "c")]),
            (
                "a=:b:;x;  y=1;z=-1.5;s=\"\\\"\\\\,\";t=*T/o:k;u=?1;v=:YQ:;w=@12;d=%\"%c3\", e=:f:",
                &[("a", "b"), ("e", "f")],
            ),
        ] {
            let got = members(value).unwrap_or_else(|| panic!("{value}"));
            let got: Vec<_> = got.iter().map(|(key, value)| (&key[..], &value[..])).collect();
            assert_eq!(got, want, "{value}");
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        for value in [
            "",
            ",",
            "a",
            "a=",
            "a=1",
            "a=b",
            "a=\"YQ==\"",
            "a=:YQ==",
            "a=YQ==:",
            "a=:YQ==:,",
            ",a=:YQ==:",
            "a=:YQ==: b=:YQ==:",
            "a=:YQ==:;",
            "a=:YQ==:;X=1",
            "a=:YQ==:;x=",
            "a=:YQ==:;x=?2",
            "a=:YQ==:;x=\"",
            "a=:YQ==:;x=\"\\n\"",
            "a=:YQ==:;x=(1)",
            "a =:YQ==:",
            "a= :YQ==:",
            "A=:YQ==:",
            "1=:YQ==:",
            "a=:Y Q==:",
            "a=:YQ-_:",
            "a=(:YQ==:)",
            "a=:YQ==:\u{b}",
            "sha-256=:YQ==:;\u{e4}",
        ] {
            assert_eq!(members(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(value in "[a:=,; \t\"\\\\?@%*1.-]{0,30}|.{0,30}") {
            let _ = members(&value);
        }

        #[test]
        fn generated_lines_parse_to_their_members(
            pairs in prop::collection::vec(("[a-z*][a-z0-9_.*-]{0,8}", "[A-Za-z0-9+/=]{0,90}"), 1..5),
        ) {
            let text: Vec<_> = pairs.iter().map(|(key, value)| format!("{key}=:{value}:")).collect();
            prop_assert_eq!(members(&text.join(", ")), Some(pairs));
        }
    }
}
