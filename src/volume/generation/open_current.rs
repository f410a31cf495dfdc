//! Opening a volume that may have several files.

use std::rc::Rc;

use super::choose::{Choice, choose};
use super::examine::examine;
use super::generation_file::GenerationFile;
use super::open::open_with;
use super::open_context::OpenContext;
use super::other_files::OtherFiles;
use crate::base::sabotage::{Sabotage, chosen};
use crate::runtime::Handle;
use crate::volume::Volume;
use crate::volume::error::{OpenError, Undecided};

/// Opens the file of a volume that counts among `files`: all its files in the data directories in use. When
/// this returns, the volume serves, and the other files are unchanged: the caller removes them
/// ([`OtherFiles::remove`]). Returns no volume if the only file was not finished.
///
/// # Errors
/// See [`OpenError`]. All files are unchanged then, except for what opening one of them repairs.
pub async fn open_current(
    handle: &Handle,
    files: &[GenerationFile],
    context: OpenContext<'_>,
) -> Result<(Option<Rc<Volume>>, OtherFiles), OpenError> {
    if let [only] = files {
        match open_with(handle, only.dir, &only.expected, context).await {
            // Decided below, from every copy of its superblock.
            Err(OpenError::Building) => {}
            opened => return Ok((Some(opened?), OtherFiles::default())),
        }
    }
    let mut examined = Vec::new();
    for file in files {
        examined.push(examine(handle, file).await?);
    }
    let Choice { current, others } = choose(&examined, context.all_directories)?;
    let Some(current) = current else { return Ok((None, others)) };
    if chosen(Sabotage::RemoveBeforeOpen) {
        others.clone().remove(handle, None).await;
    }
    match open_with(handle, current.dir, &current.expected, context).await {
        Ok(volume) => Ok((Some(volume), others)),
        Err(OpenError::NoBuffer) => Err(OpenError::NoBuffer),
        Err(error) => {
            let (generation, why) = (current.generation(), error.to_string());
            Err(Undecided::NotOpened { generation, why }.into())
        }
    }
}
