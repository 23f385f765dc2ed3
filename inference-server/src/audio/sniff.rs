//! The first bytes of a file in; what kind of file it is out. Reads no more than that.

use super::AudioError;

/// Bytes that are enough to tell the kinds apart.
const ENOUGH: usize = 12;
/// Bytes of the header of an ID3 tag.
const ID3_HEADER: usize = 10;

/// Files that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Wav,
    Flac,
    Mp3,
    Adts,
    Mp4,
    Ogg,
    Matroska,
}

impl Kind {
    /// As people call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Wav => "WAV",
            Kind::Flac => "FLAC",
            Kind::Mp3 => "MP3",
            Kind::Adts => "AAC",
            Kind::Mp4 => "MP4",
            Kind::Ogg => "Ogg",
            Kind::Matroska => "WebM",
        }
    }
}

/// What the first bytes say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Too little to tell.
    More,
    /// So many bytes are no audio (a tag with titles and pictures); what follows them tells.
    Skip(u64),
    /// This.
    Kind(Kind),
}

/// Tells what kind of file begins with `start`; `tagged` when a tag has been skipped before it.
pub(super) fn tell(start: &[u8], tagged: bool) -> Result<Told, AudioError> {
    if start.starts_with(b"ID3") && start.len() >= ID3_HEADER {
        return Ok(Told::Skip(id3_length(start)));
    }
    let zeros = start.iter().take_while(|&&byte| byte == 0).count();
    if tagged && zeros > 0 {
        return Ok(Told::Skip(zeros as u64)); // padding that the tag does not count
    }
    if start.len() < ENOUGH {
        return Ok(Told::More);
    }
    let kind = if start.starts_with(b"RIFF") && &start[8..12] == b"WAVE" {
        Kind::Wav
    } else if start.starts_with(b"fLaC") {
        Kind::Flac
    } else if start.starts_with(b"OggS") {
        Kind::Ogg
    } else if start.starts_with(b"\x1a\x45\xdf\xa3") {
        Kind::Matroska
    } else if &start[4..8] == b"ftyp" {
        Kind::Mp4
    } else if start[0] == 0xff && start[1] & 0xe6 == 0xe2 {
        Kind::Mp3
    } else if start[0] == 0xff && start[1] & 0xf6 == 0xf0 {
        Kind::Adts
    } else {
        return Err(unrecognised(start));
    };
    Ok(Told::Kind(kind))
}

/// Names what the bytes look like, so that the sender knows what to convert from.
pub(super) fn unrecognised(start: &[u8]) -> AudioError {
    let at = |offset: usize, magic: &[u8]| start.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let guess = if start.len() < ENOUGH {
        "the file ends within its first bytes"
    } else if at(0, b"RF64") || at(0, b"BW64") || at(0, b"RIFX") {
        "it looks like a variant of WAV that is not supported (RF64, BW64 or RIFX)"
    } else if at(0, b"FORM") {
        "it looks like AIFF"
    } else if at(0, b"#!AMR") {
        "it looks like AMR"
    } else if at(0, b"\x30\x26\xb2\x75") {
        "it looks like WMA"
    } else if at(4, b"moov") || at(4, b"mdat") || at(4, b"wide") {
        "it looks like an old QuickTime movie"
    } else if start[0] == 0xff && start[1] & 0xe0 == 0xe0 {
        "it looks like MPEG audio of layer I or II"
    } else {
        "its first bytes are those of none of them"
    };
    AudioError::Unrecognised(guess.to_owned())
}

/// The whole length of the ID3v2 tag that begins with `header`: four times seven bits, without header and footer.
fn id3_length(header: &[u8]) -> u64 {
    let body = header[6..ID3_HEADER]
        .iter()
        .fold(0u64, |length, byte| length << 7 | u64::from(byte & 0x7f));
    let footer = if header[5] & 0x10 == 0 { 0 } else { ID3_HEADER };
    body + (ID3_HEADER + footer) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_kind() {
        let cases: [(&[u8], Kind); 8] = [
            (b"RIFF\0\0\0\0WAVE", Kind::Wav),
            (b"fLaC\0\0\0\x22\0\0\0\0", Kind::Flac),
            (b"OggS\0\x02\0\0\0\0\0\0", Kind::Ogg),
            (b"\x1a\x45\xdf\xa3\0\0\0\0\0\0\0\0", Kind::Matroska),
            (b"\0\0\0\x20ftypM4A ", Kind::Mp4),
            (b"\xff\xfb\x90\x64\0\0\0\0\0\0\0\0", Kind::Mp3),
            (b"\xff\xe3\x18\xc4\0\0\0\0\0\0\0\0", Kind::Mp3),
            (b"\xff\xf1\x60\x40\0\0\0\0\0\0\0\0", Kind::Adts),
        ];
        for (start, kind) in cases {
            assert_eq!(tell(start, false), Ok(Told::Kind(kind)));
            assert_eq!(tell(&start[..11], false), Ok(Told::More), "{kind:?}");
        }
    }

    #[test]
    fn a_tag_and_zeros_behind_it_are_no_audio() {
        let plain = b"ID3\x04\0\0\0\0\x02\x01";
        assert_eq!(tell(plain, false), Ok(Told::Skip(257 + 10)));
        let footed = b"ID3\x04\0\x10\0\0\x02\x01";
        assert_eq!(tell(footed, false), Ok(Told::Skip(257 + 20)));
        assert_eq!(tell(&[0; 12], true), Ok(Told::Skip(12)));
        assert!(tell(&[0; 12], false).is_err());
    }
}
