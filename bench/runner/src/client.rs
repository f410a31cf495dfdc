//! HTTP client for control requests.

use hayloft::commands::client::Client;

/// Client for control requests to a server on loopback.
pub fn client(port: u16) -> Client {
    let address =
        format!("127.0.0.1:{port}").parse().expect("a literal address with a port parses");
    Client::new(address, "--port")
}
