//! Mutations: bits, bytes, numbers, cuts, repeats, and parts of other inputs.

/// Numbers at whose edges mistakes are made.
const NUMBERS: [u64; 14] = [
    0,
    1,
    7,
    8,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
/// What has a meaning in texts.
const WORDS: [&str; 24] = [
    "\"",
    "\\",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    "\n",
    "*",
    "**",
    "?",
    "[!a-z]",
    "0",
    "-1",
    "1e999",
    "18446744073709551616",
    "null",
    "\u{0}",
    "\u{202e}",
    "\u{fffd}",
    "9999-12-31",
    "LT109",
    ":",
];
/// Inputs seldom get longer, bytes.
const LONG: usize = 1 << 20;

/// A stream of mutations, the same for the same seed.
pub struct Mutator(u64);

impl Mutator {
    pub fn new(seed: u64) -> Mutator {
        Mutator(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, 0 if that is 0.
    fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            bound => (self.next() >> 16) as usize % bound,
        }
    }

    /// One of the inputs, changed in a few places.
    pub fn mutate(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let other = &corpus[self.below(corpus.len())];
            self.change(&mut input, other);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(input.len());
        let end = at + self.below(input.len() - at + 1).min(64);
        match self.below(11) {
            _ if input.is_empty() => input.extend_from_slice(other),
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.next() as u8,
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => self.write_number(&mut input[at..]),
            5 => {
                let word = WORDS[self.below(WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            6 => {
                let part = input[at..end].to_vec();
                let times = 1 << self.below(4);
                input.splice(at..at, part.repeat(times));
            }
            7 => {
                let from = self.below(other.len());
                let len = self.below(other.len() - from + 1);
                input.splice(at..end, other[from..from + len].iter().copied());
            }
            8 => {
                let from = self.below(input.len());
                let part = input[at..end].to_vec();
                input.splice(from..from, part);
            }
            9 => {
                let text: String = NUMBERS[self.below(NUMBERS.len())].to_string();
                input.splice(at..end, text.bytes());
            }
            // Seldom: a great deal of the same.
            _ if self.below(64) == 0 && input.len() < LONG => {
                let part = input[at..end].to_vec();
                let times = LONG / part.len().max(1);
                input.splice(at..at, part.repeat(times));
            }
            _ => input[at] = input[at].wrapping_add(1),
        }
    }

    /// A number at an edge, 1 to 8 bytes of it, in either byte order.
    fn write_number(&mut self, place: &mut [u8]) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let len = (1 << self.below(4)).min(place.len());
        let bytes = match self.below(2) {
            0 => number.to_le_bytes(),
            _ => number.wrapping_sub(1).to_le_bytes(),
        };
        place[..len].copy_from_slice(&bytes[..len]);
    }
}
