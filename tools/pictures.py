#!/usr/bin/env python3
"""Makes fixtures/pictures: one small picture as files of many kinds, with the pixels that Pillow reads.

`right/NAME.KIND.EXT` is to be read as `expected/NAME.png`; what lies in `refused/` is to be refused; `cut/NAME.jpg`
ends early, and is to be read as `cut/NAME.png`;
`resized/` holds `plain.png` in other sizes, `cropped/` and `letterboxed/` some of the others as torchvision's
`Resize` and `CenterCrop` and YOLO's `LetterBox` bring them to a size (`NAME-WIDTHxHEIGHT…`). The JPEG files of one NAME hold the same coefficients, so
that Pillow (libjpeg-turbo) reads the same pixels from each, which this script makes sure of.

    python3 tools/pictures.py --out fixtures/pictures
"""

import argparse
import io
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from common import refuse_filled
from jpeg_writer import Jpeg, ycc

# Without it Pillow refuses a file that is cut off, be it of nothing but the end marker.
ImageFile.LOAD_TRUNCATED_IMAGES = True

WIDTH, HEIGHT = 27, 19
SAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 2), "411": (4, 1)}
ALL, SEPARATE = [((0, 1, 2),)], [((0,),), ((1,),), ((2,),)]
# Progressive: spectral bands in separate scans, DC values first.
BANDS = [((0, 1, 2), 0, 0), ((0,), 1, 5), ((2,), 1, 63), ((1,), 1, 63), ((0,), 6, 63)]


def scene(width=WIDTH, height=HEIGHT):
    """Different in every channel, direction and corner."""
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / max(width - 1, 1), y / max(height - 1, 1)
    waves = 0.5 + 0.45 * np.sin(9 * x + 5 * y)
    return np.rint(255 * np.stack([x, waves, 1 - y], -1)).astype(np.uint8)


def on_white(image):
    """RGB pixels as they are looked at: upright, the first frame, transparent ones on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image).astype(int) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


class Folder:
    """The folder of fixtures."""

    def __init__(self, out):
        self.out, self.expected = out, {}
        for name in ("right", "refused", "cut", "expected", "resized", "cropped", "letterboxed"):
            (out / name).mkdir(parents=True, exist_ok=True)

    def right(self, name, raw):
        """A file, and what Pillow reads from it."""
        pixels = np.asarray(on_white(Image.open(io.BytesIO(raw))))
        group = name.split(".")[0]
        known = self.expected.setdefault(group, pixels)
        assert np.array_equal(known, pixels), f"{name} differs from others of its name"
        (self.out / "right" / name).write_bytes(raw)
        Image.fromarray(known).save(self.out / "expected" / f"{group}.png", optimize=True)

    def cut(self, name, raw):
        """A file that ends early, and what Pillow reads from it."""
        (self.out / "cut" / f"{name}.jpg").write_bytes(raw)
        pixels = on_white(Image.open(io.BytesIO(raw)))
        pixels.save(self.out / "cut" / f"{name}.png", optimize=True)

    def refused(self, name, raw):
        (self.out / "refused" / name).write_bytes(raw)


def saved(image, kind, **options):
    raw = io.BytesIO()
    image.save(raw, kind, **options)
    return raw.getvalue()


def with_tag(tiff, tag, value):
    """A little-endian TIFF file whose first page has `value` for the 16 bits of `tag`."""
    start = struct.unpack_from("<I", tiff, 4)[0]
    count = struct.unpack_from("<H", tiff, start)[0]
    raw = bytearray(tiff)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", raw, entry)[0] == tag:
            struct.pack_into("<HHII", raw, entry, tag, 3, 1, value)
            return bytes(raw)
    # The page moves to the end, with one entry more.
    entries = [tiff[i : i + 12] for i in range(start + 2, start + 2 + 12 * count, 12)]
    entries = sorted([*entries, struct.pack("<HHII", tag, 3, 1, value)], key=lambda e: e[1] << 8 | e[0])
    raw[4:8] = struct.pack("<I", len(raw))
    return bytes(raw) + struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)


def jpegs(folder):
    rgb = scene()
    for name, luma in SAMPLINGS.items():
        picture = Jpeg(ycc(rgb), [luma, (1, 1), (1, 1)])
        kinds = {
            "interleaved": picture.file(ALL),
            "separate": picture.file(SEPARATE),
            "chroma-first": picture.file(SEPARATE[::-1]),
            "chroma-together": picture.file([((0,),), ((1, 2),)]),
            "progressive": picture.file(BANDS, frame=0xC2),
            "no-end": picture.file(SEPARATE)[:-2],
        }
        picture.restart = 2
        kinds["restarts"] = picture.file(ALL)
        kinds["separate-restarts"] = picture.file(SEPARATE)
        for kind, raw in kinds.items():
            folder.right(f"{name}.{kind}.jpg", raw)
    for width, height in [(1, 1), (7, 13), (17, 33)]:
        picture = Jpeg(ycc(scene(width, height)), [(2, 2), (1, 1), (1, 1)])
        for kind, scans in {"interleaved": ALL, "separate": SEPARATE}.items():
            folder.right(f"{width}x{height}.{kind}.jpg", picture.file(scans))
    odd = Jpeg(ycc(rgb), [(2, 2), (2, 1), (1, 2)])
    folder.right("odd.interleaved.jpg", odd.file(ALL))
    folder.right("odd.separate.jpg", odd.file(SEPARATE))

    grey = rgb[..., :1].astype(float)
    # With one component its sampling factors mean nothing.
    folder.right("grey.plain.jpg", Jpeg(grey, [(1, 1)]).file([((0,),)]))
    folder.right("grey.sampled.jpg", Jpeg(grey, [(2, 2)]).file([((0,),)]))
    plain = [(1, 1)] * 4
    named = Jpeg(rgb, plain[:3], ids=b"RGB")
    adobe = Jpeg(rgb, plain[:3])
    folder.right("rgb.by-name.jpg", named.file(ALL))
    folder.right("rgb.by-adobe.jpg", adobe.file(SEPARATE, adobe=0))
    inks = 255 - np.concatenate([rgb, rgb[..., 1:2] // 2], -1)
    four = [((0, 1, 2, 3),)]
    folder.right("cmyk.interleaved.jpg", Jpeg(inks, plain).file(four, adobe=0))
    folder.right("cmyk.separate.jpg", Jpeg(inks, plain).file([((c,),) for c in range(4)], adobe=0))
    ycck = np.concatenate([ycc(inks[..., :3]), inks[..., 3:]], -1)
    sampled = Jpeg(ycck, [(2, 2), (1, 1), (1, 1), (2, 2)])
    folder.right("ycck.interleaved.jpg", sampled.file(four, adobe=2))
    folder.right("ycck.separate.jpg", sampled.file([((c,),) for c in range(4)], adobe=2))

    image = Image.fromarray(rgb)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        raw = saved(image, "jpeg", quality=80, exif=exif.tobytes())
        folder.right(f"exif{orientation}.pillow.jpg", raw)
    raw = saved(image, "jpeg", quality=80, exif=exif.tobytes())
    short, long = struct.pack(">HHIHH", 0x112, 3, 1, 8, 0), struct.pack(">HHII", 0x112, 4, 1, 8)
    folder.right("exif8.32-bits.jpg", raw.replace(short, long))
    said = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><x tiff:Orientation="8"/></x:xmpmeta>'
    folder.right("exif8.xmp.jpg", saved(image, "jpeg", quality=80, xmp=said))
    folder.right("progressive.pillow.jpg", saved(image, "jpeg", quality=60, progressive=True,
                                                 restart_marker_blocks=3))  # fmt: skip

    sampled = Jpeg(ycc(rgb), [(2, 2), (1, 1), (1, 1)])
    whole = sampled.file(SEPARATE)
    folder.cut("chroma-missing", whole[:-60])
    # The last scan brings the rest of the first component: what is missing is not smoothed over.
    progressive = sampled.file(BANDS, frame=0xC2)
    folder.cut("progressive", progressive[: progressive.rindex(b"\xff\xda") + 60])
    large = Jpeg(ycc(scene(61, 47)), [(2, 2), (1, 1), (1, 1)])
    interleaved = large.file(ALL)
    folder.cut("within", interleaved[: len(interleaved) * 2 // 3])
    large.restart = 3
    restarts = large.file(ALL)
    marker = restarts.index(b"\xff\xd2")
    for name, end in {"before": 0, "within": 1, "behind": 2}.items():
        folder.cut(f"{name}-restart", restarts[: marker + end])
    folder.refused("scan-missing.jpg", whole[: whole.rindex(b"\xff\xda")] + b"\xff\xd9")
    deep = Jpeg(16 * ycc(rgb), plain[:3], quality=0.1, bits=12)
    folder.refused("twelve-bits.jpg", deep.file(ALL, frame=0xC1))
    half = sampled.scan((0,))
    half = half[: len(half) // 2]
    tail = sampled.scan((1,)) + sampled.scan((2,)) + b"\xff\xd9"
    folder.refused("data-missing.jpg", sampled.start() + half + tail)
    fractions = Jpeg(ycc(scene(24, 18)), [(3, 1), (1, 1), (1, 1)]).file(SEPARATE)
    folder.refused("fractions.jpg", fractions.replace(bytes([2, 0x11, 0, 3]), bytes([2, 0x21, 0, 3])))
    folder.refused("arithmetic.jpg", Jpeg(ycc(rgb), plain[:3]).file(ALL, frame=0xC9))
    folder.refused("lossless.jpg", Jpeg(ycc(rgb), plain[:3]).file(ALL, frame=0xC3))


def others(folder):
    rgb = scene()
    image = Image.fromarray(rgb)
    alpha = Image.fromarray(np.dstack([rgb, np.rint(rgb[..., 1] * 0.9).astype(np.uint8)]))
    grey, palette = image.convert("L"), image.quantize(16)
    clear = palette.copy()
    clear.info["transparency"] = 3
    two = image.convert("1")
    deep = Image.fromarray(257 * np.asarray(grey).astype(np.uint16) // 2)
    frames = [ImageOps.invert(image), ImageOps.mirror(image)]

    folder.right("plain.png", saved(image, "png"))
    folder.right("plain.bmp", saved(image, "bmp"))
    folder.right("plain.lossless.webp", saved(image, "webp", lossless=True))
    for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        folder.right(f"plain.{kind}.tif", saved(image, "tiff", compression=kind))
    folder.right("alpha.png", saved(alpha, "png"))
    folder.right("alpha.webp", saved(alpha, "webp", lossless=True, exact=True))
    folder.right("alpha.tif", saved(alpha, "tiff"))
    folder.right("grey-alpha.png", saved(alpha.convert("LA"), "png"))
    folder.right("grey-alpha.tif", saved(alpha.convert("LA"), "tiff"))
    folder.right("ycc.tif", saved(image.convert("YCbCr"), "tiff", compression="tiff_adobe_deflate"))
    for name, mode in {"grey": grey, "palette": palette, "two": two}.items():
        for kind in ("png", "bmp", "gif", "tiff"):
            folder.right(f"{name}-colours.{kind}", saved(mode, kind))
    for kind in ("tiff_lzw", "packbits"):
        folder.right(f"palette-colours.{kind}.tif", saved(palette, "tiff", compression=kind))
    folder.right("clear.png", saved(clear, "png", transparency=3))
    folder.right("clear.gif", saved(clear, "gif", transparency=3))
    folder.right("deep.png", saved(deep, "png"))
    folder.right("deep.tif", saved(deep, "tiff"))
    folder.right("lossy.webp", saved(image, "webp", quality=80))
    folder.right("animated-webp.webp", saved(image, "webp", lossless=True, save_all=True, append_images=frames))
    folder.right("animated-gif.gif", saved(palette, "gif", save_all=True, append_images=frames))
    folder.right("animated-png.png", saved(image, "png", save_all=True, append_images=frames))
    folder.right("inks.tif", saved(image.convert("CMYK"), "tiff"))
    exif = Image.Exif()
    exif[0x112] = 6
    for kind in ("png", "webp", "tiff"):
        raw = saved(image, kind, exif=exif)
        folder.right(f"turned-{kind}.{kind}", raw)
        if kind == "png":
            start = raw.index(b"eXIf") - 4
            end = start + 12 + struct.unpack_from(">I", raw, start)[0]
            folder.right("turned-png.behind.png", raw[:start] + raw[end:-12] + raw[start:end] + raw[-12:])
    plain = saved(alpha, "tiff")
    extra = struct.pack("<HHI", 338, 3, 1)
    folder.right("plain.fourth-channel.tif", plain.replace(extra + b"\2", extra + b"\0"))
    folder.refused("multiplied-alpha.tif", plain.replace(extra + b"\2", extra + b"\1"))
    folder.refused("jpeg.tif", saved(image, "tiff", compression="jpeg"))
    reverse = np.packbits(np.unpackbits(np.asarray(grey)[..., None], -1, bitorder="little"), -1)
    reverse = Image.fromarray(reverse[..., 0])
    folder.refused("bits-in-reverse.tif", with_tag(saved(reverse, "tiff"), 266, 2))
    folder.refused("deep-white-zero.tif", with_tag(saved(deep, "tiff"), 262, 0))
    folder.refused("big.tif", saved(image, "tiff", big_tiff=True))
    folder.refused("lab.tif", saved(image.convert("LAB"), "tiff"))
    folder.refused("palette-alpha.tif", saved(palette.convert("PA"), "tiff"))
    folder.refused("signed.tif", saved(Image.fromarray(np.asarray(grey).astype(np.int32)), "tiff"))
    folder.refused("float.tif", saved(Image.fromarray(np.asarray(grey).astype(np.float32)), "tiff"))


    # A first frame that does not fill the picture, and one that reaches beyond it.
    raw = saved(palette, "gif")
    frame = raw.index(b"," + struct.pack("<HHHH", 0, 0, WIDTH, HEIGHT)) + 1
    screen = raw[:6] + struct.pack("<HH", 2 * WIDTH, 2 * HEIGHT) + raw[10:]
    folder.refused("frame-inside.gif", screen)
    folder.refused("frame-beyond.gif", raw[:frame] + struct.pack("<HH", 3, 2) + raw[frame + 4 :])
    raw = saved(palette, "bmp")
    folder.refused("palette-not-counted.bmp", raw[:10] + struct.pack("<I", 54) + raw[14:])
    plain = saved(image, "bmp")
    folder.refused("no-offset.bmp", plain[:10] + bytes(4) + plain[14:])


def resized(folder):
    image = Image.fromarray(scene())
    for size in [(8, 6), (64, 48), (13, 31), (27, 5)]:
        for mode in ("RGB", "L"):
            smaller = image.resize(size, Image.Resampling.BILINEAR).convert(mode)
            name = f"{size[0]}x{size[1]}-{mode}.png"
            smaller.save(folder.out / "resized" / name, optimize=True)


INPUTS = [(8, 8), (16, 16), (48, 48), (12, 7), (5, 20)]


def cropped(image, width, height, share):
    """torchvision's Resize(floor(side / share)) and CenterCrop; both sides are covered where they differ."""
    wide, high = math.floor(width / share), math.floor(height / share)
    if wide * image.height >= high * image.width:
        high = int(wide * image.height / image.width)
    else:
        wide = int(high * image.width / image.height)
    whole = image.resize((wide, high), Image.Resampling.BILINEAR)
    left, top = int(round((wide - width) / 2.0)), int(round((high - height) / 2.0))
    return whole.crop((left, top, left + width, top + height))


def letterboxed(image, width, height):
    """Ultralytics' LetterBox(auto=False, scaleup=True) with Pillow's filter."""
    ratio = min(width / image.width, height / image.height)
    wide, high = max(1, round(image.width * ratio)), max(1, round(image.height * ratio))
    box = Image.new("RGB", (width, height), (114, 114, 114))
    left, top = round((width - wide) / 2 - 0.1), round((height - high) / 2 - 0.1)
    box.paste(image.resize((wide, high), Image.Resampling.BILINEAR), (left, top))
    return box


def placed(folder):
    for name in ("plain", "17x33", "turned-png"):
        image = Image.open(folder.out / "expected" / f"{name}.png")
        for width, height in INPUTS:
            size = f"{name}-{width}x{height}"
            for share in (0.875, 0.6):
                picture = cropped(image, width, height, share)
                picture.save(folder.out / "cropped" / f"{size}-{share}.png", optimize=True)
            picture = letterboxed(image, width, height)
            picture.save(folder.out / "letterboxed" / f"{size}.png", optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    refuse_filled(out)
    folder = Folder(out)
    jpegs(folder)
    others(folder)
    resized(folder)
    placed(folder)


if __name__ == "__main__":
    main()
