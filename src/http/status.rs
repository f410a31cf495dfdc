//! Status codes of the data API (RFC 9110 section 15) with their reason phrases and status lines.
//!
//! This module does not know header fields, nor when a status is sent.

/// A status code that Hayloft sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    code: u16,
    line: &'static str,
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $(
                $(#[$doc])*
                pub const $name: Self = Self {
                    code: $code,
                    // RFC 9112 section 4: HTTP-version SP status-code SP reason-phrase CRLF.
                    line: concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n"),
                };
            )*

            /// All statuses of the data API, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}

statuses! {
    /// The client may send the body.
    CONTINUE = 100 "Continue";
    /// The whole object follows.
    OK = 200 "OK";
    /// A new object was stored durably.
    CREATED = 201 "Created";
    /// An object was deleted durably: the answer of the dialect of SeaweedFS.
    ACCEPTED = 202 "Accepted";
    /// An object was replaced or deleted durably.
    NO_CONTENT = 204 "No Content";
    /// A range of the object follows.
    PARTIAL_CONTENT = 206 "Partial Content";
    /// The client has the current version.
    NOT_MODIFIED = 304 "Not Modified";
    /// The request is malformed.
    BAD_REQUEST = 400 "Bad Request";
    /// The request has no valid token.
    UNAUTHORIZED = 401 "Unauthorized";
    /// The request would change data and comes from a web page of another site.
    FORBIDDEN = 403 "Forbidden";
    /// The volume or object does not exist, or the cookie is wrong.
    NOT_FOUND = 404 "Not Found";
    /// The target does not allow this method; requires `Allow`.
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed";
    /// The request was received too slowly.
    REQUEST_TIMEOUT = 408 "Request Timeout";
    /// The key exists with another cookie.
    CONFLICT = 409 "Conflict";
    /// PUT and POST require a Content-Length.
    LENGTH_REQUIRED = 411 "Length Required";
    /// A precondition of the request is false.
    PRECONDITION_FAILED = 412 "Precondition Failed";
    /// The body is larger than the limit.
    CONTENT_TOO_LARGE = 413 "Content Too Large";
    /// The request target is longer than the limit.
    URI_TOO_LONG = 414 "URI Too Long";
    /// The body is not the plain bytes of the object: a form, or with a content coding.
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type";
    /// No byte of the range exists; requires `Content-Range: bytes */N`.
    RANGE_NOT_SATISFIABLE = 416 "Range Not Satisfiable";
    /// The request has an expectation other than 100-continue.
    EXPECTATION_FAILED = 417 "Expectation Failed";
    /// The head has too many bytes or too many fields (RFC 6585 section 5).
    HEADER_FIELDS_TOO_LARGE = 431 "Request Header Fields Too Large";
    /// The object cannot be read.
    INTERNAL_SERVER_ERROR = 500 "Internal Server Error";
    /// The request has a transfer coding.
    NOT_IMPLEMENTED = 501 "Not Implemented";
    /// Overloaded, recovering, draining or read-only; should have `Retry-After`.
    SERVICE_UNAVAILABLE = 503 "Service Unavailable";
    /// The version is neither HTTP/1.0 nor HTTP/1.1.
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported";
    /// The volume is full (RFC 4918 section 11.5).
    INSUFFICIENT_STORAGE = 507 "Insufficient Storage";
}

impl Status {
    /// The three-digit code.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.code
    }

    /// The reason phrase.
    #[must_use]
    pub fn reason(self) -> &'static str {
        &self.line["HTTP/1.1 200 ".len()..self.line.len() - "\r\n".len()]
    }

    /// The status line, including CRLF.
    #[must_use]
    pub const fn line(self) -> &'static [u8] {
        self.line.as_bytes()
    }

    /// Returns whether the status is 4xx or 5xx.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.code >= 400
    }

    /// Returns whether a reply with this status has a Content-Length. It must not with 1xx and 204 (RFC 9110
    /// section 8.6); with 304 it would be the length of a body that is not sent.
    #[must_use]
    pub const fn has_content_length(self) -> bool {
        self.code >= 200 && self.code != 204 && self.code != 304
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_the_data_api() {
        let codes: Vec<u16> = Status::ALL.iter().map(|s| s.code()).collect();
        let contract = [
            100, 200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 411, 412, 413,
            414, 415, 416, 417, 431, 500, 501, 503, 505, 507,
        ];
        assert_eq!(codes, contract);
    }

    #[test]
    fn status_line_code_and_reason_agree() {
        for status in Status::ALL {
            let line = format!("HTTP/1.1 {} {}\r\n", status.code(), status.reason());
            assert_eq!(line.as_bytes(), status.line());
            assert!(!status.reason().is_empty());
        }
        assert_eq!(Status::URI_TOO_LONG.reason(), "URI Too Long");
    }

    #[test]
    fn statuses_from_400_on_are_errors() {
        assert!(!Status::NOT_MODIFIED.is_error());
        assert!(Status::BAD_REQUEST.is_error());
        assert!(Status::INSUFFICIENT_STORAGE.is_error());
    }

    #[test]
    fn only_100_204_and_304_have_no_content_length() {
        let without: Vec<u16> =
            Status::ALL.iter().filter(|s| !s.has_content_length()).map(|s| s.code()).collect();
        assert_eq!(without, [100, 204, 304]);
    }
}
