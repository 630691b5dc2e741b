//! Where something may be put into what an upstream sends: between two frames of a WebSocket (RFC 6455 section 5.2),
//! two messages of a call of gRPC, or two events (HTML, "Server-sent events").

/// What is known of the bytes that have passed.
pub(super) enum Course {
    /// Frames, each with its length.
    Frames(Units),
    /// Messages, each with its length.
    Messages(Units),
    /// Lines, and an empty one after each event.
    Events(Events),
    /// Bytes that nothing can be put between.
    Sealed,
}

impl Course {
    pub(super) const fn frames() -> Self {
        Self::Frames(Units::new(frame_payload))
    }

    pub(super) const fn messages() -> Self {
        Self::Messages(Units::new(message_payload))
    }

    pub(super) const fn events() -> Self {
        Self::Events(Events::new())
    }

    /// Whether what has passed ends where a part of it ends.
    pub(super) fn is_between(&self) -> bool {
        match self {
            Self::Frames(units) | Self::Messages(units) => units.is_between(),
            Self::Events(events) => events.is_between(),
            Self::Sealed => true,
        }
    }

    /// Notes that `bytes` pass.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let passed = self.step(bytes);
            bytes = bytes.get(passed..).unwrap_or_default();
        }
    }

    /// Notes that as many of `bytes` pass as belong to the part that is under way, and gives their number.
    pub(super) fn pass_rest(&mut self, bytes: &[u8]) -> usize {
        if self.is_between() { 0 } else { self.step(bytes) }
    }

    /// Whether the other end has said by itself that nothing follows.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, Self::Frames(units) if units.last_start & OPCODE == CLOSE)
    }

    /// As far as the end of a part, or of `bytes`.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Frames(units) | Self::Messages(units) => units.step(bytes),
            Self::Events(events) => events.step(bytes),
            Self::Sealed => bytes.len(),
        }
    }
}

const OPCODE: u8 = 0x0f;
const CLOSE: u8 = 0x08;
/// The longest head of a frame: two bytes, a long length and a mask.
const LONGEST_HEAD: usize = 14;

/// Parts that begin with a head that says how long they are.
pub(super) struct Units {
    /// How much follows a head, once that is whole.
    payload: fn(&[u8]) -> Option<u64>,
    head: [u8; LONGEST_HEAD],
    head_length: usize,
    left: u64,
    /// The first byte of the newest head.
    last_start: u8,
}

impl Units {
    const fn new(payload: fn(&[u8]) -> Option<u64>) -> Self {
        Self { payload, head: [0; LONGEST_HEAD], head_length: 0, left: 0, last_start: 0 }
    }

    const fn is_between(&self) -> bool {
        self.head_length == 0 && self.left == 0
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while self.left == 0 {
            let Some(byte) = bytes.get(passed) else { return passed };
            passed += 1;
            if self.head_length == 0 {
                self.last_start = *byte;
            }
            if let Some(place) = self.head.get_mut(self.head_length) {
                *place = *byte;
                self.head_length += 1;
            }
            if let Some(payload) = self.head.get(..self.head_length).and_then(self.payload) {
                self.head_length = 0;
                self.left = payload;
                if payload == 0 {
                    return passed;
                }
            }
        }
        let rest = bytes.len() - passed;
        let taken = usize::try_from(self.left).map_or(rest, |left| left.min(rest));
        self.left -= taken as u64;
        passed + taken
    }
}

/// What follows the head of a frame.
fn frame_payload(head: &[u8]) -> Option<u64> {
    let second = *head.get(1)?;
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let (length, payload) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(head.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(head.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    (head.len() >= length + mask).then_some(payload)
}

/// What follows the head of a message: whether it is compressed, and its length.
fn message_payload(head: &[u8]) -> Option<u64> {
    head.get(1..5)?.try_into().ok().map(|length| u64::from(u32::from_be_bytes(length)))
}

/// Events, each of which ends with an empty line.
pub(super) struct Events {
    line: Line,
    /// Whether a line of an event has passed, and not its end.
    is_begun: bool,
    /// Whether a line feed now belongs to the end of the line before.
    is_after_return: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    Comment,
    Field,
}

impl Events {
    const fn new() -> Self {
        Self { line: Line::Empty, is_begun: false, is_after_return: false }
    }

    fn is_between(&self) -> bool {
        self.line == Line::Empty && !self.is_begun
    }

    fn step(&mut self, bytes: &[u8]) -> usize {
        let ends = bytes.iter().position(|byte| {
            self.take(*byte);
            self.is_between()
        });
        ends.map_or(bytes.len(), |place| place + 1)
    }

    fn take(&mut self, byte: u8) {
        let is_rest = byte == b'\n' && self.is_after_return;
        self.is_after_return = byte == b'\r';
        match (byte, self.line) {
            _ if is_rest => {}
            (b'\n' | b'\r', Line::Empty) => self.is_begun = false,
            (b'\n' | b'\r', line) => {
                self.is_begun |= line == Line::Field;
                self.line = Line::Empty;
            }
            (b':', Line::Empty) => self.line = Line::Comment,
            (_, Line::Empty) => self.line = Line::Field,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, mask: bool) -> Vec<u8> {
        let masked = if mask { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(masked | u8::try_from(length).unwrap()),
            126..65536 => {
                frame.push(masked | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(masked | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0xff, length + if mask { 4 } else { 0 }));
        frame
    }

    fn message(length: usize) -> Vec<u8> {
        let head = [&[0][..], &u32::try_from(length).unwrap().to_be_bytes()].concat();
        [head, vec![0xff; length]].concat()
    }

    /// Whether `course` is between two parts after exactly those bytes at which one of `parts` ends.
    fn check(course: fn() -> Course, parts: &[Vec<u8>]) {
        let ends: Vec<usize> = parts
            .iter()
            .scan(0, |end, part| {
                *end += part.len();
                Some(*end)
            })
            .collect();
        let bytes = parts.concat();
        for place in 0..=bytes.len().min(70_100) {
            let mut course = course();
            course.pass(&bytes[..place]);
            assert_eq!(course.is_between(), place == 0 || ends.contains(&place), "after {place} of {ends:?}");
        }
    }

    #[test]
    fn frames_end_where_their_heads_say() {
        for masked in [false, true] {
            check(Course::frames, &[0, 1, 125, 126, 127].map(|length| frame(2, length, masked)));
        }
        let mut course = Course::frames();
        let long = frame(1, 65_536, false);
        course.pass(&long[..long.len() - 1]);
        assert!(!course.is_between());
        course.pass(&long[long.len() - 1..]);
        assert!(course.is_between());
    }

    #[test]
    fn a_close_frame_is_the_last_one() {
        let mut course = Course::frames();
        course.pass(&frame(1, 8, false));
        assert!(!course.is_closed());
        course.pass(&frame(8, 2, false));
        assert!(course.is_closed());
    }

    #[test]
    fn messages_end_where_their_heads_say() {
        check(Course::messages, &[message(0), message(3), message(300)]);
    }

    #[test]
    fn events_end_with_an_empty_line() {
        for (text, expected) in [
            ("", true),
            ("data: 1\n", false),
            ("data: 1\n\n", true),
            ("data: 1\r\n\r\n", true),
            ("data: 1\r\n\r", true),
            ("data: 1\r\n", false),
            ("data: 1\r\r", true),
            ("data: 1\n\nid", false),
            (": nothing happens\n", true),
            (": nothing hap", false),
            ("data: 1\n: still\n", false),
            ("data: 1\n: still\n\n", true),
            ("data: 1\n\n\n\n", true),
            ("retry: 1000\n", false),
        ] {
            let mut course = Course::events();
            course.pass(text.as_bytes());
            assert_eq!(course.is_between(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_under_way_passes_and_no_more() {
        let bytes = [frame(1, 200, false), frame(1, 3, false)].concat();
        let mut course = Course::frames();
        assert_eq!(course.pass_rest(&bytes), 0, "nothing is under way");
        course.pass(&bytes[..3]);
        assert_eq!(course.pass_rest(&bytes[3..100]), 97);
        assert_eq!(course.pass_rest(&bytes[100..]), 104);
        assert!(course.is_between());
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_cut_the_ends_are_the_same(
            lengths in prop::collection::vec(0usize..400, 1..8),
            cuts in prop::collection::vec(1usize..64, 1..200),
            kind in 0usize..3,
        ) {
            let event = |length: &usize| format!(": c\ndata: {}\r\n\n", "x".repeat(*length)).into_bytes();
            let (course, parts): (fn() -> Course, Vec<Vec<u8>>) = match kind {
                0 => (Course::frames, lengths.iter().map(|length| frame(2, *length, false)).collect()),
                1 => (Course::messages, lengths.iter().map(|length| message(*length)).collect()),
                _ => (Course::events, lengths.iter().map(event).collect()),
            };
            let bytes = parts.concat();
            let (mut whole, mut in_pieces) = (course(), course());
            let mut place = 0;
            for cut in cuts {
                let piece = &bytes[place..(place + cut).min(bytes.len())];
                in_pieces.pass(piece);
                place += piece.len();
            }
            whole.pass(&bytes[..place]);
            prop_assert_eq!(whole.is_between(), in_pieces.is_between());
            let left = in_pieces.pass_rest(&bytes[place..]);
            prop_assert!(in_pieces.is_between());
            let mut again = course();
            again.pass(&bytes[..place + left]);
            prop_assert!(again.is_between());
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..600), kind in 0usize..3) {
            let mut course = [Course::frames, Course::messages, Course::events][kind]();
            let rest = course.pass_rest(&bytes);
            prop_assert!(rest <= bytes.len());
            course.pass(&bytes);
        }
    }
}
