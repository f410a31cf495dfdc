//! `BatchDelete`: photos that the filer, and the gateways on it, delete.

use hayloft_proto::volume_server_pb as pb;
use tonic::Status;

use super::orders::Orders;
use super::refusal::refusal;
use crate::http::fid::FidName;
use crate::node::control::{FidDeleted, FidDeletion};

/// Deletes photos. The statuses of the results are those of the stock volume server, which its clients tell
/// apart: 202 deleted, 304 nothing to delete, 400 malformed or another cookie, 404 not found, 500 failed.
///
/// # Errors
/// `UNAVAILABLE` if the daemon stops.
pub(super) async fn batch_delete(
    orders: &Orders,
    request: pb::BatchDeleteRequest,
) -> Result<pb::BatchDeleteResponse, Status> {
    let pb::BatchDeleteRequest { file_ids, skip_cookie_check } = request;
    let photos: Vec<Option<FidDeletion>> =
        file_ids.iter().map(|fid| photo(fid, skip_cookie_check)).collect();
    let known = photos.iter().flatten().copied().collect();
    let mut deleted =
        orders.delete_fids(known).await.map_err(|refused| refusal(&refused))?.into_iter();
    let results = file_ids.into_iter().zip(photos).map(|(file_id, photo)| {
        let deleted = photo.and_then(|_| deleted.next());
        let (status, size, error) = match deleted {
            None => (400, 0, "not a file id".to_owned()),
            Some(FidDeleted::Deleted(size)) => (202, size, String::new()),
            Some(FidDeleted::Absent) if skip_cookie_check => (304, 0, String::new()),
            Some(FidDeleted::Absent) => (404, 0, "not found".to_owned()),
            Some(FidDeleted::OtherCookie) => (400, 0, "mismatching cookie".to_owned()),
            Some(FidDeleted::NoVolume) => (404, 0, "volume not found".to_owned()),
            Some(FidDeleted::Failed(why)) => (500, 0, why),
        };
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        pb::DeleteResult { file_id, status, error, size }
    });
    Ok(pb::BatchDeleteResponse { results: results.collect() })
}

fn photo(fid: &str, skip_cookie_check: bool) -> Option<FidDeletion> {
    let FidName { volume, key, cookie, .. } = FidName::parse(fid.as_bytes())?;
    let cookie = (!skip_cookie_check).then_some(cookie);
    Some(FidDeletion { volume, key, cookie })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::types::VolumeId;

    #[test]
    fn cookies_count_unless_they_are_to_be_skipped() {
        let deletion = |cookie| FidDeletion { volume: VolumeId(3), key: 2, cookie };
        assert_eq!(photo("3,02d2dd59a8", false), Some(deletion(Some(0xd2dd_59a8))));
        assert_eq!(photo("3,0200000000", true), Some(deletion(None)));
        assert_eq!(photo("3,", true), None);
    }
}
