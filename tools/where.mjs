// A training step in node, timed: see where.py.
//
//     ORT_MODULES=node_modules node where.mjs onnxruntime-node|onnxruntime-web STEP STATE BATCH SIDE THREADS WARMUP STEPS

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [name, graph, file, ...numbers] = process.argv.slice(2);
const [count, side, threads, warmup, steps] = numbers.map(Number);
const require = createRequire(join(process.env.ORT_MODULES, '_'));
const ort = await import(pathToFileURL(require.resolve(name)));
if (name === 'onnxruntime-web') ort.env.wasm.numThreads = threads;

const step = await ort.InferenceSession.create(readFileSync(graph), { intraOpNumThreads: threads });
let state = read(readFileSync(file));
const images = new Float32Array(count * 3 * side * side);
for (let i = 0; i < images.length; i++) {
  images[i] = ((Math.imul(i, 2654435769) >>> 8) / 2 ** 23 - 1) * Math.sqrt(3);
}
const labels = BigInt64Array.from({ length: count }, (_, i) => BigInt(i % 1000));
const own = {
  [step.inputNames[0]]: new ort.Tensor('float32', images, [count, 3, side, side]),
  labels: new ort.Tensor('int64', labels, [count]),
  learning_rate: new ort.Tensor('float32', [1e-4], []),
};
const seconds = [];
for (let i = 0; i < warmup + steps; i++) {
  const start = performance.now();
  const out = await step.run({ ...own, ...state });
  state = Object.fromEntries(Object.keys(state).map((key) => [key, out['next/' + key]]));
  if (i >= warmup) seconds.push((performance.now() - start) / 1000);
}
console.log(JSON.stringify(seconds));
process.exit(0);

function read(bytes) {
  const types = { F32: ['float32', Float32Array], I64: ['int64', BigInt64Array], U8: ['uint8', Uint8Array] };
  const { buffer, byteOffset } = bytes;
  const start = 8 + Number(new DataView(buffer, byteOffset).getBigUint64(0, true));
  const text = new TextDecoder().decode(new Uint8Array(buffer, byteOffset + 8, start - 8));
  const tensors = Object.entries(JSON.parse(text)).filter(([key]) => key !== '__metadata__');
  return Object.fromEntries(tensors.map(([key, { dtype, shape, data_offsets }]) => {
    const [from, to] = data_offsets.map((offset) => byteOffset + start + offset);
    const [type, Values] = types[dtype];
    return [key, new ort.Tensor(type, new Values(buffer.slice(from, to)), shape)];
  }));
}
