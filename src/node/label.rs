//! Closed sets of label values, for metrics and for the states on the board.
//!
//! A label value is an enum variant, not a string: a typo does not compile, the number of time series is
//! bounded, and the lookup of a counter is an array access.

/// The closed set of values of one label.
pub trait Label: Copy + 'static {
    /// The label's key, for instance `method`.
    const KEY: &'static str;
    /// The exported values, in the order of [`Label::index`].
    const NAMES: &'static [&'static str];
    /// The variants, in the order of [`Label::index`].
    const ALL: &'static [Self];

    /// Position of this value in [`Label::NAMES`].
    fn index(self) -> usize;

    /// The exported value.
    fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// Defines a label enum: its key, its variants and the names they are exported under.
macro_rules! label_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident: $key:literal {
        $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// Number of values: the length of arrays indexed by this label.
            $vis const COUNT: usize = <Self as $crate::node::label::Label>::NAMES.len();
        }

        impl $crate::node::label::Label for $name {
            const KEY: &'static str = $key;
            const NAMES: &'static [&'static str] = &[$($text),+];
            const ALL: &'static [Self] = &[$(Self::$variant),+];

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use label_enum;
