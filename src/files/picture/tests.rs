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

/// Returns a PNG whose header claims these dimensions, with the data of one pixel.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = bytes(&opaque(1, 1), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = checksum(&png[12..29]);
    png[29..33].copy_from_slice(&sum.to_be_bytes());
    png
}

/// CRC-32, as PNG appends it to each chunk.
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
fn image_has_dimensions_and_a_bounded_preview() {
    for (kind, format) in [
        (FileKind::Png, ImageFormat::Png),
        (FileKind::Jpeg, ImageFormat::Jpeg),
        (FileKind::Gif, ImageFormat::Gif),
        (FileKind::Webp, ImageFormat::WebP),
    ] {
        let image = bytes(&opaque(1024, 300), format);
        kind.check(&image).unwrap();
        let picture = inspect(kind, &image).unwrap();
        assert_eq!(picture.size, ImageSize { width: 1024, height: 300 });
        let preview = image::load_from_memory(&picture.preview).unwrap();
        assert_eq!((preview.width(), preview.height()), (512, 150), "{kind}");
    }
    let small = inspect(FileKind::Png, &bytes(&opaque(3, 2), ImageFormat::Png)).unwrap();
    let preview = image::load_from_memory(&small.preview).unwrap();
    assert_eq!((preview.width(), preview.height()), (3, 2));
    assert_eq!(preview_mime(&small.preview), "image/jpeg");
    let clear: DynamicImage = ImageBuffer::from_pixel(4, 4, Rgba([1_u8, 2, 3, 0])).into();
    let clear = inspect(FileKind::Png, &bytes(&clear, ImageFormat::Png)).unwrap();
    assert_eq!(preview_mime(&clear.preview), "image/png");
}

#[test]
fn image_too_large_is_rejected_by_its_header() {
    for (width, height) in [(30_000, 30_000), (20_001, 1), (1, 20_001), (6_000, 5_001)] {
        assert_eq!(inspect(FileKind::Png, &claiming(width, height)).unwrap_err(), PictureError::TooLarge);
    }
    // The header is within limits, but the data is missing.
    assert_eq!(inspect(FileKind::Png, &claiming(6_000, 5_000)).unwrap_err(), PictureError::Broken);
}

#[test]
fn malformed_data_is_broken() {
    let png = bytes(&opaque(60, 60), ImageFormat::Png);
    assert_eq!(inspect(FileKind::Png, &png[..png.len() / 2]).unwrap_err(), PictureError::Broken);
    assert_eq!(inspect(FileKind::Jpeg, &png).unwrap_err(), PictureError::Broken);
    assert_eq!(inspect(FileKind::Png, b"\x89PNG\r\n\x1a\n").unwrap_err(), PictureError::Broken);
    assert_eq!(inspect(FileKind::Pdf, b"%PDF-1.7").unwrap_err(), PictureError::Broken);
}
