//! Images: how large one is, asked of its head before anything is decoded, and a small copy to show.
//!
//! Everything here computes for a while: call it on a thread for such work.

use std::io::Cursor;

use aggregates::file::ImageSize;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use super::kind::FileKind;

/// The most pixels of an image.
pub const MAX_PIXELS: u64 = 30_000_000;
/// The most pixels of one side.
pub const MAX_SIDE: u32 = 20_000;
/// The longer side of a preview, in pixels.
pub const PREVIEW_SIDE: u32 = 512;
/// The most memory that decoding may take beside the image itself, in bytes.
const MAX_ALLOCATION: u64 = 256 * 1024 * 1024;
/// Of previews without transparency; out of 100.
const JPEG_QUALITY: u8 = 80;

/// An image that was looked at.
#[derive(Debug)]
pub struct Picture {
    /// How large it is, as it is to be shown.
    pub size: ImageSize,
    /// A small copy: PNG when parts of it are transparent, else JPEG.
    pub preview: Vec<u8>,
}

/// Why an image is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// It has too many pixels.
    #[error("the image has more than {} million pixels, or more than {MAX_SIDE} on one side", MAX_PIXELS / 1_000_000)]
    TooLarge,
    /// It cannot be decoded.
    #[error("the image cannot be decoded")]
    Broken,
}

/// Looks at an image of this kind.
///
/// # Errors
/// It is too large, which its head tells, or it is broken.
pub fn look(kind: FileKind, bytes: &[u8]) -> Result<Picture, PictureError> {
    let format = match kind {
        FileKind::Png => ImageFormat::Png,
        FileKind::Jpeg => ImageFormat::Jpeg,
        FileKind::Gif => ImageFormat::Gif,
        FileKind::Webp => ImageFormat::WebP,
        FileKind::Pdf | FileKind::Plain | FileKind::Markdown | FileKind::Csv | FileKind::Json => {
            return Err(PictureError::Broken);
        }
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_ALLOCATION);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|_| PictureError::Broken)?;
    let (width, height) = decoder.dimensions();
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge);
    }
    // Cameras write the image as it comes and say which side is up. Without a word, it is as it stands.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|_| PictureError::Broken)?;
    let mut small =
        if width.max(height) > PREVIEW_SIDE { image.thumbnail(PREVIEW_SIDE, PREVIEW_SIDE) } else { image };
    let stands = (small.width() >= small.height(), small.width() == small.height());
    small.apply_orientation(orientation);
    let turned = !stands.1 && (small.width() >= small.height()) != stands.0;
    let size = if turned { ImageSize { width: height, height: width } } else { ImageSize { width, height } };
    Ok(Picture { size, preview: encoded(small).map_err(|_| PictureError::Broken)? })
}

fn encoded(image: DynamicImage) -> image::ImageResult<Vec<u8>> {
    let mut bytes = Vec::new();
    if image.color().has_alpha() {
        image.into_rgba8().write_with_encoder(PngEncoder::new(&mut bytes))?;
    } else {
        image.into_rgb8().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
    }
    Ok(bytes)
}

/// The media type of a preview that [`look`] made.
pub fn preview_mime(preview: &[u8]) -> &'static str {
    if preview.starts_with(b"\xff\xd8\xff") { FileKind::Jpeg.mime() } else { FileKind::Png.mime() }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Rgb, Rgba};

    use super::*;

    fn bytes(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn opaque(width: u32, height: u32) -> DynamicImage {
        ImageBuffer::from_pixel(width, height, Rgb([200_u8, 30, 30])).into()
    }

    /// A PNG whose head says that it is this large, and whose data is that of one pixel.
    fn claiming(width: u32, height: u32) -> Vec<u8> {
        let mut png = bytes(&opaque(1, 1), ImageFormat::Png);
        png[16..20].copy_from_slice(&width.to_be_bytes());
        png[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = checksum(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        png
    }

    /// CRC-32, as PNG has it behind each part.
    fn checksum(bytes: &[u8]) -> u32 {
        let step = |mut sum: u32, byte: &u8| {
            sum ^= u32::from(*byte);
            for _ in 0..8 {
                sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
            }
            sum
        };
        !bytes.iter().fold(u32::MAX, step)
    }

    #[test]
    fn an_image_has_its_measures_and_a_preview_that_is_no_larger_than_allowed() {
        for (kind, format) in [
            (FileKind::Png, ImageFormat::Png),
            (FileKind::Jpeg, ImageFormat::Jpeg),
            (FileKind::Gif, ImageFormat::Gif),
            (FileKind::Webp, ImageFormat::WebP),
        ] {
            let image = bytes(&opaque(1024, 300), format);
            kind.check(&image).unwrap();
            let picture = look(kind, &image).unwrap();
            assert_eq!(picture.size, ImageSize { width: 1024, height: 300 });
            let preview = image::load_from_memory(&picture.preview).unwrap();
            assert_eq!((preview.width(), preview.height()), (512, 150), "{kind}");
        }
        let small = look(FileKind::Png, &bytes(&opaque(3, 2), ImageFormat::Png)).unwrap();
        let preview = image::load_from_memory(&small.preview).unwrap();
        assert_eq!((preview.width(), preview.height()), (3, 2));
        assert_eq!(preview_mime(&small.preview), "image/jpeg");
        let clear: DynamicImage = ImageBuffer::from_pixel(4, 4, Rgba([1_u8, 2, 3, 0])).into();
        let clear = look(FileKind::Png, &bytes(&clear, ImageFormat::Png)).unwrap();
        assert_eq!(preview_mime(&clear.preview), "image/png");
    }

    #[test]
    fn an_image_that_is_too_large_is_refused_by_its_head() {
        for (width, height) in [(30_000, 30_000), (20_001, 1), (1, 20_001), (6_000, 5_001)] {
            assert_eq!(look(FileKind::Png, &claiming(width, height)).unwrap_err(), PictureError::TooLarge);
        }
        // Allowed as far as the head goes, but the data is not there.
        assert_eq!(look(FileKind::Png, &claiming(6_000, 5_000)).unwrap_err(), PictureError::Broken);
    }

    #[test]
    fn what_cannot_be_decoded_is_broken() {
        let png = bytes(&opaque(60, 60), ImageFormat::Png);
        assert_eq!(look(FileKind::Png, &png[..png.len() / 2]).unwrap_err(), PictureError::Broken);
        assert_eq!(look(FileKind::Jpeg, &png).unwrap_err(), PictureError::Broken);
        assert_eq!(look(FileKind::Png, b"\x89PNG\r\n\x1a\n").unwrap_err(), PictureError::Broken);
        assert_eq!(look(FileKind::Pdf, b"%PDF-1.7").unwrap_err(), PictureError::Broken);
    }
}
