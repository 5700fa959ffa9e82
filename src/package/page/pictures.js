// From a picture's file to the model's input, as ftsurgery does it.

const GREY = 114;

/** The input of one picture: floats in the order of the model's layout. */
export async function inputOf(file, spec) {
  const picture = await decoded(file);
  const pixels = placed(picture, spec);
  const { channels, height, width, layout, preprocess } = spec;
  const { scale, mean, std } = preprocess;
  const input = new Float32Array(channels * height * width);
  const area = height * width;
  for (let at = 0; at < area; at++) {
    const colours = [pixels[3 * at], pixels[3 * at + 1], pixels[3 * at + 2]];
    if (preprocess.order === 'bgr') colours.reverse();
    if (channels === 1) {
      const [r, g, b] = [pixels[3 * at], pixels[3 * at + 1], pixels[3 * at + 2]];
      colours[0] = Math.floor((r * 299 + g * 587 + b * 114 + 500) / 1000);
    }
    for (let c = 0; c < channels; c++) {
      const place = layout === 'nchw' ? c * area + at : at * channels + c;
      input[place] = (colours[c] * scale - mean[c]) / std[c];
    }
  }
  return input;
}

/** Upright RGB pixels; what is transparent lies on white. */
async function decoded(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  const { width, height } = bitmap;
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  const pixels = new Uint8ClampedArray(3 * width * height);
  for (let at = 0; at < width * height; at++) {
    for (let c = 0; c < 3; c++) pixels[3 * at + c] = data[4 * at + c];
  }
  return { width, height, pixels };
}

/** The picture at the input's size: squashed, its middle, or all of it with grey around. */
export function placed(picture, spec) {
  const image = [picture.width, picture.height];
  const to = [spec.width, spec.height];
  const { mode, share } = spec.preprocess.resize;
  if (mode === 'crop') return resized(picture, middle(image, to, share), to);
  if (mode === 'squash') return resized(picture, [0, 0, ...image], to);
  const [left, top, width, height] = within(image, to);
  const part = resized(picture, [0, 0, ...image], [width, height]);
  const pixels = new Uint8ClampedArray(3 * to[0] * to[1]).fill(GREY);
  for (let y = 0; y < height; y++) {
    pixels.set(part.subarray(3 * width * y, 3 * width * (y + 1)), 3 * ((top + y) * to[0] + left));
  }
  return pixels;
}

/** Left, top, width and height of the middle that fills the input. */
function middle(image, to, share) {
  const covered = to.map((side) => Math.floor(side / share));
  const [width, height] = image;
  const size = covered[0] * height >= covered[1] * width
    ? [covered[0], Math.floor((covered[0] * height) / width)]
    : [Math.floor((covered[1] * width) / height), covered[1]];
  const [x, y] = [0, 1].map((axis) => {
    const start = toEven((size[axis] - to[axis]) / 2);
    return [start, to[axis]].map((length) => (length * image[axis]) / size[axis]);
  });
  return [x[0], y[0], x[1], y[1]];
}

/** Left, top, width and height of the place of the whole picture in the input. */
function within(image, to) {
  const ratio = Math.min(to[0] / image[0], to[1] / image[1]);
  const [width, height] = [0, 1].map((axis) => Math.min(Math.max(toEven(image[axis] * ratio), 1), to[axis]));
  return [Math.floor((to[0] - width) / 2), Math.floor((to[1] - height) / 2), width, height];
}

/** To the nearest whole number, halves to the even one. */
function toEven(number) {
  const down = Math.floor(number);
  const rest = number - down;
  return rest < 0.5 || (rest === 0.5 && down % 2 === 0) ? down : down + 1;
}

/** A part of a picture at another size: bilinear, with every pixel counted, one axis after the other. */
function resized({ width, height, pixels }, [left, top, partWidth, partHeight], [toWidth, toHeight]) {
  const whole = left === 0 && top === 0 && partWidth === width && partHeight === height;
  if (whole && toWidth === width && toHeight === height) return pixels;
  const columns = weights(width, left, partWidth, toWidth);
  const narrow = new Uint8ClampedArray(3 * toWidth * height);
  for (let y = 0; y < height; y++) {
    columns.forEach(([from, shares], x) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        shares.forEach((share, k) => { sum += share * pixels[3 * (y * width + from + k) + c]; });
        narrow[3 * (y * toWidth + x) + c] = sum;
      }
    });
  }
  const small = new Uint8ClampedArray(3 * toWidth * toHeight);
  weights(height, top, partHeight, toHeight).forEach(([from, shares], y) => {
    for (let at = 0; at < 3 * toWidth; at++) {
      let sum = 0;
      shares.forEach((share, k) => { sum += share * narrow[3 * (from + k) * toWidth + at]; });
      small[3 * y * toWidth + at] = sum;
    }
  });
  return small;
}

/** For each of so many pixels the first that counts, and how much it and those behind it do. */
function weights(side, start, length, to) {
  const scale = length / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, at) => {
    const centre = start + (at + 0.5) * scale;
    const from = Math.max(0, Math.floor(centre - support + 0.5));
    const end = Math.min(side, Math.floor(centre + support + 0.5));
    const shares = Array.from({ length: end - from }, (_, k) =>
      Math.max(0, 1 - Math.abs((from + k - centre + 0.5) / support)));
    const sum = shares.reduce((a, b) => a + b, 0);
    return [from, shares.map((share) => share / sum)];
  });
}
