//! Which record may follow which.

use super::bad_exchange::BadExchange;
use super::record_head::RecordHead;
use super::record_kind::ExchangeKind;

/// The order of the records of a stream, as far as it was read.
#[derive(Clone, Debug, Default)]
pub struct ExchangeSequence {
    /// Number of the next record.
    next: u64,
    /// The large object whose pieces are being read, and how much of its body was read (bytes).
    body: Option<(RecordHead, u64)>,
    has_ended: bool,
}

impl ExchangeSequence {
    /// Returns the number of the next record.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes the next record. Returns whether it completes an object or a deletion: what comes before the
    /// last piece of a large object, or is withdrawn, does not count.
    ///
    /// # Errors
    /// [`BadExchange::Order`].
    pub fn take(&mut self, head: &RecordHead) -> Result<bool, BadExchange> {
        if self.has_ended || head.number != self.next {
            return Err(BadExchange::Order);
        }
        self.next += 1;
        match (self.body, head.kind) {
            (Some((object, read)), ExchangeKind::Piece) => {
                if !belongs(&object, head) || head.offset != read {
                    return Err(BadExchange::Order);
                }
                let read = read + u64::from(head.data_len);
                self.body = (read < object.body_len).then_some((object, read));
                Ok(self.body.is_none())
            }
            (Some((object, _)), ExchangeKind::Withdrawn) if belongs(&object, head) => {
                self.body = None;
                Ok(false)
            }
            (Some(_), _) | (None, ExchangeKind::Piece | ExchangeKind::Withdrawn) => {
                Err(BadExchange::Order)
            }
            (None, ExchangeKind::LargeObject) => {
                self.body = Some((*head, 0));
                Ok(false)
            }
            (None, ExchangeKind::End) => {
                self.has_ended = true;
                Ok(false)
            }
            (None, ExchangeKind::Object | ExchangeKind::Deletion) => Ok(true),
            (None, ExchangeKind::Damaged) => Ok(false),
        }
    }

    /// Checks that the stream is complete.
    ///
    /// # Errors
    /// [`BadExchange::Cut`].
    pub fn finish(&self) -> Result<(), BadExchange> {
        if self.has_ended { Ok(()) } else { Err(BadExchange::Cut) }
    }
}

/// Whether a record is about the body of `object`.
fn belongs(object: &RecordHead, head: &RecordHead) -> bool {
    let name = |head: &RecordHead| (head.id, head.version);
    let body = |head: &RecordHead| (head.modified_ns, head.body_len, head.body_checksum);
    let is_same = name(object) == name(head) && body(object) == body(head);
    is_same && object.cookie.matches(head.cookie)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::{Cookie, NeedleId};

    fn head(kind: ExchangeKind, number: u64) -> RecordHead {
        let body_len = if kind == ExchangeKind::Object { 0 } else { 10 };
        RecordHead {
            kind,
            id: NeedleId::new(1, 0),
            cookie: Cookie(2),
            version: 3,
            body_len,
            ..RecordHead::end(number, 0)
        }
    }

    fn piece(number: u64, offset: u64, data_len: u32) -> RecordHead {
        RecordHead { offset, data_len, ..head(ExchangeKind::Piece, number) }
    }

    #[test]
    fn bodies_arrive_piece_by_piece_and_the_end_is_last() {
        let mut order = ExchangeSequence::default();
        assert_eq!(order.take(&head(ExchangeKind::Object, 0)), Ok(true));
        assert_eq!(order.take(&head(ExchangeKind::LargeObject, 1)), Ok(false));
        assert_eq!(order.take(&piece(2, 0, 4)), Ok(false));
        assert_eq!(order.take(&piece(3, 4, 6)), Ok(true));
        assert_eq!(order.take(&head(ExchangeKind::LargeObject, 4)), Ok(false));
        assert_eq!(order.take(&head(ExchangeKind::Withdrawn, 5)), Ok(false));
        assert_eq!(order.take(&head(ExchangeKind::Damaged, 6)), Ok(false));
        assert_eq!(order.finish(), Err(BadExchange::Cut));
        assert_eq!((order.next_number(), order.take(&RecordHead::end(7, 9))), (7, Ok(false)));
        assert_eq!(order.finish(), Ok(()));
        assert_eq!(order.take(&head(ExchangeKind::Object, 8)), Err(BadExchange::Order));
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let start = || {
            let mut order = ExchangeSequence::default();
            order.take(&head(ExchangeKind::LargeObject, 0)).unwrap();
            order.take(&piece(1, 0, 4)).unwrap();
            order
        };
        let other = RecordHead { version: 4, ..piece(2, 4, 6) };
        for bad in [
            piece(2, 0, 4),
            piece(2, 5, 5),
            piece(3, 4, 6),
            other,
            RecordHead { version: 4, ..head(ExchangeKind::Withdrawn, 2) },
            head(ExchangeKind::Object, 2),
            head(ExchangeKind::LargeObject, 2),
            RecordHead::end(2, 0),
        ] {
            assert_eq!(start().take(&bad), Err(BadExchange::Order), "{bad:?}");
        }
        for bad in [piece(0, 0, 4), head(ExchangeKind::Withdrawn, 0), RecordHead::end(1, 0)] {
            assert_eq!(ExchangeSequence::default().take(&bad), Err(BadExchange::Order), "{bad:?}");
        }
    }
}
