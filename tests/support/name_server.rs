//! A name server of a few lines: every name is one machine.

use std::{net::UdpSocket, thread};

/// The address it has: nobody else's, since all of 127.0.0.0/8 is this machine's.
pub const NAME_SERVER: &str = "127.53.7.9";

/// Starts it, of this thread's network; it ends with this process. Asked for IPv4 addresses it says this one, asked for
/// others nothing.
pub fn start_name_server(every: [u8; 4]) {
    let socket = UdpSocket::bind((NAME_SERVER, 53)).expect("port 53 of an address of our own");
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            let _ = socket.send_to(&answer(&query[..length], every), from);
        }
    });
}

/// By RFC 1035, section 4.1.
fn answer(query: &[u8], every: [u8; 4]) -> Vec<u8> {
    const HEADER: usize = 12;
    const A: [u8; 2] = [0, 1];
    let Some(name) = query[HEADER..].iter().position(|byte| *byte == 0) else { return Vec::new() };
    let question = &query[HEADER..HEADER + name + 5];
    let is_address = question[name + 1..name + 3] == A;
    // The number of the query; a response, recursion available; one question, perhaps one answer.
    let mut message = query[..2].to_vec();
    message.extend([0x81, 0x80, 0, 1, 0, u8::from(is_address), 0, 0, 0, 0]);
    message.extend(question);
    if is_address {
        // The name of the question, an address of the internet, for a minute, of four bytes.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        message.extend(every);
    }
    message
}
