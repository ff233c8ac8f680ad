//! Images: reads the dimensions from the header before decoding, and makes a preview.
//!
//! All functions here are CPU-bound: call them on a blocking thread.

use std::io::Cursor;

use aggregates::file::ImageSize;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};

use super::kind::FileKind;

/// Most pixels of an image.
pub const MAX_PIXELS: u64 = 30_000_000;
/// Most pixels of one side.
pub const MAX_SIDE: u32 = 20_000;
/// Longer side of a preview, in pixels.
pub const PREVIEW_SIDE: u32 = 512;
/// Most memory for decoding besides the image itself, in bytes.
const MAX_ALLOCATION: u64 = 256 * 1024 * 1024;
/// JPEG quality of previews without transparency, out of 100.
const JPEG_QUALITY: u8 = 80;

/// An inspected image.
#[derive(Debug)]
pub struct Picture {
    /// Dimensions after applying the orientation.
    pub size: ImageSize,
    /// Preview: PNG if parts are transparent, otherwise JPEG.
    pub preview: Vec<u8>,
}

/// Why an image is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Too many pixels.
    #[error("the image has more than {} million pixels, or more than {MAX_SIDE} on one side", MAX_PIXELS / 1_000_000)]
    TooLarge,
    /// The data is malformed.
    #[error("the image cannot be decoded")]
    Broken,
}

/// Decodes an image and makes its preview.
///
/// # Errors
/// If the image is too large according to its header, or malformed.
pub fn inspect(kind: FileKind, bytes: &[u8]) -> Result<Picture, PictureError> {
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
    // Cameras store the image unrotated and record its orientation; without a record it is upright.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|_| PictureError::Broken)?;
    let mut small =
        if width.max(height) > PREVIEW_SIDE { image.thumbnail(PREVIEW_SIDE, PREVIEW_SIDE) } else { image };
    let upright = (small.width() >= small.height(), small.width() == small.height());
    small.apply_orientation(orientation);
    let rotated = !upright.1 && (small.width() >= small.height()) != upright.0;
    let size = if rotated { ImageSize { width: height, height: width } } else { ImageSize { width, height } };
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

/// Returns the media type of a preview made by [`inspect`].
pub fn preview_mime(preview: &[u8]) -> &'static str {
    if preview.starts_with(b"\xff\xd8\xff") { FileKind::Jpeg.mime() } else { FileKind::Png.mime() }
}

#[cfg(test)]
mod tests;
