//! A small interpreter of the instructions that filters here use.

use super::*;

const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;

/// What a filter returns for a call.
pub(crate) fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let instruction = program[at];
        at += 1;
        let taken = match u32::from(instruction.code) {
            LOAD => {
                accumulator = load(instruction.k, architecture, number, arguments);
                continue;
            }
            AND => {
                accumulator &= instruction.k;
                continue;
            }
            JUMP => {
                at += instruction.k as usize;
                continue;
            }
            IF_EQUAL => accumulator == instruction.k,
            IF_BITS => accumulator & instruction.k != 0,
            RETURN => return instruction.k,
            other => panic!("instruction {other:#x}"),
        };
        at += usize::from(if taken { instruction.jt } else { instruction.jf });
    }
}

fn load(offset: u32, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    match offset {
        NUMBER => number,
        ARCHITECTURE => architecture,
        offset => {
            let byte = (offset - FIRST_ARGUMENT) as usize;
            (arguments[byte / 8] >> (byte % 8 * 8)) as u32
        }
    }
}
