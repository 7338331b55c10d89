//! The smallest program that proves that a container runs: a static ELF file of some 200 bytes, written by hand, so
//! that images need neither a compiler nor a package. It prints one line and exits.

const LOAD_ADDRESS: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// A program for `architecture`, as image configurations name it, that prints `line`.
pub(crate) fn that_prints(line: &str, architecture: &str) -> Vec<u8> {
    let text = format!("{line}\n").into_bytes();
    let (machine, code) = match architecture {
        "amd64" => (62, x86_64(u32::try_from(text.len()).unwrap())),
        "arm64" => (183, aarch64(u32::try_from(text.len()).unwrap())),
        other => panic!("no program for {other}"),
    };
    elf(machine, &code, &text)
}

/// The name by which images know this machine's architecture, where programs can be made for it.
pub(crate) fn native_architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        _ => None,
    }
}

/// write(1, text, length); exit(0). The text lies right behind the code.
fn x86_64(length: u32) -> Vec<u8> {
    const FROM_LEA_TO_TEXT: u32 = 16;
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35];
    code.extend(FROM_LEA_TO_TEXT.to_le_bytes());
    code.push(0xba);
    code.extend(length.to_le_bytes());
    code.extend([0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    code
}

/// The same for arm64: `adr` reaches over the seven words that follow it.
fn aarch64(length: u32) -> Vec<u8> {
    let words: [u32; 8] = [
        0xd280_0020,
        0x1000_0001 | (7 << 5),
        0xd280_0002 | (length << 5),
        0xd280_0808,
        0xd400_0001,
        0xd280_0000,
        0xd280_0ba8,
        0xd400_0001,
    ];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn elf(machine: u16, code: &[u8], text: &[u8]) -> Vec<u8> {
    let size = HEADERS + (code.len() + text.len()) as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend(2u16.to_le_bytes());
    file.extend(machine.to_le_bytes());
    file.extend(1u32.to_le_bytes());
    for address in [LOAD_ADDRESS + HEADERS, 64, 0] {
        file.extend(address.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    const LOAD: u32 = 1;
    const READ_AND_EXECUTE: u32 = 5;
    file.extend(LOAD.to_le_bytes());
    file.extend(READ_AND_EXECUTE.to_le_bytes());
    for value in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1_0000] {
        file.extend(value.to_le_bytes());
    }
    file.extend(code);
    file.extend(text);
    file
}
