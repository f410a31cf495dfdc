//! The daemon in its cluster, as the admin API describes it.

use serde::Deserialize;

use super::listed_volume::ListedVolume;
use crate::base::calendar::rfc3339;

/// The part of `/status` that a list of volumes shows.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedStatus {
    pub(super) volumes: Vec<ListedVolume>,
    /// The daemon in its cluster, if it belongs to one.
    pub(super) cluster: Option<ListedLink>,
}

/// The connection of the daemon to the master of its cluster. Points in time are in seconds since 1970.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ListedLink {
    node: String,
    master: Option<String>,
    since: u64,
    last_error: Option<ListedLinkError>,
}

#[derive(Clone, Debug, Deserialize)]
struct ListedLinkError {
    error: String,
    at: u64,
}

impl ListedLink {
    /// Returns a line about the connection, for people.
    pub(super) fn line(&self) -> String {
        let since = rfc3339(self.since);
        match (&self.master, &self.last_error) {
            (Some(master), _) => {
                format!("cluster: {} is registered with {master}, since {since}\n", self.node)
            }
            (None, Some(ListedLinkError { error, at })) => {
                let at = rfc3339(*at);
                format!("cluster: {} is not registered, since {since}; {at}: {error}\n", self.node)
            }
            (None, None) => format!("cluster: {} is not registered yet\n", self.node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_names_the_master_or_the_last_error() {
        let mut link = ListedLink {
            node: "10.0.0.8:8080".to_owned(),
            master: None,
            since: 0,
            last_error: None,
        };
        assert_eq!(link.line(), "cluster: 10.0.0.8:8080 is not registered yet\n");
        let error = "master m:9333: refused".to_owned();
        link.last_error = Some(ListedLinkError { error, at: 86_400 });
        let expected = "cluster: 10.0.0.8:8080 is not registered, since 1970-01-01T00:00:00Z; \
                        1970-01-02T00:00:00Z: master m:9333: refused\n";
        assert_eq!(link.line(), expected);
        link.master = Some("m:9333".to_owned());
        let expected =
            "cluster: 10.0.0.8:8080 is registered with m:9333, since 1970-01-01T00:00:00Z\n";
        assert_eq!(link.line(), expected);
    }
}
