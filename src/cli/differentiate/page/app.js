// The page: boxes of pictures, training, curves, the file.

import { inputOf } from './pictures.js';
import { Trainer, divided, shuffled } from './train.js';

const element = (id) => document.getElementById(id);
const form = element('settings');
const SHOWN = 24;

const contract = await (await fetch('contract.json')).json();
const boxes = contract.classes.map(box);
element('boxes').append(...boxes.map(({ root }) => root));
let stopped = false;
let tuned = null;
if (navigator.gpu) form.device.add(new Option('the graphics card (WebGPU)', 'webgpu'));

function tell(text, wrong = false) {
  element('status').textContent = text;
  element('status').classList.toggle('wrong', wrong);
}

/** A class: its name, and the files that are dropped or chosen. */
function box(name) {
  const root = document.createElement('section');
  root.className = 'box';
  const title = Object.assign(document.createElement('input'), { type: 'text', value: name, ariaLabel: 'Name of the class' });
  const chooser = Object.assign(document.createElement('input'), { type: 'file', multiple: true, accept: 'image/*', ariaLabel: 'Pictures' });
  const count = document.createElement('div');
  const pictures = Object.assign(document.createElement('div'), { className: 'pictures' });
  const clear = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Empty' });
  root.append(title, chooser, clear, count, pictures);
  const made = { root, title, files: [] };
  const show = () => {
    count.textContent = `${made.files.length} pictures`;
    for (const image of pictures.children) URL.revokeObjectURL(image.src);
    pictures.replaceChildren(...made.files.slice(0, SHOWN).map((file) =>
      Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name })));
  };
  const add = (files) => {
    made.files.push(...files);
    show();
  };
  chooser.addEventListener('change', () => {
    add(chooser.files);
    chooser.value = '';
  });
  clear.addEventListener('click', () => {
    made.files = [];
    show();
  });
  root.addEventListener('dragover', (event) => {
    event.preventDefault();
    root.classList.add('over');
  });
  root.addEventListener('dragleave', () => root.classList.remove('over'));
  root.addEventListener('drop', (event) => {
    event.preventDefault();
    root.classList.remove('over');
    add([...event.dataTransfer.files].filter((file) => file.type.startsWith('image/')));
  });
  show();
  return made;
}

/** onnxruntime-web, from the folder `ort` beside the page. */
async function runtime(device) {
  const folder = new URL('ort/', location.href).href;
  const ort = await import(`${folder}ort.${device}.min.mjs`).catch(() => {
    throw new Error(`the folder ort beside this page lacks ort.${device}.min.mjs of npm's package onnxruntime-web`);
  });
  ort.env.wasm.wasmPaths = folder;
  // Threads want a server that isolates the page (Cross-Origin-Opener-Policy and -Embedder-Policy).
  if (!self.crossOriginIsolated) ort.env.wasm.numThreads = 1;
  return ort;
}

/** The samples of each class. */
async function samples() {
  const all = [];
  for (const [label, { title, files }] of boxes.entries()) {
    if (files.length === 0) throw new Error(`there is no picture of ${title.value}`);
    const own = [];
    for (const file of files) {
      tell(`Reading ${file.name}`);
      const input = await inputOf(file, contract.input).catch(() => {
        throw new Error(`${file.name} is no picture that this browser reads`);
      });
      own.push({ input, label });
    }
    all.push(own);
  }
  return all;
}

async function train() {
  const classes = boxes.map(({ title }) => title.value.trim());
  if (classes.includes('') || new Set(classes).size < classes.length) throw new Error('every class wants a name of its own');
  const [epochs, rate, size] = ['epochs', 'rate', 'batch'].map((name) => Number(form[name].value));
  const [trained, heldOut] = divided(await samples(), Number(form.heldOut.value));
  tell('Loading the model');
  const trainer = await Trainer.load(await runtime(form.device.value), contract, form.device.value);
  const curves = { loss: [], accuracy: [], heldOut: [] };
  const steps = epochs * Math.ceil(trained.length / size);
  let done = 0;
  let said = '';
  for (let epoch = 1; epoch <= epochs && !stopped; epoch++) {
    let [loss, right] = [0, 0];
    const order = shuffled(trained, epoch);
    for (let from = 0; from < order.length; from += size) {
      const batch = order.slice(from, from + size);
      // Half a cosine, from the rate to nothing.
      const step = await trainer.train(batch, (rate * (1 + Math.cos((Math.PI * done++) / steps))) / 2);
      loss += step.loss * batch.length;
      right += step.right;
      await new Promise((resolve) => setTimeout(resolve));
    }
    curves.loss.push(loss / order.length);
    curves.accuracy.push(right / order.length);
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    said = `epoch ${epoch} of ${epochs}: loss ${(loss / order.length).toFixed(4)}, accuracy ${percent(right / order.length)}`;
    if (heldOut.length > 0) {
      curves.heldOut.push((await trainer.evaluate(heldOut, size)) / heldOut.length);
      said += `, of ${heldOut.length} held out ${percent(curves.heldOut.at(-1))}`;
    }
    tell(said);
    draw(curves);
  }
  tuned = trainer.file(classes);
  await trainer.release();
  tell(`Done, ${said}`);
}

function draw({ loss, accuracy, heldOut }) {
  element('curves').hidden = false;
  const line = (values, most, colour) => {
    const curve = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
    const x = (at) => (300 * at) / Math.max(1, values.length - 1);
    curve.setAttribute('points', values.map((value, at) => `${x(at)},${118 - (116 * value) / most}`).join(' '));
    curve.setAttribute('stroke', colour);
    return curve;
  };
  element('loss').replaceChildren(line(loss, Math.max(...loss, 1e-9), '#666'));
  element('accuracy').replaceChildren(line(accuracy, 1, '#888'), line(heldOut, 1, '#06c'));
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  stopped = false;
  tuned = null;
  const running = (is) => {
    element('train').disabled = is;
    element('stop').disabled = !is;
    element('download').disabled = is || tuned === null;
  };
  running(true);
  try {
    await train();
  } catch (error) {
    tell(error.message, true);
  }
  running(false);
});
element('stop').addEventListener('click', () => { stopped = true; });
element('download').addEventListener('click', () => {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([tuned], { type: 'application/octet-stream' }));
  link.download = 'tuned.onnx';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});
tell('Drop pictures into the boxes.');
