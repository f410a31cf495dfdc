//! A small blocking HTTP client for the commands, the tools and the tests: the data API and the admin API,
//! over TCP, without TLS, proxies or redirects.
//!
//! No status is an error here: the caller decides which ones it expects. The daemon does not use this
//! module.
//!
//! | file | holds |
//! | --- | --- |
//! | `http_client` | sends requests, and retries them |
//! | `heads` | pipelined HEAD requests |
//! | `reply` | answers |
//! | `body` | bodies of requests |
//! | `error` | why a request got no answer, or not the expected one |
//! | `address` | address of a server |
//! | `timeout` | timeouts that single and pipelined requests share |

mod address;
mod body;
mod error;
mod heads;
mod http_client;
mod reply;
mod timeout;

pub use address::{AddressError, ServerAddress};
pub use body::{Body, Source};
pub use error::ClientError;
pub use heads::{HeadAnswer, HeadPipeline};
pub use http_client::Client;
pub use reply::{Answer, Reply};
