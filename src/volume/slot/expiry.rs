//! Changing when an object expires: its needle is appended anew, of a multipart object only the manifest.

use super::slot::Slot;
use crate::base::types::{Cookie, NeedleId};
use crate::volume::error::Refusal;
use crate::volume::log::joined::Joined;
use crate::volume::object::precondition::Check;

impl Slot {
    /// Sets the time at which the needle `id` expires (nanoseconds since 1970; `None` for never), if `check`
    /// holds. When this returns, the change is durable.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub async fn set_expiry(
        &self,
        id: NeedleId,
        cookie: Cookie,
        expires_ns: Option<u64>,
        check: Check<'_>,
    ) -> Result<(), Refusal> {
        self.volume().admit()?;
        let _held = self.lock_id(id).await;
        match self.join_expiry((id, cookie), expires_ns, check).await? {
            Some(joined) => joined.settled().await.map(drop),
            None => Ok(()),
        }
    }

    /// Returns `None` if the needle expires at that time already.
    async fn join_expiry(
        &self,
        (id, cookie): (NeedleId, Cookie),
        expires_ns: Option<u64>,
        check: Check<'_>,
    ) -> Result<Option<Joined>, Refusal> {
        let entered = self.enter().await;
        let volume = &entered.volume;
        let (header, at) = volume.decide_renewal(id, cookie, check).await?;
        if header.expires_ns == expires_ns {
            return Ok(None);
        }
        let renewed = volume.renewed(id, at, expires_ns).await?;
        Ok(Some(volume.append_with_blocks(vec![renewed]).await?))
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::volume::tests::rig::{COOKIE, Rig, id, location};

    #[test]
    fn damaged_object_keeps_its_time_and_counts_as_a_damaged_read() {
        let (mut rig, slot) = Rig::with_volume();
        rig.put(&slot, 1);
        let at = location(&slot, 1);
        let mut set = |n: u64| {
            let slot = Rc::clone(&slot);
            rig.run(async move { slot.set_expiry(id(n), COOKIE, Some(1 << 62), None).await })
        };
        assert_eq!(set(2), Err(Refusal::NotFound));
        let damaged = || slot.volume().stats().damaged_reads.get();
        assert_eq!(damaged(), 0);
        rig.rot(at.offset + 400);
        let changing = Rc::clone(&slot);
        let changed =
            rig.run(async move { changing.set_expiry(id(1), COOKIE, Some(1 << 62), None).await });
        assert_eq!((changed, damaged()), (Err(Refusal::Unreadable(id(1))), 1));
        assert_eq!(location(&slot, 1), at);
    }
}
