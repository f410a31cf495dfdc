//! Streams with a request in a body, which would change a canary if it were taken for one.

use hayloft::http::head::Dialects;

use super::random::Random;
use crate::daemon_harness::path;

/// A request that would change the canary `canary` if it were taken for one.
pub fn attack(canary: u64, random: &mut Random) -> String {
    let path = path(canary);
    match random.below(3) {
        0 => format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\ndead"),
        1 => format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
        _ => format!("\r\nDELETE {path} HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\n"),
    }
}

/// The target of the streams.
fn photo(dialects: Dialects) -> String {
    match dialects {
        Dialects::Own => path(1),
        Dialects::WithFids => "/2,01637037d6".to_owned(),
    }
}

/// Unambiguous forms with the attack in them.
fn forms(attack: &str) -> Vec<String> {
    let part = "Content-Disposition: form-data; name=file; filename=p.jpg\r\n\r\n";
    let content_type = "Host: a\r\nContent-Type: multipart/form-data; boundary=B\r\n";
    let mut all = Vec::new();
    for body in [
        format!("--B\r\n{part}{attack}\r\n--B--\r\n"),
        format!("--B\r\n\r\n{attack}\r\n--B\r\n{part}x\r\n--B\r\n\r\n{attack}\r\n--B--"),
        format!("--B\r\n{part}x\r\n--B--\r\n{attack}"),
    ] {
        let (len, half) = (body.len(), body.len() / 2);
        let line = format!("POST {} HTTP/1.1\r\n{content_type}", photo(Dialects::WithFids));
        all.push(format!("{line}Content-Length: {len}\r\n\r\n{body}"));
        let (first, second) = body.split_at(half);
        let chunks = format!("{half:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", len - half);
        all.push(format!("{line}Transfer-Encoding: chunked\r\n\r\n{chunks}"));
    }
    all
}

/// Unambiguous streams with the attack as body: most of their mutations are requests, too.
pub fn unambiguous_streams(attack: &str, dialects: Dialects) -> Vec<Vec<u8>> {
    let (photo, len) = (photo(dialects), attack.len());
    let length = format!("Host: a\r\nContent-Length: {len}\r\n");
    let next = format!("GET {photo} HTTP/1.1\r\nHost: a\r\n\r\n");
    let put = format!("PUT {photo} HTTP/1.1\r\n{length}\r\n{attack}");
    let conditional = format!("PUT {photo} HTTP/1.1\r\n{length}If-Match: *\r\n\r\n{attack}");
    let typed = format!("PUT {photo} HTTP/1.1\r\n{length}Content-Type: image/jpeg\r\n\r\n{attack}");
    let post = format!("POST /1 HTTP/1.1\r\n{length}\r\n{attack}");
    let old = format!("PUT {photo} HTTP/1.0\r\nConnection: keep-alive\r\n{length}\r\n{attack}");
    let head = format!("PUT {photo} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunked = format!("{head}{len:x}\r\n{attack}\r\n0\r\n\r\n");
    let chunks = format!("{head}5\r\nabcde\r\n{len:x}\r\n{attack}\r\n1\r\nx\r\n0\r\n\r\n");
    let mut all = vec![put, conditional, typed, post, old, chunked, chunks];
    if dialects == Dialects::WithFids {
        all.extend(forms(attack));
    }
    let followed: Vec<_> = all.iter().map(|first| format!("{first}{next}")).collect();
    let twice: Vec<_> = all.iter().map(|first| format!("{first}{first}{next}")).collect();
    [all, followed, twice].concat().into_iter().map(String::into_bytes).collect()
}

/// Streams that parsers may understand in different ways, with the attack in the body.
pub fn ambiguous_streams(attack: &str, dialects: Dialects) -> Vec<Vec<u8>> {
    let (photo, len) = (photo(dialects), attack.len());
    let mut streams: Vec<String> = Vec::new();
    let put =
        |fields: &str, body: &str| format!("PUT {photo} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| {
        let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        put("Transfer-Encoding: chunked\r\n", &body)
    };
    let next = format!("GET {photo} HTTP/1.1\r\nHost: a\r\n\r\n");
    // Lengths.
    for fields in [
        format!("Content-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nContent-Length: {len}\r\n"),
        format!("Content-Length: 0\r\nContent-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nContent-Length: 0\r\n"),
        format!("Content-Length: {len}\r\nX: y\r\ncontent-length: 1\r\n"),
        format!("Content-Length: {len}, {len}\r\n"),
        format!("Content-Length: +{len}\r\n"),
        format!("Content-Length: 0{len}\r\n"),
        format!("Content-Length: 0x{len:x}\r\n"),
        format!("Content-Length: {len} \t\r\n"),
        format!("Content-Length: {len}\0\r\n"),
        format!("Content-Length:\x0b{len}\r\n"),
        format!("Content-Length : {len}\r\n"),
        format!("Content-Length\t: {len}\r\n"),
        format!(" Content-Length: {len}\r\n"),
        format!("X: y\r\n Content-Length: {len}\r\n"),
        format!("Content-Length:\r\n {len}\r\n"),
        format!("Content-Length: 0\r\n {len}\r\n"),
        format!("Content-Length: {len}\r\nContent_Length: 0\r\n"),
        format!("Content-Length: {len}\nX: y\r\n"),
        format!("X: y\nContent-Length: {len}\r\n"),
        format!("X: y\rContent-Length: {len}\r\n"),
        format!("Content-Length: {len}\r\nConnection: Content-Length\r\n"),
        format!("Content-Length: {len}\r\nConnection: close, Content-Length\r\n"),
        format!("Content-Length: {len}\r\nExpect: 100-continue\r\n"),
        format!("Content-Length: {len}\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n"),
        format!("Content-Length: {len}\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n"),
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\n".to_owned(),
        "Content-Length: 0\r\n".to_owned(),
        "Content-Length: 1\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 18446744073709551616\r\n".to_owned(),
        String::new(),
    ] {
        streams.push(put(&fields, attack));
        streams.push(put(&fields, &format!("{attack}{next}")));
    }
    // Codings, with and without a length.
    let chunk = format!("{len:x}\r\n{attack}\r\n0\r\n\r\n");
    for coding in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: chunked\0",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "TE: chunked",
        "Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding",
    ] {
        streams.push(put(&format!("{coding}\r\n"), &chunk));
        for length in [0, 5, len, chunk.len(), chunk.len() + next.len()] {
            let fields = [format!("Content-Length: {length}"), coding.to_owned()];
            streams.push(put(
                &format!("{}\r\n{}\r\n", fields[0], fields[1]),
                &format!("{chunk}{next}"),
            ));
            streams.push(put(
                &format!("{}\r\n{}\r\n", fields[1], fields[0]),
                &format!("0\r\n\r\n{attack}"),
            ));
        }
    }
    // Chunks.
    for body in [
        format!("{len:x};x=y\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x};x=\"\r\n\"\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\n{attack}\n0\n\n"),
        format!("{len:x};\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\r{attack}\r\n0\r\n\r\n"),
        format!("{len:x} \r\n{attack}\r\n0\r\n\r\n"),
        format!("0x{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("+{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("-1\r\n{attack}\r\n0\r\n\r\n"),
        format!("1000000000000000{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("00000000000000000000{len:x}\r\n{attack}\r\n0\r\n\r\n"),
        format!("{len:x}\r\n{attack}0\r\n\r\n"),
        format!("{len:x}\r\n{attack}xx0\r\n\r\n"),
        format!("{:x}\r\n{attack}\r\n0\r\n\r\n", len + 5),
        format!("2\r\nab\r\n0\r\n\r\n{attack}"),
        format!("0\r\nX: y\r\n\r\n{attack}"),
        format!("0\r\nContent-Length: {len}\r\n\r\n{attack}"),
        format!("0\r\n{attack}"),
        format!("0\r\n\r\n\r\n{attack}"),
        format!("0\n\r\n{attack}"),
    ] {
        streams.push(put("Transfer-Encoding: chunked\r\n", &body));
        streams.push(put("Transfer-Encoding: chunked\r\n", &format!("{body}{next}")));
    }
    // Bodies of methods without one, bodies of other targets, and more than one request.
    for method in ["GET", "HEAD", "DELETE", "POST", "PATCH", "OPTIONS", "CONNECT", "TRACE", "put"] {
        for fields in [&format!("Content-Length: {len}\r\n"), "Transfer-Encoding: chunked\r\n", ""]
        {
            for version in ["HTTP/1.1", "HTTP/1.0"] {
                let body = if fields.starts_with('T') { &chunk } else { attack };
                let head = format!("{method} {photo} {version}\r\nHost: a\r\n{fields}\r\n");
                streams.push(format!("{head}{body}{next}"));
            }
        }
    }
    for target in [
        "/",
        "/1",
        "/1/batch",
        "/1/delete",
        "/9/delete",
        "/9",
        "*",
        "http://a/1",
        "/1%20HTTP/1.1%0d%0aX:y",
        "//1",
        "/1?/../",
    ] {
        let fields = format!("Host: a\r\nContent-Type: text/plain\r\nContent-Length: {len}\r\n");
        streams.push(format!("POST {target} HTTP/1.1\r\n{fields}\r\n{attack}{next}"));
        streams.push(format!("PUT {target} HTTP/1.1\r\n{fields}\r\n{attack}"));
    }
    // Hosts in targets, and requests after one that asks for another protocol.
    for url in
        ["http://a", "HTTP://A:80", "http://b", "http://a@b", "http://a:1", "https://a", "http:"]
    {
        let put = attack.replacen("Host: x", "Host: a", 1).replacen(" /", &format!(" {url}/"), 1);
        streams.push(format!("GET {url}{photo} HTTP/1.1\r\nHost: a\r\n\r\n{next}"));
        let fields = format!("Host: a\r\nContent-Length: {}\r\n", put.len());
        streams.push(format!("PUT {url}{photo} HTTP/1.1\r\n{fields}\r\n{put}{next}"));
    }
    for (upgrade, begin) in
        [("h2c", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ("websocket", "\u{1}\u{5}")]
    {
        let fields = format!("Host: a\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        streams.push(format!("GET {photo} HTTP/1.1\r\n{fields}\r\n{begin}{attack}"));
        let fields = format!("{fields}Content-Length: {}\r\n", begin.len() + len);
        streams.push(format!("PUT {photo} HTTP/1.1\r\n{fields}\r\n{begin}{attack}{next}"));
    }
    let encoded = attack.replace(' ', "%20").replace('\r', "%0d").replace('\n', "%0a");
    streams.push(format!("GET {photo}?{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    streams.push(format!("GET /{encoded} HTTP/1.1\r\nHost: a\r\n\r\n"));
    streams.push(format!("GET {photo}\r\n{attack}"));
    streams.push(format!("GET {photo} HTTP/1.1\r\nHost: a\r\nX: {attack}"));
    streams.push(format!("GET {photo} HTTP/1.1\r\nHost: {}\r\n\r\n", attack.replace("\r\n", "\r")));
    streams.push(format!(
        "GET {photo} HTTP/1.1\r\nHost: a\r\nIf-Match: \"{}\"\r\n\r\n",
        &attack[2..20]
    ));
    streams.push(chunked(attack));
    streams.push(chunked(attack) + &next);
    streams.push(put(&format!("Content-Length: {len}\r\n"), attack) + &next + &next);
    // Longer than nginx buffers in memory, and than the daemon receives at once.
    let long = attack.repeat(300_000 / len);
    streams.push(put(&format!("Content-Length: {}\r\n", long.len()), &long) + &next);
    streams.push(put(&format!("Content-Length: {}\r\n", long.len() - len), &long));
    streams.push(chunked(&long) + &next);
    streams.into_iter().map(String::into_bytes).collect()
}
