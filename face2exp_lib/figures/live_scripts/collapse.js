// Points of classes of which some are rare, and a linear network that learns them step by step from
// weights of 0.
const {classes, colours, points, steps, rate, scale, ratio, distance} = data;
const K = classes.length, M = points[0].length;
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const std = (values) => Math.sqrt(mean(values.map((v) => (v - mean(values)) ** 2)));

// A class's points lie round a corner of a regular polygon, `apart` standard deviations from its centre.
const placed = (apart) => points.map((of, k) => {
  const angle = Math.PI / 2 + (2 * Math.PI * k) / K;
  return of.map(([x, y]) => [x + apart * Math.cos(angle), y + apart * Math.sin(angle)]);
});
const counts = (skew) => classes.map((_, k) => Math.round(M * skew ** (-k / (K - 1))));

const scores = (w, [x, y]) => w.map((row) => scale * (row[0] * x + row[1] * y) + row[2]);
const named = (w, point) => {
  const s = scores(w, point);
  return s.indexOf(Math.max(...s));
};
const softmax = (s) => {
  const most = Math.max(...s), powers = s.map((v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / sum);
};

// The weights before each step and after the last, by the mean cross entropy of the labelled points.
const trained = (faces, labels) => {
  let w = classes.map(() => [0, 0, 0]);
  const path = [w], total = labels.reduce((a, b) => a + b, 0);
  for (let step = 0; step < steps; step += 1) {
    const pull = classes.map(() => [0, 0, 0]);
    faces.forEach((of, k) => of.slice(0, labels[k]).forEach((point) => {
      softmax(scores(w, point)).forEach((p, j) => {
        const error = (p - (j === k ? 1 : 0)) / total;
        pull[j][0] += error * scale * point[0];
        pull[j][1] += error * scale * point[1];
        pull[j][2] += error;
      });
    }));
    w = w.map((row, j) => row.map((value, i) => value - rate * pull[j][i]));
    path.push(w);
  }
  return path;
};

const SIDE = 300, CELLS = 60, SPAN = 5;
const box = make(root, "div", {class: "live-row"});
const map = make(box, "div");
const canvas = make(map, "canvas", {width: SIDE, height: SIDE, role: "img", class: "live-canvas live-still"});
make(map, "div", {class: "live-axes"}, "the labelled faces as points; the ground has the colour of the class that is said there");
const beside = make(box, "div", {class: "live-beside"});
const table = make(beside, "table", {class: "live-numbers"});
const head = make(table, "tr");
for (const text of ["class", "labels", "said", "", "right"]) make(head, "th", {scope: "col"}, text);
const rows = classes.map((name, k) => {
  const row = make(table, "tr");
  make(row, "th", {scope: "row"}, name);
  const cells = {labels: make(row, "td"), said: make(row, "td")};
  cells.bar = make(make(row, "td", {class: "live-bars"}), "div", {style: `background: ${colours[k]}`});
  cells.right = make(row, "td");
  return cells;
});
const verdict = make(beside, "p", {class: "live-verdict"});
const inputs = make(root, "div");
const again = () => { learn(); draw(); };
const step = slider(inputs, "step", {min: 0, max: steps, step: 1, value: 0}, (v) => `${v}`, () => draw());
const skew = slider(inputs, "most : fewest labels", {min: 0, max: 2, step: 0.1, value: Math.log10(ratio)},
  (v) => `${(10 ** v).toPrecision(2)} : 1`, again);
const apart = slider(inputs, "distance of the classes", {min: 0.2, max: 3, step: 0.1, value: distance},
  (v) => v.toFixed(1), again);
const button = make(make(root, "div", {class: "live-row"}), "button", {type: "button"}, "Train");

let faces, labels, path;
function learn() {
  faces = placed(apart.get());
  labels = counts(skew.get() === 0 ? 1 : 10 ** skew.get());
  path = trained(faces, labels);
}

function draw() {
  const w = path[step.get()], ink = canvas.getContext("2d"), cell = SIDE / CELLS;
  ink.clearRect(0, 0, SIDE, SIDE);
  for (let i = 0; i < CELLS; i += 1) {
    for (let j = 0; j < CELLS; j += 1) {
      const here = [(2 * (i + 0.5) / CELLS - 1) * SPAN, (1 - 2 * (j + 0.5) / CELLS) * SPAN];
      ink.fillStyle = colours[named(w, here)] + (dark() ? "66" : "44");
      ink.fillRect(i * cell, j * cell, cell, cell);
    }
  }
  faces.forEach((of, k) => of.slice(0, labels[k]).forEach(([x, y]) => {
    ink.fillStyle = colours[k];
    ink.beginPath();
    ink.arc((x / SPAN + 1) * SIDE / 2, (1 - y / SPAN) * SIDE / 2, 2.5, 0, 2 * Math.PI);
    ink.fill();
  }));

  const said = classes.map(() => 0), right = classes.map(() => 0);
  faces.forEach((of, k) => of.forEach((point) => {
    const name = named(w, point);
    said[name] += 100 / (K * M);
    if (name === k) right[k] += 100 / M;
  }));
  rows.forEach((row, k) => {
    row.labels.textContent = labels[k];
    row.said.textContent = `${said[k].toFixed(0)} %`;
    row.bar.style.width = `${said[k]}%`;
    row.right.textContent = `${right[k].toFixed(0)} %`;
  });
  const most = said.indexOf(Math.max(...said));
  verdict.textContent = `Of a balanced test, ${classes[most]} is said of ${said[most].toFixed(0)} %; `
    + `class mean ${mean(right).toFixed(1)} %, class std ${std(right).toFixed(1)}.`;
  canvas.setAttribute("aria-label", `Points of ${K} classes at step ${step.get()}. ${verdict.textContent}`);
}

let playing = false;
button.addEventListener("click", () => {
  playing = !playing;
  button.textContent = playing ? "Stop" : "Train";
  if (!playing) return;
  if (step.get() === steps) step.set(0);
  const next = () => {
    if (!playing) return;
    step.set(step.get() + 1);
    draw();
    playing = step.get() < steps;
    if (playing) setTimeout(next, 60);
    else button.textContent = "Train";
  };
  next();
});
learn();
drawnWith(draw);
