//! What image files are decoded to, and where its parts are.

use super::Resize;
use super::image::{Picture, Size, place};
use super::resize::Placement;

/// How many times as wide and high as the input the photo is kept that crops are drawn from: a crop of half
/// its area then has about as many pixels as the input.
const PHOTO: f64 = 1.5;
/// Bytes of the photo's own width and height.
const SIDES: usize = 8;

/// What each image of a data set is decoded to: the pixels of the input and, where crops are drawn while
/// training, after them the whole photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Form {
    /// The input's.
    pub size: Size,
    pub resize: Resize,
    pub with_photo: bool,
}

/// A whole photo, squashed to fewer pixels where it has more than are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Photo<'a> {
    /// Width and height that the image has as it is looked at.
    pub own: [u32; 2],
    /// Width and height of what is kept.
    pub kept: [u32; 2],
    /// Height × width × channels.
    pub pixels: &'a [u8],
}

impl Form {
    /// The bytes of an image.
    pub fn bytes(&self) -> usize {
        self.size.bytes() + self.photo_bytes()
    }

    fn photo_bytes(&self) -> usize {
        let [width, height] = self.most();
        match self.with_photo {
            true => SIDES + width as usize * height as usize * self.size.channels,
            false => 0,
        }
    }

    /// Width and height of a kept photo, at most.
    fn most(&self) -> [u32; 2] {
        [self.size.width, self.size.height].map(|side| (side as f64 * PHOTO).ceil() as u32)
    }

    fn kept(&self, own: [u32; 2]) -> [u32; 2] {
        let [width, height] = self.most();
        [width.min(own[0]), height.min(own[1])]
    }

    /// Width and height of the largest picture that an image becomes.
    pub fn largest(&self) -> [u64; 2] {
        match self.with_photo {
            true => self.most().map(u64::from),
            false => [self.size.width as u64, self.size.height as u64],
        }
    }

    /// Writes what becomes of `picture` to `out`, which holds [`Form::bytes`].
    pub fn write(&self, picture: &Picture, out: &mut [u8]) -> Result<(), String> {
        let (own, size) = (picture.sides(), self.size);
        let (input, rest) = out.split_at_mut(size.bytes());
        let placement = self.resize.placement(own, [size.width, size.height]);
        place(&picture.raster(), &placement, size, input)?;
        if !self.with_photo {
            return Ok(());
        }
        let (sides, photo) = rest.split_at_mut(SIDES);
        for (place, side) in sides.chunks_exact_mut(SIDES / 2).zip(own) {
            place.copy_from_slice(&side.to_le_bytes());
        }
        let kept = self.kept(own);
        let size = Size {
            width: kept[0] as usize,
            height: kept[1] as usize,
            ..size
        };
        let (photo, empty) = photo.split_at_mut(size.bytes());
        empty.fill(0);
        let placement = Resize::SQUASH.placement(own, [size.width, size.height]);
        place(&picture.raster(), &placement, size, photo)
    }

    /// The pixels of the input, and the whole photo where it is there.
    pub fn parts<'a>(&self, image: &'a [u8]) -> (&'a [u8], Option<Photo<'a>>) {
        let (input, rest) = image.split_at(self.size.bytes());
        let Some((sides, pixels)) = rest.split_at_checked(SIDES).filter(|_| self.with_photo) else {
            return (input, None);
        };
        let (width, height) = sides.split_at(SIDES / 2);
        let own = [width, height].map(|side| {
            let side = side.first_chunk().copied().unwrap_or_default();
            u32::from_le_bytes(side).max(1)
        });
        let kept = self.kept(own);
        let len = kept[0] as usize * kept[1] as usize * self.size.channels;
        let photo = Photo {
            own,
            kept,
            pixels: &pixels[..len],
        };
        (input, Some(photo))
    }

    /// Which part of `photo` a crop of it (left, top, width and height in the image's own pixels) is, and where
    /// in the input it comes to lie.
    pub fn crop(&self, photo: &Photo<'_>, crop: [u32; 4]) -> Placement {
        let kept = |axis: usize| f64::from(photo.kept[axis]) / f64::from(photo.own[axis]);
        let [left, top, width, height] = crop.map(f64::from);
        let to = [self.size.width, self.size.height];
        Placement {
            from: [
                left * kept(0),
                top * kept(1),
                width * kept(0),
                height * kept(1),
            ],
            to: self.resize.place_of([crop[2], crop[3]], to),
        }
    }
}
