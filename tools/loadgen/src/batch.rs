//! The body of a batch put: a tar of objects.

use tar::{Builder, Header};

use crate::content::PIECE;
use crate::operation::Request;
use crate::plan::Shared;

/// Replaces `out` with the tar that `request` sends.
///
/// # Panics
/// Never: writing to memory cannot fail, and the names are short.
pub fn write(shared: &Shared, request: &Request, out: &mut Vec<u8>) {
    out.clear();
    let (slot, first, count) = request.batch;
    let mut builder = Builder::new(std::mem::take(out));
    for nth in first..first + count {
        let object = shared.objects.get(shared.objects.index_in_volume(slot, nth));
        let source = shared.content.source(&object, request.version);
        let mut data = vec![0; usize::try_from(object.size).expect("usize has 64 bits")];
        for (n, piece) in data.chunks_mut(PIECE).enumerate() {
            shared.content.write(&source, (n * PIECE) as u64, piece);
        }
        let mut header = Header::new_ustar();
        header.set_size(object.size);
        header.set_mode(0o644);
        let name = format!("{}/{}/{:016x}", object.key, object.alt, object.cookie);
        builder
            .append_data(&mut header, name, &data[..])
            .expect("the name is short, and writing to memory cannot fail");
    }
    *out = builder.into_inner().expect("writing to memory cannot fail");
}
