// Training: batches through the graph that makes a step, the state of one into the next.

import { readState, withMetadata, withValues } from './files.js';

/** What is trained, and what it is trained by. */
export class Trainer {
  /** Of the files beside the page; `device` is `wasm` or `webgpu`. */
  static async load(ort, contract, device) {
    const get = async (name) => {
      const answer = await fetch(name);
      if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
      return answer.arrayBuffer();
    };
    const [model, training, state] = await Promise.all([contract.model, contract.training, contract.state].map(get));
    const trainer = new Trainer();
    const providers = device === 'webgpu' ? ['webgpu', 'wasm'] : ['wasm'];
    const options = { executionProviders: providers, logSeverityLevel: 3 };
    const step = await ort.InferenceSession.create(new Uint8Array(training), options);
    return Object.assign(trainer, { ort, contract, model, step, options, state: readState(ort, state) });
  }

  /** A step with some samples; gives its loss, and how many are right before it. */
  async train(samples, rate) {
    const { ort, contract } = this;
    const feed = {
      ...this.state,
      [contract.input.name]: this.#batch(samples),
      [contract.labels]: new ort.Tensor('int64', BigInt64Array.from(samples, (s) => BigInt(s.label)), [samples.length]),
      [contract.learning_rate]: new ort.Tensor('float32', [rate], []),
    };
    const out = await this.step.run(feed);
    const loss = out[contract.loss].data[0];
    if (!Number.isFinite(loss)) throw new Error('the loss is no longer a number; train with a lower learning rate');
    this.state = Object.fromEntries(Object.keys(this.state).map((name) => [name, out[`next/${name}`]]));
    return { loss, right: right(out[contract.logits], samples) };
  }

  /** How many samples the tuned model gets right, of the very file that is downloaded. */
  async evaluate(samples, size) {
    const { ort, contract } = this;
    const session = await ort.InferenceSession.create(withValues(this.model, contract.trained, this.state), this.options);
    let count = 0;
    for (let from = 0; from < samples.length; from += size) {
      const batch = samples.slice(from, from + size);
      const out = await session.run({ [contract.input.name]: this.#batch(batch) });
      count += right(out[contract.probabilities], batch);
    }
    await session.release();
    return count;
  }

  /** The tuned model's file. */
  file(classes) {
    const file = withValues(this.model, this.contract.trained, this.state);
    return withMetadata(file, { 'ftsurgery.classes': JSON.stringify(classes) });
  }

  async release() {
    await this.step.release();
  }

  #batch(samples) {
    const { name, channels, height, width, layout } = this.contract.input;
    const each = channels * height * width;
    const values = new Float32Array(each * samples.length);
    samples.forEach((sample, at) => values.set(sample.input, at * each));
    const dims = layout === 'nchw' ? [channels, height, width] : [height, width, channels];
    return new this.ort.Tensor('float32', values, [samples.length, ...dims]);
  }
}

function right({ data, dims }, samples) {
  const classes = dims[1];
  return samples.filter(({ label }, at) => {
    const row = data.subarray(at * classes, (at + 1) * classes);
    return row.indexOf(Math.max(...row)) === label;
  }).length;
}

/** Those to train on, and the share of each class that is held out, at most a half. */
export function divided(classes, share) {
  const [train, heldOut] = [[], []];
  for (const samples of classes) {
    samples.forEach((sample, at) => {
      const held = Math.floor((at + 1) * share) > Math.floor(at * share);
      (held ? heldOut : train).push(sample);
    });
  }
  return [train, heldOut];
}

/** In an order of chance, which is the same in every training of the same seed. */
export function shuffled(list, seed) {
  let word = seed >>> 0;
  const random = () => {
    word = (word + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(word ^ (word >>> 15), word | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const order = [...list];
  for (let at = order.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other], order[at]];
  }
  return order;
}
