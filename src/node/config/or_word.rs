//! Settings whose value may be replaced by a word: `"auto"`, `"off"`.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A word that may stand in place of a value.
pub trait Word {
    /// The word.
    const WORD: &'static str;
}

macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident = $word:literal,)*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name;

            impl Word for $name {
                const WORD: &'static str = $word;
            }
        )*
    };
}

words! {
    /// The daemon chooses the value.
    Auto = "auto",
    /// What the value is for does not happen.
    Off = "off",
    /// There is no restriction.
    Any = "any",
    /// There is no deadline.
    Never = "never",
}

/// A value of type `T`, or the word `W` in its place. The default is the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrWord<T, W>(Option<T>, PhantomData<W>);

impl<T, W> OrWord<T, W> {
    /// The value.
    #[must_use]
    pub const fn of(value: T) -> Self {
        Self(Some(value), PhantomData)
    }
}

impl<T: Copy, W> OrWord<T, W> {
    /// The value; `None` if the word stands in its place.
    #[must_use]
    pub const fn value(&self) -> Option<T> {
        self.0
    }
}

impl<T, W> Default for OrWord<T, W> {
    fn default() -> Self {
        Self(None, PhantomData)
    }
}

impl<T: fmt::Display, W: Word> fmt::Display for OrWord<T, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str(W::WORD),
        }
    }
}

impl<T: fmt::Display, W: Word> Serialize for OrWord<T, W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>, W: Word> Deserialize<'de> for OrWord<T, W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OrWordVisitor(PhantomData))
    }
}

struct OrWordVisitor<T, W>(PhantomData<(T, W)>);

impl<T: FromStr<Err: fmt::Display>, W: Word> Visitor<'_> for OrWordVisitor<T, W> {
    type Value = OrWord<T, W>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value, or \"{}\"", W::WORD)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == W::WORD {
            return Ok(OrWord::default());
        }
        let value = text.parse().map_err(|error| E::custom(format!("{error}, or {}", W::WORD)))?;
        Ok(OrWord::of(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::size::ByteSize;

    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct Holder {
        size: OrWord<ByteSize, Auto>,
    }

    #[test]
    fn word_and_value_round_trip_through_toml() {
        for (text, size) in [
            ("size = \"auto\"\n", OrWord::default()),
            ("size = \"3GiB\"\n", OrWord::of(ByteSize::gib(3))),
        ] {
            let holder: Holder = toml::from_str(text).unwrap();
            assert_eq!(holder.size, size);
            assert_eq!(toml::to_string(&holder).unwrap(), text);
        }
        let number: Holder = toml::from_str("size = 65536").unwrap();
        assert_eq!(number.size.value(), Some(ByteSize::kib(64)));
        assert_eq!(OrWord::<ByteSize, Off>::default().to_string(), "off");
    }

    #[test]
    fn error_names_the_word_as_an_alternative() {
        for text in ["size = \"off\"", "size = \"\"", "size = -1"] {
            let error = toml::from_str::<Holder>(text).unwrap_err().to_string();
            assert!(error.contains(", or auto"), "{text}: {error}");
        }
    }
}
