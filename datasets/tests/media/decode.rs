//! Decoders by others, which must accept every file.

use std::io::Cursor;

use zune_core::bytestream::ZCursor;
use zune_core::options::DecoderOptions;

/// Decodes a file by the end of its name, all of it.
pub fn check(path: &str, bytes: &[u8]) {
    match path.rsplit('.').next().unwrap() {
        "jpg" => drop(jpeg(path, bytes)),
        "png" => png(path, bytes),
        "webp" => webp(path, bytes),
        "mp4" => drop(mp4(path, bytes)),
        "opus" => opus(path, bytes),
        "pdf" => pdf(path, bytes),
        other => panic!("{path}: no decoder for .{other}"),
    }
}

fn jpeg(path: &str, bytes: &[u8]) -> Vec<u8> {
    let options = DecoderOptions::default().set_strict_mode(true);
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode().unwrap_or_else(|error| panic!("{path}: {error}"));
    let (width, height) = decoder.dimensions().unwrap();
    assert_eq!(pixels.len(), width * height * 3, "{path}");
    pixels
}

fn png(path: &str, bytes: &[u8]) {
    let options = DecoderOptions::default().set_strict_mode(true);
    let pixels = zune_png::PngDecoder::new_with_options(ZCursor::new(bytes), options).decode();
    pixels.unwrap_or_else(|error| panic!("{path}: {error:?}"));
}

fn webp(path: &str, bytes: &[u8]) {
    let mut decoder = image_webp::WebPDecoder::new(Cursor::new(bytes)).unwrap();
    let mut pixels = vec![0; decoder.output_buffer_size().unwrap()];
    decoder.read_image(&mut pixels).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Returns the frames.
fn mp4<'a>(path: &str, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let video = re_mp4::Mp4::read_bytes(bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
    let [track] = video.tracks().values().collect::<Vec<_>>()[..] else { panic!("{path}: one track") };
    assert_eq!(track.kind, Some(re_mp4::TrackKind::Video), "{path}");
    assert!(track.codec_string(&video).unwrap().starts_with("avc1.42"), "{path}");
    assert!(track.samples.len() >= 30, "{path}");
    let mut end = None;
    let frame = |sample: &re_mp4::Sample| {
        let frame = &bytes[sample.byte_range()];
        assert!(end.is_none_or(|end| end == sample.offset), "{path}: frames lie side by side");
        end = Some(sample.offset + sample.size);
        let len = u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize;
        assert_eq!(len + 4, frame.len(), "{path}");
        assert_eq!(frame[4] & 31, if sample.is_sync { 5 } else { 1 }, "{path}: the kind of NAL unit");
        assert!(!frame[5..].windows(2).any(|pair| pair == [0, 0]), "{path}: a start code");
        frame
    };
    track.samples.iter().map(frame).collect()
}

fn opus(path: &str, bytes: &[u8]) {
    let mut reader = ogg::PacketReader::new(Cursor::new(bytes));
    let mut next = || reader.read_packet().unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(next().unwrap().data.starts_with(b"OpusHead\x01\x01"), "{path}");
    assert!(next().unwrap().data.starts_with(b"OpusTags"), "{path}");
    let mut decoder = opus_decoder::OpusDecoder::new(48_000, 1).unwrap();
    let mut sound = vec![0; 5760];
    let (mut samples, mut ended) = (0, false);
    while let Some(packet) = next() {
        assert!(!ended, "{path}: packets after the end");
        samples +=
            decoder.decode(&packet.data, &mut sound, false).unwrap_or_else(|error| panic!("{path}: {error}")) as u64;
        if packet.last_in_page() {
            assert_eq!(packet.absgp_page(), samples, "{path}: granule position");
        }
        ended = packet.last_in_stream();
    }
    assert!(ended, "{path}: no end of the stream");
}

fn pdf(path: &str, bytes: &[u8]) {
    let find =
        |what: &[u8], from: usize| bytes[from..].windows(what.len()).position(|at| at == what).map(|at| from + at);
    let number = |at: usize| -> usize {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'))
    };
    let tail = bytes.len() - 100;
    let index = number(find(b"startxref\n", tail).unwrap() + 10);
    assert!(bytes[index..].starts_with(b"xref\n0 "), "{path}");
    let count = number(index + 7);
    let entries = find(b"65535 f \n", index).unwrap() + 9;
    let mut photos = 0;
    for id in 1..count {
        let at = number(entries + 20 * (id - 1));
        let head = format!("{id} 0 obj\n");
        assert!(bytes[at..].starts_with(head.as_bytes()), "{path}: object {id}");
        let Some(stream) = find(b"stream\n", at).filter(|stream| *stream < find(b"endobj", at).unwrap()) else {
            continue;
        };
        let len = number(find(b"/Length ", at).unwrap() + 8);
        let content = &bytes[stream + 7..][..len];
        assert!(bytes[stream + 7 + len..].starts_with(b"\nendstream"), "{path}: object {id}");
        if content.starts_with(&[0xff, 0xd8]) {
            jpeg(path, content);
            photos += 1;
        }
    }
    assert!(photos > 0, "{path}: no page");
}

/// Two photos differ in what stands before the image, and not in the image.
pub fn same_image(old: &[u8], new: &[u8]) {
    let after = |bytes: &[u8]| 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
    assert_ne!(after(old), after(new), "the block's length");
    assert_eq!(old[after(old)..], new[after(new)..]);
    assert_eq!(jpeg("old", old), jpeg("new", new));
}

/// The frames of `new` are a run of those of `old`, shorter, and with most of them.
pub fn part_of(old: &[u8], new: &[u8]) {
    let (old, new) = (mp4("old", old), mp4("new", new));
    assert!(new.len() < old.len() && new.len() * 10 >= old.len() * 6, "{} of {} frames", new.len(), old.len());
    assert!(old.windows(new.len()).any(|run| run == new));
}
