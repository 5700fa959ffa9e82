// Answers a job of `ftsurgery verify` with onnxruntime-node; see job.rs.
const fs = require('fs');
const job = JSON.parse(fs.readFileSync(process.argv[process.argv.length - 1], 'utf8'));

let runtime;
let version;
try {
  runtime = require('onnxruntime-node');
  version = require('onnxruntime-node/package.json').version;
} catch (error) {
  if (!runtime) {
    console.error(String(error.message).split('\n')[0]);
    process.exit(3);
  }
  version = (runtime.env && runtime.env.versions && runtime.env.versions.node) || 'of unknown version';
}

const arrays = {
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int64: BigInt64Array,
  uint64: BigUint64Array, int32: Int32Array, uint32: Uint32Array, int16: Int16Array,
  uint16: Uint16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};

function load(stored) {
  const bytes = fs.readFileSync(stored.file);
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return new runtime.Tensor(stored.dtype, new arrays[stored.dtype](buffer), stored.dims);
}

async function main() {
  const inputs = {};
  for (const stored of job.inputs) inputs[stored.name] = load(stored);
  const models = [];
  const runs = [];
  for (const [m, path] of job.models.entries()) {
    const told = { error: null, outputs: [], times: [] };
    models.push(told);
    try {
      const session = await runtime.InferenceSession.create(path, { logSeverityLevel: 3 });
      const outputs = await session.run(inputs);
      for (const [i, name] of session.outputNames.entries()) {
        const { type, dims, data } = outputs[name];
        const file = `${job.folder}/output${m}_${i}`;
        fs.writeFileSync(file, Buffer.from(data.buffer, data.byteOffset, data.byteLength));
        told.outputs.push({ name, dtype: type, dims: dims.map(Number), file });
      }
      runs.push([session, told.times]);
    } catch (error) {
      told.error = String(error.message || error).split('\n')[0].slice(0, 500);
    }
  }
  const end = performance.now() + 1000 * job.seconds * runs.length;
  while (job.seconds && runs.length && performance.now() < end) {
    // In turns, so that what else the machine does is shared.
    for (const [session, times] of runs) {
      const begin = performance.now();
      await session.run(inputs);
      times.push((performance.now() - begin) / 1000);
    }
  }
  fs.writeFileSync(`${job.folder}/answer.json`, JSON.stringify({ version, models }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
