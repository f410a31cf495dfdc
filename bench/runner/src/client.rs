//! Questions to servers beside the measurement.

use hayloft::client::Client;

/// A client for questions beside the measurement.
pub fn client(port: u16) -> Client {
    let address = format!("127.0.0.1:{port}").parse().expect("an address and a port");
    Client::new(address, "--port")
}
