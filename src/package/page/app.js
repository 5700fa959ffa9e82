// The page: pictures that are dropped or chosen, and what the model says of them.

import { inputOf } from './pictures.js';

const element = (id) => document.getElementById(id);
const SHOWN = 5;
const KINDS = { float32: Float32Array, uint8: Uint8Array, int32: Int32Array };

const told = await (await fetch('model.json')).json();
document.title = told.name;
element('name').textContent = told.name;

function tell(text, wrong = false) {
  element('status').textContent = text;
  element('status').classList.toggle('wrong', wrong);
}

/** onnxruntime-web, from the folder `ort` beside the page, with the model. */
async function load() {
  const folder = new URL('ort/', location.href).href;
  const ort = await import(`${folder}ort.wasm.min.mjs`).catch(() => {
    throw new Error('the folder ort beside this page lacks ort.wasm.min.mjs of npm\'s package onnxruntime-web');
  });
  ort.env.wasm.wasmPaths = folder;
  // Threads want a server that isolates the page (Cross-Origin-Opener-Policy and -Embedder-Policy).
  if (!self.crossOriginIsolated) ort.env.wasm.numThreads = 1;
  const answer = await fetch('model.onnx');
  if (!answer.ok) throw new Error(`model.onnx: ${answer.status} ${answer.statusText}`);
  const options = { executionProviders: ['wasm'], logSeverityLevel: 3 };
  return { ort, session: await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()), options) };
}

/** The probability of each class. */
async function classify({ ort, session }, file) {
  const { name, type, batch, channels, height, width, layout } = told.input;
  const one = await inputOf(file, told.input).catch(() => {
    throw new Error('it is no picture that this browser reads');
  });
  const values = new KINDS[type](batch * one.length);
  for (let at = 0; at < batch; at++) values.set(one, at * one.length);
  const dims = layout === 'nchw' ? [channels, height, width] : [height, width, channels];
  const out = await session.run({ [name]: new ort.Tensor(type, values, [batch, ...dims]) }, [told.output]);
  const { data } = out[told.output];
  const scores = [...data.slice(0, data.length / batch)];
  if (told.single) {
    const second = told.activation === 'none' ? scores[0] : 1 / (1 + Math.exp(-scores[0]));
    return [1 - second, second];
  }
  if (told.activation === 'none') return scores;
  if (told.activation === 'sigmoid') return scores.map((score) => 1 / (1 + Math.exp(-score)));
  const top = scores.reduce((a, b) => Math.max(a, b));
  const shares = scores.map((score) => Math.exp(score - top));
  const sum = shares.reduce((a, b) => a + b);
  return shares.map((share) => share / sum);
}

/** The likeliest classes, or where each is told by itself those that reach their threshold. */
function ranked(probabilities) {
  const all = probabilities.map((probability, at) => ({ name: told.classes[at], probability, at }));
  all.sort((a, b) => b.probability - a.probability);
  return told.thresholds
    ? all.filter(({ probability, at }) => probability >= told.thresholds[at])
    : all.slice(0, SHOWN);
}

/** A place for a picture, and what is said of it. */
function place(file) {
  const root = Object.assign(document.createElement('section'), { className: 'result' });
  const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name });
  const table = document.createElement('table');
  table.createCaption().textContent = file.name;
  root.append(image, table);
  element('results').prepend(root);
  return {
    say(classes) {
      for (const { name, probability } of classes) {
        const row = table.insertRow();
        row.insertCell().textContent = `${(100 * probability).toFixed(2)} %`;
        row.insertCell().textContent = name;
      }
      if (classes.length === 0) table.insertRow().insertCell().textContent = 'none of the classes';
    },
    fail(reason) {
      const cell = table.insertRow().insertCell();
      cell.textContent = reason;
      cell.className = 'wrong';
    },
  };
}

let loaded = null;
let queue = Promise.resolve();

async function take(files) {
  for (const file of files) {
    const shown = place(file);
    tell('Loading the model');
    let model;
    try {
      loaded ??= load();
      model = await loaded;
    } catch (error) {
      loaded = null;
      tell(error.message, true);
      return;
    }
    tell(`Looking at ${file.name}`);
    await classify(model, file).then((all) => shown.say(ranked(all)), (error) => shown.fail(error.message));
  }
  tell(`Done: ${element('results').children.length} pictures.`);
}

/** One after the other, also where more are dropped meanwhile. */
const add = (files) => {
  const all = [...files];
  queue = queue.then(() => take(all));
};

const drop = element('drop');
document.addEventListener('dragover', (event) => {
  event.preventDefault();
  drop.classList.add('over');
});
document.addEventListener('dragleave', () => drop.classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  drop.classList.remove('over');
  add(event.dataTransfer.files);
});
element('choose').addEventListener('change', (event) => {
  add(event.target.files);
  event.target.value = '';
});
tell('Drop pictures.');
