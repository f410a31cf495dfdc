//! Random changes of streams.

use super::random::Random;

/// Texts that mutations insert anywhere.
const BYTES: [&str; 24] = [
    "\r\n",
    "\n",
    "\r",
    "\r\n\r\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "0",
    "1",
    "5",
    "f",
    "x",
    "-",
    "\x0b",
    "\x7f",
    "\u{e4}",
    "\r\n ",
    " \r\n",
    "0\r\n\r\n",
    "5\r\n",
];
/// Lines that mutations insert.
const LINES: [&str; 16] = [
    "Content-Length: 0\r\n",
    "Content-Length: 10\r\n",
    "content-length: 100\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: Content-Length, Transfer-Encoding\r\n",
    "Expect: 100-continue\r\n",
    "Host: b\r\n",
    "GET / HTTP/1.1\r\nHost: c\r\n\r\n",
    "X: y\r\n",
    " folded\r\n",
    "X : y\r\n",
    "Range: bytes=0-1\r\n",
    "0\r\n",
    "\r\n",
];

pub fn mutate(stream: &mut Vec<u8>, random: &mut Random) {
    // Most mutations are in the first head.
    let head = stream.windows(4).position(|w| w == b"\r\n\r\n").map_or(stream.len(), |at| at + 4);
    for _ in 0..=random.below(5) / 3 {
        let reach = if random.below(3) == 0 { stream.len() } else { head.min(stream.len()) };
        let at = random.below(reach + 1);
        match random.below(10) {
            0 => drop(stream.splice(at..at, random.one(&BYTES).bytes())),
            1 => drop(stream.drain(at..(at + 1 + random.below(3)).min(stream.len()))),
            2 => drop(stream.drain(at..(at + random.below(40)).min(stream.len()))),
            3 => {
                let piece = stream[at..(at + random.below(60)).min(stream.len())].to_vec();
                stream.splice(at..at, piece);
            }
            4 if at < stream.len() => stream[at] = random.one(&BYTES).as_bytes()[0],
            5 => line_end(stream, at, random),
            6 => move_line(stream, at, random),
            7 => digit(stream, at, random),
            _ => {
                let line = stream[at..].iter().position(|&byte| byte == b'\n');
                let at = line.map_or(at, |line| at + line + 1);
                stream.splice(at..at, random.one(&LINES).bytes());
            }
        }
    }
}

/// Replaces the first digit from `at` on, mostly one of a length.
fn digit(stream: &mut [u8], at: usize, random: &mut Random) {
    if let Some(found) = stream[at..].iter().position(u8::is_ascii_digit) {
        stream[at + found] = b"0123456789"[random.below(10)];
    }
}

/// Replaces the next line end from `at` on.
fn line_end(stream: &mut Vec<u8>, at: usize, random: &mut Random) {
    if let Some(end) = stream[at..].windows(2).position(|pair| pair == b"\r\n") {
        let end = at + end;
        let other =
            random.one(&["\n", "\r", "", "\r\r\n", "\n\r\n", "\r\n\r\n", "\r\n\t", "\0\r\n"]);
        stream.splice(end..end + 2, other.bytes());
    }
}

/// Moves the line after `at` to another position.
fn move_line(stream: &mut Vec<u8>, at: usize, random: &mut Random) {
    let ends: Vec<usize> =
        (0..stream.len().min(5000)).filter(|&n| stream[n] == b'\n').map(|n| n + 1).collect();
    let Some(from) = ends.iter().position(|&end| end > at).filter(|&n| n + 1 < ends.len()) else {
        return;
    };
    let line: Vec<u8> = stream.drain(ends[from]..ends[from + 1]).collect();
    let to = ends[random.below(ends.len())].min(stream.len());
    stream.splice(to..to, line);
}
