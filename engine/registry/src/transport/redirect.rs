//! Redirects, for requests without a body.
//!
//! Registries send whoever wants a blob to a storage elsewhere. `Authorization` is for the host that asked for it:
//! where scheme, host or port change, it stays behind for the rest of the way.

use super::{Failure, Payload, Request, Response, Transience, Transport};
use ureq::http::{Method, StatusCode, header};

const MOST: usize = 8;

pub(super) fn follow(transport: &Transport, request: &Request<'_>) -> Result<Response, Failure> {
    let can_follow =
        matches!(request.method, Method::GET | Method::HEAD) && matches!(request.payload, Payload::None);
    let mut request = request.clone();
    for _ in 0..=MOST {
        let response = transport.exchange(&request)?;
        let Some(location) = location(&response).filter(|_| can_follow) else { return Ok(response) };
        let (from, next) = (request.url.origin(), request.url.join(location)?);
        let to = next.origin();
        transport.check_step(&from, request.is_verified, &next)?;
        if from != to {
            request.authorization = None;
            request.is_verified = transport.is_verified(&to);
        }
        request.url = next;
    }
    Err(Failure::network(Transience::Never, format!("it redirects more than {MOST} times")))
}

fn location(response: &Response) -> Option<&str> {
    let is_redirect = matches!(
        response.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    response.header(header::LOCATION).filter(|_| is_redirect)
}
