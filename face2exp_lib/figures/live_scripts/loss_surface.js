// Two labelled faces, one unlabelled one and A with two weights; all that is shown is computed here.
const {faces, labels, unlabelled, name, span, start, eta} = data;
const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const sigmoid = (z) => 1 / (1 + Math.exp(-z));

// A scores a face x with (w0 x0, w1 x1): its cross entropy is softplus(-d), where d is how far the
// label's score leads, and its gradient is sigma(-d) times that of -d.
const lead = (w, x, label) => (label ? -1 : 1) * (w[0] * x[0] - w[1] * x[1]);
const slope = (w, x, label) => {
  const pull = sigmoid(-lead(w, x, label)) * (label ? 1 : -1);
  return [pull * x[0], -pull * x[1]];
};
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const loss = (w) => mean(faces.map((x, i) => softplus(-lead(w, x, labels[i]))));
const gradient = (w) => {
  const all = faces.map((x, i) => slope(w, x, labels[i]));
  return [mean(all.map((g) => g[0])), mean(all.map((g) => g[1]))];
};
const product = (a, b) => a[0] * b[0] + a[1] * b[1];

const stepped = (w, rate) => {
  const g = slope(w, unlabelled, name);
  const after = [w[0] - rate * g[0], w[1] - rate * g[1]];
  const before = product(gradient(w), g) * rate, then = product(gradient(after), g) * rate;
  return {
    after,
    fall: loss(w) - loss(after),
    said: {new: then, old: before, mean: (before + then) / 2},
  };
};

const WAYS = {new: "Eq. 6", old: "gradient before", mean: "trapezoid"};
const SIDE = 300, CELLS = 100;
const box = make(root, "div", {class: "live-row"});
const map = make(box, "div");
const canvas = make(map, "canvas", {width: SIDE, height: SIDE, role: "img", class: "live-canvas"});
make(map, "div", {class: "live-axes"},
  `both weights of A from −${span} to ${span}; the brighter, the lower the labelled loss`);
const beside = make(box, "div", {class: "live-beside"});
const table = make(beside, "table", {class: "live-numbers"});
const rows = {};
for (const [key, text] of Object.entries({fall: "fall of the loss", ...WAYS})) {
  const row = make(table, "tr");
  make(row, "th", {scope: "row"}, text);
  rows[key] = {value: make(row, "td"), bar: make(make(row, "td", {class: "live-bars"}), "div"),
    mark: make(row, "td")};
}
const verdict = make(beside, "p", {"aria-live": "polite", class: "live-verdict"});
const inputs = make(root, "div");
const controls = {};
const redraw = () => draw();
const weight = {min: -span, max: span, step: span / 50};
controls.w0 = slider(inputs, "first weight of A", {...weight, value: start[0]},
  (v) => v.toFixed(2), redraw);
controls.w1 = slider(inputs, "second weight of A", {...weight, value: start[1]},
  (v) => v.toFixed(2), redraw);
controls.rate = slider(inputs, "eta_A", {min: -2, max: 0.6, step: 0.05, value: Math.log10(eta)},
  (v) => (10 ** v).toPrecision(2), redraw);
controls.way = choice(inputs, "shaded where the sign is wrong:", WAYS, redraw);

const place = (w) => [(w[0] / span + 1) * SIDE / 2, (1 - w[1] / span) * SIDE / 2];
const weightsAt = (x, y) => [(2 * x / SIDE - 1) * span, (1 - 2 * y / SIDE) * span];

const arrow = (ink, from, to) => {
  const angle = Math.atan2(to[1] - from[1], to[0] - from[0]);
  ink.beginPath();
  ink.moveTo(...from);
  ink.lineTo(...to);
  for (const turn of [2.6, -2.6]) {
    ink.moveTo(...to);
    ink.lineTo(to[0] + 9 * Math.cos(angle + turn), to[1] + 9 * Math.sin(angle + turn));
  }
  ink.stroke();
};

function draw() {
  const ink = canvas.getContext("2d"), w = [controls.w0.get(), controls.w1.get()];
  const rate = 10 ** controls.rate.get(), way = controls.way.get(), found = stepped(w, rate);
  const cell = SIDE / CELLS, shades = dark() ? [190, 40] : [255, 90];
  for (let i = 0; i < CELLS; i += 1) {
    for (let j = 0; j < CELLS; j += 1) {
      const here = weightsAt((i + 0.5) * cell, (j + 0.5) * cell);
      const level = Math.floor(Math.min(loss(here) / 3, 1) * 12) / 12;
      const grey = Math.round(shades[0] + (shades[1] - shades[0]) * level);
      ink.fillStyle = `rgb(${grey},${grey},${grey})`;
      ink.fillRect(i * cell, j * cell, cell + 1, cell + 1);
      const there = stepped(here, rate);
      if (Math.sign(there.said[way]) !== Math.sign(there.fall)) {
        ink.fillStyle = COLOURS[way] + "99";
        ink.fillRect(i * cell, j * cell, cell + 1, cell + 1);
      }
    }
  }
  ink.lineWidth = 2.5;
  ink.strokeStyle = ink.fillStyle = "#000000";
  const from = place(w);
  arrow(ink, from, place(found.after));
  ink.beginPath();
  ink.arc(...from, 5, 0, 2 * Math.PI);
  ink.fill();

  const values = {fall: found.fall, ...found.said};
  const most = Math.max(...Object.values(values).map(Math.abs), 1e-9);
  const wrong = [];
  for (const [key, value] of Object.entries(values)) {
    const width = 50 * Math.abs(value) / most;
    rows[key].value.textContent = signed(value, 4);
    rows[key].bar.style.cssText = `width: ${width}%; margin-left: ${value < 0 ? 50 - width : 50}%;`
      + `background: ${COLOURS[key === "fall" ? "right" : key]}`;
    const bad = Math.sign(value) !== Math.sign(found.fall);
    rows[key].mark.textContent = bad ? "wrong sign" : "";
    if (bad) wrong.push(WAYS[key]);
  }
  verdict.textContent = `The step ${found.fall > 0 ? "helped" : "hurt"}. `
    + (wrong.length ? `The opposite is said by: ${wrong.join("; ")}.` : "All three say so.");
  canvas.setAttribute("aria-label", `Labelled loss over the two weights of A, with its step from `
    + `(${w[0].toFixed(2)}, ${w[1].toFixed(2)}) at eta ${rate.toPrecision(2)}. ${verdict.textContent}`);
}

const drag = (event) => {
  const edge = canvas.getBoundingClientRect();
  const w = weightsAt((event.clientX - edge.left) * SIDE / edge.width,
    (event.clientY - edge.top) * SIDE / edge.height);
  controls.w0.set(w[0]);
  controls.w1.set(w[1]);
  draw();
};
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  drag(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (canvas.hasPointerCapture(event.pointerId)) drag(event);
});
drawnWith(draw);
