//! What went wrong on the way to an upstream and back, and whose fault it was.

use pingora::{Error, ErrorSource, ErrorType};

use super::edge::Silence;
use crate::portal::answer::Refusal;

/// How an upstream failed to answer.
pub(super) enum Failure {
    BrokenOff,
    TimedOut,
    Other,
}

pub(super) fn failure_of(error: &Error) -> Failure {
    use ErrorType::{ConnectionClosed, H2Error, ReadError, ReadTimedout, WriteError, WriteTimedout};
    match error.etype() {
        _ if Silence::is_behind(error) => Failure::TimedOut,
        ConnectionClosed | ReadError | WriteError | H2Error => Failure::BrokenOff,
        ReadTimedout | WriteTimedout => Failure::TimedOut,
        _ => Failure::Other,
    }
}

/// What the visitor is told when forwarding fails; nothing where it is the visitor who is gone.
pub(super) fn refusal_of(error: &Error) -> Option<Refusal> {
    use ErrorType::{
        ConnectTimedout, ConnectionClosed, HTTPStatus, ReadError, ReadTimedout, TLSHandshakeTimedout, WriteError,
        WriteTimedout,
    };
    match (error.esource(), error.etype()) {
        _ if Silence::is_behind(error) => Some(Refusal::UpstreamTimedOut),
        (_, HTTPStatus(status)) => Some(Refusal::Status(*status)),
        (ErrorSource::Upstream, ConnectTimedout | ReadTimedout | WriteTimedout | TLSHandshakeTimedout) => {
            Some(Refusal::UpstreamTimedOut)
        }
        (ErrorSource::Upstream, _) => Some(Refusal::UpstreamFailed),
        (ErrorSource::Downstream, ReadError | WriteError | ConnectionClosed) => None,
        (ErrorSource::Downstream, ReadTimedout | WriteTimedout) => Some(Refusal::Status(408)),
        (ErrorSource::Downstream, _) => Some(Refusal::BadRequest),
        (ErrorSource::Internal | ErrorSource::Unset, ErrorType::ConnectNoRoute) => Some(Refusal::UpstreamFailed),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Refusal::Internal),
    }
}
