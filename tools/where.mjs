// A training step in node or a browser, timed: see where.py, which serves this file to a browser with what it fetches.
//
//     ORT_MODULES=node_modules node where.mjs onnxruntime-node|onnxruntime-web STEP STATE BATCH SIDE THREADS WARMUP STEPS

/** The seconds of each timed step of the graph and the state in these bytes. */
async function timed(ort, graph, file, [count, side, threads, warmup, steps]) {
  if (ort.env.wasm) ort.env.wasm.numThreads = threads;
  const step = await ort.InferenceSession.create(graph, { intraOpNumThreads: threads });
  let state = read(ort, file);
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
  return seconds;
}

function read(ort, bytes) {
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

async function inNode() {
  const { readFileSync } = await import('node:fs');
  const { createRequire } = await import('node:module');
  const { join } = await import('node:path');
  const { pathToFileURL } = await import('node:url');
  const [name, graph, file, ...numbers] = process.argv.slice(2);
  const require = createRequire(join(process.env.ORT_MODULES, '_'));
  const ort = await import(pathToFileURL(require.resolve(name)));
  console.log(JSON.stringify(await timed(ort, readFileSync(graph), readFileSync(file), numbers.map(Number))));
  process.exit(0);
}

async function inBrowser() {
  const say = (value) => fetch('said', { method: 'POST', body: JSON.stringify(value) });
  try {
    const ort = await import('./ort/ort.wasm.min.mjs');
    const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
    const numbers = await (await fetch('numbers.json')).json();
    await say(await timed(ort, await bytes('step.onnx'), await bytes('state.safetensors'), numbers));
  } catch (error) {
    await say(String(error));
  }
}

await (typeof window === 'undefined' ? inNode() : inBrowser());
