// The page: pictures that are dropped or chosen, and what the server says of them.

const element = (id) => document.getElementById(id);

function tell(text, wrong = false) {
  element('status').textContent = text;
  element('status').classList.toggle('wrong', wrong);
}

async function classify(file) {
  const answer = await fetch('classify', { method: 'POST', body: file });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said.classes;
}

async function take(file) {
  const root = Object.assign(document.createElement('section'), { className: 'result' });
  const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name });
  const table = document.createElement('table');
  table.createCaption().textContent = file.name;
  root.append(image, table);
  element('results').prepend(root);
  tell(`Looking at ${file.name}`);
  try {
    const classes = await classify(file);
    for (const { name, probability } of classes) {
      const row = table.insertRow();
      row.insertCell().textContent = `${(100 * probability).toFixed(2)} %`;
      row.insertCell().textContent = name;
    }
    if (classes.length === 0) table.insertRow().insertCell().textContent = 'none of the classes';
  } catch (error) {
    table.insertRow().insertCell().textContent = error.message;
  }
}

let queue = Promise.resolve();

/** One after the other, also where more are dropped meanwhile. */
function add(files) {
  const all = [...files];
  queue = queue.then(async () => {
    for (const file of all) await take(file);
    tell(`Done: ${element('results').children.length} pictures.`);
  });
}

document.addEventListener('dragover', (event) => {
  event.preventDefault();
  element('drop').classList.add('over');
});
document.addEventListener('dragleave', () => element('drop').classList.remove('over'));
document.addEventListener('drop', (event) => {
  event.preventDefault();
  element('drop').classList.remove('over');
  add(event.dataTransfer.files);
});
element('choose').addEventListener('change', (event) => {
  add(event.target.files);
  event.target.value = '';
});
tell('Drop pictures.');
