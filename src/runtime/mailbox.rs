//! Bounded message queues between shards, with wake-ups only for a sleeping receiver.
//!
//! A receiver that is about to sleep sets its `asleep` flag and then checks its mailbox once more; a sender
//! pushes its message and then checks the flag. A sequentially consistent fence between the two steps on
//! both sides guarantees that at least one of them sees the other's step, so that no wake-up is lost.

use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;

/// Queue of the messages to one shard.
pub struct Mailbox<T> {
    queue: ArrayQueue<T>,
    asleep: AtomicBool,
}

impl<T> Mailbox<T> {
    /// Creates a mailbox with room for `capacity` messages.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { queue: ArrayQueue::new(capacity), asleep: AtomicBool::new(false) }
    }

    /// Sends a message. Returns whether the caller must wake the receiver; only one sender gets true for each
    /// sleep.
    ///
    /// # Errors
    /// Returns the message when the mailbox is full.
    pub fn send(&self, message: T) -> Result<bool, T> {
        self.queue.push(message)?;
        fence(Ordering::SeqCst);
        Ok(self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed))
    }

    /// Number of messages in the mailbox.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the mailbox has no message.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Removes and returns the oldest message. To be called by the receiver only.
    #[must_use]
    pub fn receive(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Announces that the receiver is about to sleep. Returns whether it may, that is, whether there is no
    /// message.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    /// Announces that the receiver is awake.
    pub fn awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn full_mailbox_returns_the_message() {
        let mailbox = Mailbox::new(1);
        assert_eq!(mailbox.send(1), Ok(false));
        assert_eq!(mailbox.send(2), Err(2));
        assert_eq!(mailbox.receive(), Some(1));
    }

    #[test]
    fn sleeping_receiver_is_woken_once() {
        let mailbox = Mailbox::new(4);
        assert!(mailbox.may_sleep());
        assert_eq!(mailbox.send(1), Ok(true));
        assert_eq!(mailbox.send(2), Ok(false));
        assert!(!mailbox.may_sleep(), "there is something to read");
        assert_eq!((mailbox.receive(), mailbox.receive()), (Some(1), Some(2)));
    }

    #[test]
    fn awake_receiver_is_not_woken() {
        let mailbox = Mailbox::new(4);
        assert!(mailbox.is_empty());
        assert!(mailbox.may_sleep());
        mailbox.awake();
        assert_eq!(mailbox.send(1), Ok(false));
        assert!(!mailbox.may_sleep(), "there is something to read");
        assert_eq!(mailbox.send(2), Ok(false), "the receiver is awake");
        assert_eq!((mailbox.len(), mailbox.is_empty()), (2, false));
        assert_eq!(mailbox.receive(), Some(1));
        assert_eq!((mailbox.len(), mailbox.is_empty()), (1, false));
    }

    #[test]
    fn no_wakeup_is_lost_between_threads() {
        let mailbox = Arc::new(Mailbox::new(8));
        let sender = {
            let mailbox = Arc::clone(&mailbox);
            let receiver = std::thread::current();
            std::thread::spawn(move || {
                for n in 0..200_000u32 {
                    let mut message = n;
                    loop {
                        match mailbox.send(message) {
                            Ok(wake) => {
                                if wake {
                                    receiver.unpark();
                                }
                                break;
                            }
                            Err(back) => message = back,
                        }
                        std::thread::yield_now();
                    }
                }
            })
        };
        for expected in 0..200_000 {
            let got = loop {
                if let Some(got) = mailbox.receive() {
                    break got;
                }
                if mailbox.may_sleep() {
                    let before = std::time::Instant::now();
                    std::thread::park_timeout(std::time::Duration::from_secs(5));
                    assert!(before.elapsed().as_secs() < 5, "slept over a message");
                }
                mailbox.awake();
            };
            assert_eq!(got, expected);
        }
        sender.join().unwrap();
    }
}
