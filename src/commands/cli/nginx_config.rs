//! `hayloft nginx-config`: prints an nginx configuration for a running daemon.

use std::process::ExitCode;

use clap::Args;

use super::output::{deliver, fail, note};
use crate::base::size::ByteSize;
use crate::commands::client::{Body, Client, ClientError, ServerAddress};
use crate::commands::nginx::{self, Network, Node, Site};
use crate::http::head::Method;
use crate::node::config::Listen;

const NGINX_EXAMPLES: &str = "\
Examples:
  hayloft nginx-config > /etc/nginx/conf.d/hayloft.conf && nginx -s reload
      for the daemon on this machine
  hayloft nginx-config --daemon unix:/run/hayloft/data.sock > hayloft.conf
      through its unix socket; the shard ports stay on 127.0.0.1
  hayloft nginx-config --allow-writes 10.1.0.0/16 > hayloft.conf
      writes from that network too, at port 8082
  hayloft nginx-config --admin 10.0.0.5:8081 --full > nginx.conf
      for a daemon on another host, as a whole nginx.conf

There are two servers: a public one, which passes on GET and HEAD and answers everything else \
with 403, and one for writes, which admits only this machine or the networks of --allow-writes.

On Debian, nginx's own site is the default of port 80 and answers in place of the public server: \
remove /etc/nginx/sites-enabled/default, or give --server-name.

Requests for a volume go to the port of the shard that owns it; those for volumes that are not \
listed, to the shared address. Reads at the public server are tried a second time if a \
connection fails, writes never. Generate the configuration again after volumes were added or \
deleted, and after cores or ports changed.

Exit codes: 0 done; 1 printed, but nothing answers at one of its addresses; 2 not printed.";

/// Flags of `hayloft nginx-config`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = NGINX_EXAMPLES)]
pub struct NginxArgs {
    /// Admin API of the running daemon, which lists its volumes, shards and addresses
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    admin: ServerAddress,

    /// Where nginx reaches the daemon's data API, IP:PORT or unix:/path; the shard ports are on the same
    /// address, or on 127.0.0.1 [default: the first that the daemon listens on]
    #[arg(long, value_name = "ADDR")]
    daemon: Option<Listen>,

    /// Where nginx listens for public reads: PORT, IP:PORT or unix:/path
    #[arg(long, value_name = "ADDR", default_value = "80")]
    listen: String,

    /// Where nginx listens for writes: PORT, IP:PORT or unix:/path; without --allow-writes a loopback address
    /// or a unix socket [default: 127.0.0.1:8082; with --allow-writes 8082 on all addresses]
    #[arg(long, value_name = "ADDR")]
    listen_writes: Option<String>,

    /// Network or address that may write, for instance 10.1.0.0/16; repeatable [default: this machine,
    /// through loopback]
    #[arg(long, value_name = "CIDR")]
    allow_writes: Vec<Network>,

    /// Host name of the site; repeatable [default: any]
    #[arg(long, value_name = "NAME")]
    server_name: Vec<String>,

    /// Largest body that nginx passes on [default: the daemon's limits.largest_body]
    #[arg(long, value_name = "SIZE")]
    largest_body: Option<ByteSize>,

    /// Print a whole nginx.conf instead of a part for its http block
    #[arg(long)]
    full: bool,
}

impl NginxArgs {
    pub(super) fn run(self) -> ExitCode {
        let reached_at = self.admin.ip();
        let node = match node(self.admin) {
            Ok(node) => node,
            Err(error) => return fail(&error),
        };
        let Some(daemon) = self.daemon.or_else(|| node.data_address(reached_at)) else {
            return fail(
                &"the daemon does not report where it listens; name its address with --daemon",
            );
        };
        let site = Site {
            daemon,
            listen: self.listen,
            listen_writes: self.listen_writes,
            allow_writes: self.allow_writes,
            server_names: self.server_name,
            largest_body: self.largest_body.unwrap_or(node.largest_body()),
        };
        if let Err(error) = site.validate() {
            return fail(&error);
        }
        let text =
            if self.full { nginx::full(&node, &site) } else { nginx::included(&node, &site) };
        let delivered = match text {
            Ok(text) => deliver(text.as_bytes()),
            Err(error) => return fail(&error),
        };
        let problems = nginx::unreachable(&node, &site);
        for problem in &problems {
            note(format_args!(
                "{problem}; check --daemon, and whether this host can connect there"
            ));
        }
        if problems.is_empty() || delivered != ExitCode::SUCCESS {
            delivered
        } else {
            ExitCode::FAILURE
        }
    }
}

fn node(admin: ServerAddress) -> Result<Node, ClientError> {
    let client = Client::new(admin, "--admin");
    client.request(Method::Get, "/status", &[], Body::None)?.expect(&[200])?.json()
}
