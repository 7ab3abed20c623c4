//! Documents: scanned pages as PDF (ISO 32000-1).

use super::jpeg::{self, Photo};
use crate::random::Random;

/// Appends a PDF of about `bytes` bytes: pages of about 150 KB, each a photo of a sheet of paper.
pub(crate) fn write(out: &mut Vec<u8>, bytes: u64, random: &mut Random) {
    let begin = out.len();
    let pages = (bytes / 150_000).clamp(1, 500);
    // A page adds about 400 bytes to its photo: the objects that place it, and their entries in the index.
    let photo = Photo { width: 1240, height: 1754, bytes: (bytes / pages).saturating_sub(400), quality: 75 };
    out.extend_from_slice(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
    let mut objects = Objects { begin, places: Vec::new() };
    objects.add(out, "<< /Type /Catalog /Pages 2 0 R >>", None);
    let kids: String = (0..pages).map(|page| format!("{} 0 R ", 3 + 3 * page)).collect();
    objects.add(out, &format!("<< /Type /Pages /Count {pages} /Kids [{kids}] >>"), None);
    for page in 0..pages {
        let (content, image) = (4 + 3 * page, 5 + 3 * page);
        let resources = format!("/Resources << /XObject << /Im0 {image} 0 R >> >>");
        let page =
            format!("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] {resources} /Contents {content} 0 R >>");
        objects.add(out, &page, None);
        let place = b"q 595 0 0 842 0 0 cm /Im0 Do Q";
        objects.add(out, &format!("<< /Length {} >>", place.len()), Some(place));
        let mut scan = Vec::new();
        jpeg::write(&mut scan, &photo, None, random);
        let kind = "/Type /XObject /Subtype /Image /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode";
        let size = format!("/Width {} /Height {} /Length {}", photo.width, photo.height, scan.len());
        objects.add(out, &format!("<< {kind} {size} >>"), Some(&scan));
    }
    objects.finish(out);
}

/// The objects of a PDF, of which it ends with an index.
struct Objects {
    begin: usize,
    places: Vec<usize>,
}

impl Objects {
    /// Appends an object, with the stream that belongs to it.
    fn add(&mut self, out: &mut Vec<u8>, dictionary: &str, stream: Option<&[u8]>) {
        self.places.push(out.len() - self.begin);
        out.extend_from_slice(format!("{} 0 obj\n{dictionary}\n", self.places.len()).as_bytes());
        if let Some(stream) = stream {
            out.extend_from_slice(b"stream\n");
            out.extend_from_slice(stream);
            out.extend_from_slice(b"\nendstream\n");
        }
        out.extend_from_slice(b"endobj\n");
    }

    /// Appends the index, each entry of which has 20 bytes, and the trailer.
    fn finish(self, out: &mut Vec<u8>) {
        let index = out.len() - self.begin;
        let count = self.places.len() + 1;
        out.extend_from_slice(format!("xref\n0 {count}\n0000000000 65535 f \n").as_bytes());
        for place in self.places {
            out.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
        }
        let trailer = format!("trailer\n<< /Size {count} /Root 1 0 R >>\nstartxref\n{index}\n%%EOF\n");
        out.extend_from_slice(trailer.as_bytes());
    }
}
