// The files of a state (safetensors) and of the tuned model.

const TYPES = { F32: ['float32', Float32Array], I64: ['int64', BigInt64Array], U8: ['uint8', Uint8Array] };

/** The tensors of a safetensors file, by name. */
export function readState(ort, buffer) {
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8));
  const tensors = Object.entries(JSON.parse(text)).filter(([name]) => name !== '__metadata__');
  return Object.fromEntries(tensors.map(([name, { dtype, shape, data_offsets }]) => {
    const [from, to] = data_offsets.map((offset) => start + offset);
    const [type, Values] = TYPES[dtype];
    return [name, new ort.Tensor(type, new Values(buffer.slice(from, to)), shape)];
  }));
}

/** The model's file with the values of a state in their places. */
export function withValues(model, trained, state) {
  const file = new Uint8Array(model.slice(0));
  for (const { state: name, offset, bytes } of trained) {
    const { data } = state[name];
    if (data.byteLength !== bytes) throw new Error(`${name} has ${data.byteLength} bytes, not ${bytes}`);
    if (data.some((value) => !Number.isFinite(value))) throw new Error(`${name} has values that are not finite`);
    file.set(new Uint8Array(data.buffer, data.byteOffset, bytes), offset);
  }
  return file;
}

/** A model's file with further metadata: properties at its end belong to the same message. */
export function withMetadata(file, properties) {
  const utf8 = (text) => new TextEncoder().encode(text);
  const length = (n) => (n < 128 ? [n] : [(n & 127) | 128, ...length(n >>> 7)]);
  const field = (number, bytes) => [(number << 3) | 2, ...length(bytes.length), ...bytes];
  const METADATA = 14;
  const added = Object.entries(properties).flatMap(([key, value]) =>
    field(METADATA, [...field(1, utf8(key)), ...field(2, utf8(value))]));
  const whole = new Uint8Array(file.length + added.length);
  whole.set(file);
  whole.set(added, file.length);
  return whole;
}
