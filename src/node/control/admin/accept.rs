//! Content negotiation of `/metrics` by `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

use crate::node::metrics::ExpositionFormat;

/// Returns the format with the highest quality in `Accept`: OpenMetrics if both have the same, and
/// [`ExpositionFormat::Text`] if neither is named.
pub(super) fn wanted(headers: &HeaderMap) -> ExpositionFormat {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges: Vec<(ExpositionFormat, f32)> =
        values.flat_map(|value| value.split(',')).filter_map(range).collect();
    let best = |format| {
        let own = ranges.iter().filter(|(named, _)| *named == format).map(|(_, quality)| *quality);
        own.fold(0.0, f32::max)
    };
    let (open_metrics, text) = (best(ExpositionFormat::OpenMetrics), best(ExpositionFormat::Text));
    if open_metrics > 0.0 && open_metrics >= text {
        ExpositionFormat::OpenMetrics
    } else {
        ExpositionFormat::Text
    }
}

/// Parses a media range such as `text/plain;version=0.0.4;q=0.3`: the format and its quality, 0 to 1. `None`
/// for other media types and for malformed ranges.
fn range(text: &str) -> Option<(ExpositionFormat, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let (mut quality, mut version) = (1.0, None);
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            "version" => version = Some(value),
            _ => {}
        }
    }
    match (media_type.as_str(), version) {
        ("application/openmetrics-text", None | Some("0.0.1" | "1.0.0")) => {
            Some((ExpositionFormat::OpenMetrics, quality))
        }
        ("text/plain" | "text/*", _) => Some((ExpositionFormat::Text, quality)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format_for(accept: &[&str]) -> ExpositionFormat {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        wanted(&headers)
    }

    #[test]
    fn format_follows_the_accept_header() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            &[prometheus][..],
            &["application/openmetrics-text"],
            &["APPLICATION/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8"],
            &["text/plain;q=0.5", "application/openmetrics-text;q=0.5"],
            &["*/*;q=0.9, application/openmetrics-text;q=0.1"],
        ] {
            assert_eq!(format_for(accept), ExpositionFormat::OpenMetrics, "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["text/plain"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.2, text/plain;q=0.7"],
            &["application/openmetrics-text;version=2.0.0"],
            &["application/openmetrics-text;q=nan"],
            &["application/json"],
            &[";;,,=", "text"],
        ] {
            assert_eq!(format_for(accept), ExpositionFormat::Text, "{accept:?}");
        }
    }
}
