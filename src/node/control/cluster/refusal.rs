//! Errors of the calls of the protocol.

use tonic::{Code, Status};

use crate::base::types::VolumeId;
use crate::node::control::Refused;

/// The error for a volume that the node does not have. Others recognise it by code and text.
pub(super) fn no_volume(id: VolumeId) -> Status {
    Status::not_found(format!("not found volume id {id}"))
}

/// The error for a change that was refused.
pub(super) fn refusal(refused: &Refused) -> Status {
    let code = match refused {
        Refused::NoSuchVolume(id) => return no_volume(*id),
        Refused::Exists(_) => Code::AlreadyExists,
        Refused::Invalid(_) => Code::InvalidArgument,
        Refused::Conflict(_) => Code::FailedPrecondition,
        Refused::NoSpace(_) => Code::ResourceExhausted,
        Refused::NotThere(_) | Refused::Gone(_) => Code::NotFound,
        Refused::Unavailable(_) | Refused::Busy => Code::Unavailable,
        Refused::Failed(_) => Code::Internal,
    };
    Status::new(code, refused.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_code_and_its_sentence() {
        let sentence = || "A sentence.".to_owned();
        for (refused, code) in [
            (Refused::Exists(sentence()), Code::AlreadyExists),
            (Refused::Invalid(sentence()), Code::InvalidArgument),
            (Refused::Conflict(sentence()), Code::FailedPrecondition),
            (Refused::NoSpace(sentence()), Code::ResourceExhausted),
            (Refused::NotThere(sentence()), Code::NotFound),
            (Refused::Gone(sentence()), Code::NotFound),
            (Refused::Unavailable(sentence()), Code::Unavailable),
            (Refused::Failed(sentence()), Code::Internal),
        ] {
            let status = refusal(&refused);
            assert_eq!((status.code(), status.message()), (code, "A sentence."), "{refused:?}");
        }
        assert_eq!(refusal(&Refused::Busy).code(), Code::Unavailable);
        let missing = refusal(&Refused::NoSuchVolume(VolumeId(7)));
        assert_eq!((missing.code(), missing.message()), (Code::NotFound, "not found volume id 7"));
    }
}
